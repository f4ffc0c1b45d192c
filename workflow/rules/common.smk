# What the rules share: the grid of the study, the batches of what is missing, and functions from wildcards to files.

import re
import shlex
import sys
from pathlib import Path

# The workflow's own package, also in job processes and in environments made by --sdm conda.
SOURCE = Path(workflow.basedir, "src")
sys.path.insert(0, str(SOURCE))
# It takes the place of Snakemake's own prefix, so it makes the shell strict, too; braces are for Snakemake to fill in.
QUOTED = shlex.quote(str(SOURCE)).replace("{", "{{").replace("}", "}}")
# A job of the cluster that belongs to one batch may be put back into the queue by it (see loragrid/cluster/launch.py).
OWN_JOB = "export LORAGRID_OWN_JOB=1; " if workflow.remote_exec else ""
shell.prefix(f"set -euo pipefail; export PYTHONPATH={QUOTED}; {OWN_JOB}")

from snakemake.exceptions import WorkflowError

from loragrid.cluster.start import preemption_warning, refuse_second_start
from loragrid.errors import UserError
from loragrid.registry import REGISTRY
from loragrid.study.batches import plan, read_batch
from loragrid.study.grid import Grid
from loragrid.study.open import open_study, recorded_study
from loragrid.study.plan import summary

# Snakemake reads --config values as YAML, in which a name may look like a number.
if isinstance(config["study"], float):
    raise WorkflowError(f"study: {config['study']} was read as a number; quote it twice: --config 'study=\"NAME\"'")
STUDY = str(config["study"])


def load():
    """The main process resolves the study and groups what is missing; job processes read what it recorded."""
    try:
        if not workflow.is_main_process:
            return recorded_study(STUDY), None
        grid = open_study(STUDY, REGISTRY)
        batches = plan(grid)
        print(summary(grid, batches, REGISTRY), file=sys.stderr)
        return grid, batches
    except UserError as error:
        raise WorkflowError(str(error)) from None


GRID, PLAN = load()
TRAIN_BATCH = PLAN.by_run() if PLAN else {}
GENERATE_BATCH = PLAN.by_answers() if PLAN else {}
TABLES = GRID.folder
STUDY_FILE = f"{TABLES}/study.json"
REMAKE_TABLES = f"python -m loragrid tabulate --study {shlex.quote(STUDY_FILE)} 2>&1"


def record_plan():
    """Write what job processes read. Snakemake calls this when something runs, so a dry run writes nothing."""
    if workflow.executor_plugin.name == "slurm":
        check_cluster()
    GRID.record()
    PLAN.record()


def check_cluster():
    """Say what would go wrong on this cluster before anything is submitted."""
    submitted = [job for job in workflow.dag.needrun_jobs() if not job.is_local]
    if warning := preemption_warning({job.resources.get("slurm_partition") for job in submitted}):
        print(f"Warning: {warning}", file=sys.stderr)
    try:
        refuse_second_start(Path.cwd())
    except UserError as error:
        raise WorkflowError(str(error)) from None


def unless_there(target, *inputs):
    """The inputs of a target that is still to be made; none for one that exists, so that data may be deleted."""
    return [] if Path(target).exists() else [ancient(file) for file in inputs]


def any_of(ids):
    """A wildcard constraint that matches these ids only."""
    return "|".join(map(re.escape, ids)) or "(?!)"


# data


def raw_of_clean(wildcards):
    clean = GRID.clean[wildcards.dataset]
    return unless_there(f"{clean.folder}/cleaning.json", f"{GRID.raw[clean.raw].folder}/provenance.json")


def inputs_of_format(wildcards):
    formatted = GRID.formatted[f"{wildcards.model}/{wildcards.dataset}"]
    return unless_there(
        f"{formatted.folder}/format.json",
        f"{GRID.clean[formatted.clean].folder}/cleaning.json",
        f"{GRID.models[formatted.model].folder}/model.json",
    )


def clean_of_prompts(wildcards):
    prompts = GRID.prompts[wildcards.prompts]
    return unless_there(prompts.file, f"{GRID.clean[prompts.clean].folder}/cleaning.json")


# batches


def inputs_of_batch(stage, wildcards):
    batches = getattr(PLAN, stage) if PLAN else {}
    batch = batches.get(wildcards.batch) or read_batch(stage, wildcards.batch)
    after = [f"results/batches/train-{id_}.done" for id_ in batch.after]
    return [ancient(file) for file in [*batch.needs, *after]]


def inputs_of_train(wildcards):
    return inputs_of_batch("train", wildcards)


def inputs_of_generate(wildcards):
    return inputs_of_batch("generate", wildcards)


def batch_of_run(wildcards):
    batch = TRAIN_BATCH.get(f"results/runs/{wildcards.model}/{wildcards.dataset}/{wildcards.run}")
    return ancient(batch.done) if batch else []


def batch_of_answers(wildcards):
    batch = GENERATE_BATCH.get(f"results/{wildcards.subject}/eval/{wildcards.evaluation}")
    return ancient(batch.done) if batch else []


def gpus_of(wildcards, resources):
    """GPUs that a job was given, whichever way the cluster wants them asked for."""
    asked = re.search(r"\bgpu(?::[A-Za-z][^:,]*)?(?::(\d+))?", str(resources.get("gres", "")))
    return resources.get("gpu") or (int(asked[1] or 1) if asked else 1)


# scores


def answers_of(wildcards):
    return GRID.answers[f"results/{wildcards.subject}/eval/{wildcards.evaluation}"]


def inputs_of_score(wildcards):
    answers = answers_of(wildcards)
    target = f"{answers.folder}/scores/{wildcards.family}-{wildcards.key}.json"
    return unless_there(target, answers.generations, GRID.prompts[answers.prompts].file)


def all_scores(wildcards):
    runs = [f"{run.folder}/run.json" for run in GRID.runs.values()]
    return runs + [answers.scores(family) for answers in GRID.answers.values() for family in answers.families]


wildcard_constraints:
    model=r"[^/]+",
    dataset=r"[^/]+",
    run=r"[^/]+",
    batch=r"[0-9a-f]+",
    prompts=r"[^/]+",
    evaluation=r"[^/]+",
    subject=r"(?:runs/[^/]+/[^/]+|untrained)/[^/]+",
    family=r"[a-z]+",
    key=r"[0-9a-f]+",
