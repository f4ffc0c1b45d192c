# loragrid: a grid of LoRA fine-tunes, from raw data to comparison tables.
#
#   snakemake -n                        what would run, and how many GPU hours
#   snakemake --profile cluster/local   run it here
#   snakemake -c1 downloads             what needs the internet, on a login node; all else runs without
#   snakemake -c1 tables                only the tables, from whatever scores exist
#
# Which study: config/config.yaml, or --config study=NAME.

from snakemake.utils import min_version

min_version("9.27")


configfile: "config/config.yaml"


# Used with `--sdm apptainer` only; envs/apptainer.def makes it.
container: "envs/loragrid.sif"


include: "workflow/rules/common.smk"
include: "workflow/rules/batches.smk"


localrules:
    all,
    download_dataset,
    download_encoder,
    download_model,
    download_wordnet,
    downloads,
    judge,
    preflight,
    publish_run,
    publish_generations,
    publish_judgements,
    publish_score,
    tabulate,
    tables,


rule all:
    default_target: True
    input:
        # The scores too, not only the tables made of them: after a failure the tables are there, the scores are not.
        all_scores,
        all_contamination(),
        f"{TABLES}/comparison.csv",
    message:
        in_log("all of {GRID.study} is there")


include: "workflow/rules/data.smk"
include: "workflow/rules/model.smk"
include: "workflow/rules/preflight.smk"
include: "workflow/rules/train.smk"
include: "workflow/rules/generate.smk"
include: "workflow/rules/judge.smk"
include: "workflow/rules/score.smk"
include: "workflow/rules/tables.smk"


onstart:
    record_plan()


onsuccess:
    tell_preflights(GRID)
    if not has_made_tables():
        shell(REMAKE_TABLES)
    tell_failed_rows()


onerror:
    tell_preflights(GRID)
    shell(REMAKE_TABLES)
