# What the rules share: the grid of the study, the batches of what is missing, and functions from wildcards to files.
#
# `retries` is 0 where the same input fails the same way, and RETRIES where it does so, too, but a job may have been
# killed. Rules without the line leave it to the profile.
#
# Outputs that several studies share are marked `update`: Snakemake then does not delete at a job's start what another
# start of the workflow has just made. They are written whole or not at all.

import math
import re
import shlex
import signal
import sys
from pathlib import Path

import yaml

# The workflow's own package, also in job processes and in environments made by --sdm conda.
SOURCE = Path(workflow.basedir, "src")
sys.path.insert(0, str(SOURCE))
# It takes the place of Snakemake's own prefix, so it makes the shell strict, too; braces are for Snakemake to fill in.
QUOTED = shlex.quote(str(SOURCE)).replace("{", "{{").replace("}", "}}")
from snakemake.exceptions import WorkflowError
from snakemake.logging import logger
from snakemake.scheduling.job_scheduler import JobScheduler

from loragrid.jobs.attempts import ENDING, settle_if_gone, settle_if_over
from loragrid.estimates.devices import DEFAULT, DEVICES
from loragrid.estimates.growth import grown_minutes, memory_factor
from loragrid.estimates.plan import missing_here, summary
from loragrid.estimates.requests import Estimator
from loragrid.jobs.slurm_plugin import exclude_no_failed_nodes
from loragrid.jobs.living import living_batches
from loragrid.jobs.old import about_old_runs
from loragrid.jobs.refusals import settle_refused
from loragrid.jobs.requeue import SIGNAL_SECONDS
from loragrid.jobs.stage import attempts_folder, signal_seconds
from loragrid.jobs.start import refuse_second_start, warnings
from loragrid.jobs.workflow_lock import keep_locks_of_others
from loragrid.jobs.workflow_log import shorten
from loragrid.errors import UserError
from loragrid.plugins import REGISTRY
from loragrid.study.arguments import REPORTS
from loragrid.study.planning import plan, read_batch
from loragrid.study.grid import Grid
from loragrid.study.members import CompareMember, TrainMember
from loragrid.study.open import open_study, recorded_study
from loragrid.study.planning import plan
from loragrid.status.table import failed_rows
from loragrid.study.preflights import found_before
from loragrid.study.shape import Shape
from loragrid.terminal import escape_what_encodings_lack

# Snakemake's log file is in the system's encoding, too.
escape_what_encodings_lack(sys.stdout, sys.stderr, *(getattr(handler, "stream", None) for handler in logger.handlers))


keep_locks_of_others()

KNOWN = ("study", "checkpoint_minutes", "batch_minutes", "report_to")
if unknown := sorted(set(config) - set(KNOWN)):
    raise WorkflowError(f"config: {', '.join(unknown)}: there is no such key; there are: {', '.join(KNOWN)}")


def study_named():
    """The study as somebody wrote it: Snakemake makes numbers and dates of names like nan, 1e5 and 2026-01-31."""
    if isinstance(config["study"], str):
        return config["study"]
    for argument in reversed(workflow.config_settings.config_args or []):
        if argument.startswith("study="):
            return argument.removeprefix("study=").strip("'\"")
    for file in reversed(["config/config.yaml", *workflow.overwrite_configfiles]):
        words = yaml.load(Path(file).read_text(encoding="utf-8"), Loader=yaml.BaseLoader)
        if isinstance(words.get("study"), str):
            return words["study"]
    raise WorkflowError(f"study: {config['study']!r} is no name; give the path of a file: config/studies/NAME.yaml")


STUDY = study_named()
CHECKPOINT_MINUTES = config["checkpoint_minutes"]
if not isinstance(CHECKPOINT_MINUTES, (int, float)) or not CHECKPOINT_MINUTES > 0:
    raise WorkflowError(f"checkpoint_minutes: {CHECKPOINT_MINUTES!r} is not a number of minutes above 0")

BATCH_MINUTES = config.get("batch_minutes", 30)
if not isinstance(BATCH_MINUTES, (int, float)) or not BATCH_MINUTES >= 0:
    raise WorkflowError(
        f"batch_minutes: {BATCH_MINUTES!r} is not a number of minutes: 0 gives each run a job of its own"
    )

REPORT_TO = config.get("report_to") or []
if not isinstance(REPORT_TO, list) or not set(map(str, REPORT_TO)) <= set(REPORTS):
    raise WorkflowError(f"report_to: {REPORT_TO!r} is not a list of some of {', '.join(REPORTS)}")


def of_profile(name, rule="train"):
    """A resource as the profile gives it to a rule (set-resources), else to all (default-resources)."""
    settings = workflow.resource_settings
    for resources in (settings._parsed_overwrite_resources.get(rule, {}), settings._parsed_default_resources):
        if name in resources:
            return resources[name].raw  # of an expression its text
    return None


def told_before_the_limit():
    """How long before its limit the profile lets Slurm tell a job, as jobs find it in their environment."""
    seconds = signal_seconds(str(of_profile("slurm_extra", rule=None) or ""))
    # An executor that tells jobs itself knows better.
    return f"{SIGNAL_SECONDS}=${{{{{SIGNAL_SECONDS}:-{seconds}}}}} " if seconds else ""


# Snakemake in a job dies of SIGTERM before it has started the job's work, and the job has failed. The work alone answers.
if workflow.remote_exec:
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    JobScheduler.exit_gracefully = lambda *_: None


# A job of the cluster belongs to one piece of work, which may put it back into the queue (see loragrid/jobs), and runs
# where there often is no internet: what it needs was downloaded before. SIGTERM, by which Slurm tells that it has to end,
# is heard as soon as the work listens; before that it must not die of it.
IN_JOB = (
    f"export LORAGRID_OWN_JOB=1 HF_HUB_OFFLINE=1 {told_before_the_limit()}; trap '' TERM; "
    if workflow.remote_exec
    else ""
)
shell.prefix(f"set -euo pipefail; export PYTHONPATH={QUOTED}; {IN_JOB}")


def device():
    """The GPU that the profile asks the scheduler for, by `gpu_model: t4` or `gres: gpu:t4:1`; else a T4."""
    model = str(of_profile("gpu_model") or of_profile("gres") or DEFAULT)
    found = next((device for device in DEVICES.values() if device.is_called(model)), None)
    if found is None and workflow.is_main_process:
        print(f"Warning: no estimates for the GPU {model!r}; those of a {DEFAULT.upper()} are taken", file=sys.stderr)
    return found or DEVICES[DEFAULT]


def gpus_in(resources):
    """GPUs that a job asks for, whichever way the cluster wants that; None if it says nothing of them."""
    asked = re.search(r"\bgpu(?::[A-Za-z][^:,]*)?(?::(\d+))?", str(resources.get("gres") or ""))
    return resources.get("gpu") or (int(asked[1] or 1) if asked else None)


def gpus_of_profile():
    """GPUs that the profile gives to each training; None if it leaves that to the study."""
    return gpus_in({"gpu": of_profile("gpu"), "gres": of_profile("gres")})


TOLD = set()


def tell_preflights(grid):
    """Say what preflights have found, in one message, as far as that was not said yet."""
    if new := [line for line in found_before(grid) if line not in TOLD]:
        TOLD.update(new)
        print("\n".join(["before training:", *(f"  - {line}" for line in new)]), file=sys.stderr)


# The longest job that the profile allows; training goes on in the next one.
LONGEST = of_profile("runtime")
LONGEST_MINUTES = LONGEST if isinstance(LONGEST, int) else None


def shape_of_jobs(estimator):
    """How much work a job is given on this cluster, or on this machine, and which jobs are at work already."""
    settings = workflow.resource_settings
    return Shape(
        estimator.minutes,
        longest=min(BATCH_MINUTES, LONGEST_MINUTES or BATCH_MINUTES),
        # On one machine there is no queue to wait in; `nodes` is what --jobs says of a cluster.
        shortest=estimator.shortest_job if settings.nodes else 0,
        slots=settings.nodes or settings.cores or 1,
        living=living_batches(),
    )


def load():
    """The main process resolves the study, groups what is missing and estimates what it needs; job processes read what
    it recorded, and need no estimate."""
    try:
        if not workflow.is_main_process:
            return recorded_study(STUDY), None, None
        grid = open_study(STUDY, REGISTRY)
        estimator = Estimator(grid, REGISTRY, device(), gpus_of_profile())
        batches = plan(grid, shape_of_jobs(estimator))
        print(summary(grid, batches, estimator), file=sys.stderr)
        tell_preflights(grid)
        return grid, batches, estimator
    except UserError as error:
        raise WorkflowError(str(error)) from None


GRID, PLAN, ESTIMATOR = load()
# The same for jobs without a GPU, whose partition may have another limit.
LONGEST_OF_STAGES = of_profile("runtime", rule=None)
if not isinstance(LONGEST_OF_STAGES, int):
    LONGEST_OF_STAGES = None
# Attempts after the first, of work that can only start again: where jobs have a limit, a few may ask for more time.
# Within a job there is none, for it would have no more than the first.
RETRIES = 0 if workflow.remote_exec else 3 if LONGEST_OF_STAGES else 1
SCORE_BATCH = PLAN.by_score() if PLAN else {}
TRAIN_BATCH = PLAN.by_run() if PLAN else {}
GENERATE_BATCH = PLAN.by_answers() if PLAN else {}
JUDGE_BATCH = PLAN.by_judgements() if PLAN else {}
TABLES = GRID.folder
STUDY_FILE = f"{TABLES}/study.json"
REMAKE_TABLES = f"python -m loragrid tabulate --study {shlex.quote(STUDY_FILE)} 2>&1"


def record_plan():
    """Write what job processes read. Snakemake calls this when something runs, so a dry run writes nothing."""
    shorten(logger)
    check_cluster()
    if old := about_old_runs():
        print(f"Note: {old}.", file=sys.stderr)
    for missing in missing_here(PLAN):
        print(f"Warning: {missing}. Everything else can run.", file=sys.stderr)
    GRID.record()
    settle_refused(GRID)
    jobs = {(job.name, job.wildcards.batch) for job in workflow.dag.needrun_jobs() if "batch" in job.wildcards.keys()}
    PLAN.record(jobs, living_batches())


def has_made_tables():
    """Whether this start has made them of all that it has made: `tabulate` comes last, where it is wanted."""
    return any(job.name == "tabulate" for job in workflow.dag.needrun_jobs(exclude_finished=False))


def tell_failed_rows():
    """Say which results are damaged: all jobs have ended well, and the table has less than all."""
    if lines := failed_rows(Path(TABLES, "comparison.csv")):
        print("Warning: " + "\n".join(lines), file=sys.stderr)


def check_cluster():
    """Say what would go wrong on this cluster before anything is submitted."""
    executor = workflow.executor_plugin.name
    if executor not in ("slurm", "submitit"):
        return
    if executor == "slurm":
        exclude_no_failed_nodes()
        for warning in warnings(partitions_of_jobs(), workflow.executor_settings.status_command):
            print(f"Warning: {warning}", file=sys.stderr)
    try:
        jobs = [(job.name, dict(job.wildcards.items())) for job in submitted_jobs()]
        refuse_second_start(Path.cwd(), jobs, takes_over=executor == "submitit")
    except UserError as error:
        raise WorkflowError(str(error)) from None


def submitted_jobs():
    return [job for job in workflow.dag.needrun_jobs() if not job.is_local]


def partitions_of_jobs():
    """Partitions that jobs may go to; None stands for the cluster's default."""
    if described := workflow.executor_settings.partition_config:
        return set(yaml.safe_load(Path(described).read_text(encoding="utf-8"))["partitions"])
    given = {job.resources.get("slurm_partition") for job in submitted_jobs()}
    return {part for names in given for part in (str(names).split(",") if names else [None])}


def unless_there(target, *inputs):
    """The inputs of a target that is still to be made; none for one that exists, so that data may be deleted."""
    return [] if Path(target).exists() else [ancient(file) for file in inputs]


def any_of(ids):
    """A wildcard constraint that matches these ids only."""
    return "|".join(map(re.escape, ids)) or "(?!)"


# the workflow's log


def in_log(message):
    """What the log says of a job. Not in a dry run, which shows everything: its files, its resources and its reason."""
    return None if workflow.output_settings.dryrun else message


def subject_in_words(run, model, precision=None):
    """A run, or an untrained model."""
    return (
        f"{run.label or run.name} ({model.label} on {run.dataset})" if run else f"untrained {model.label} ({precision})"
    )


def about_answers(answers, run, model):
    """What a subject answers, and to what."""
    return f"{subject_in_words(run, model, answers.precision)}: {answers.evaluation} on {answers.dataset}"


def run_in_words(wildcards):
    run = GRID.runs[f"results/runs/{wildcards.model}/{wildcards.dataset}/{wildcards.run}"]
    return subject_in_words(run, GRID.models[run.model])


def answers_in_words(wildcards):
    answers = answers_of(wildcards)
    return about_answers(answers, GRID.runs.get(answers.subject), GRID.models[answers.model])


# data


def downloads_of_study():
    """What has to come from elsewhere, so that all else runs without the internet."""
    data = [f"{raw.folder}/provenance.json" for raw in GRID.raw.values()]
    data += [f"{model.folder}/model.json" for model in GRID.models.values() if not model.build]
    data += [encoder.manifest for encoder in GRID.encoders.values()]
    scores = [score for answers in GRID.answers.values() for score in answers.scores.values()]
    return data + sorted({file for score in scores for file in score["needs"]})


def cleaned(id_):
    return f"{GRID.clean[id_].folder}/cleaning.json"


def inputs_of_clean(wildcards):
    data = GRID.clean[wildcards.dataset]
    others = [cleaned(id_) for id_ in GRID.made_from(data.id)]
    return unless_there(cleaned(data.id), *(others or [f"{GRID.raw[data.raw].folder}/provenance.json"]))


def inputs_of_contamination(wildcards):
    found = GRID.contamination[wildcards.dataset]
    return unless_there(found.file, *map(cleaned, dict.fromkeys(found.made_from)))


def all_contamination():
    return [found.file for found in GRID.contamination.values()]


def inputs_of_format(wildcards):
    formatted = GRID.formatted[f"{wildcards.model}/{wildcards.dataset}"]
    return unless_there(
        f"{formatted.folder}/format.json",
        cleaned(formatted.clean),
        f"{GRID.models[formatted.model].folder}/model.json",
    )


def inputs_of_preflight(wildcards):
    preflight = GRID.preflights[f"{wildcards.model}/{wildcards.preflight}"]
    formatted = [f"{GRID.formatted[preflight.formatted].folder}/format.json"] if preflight.formatted else []
    prompts = sorted({GRID.prompts[each["prompts"]].file for each in preflight.asked})
    return unless_there(preflight.file, *formatted, f"{GRID.models[preflight.model].folder}/model.json", *prompts)


def clean_of_prompts(wildcards):
    prompts = GRID.prompts[wildcards.prompts]
    return unless_there(prompts.file, cleaned(prompts.clean))


def references_of(wildcards):
    return GRID.references[f"{wildcards.prompts}/{wildcards.references}"]


def inputs_of_references(wildcards):
    references = references_of(wildcards)
    return unless_there(
        references.file, GRID.prompts[references.prompts].file, GRID.encoders[references.encoder].manifest
    )


def memory_of_references(wildcards):
    return ESTIMATOR.encoding(references_of(wildcards)).memory_mb if ESTIMATOR else GIVEN


def minutes_of_references(wildcards):
    return ESTIMATOR.encoding(references_of(wildcards)).minutes if ESTIMATOR else GIVEN


wildcard_constraints:
    model=r"[^/]+",
    dataset=r"[^/]+",
    run=r"[^/]+",
    batch=r"[0-9a-f]+",
    prompts=r"[^/]+",
    preflight=r"[^/]+",
    encoder=r"[^/]+",
    references=r"[^/]+",
    evaluation=r"[^/]+",
    subject=r"(?:runs/[^/]+/[^/]+|untrained)/[^/]+",
    score=r"[a-z0-9_]+",
    key=r"[0-9a-f]+",
