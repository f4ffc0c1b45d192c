"""The executor with Snakemake, on this machine and on commands that stand in for Slurm's."""

import json
import os
import signal
import time

WAITING = """
rule a:
    output: "a.out"
    resources: gpu=1, slurm_extra="--signal=TERM@120 --reservation=class"
    shell: "echo started >> starts; while [ ! -e go ]; do sleep 0.1; done; touch {output}"
"""

DONE_WHEN_TOLD = """
rule a:
    output: "a.out"
    resources: gpu=1
    shell: "touch {output} starts; sleep 2"
"""

ON_GPUS = """
rule all:
    input: expand("{i}.out", i=range(3)), "none.out"

rule gpu:
    output: "{i}.out"
    resources: gpu=1
    shell: "echo begins $CUDA_VISIBLE_DEVICES >> gpus; sleep 1; echo ends $CUDA_VISIBLE_DEVICES >> gpus; touch {output}"

rule cpu:
    output: "none.out"
    shell: "echo \\"<$CUDA_VISIBLE_DEVICES>\\" > {output}"
"""


def test_running_job_is_found_again_after_the_head_was_killed(workflow):
    asking = (
        "--default-resources", "runtime=90", "mem_mb=2000", "slurm_partition=long", "gpu_model=t4",
        "--submitit-signal-seconds", "45",
    )  # fmt: skip
    workflow.environment |= {"HF_TOKEN": "hf_secret"}
    workflow.start(WAITING, *asking, cluster="slurm")
    workflow.wait_for("starts")
    written = [*workflow.jobs.rglob("*"), *(workflow.folder / ".snakemake/submitit").rglob("*")]
    assert not any(b"hf_secret" in file.read_bytes() for file in written if file.is_file())
    workflow.kill_head()
    workflow.start(WAITING, *asking, cluster="slurm")
    while "it is not submitted again" not in workflow.said():
        assert workflow.head.poll() is None, workflow.said()
        time.sleep(0.1)
    (workflow.folder / "go").touch()
    workflow.ends()
    assert (workflow.folder / "starts").read_text() == "started\n"
    assert (workflow.folder / "a.out").exists()
    assert not list((workflow.folder / ".snakemake/submitit").iterdir())
    assert (workflow.folder / ".snakemake/submitit").stat().st_mode & 0o777 == 0o700

    (job,) = workflow.jobs.iterdir()
    script = (job / "script").read_text()
    for option in ("--time=90", "--mem=2000M", "--partition=long", "--gpus=t4:1", "--signal=USR2@45", "--requeue",
                   "--cpus-per-task=1", "--job-name=loragrid-a"):  # fmt: skip
        assert f"#SBATCH {option}\n" in script
    assert json.loads((job / "arguments").read_text()) == ["--reservation=class"]


def test_job_that_is_told_to_end_when_its_work_is_done_is_not_put_back_into_the_queue(workflow):
    workflow.start(DONE_WHEN_TOLD, cluster="slurm")
    workflow.wait_for("starts")
    (submitit,) = [
        process for process in workflow.processes() if process.cmdline()[2:4] == ["-m", "submitit.core._submit"]
    ]
    submitit.send_signal(signal.SIGUSR2)
    workflow.ends()  # there is no command here that would put it back


def test_preempted_job_that_does_not_come_back_is_submitted_again(workflow):
    workflow.start(WAITING, cluster="slurm")
    workflow.wait_for("starts")
    (job,) = workflow.jobs.iterdir()
    os.killpg(int((job / "pid").read_text()), signal.SIGKILL)
    (job / "state").write_text("PREEMPTED")
    (workflow.folder / "go").touch()
    said = workflow.ends()
    assert f"loragrid-a was preempted as {job.name}; it is submitted again." in said
    assert "Error in rule" not in said
    assert len(list(workflow.jobs.iterdir())) == 2


def test_refused_job_is_told_and_does_not_end_the_others(workflow):
    (workflow.jobs / "refuses").touch()
    rules = (
        'rule all:\n    input: "a.out", "b.out"\n'
        + WAITING
        + WAITING.replace("rule a", "rule b").replace("a.out", "b.out")
    )
    workflow.start(rules, cluster="slurm")
    said = workflow.ends(status=1)
    assert said.count("sbatch does not take the job") == 2
    assert "invalid account" in said


def test_no_gpu_is_given_twice(workflow):
    workflow.start(ON_GPUS, cluster="local")
    workflow.ends()
    held = set()
    for line in (workflow.folder / "gpus").read_text().splitlines():
        kind, gpu = line.split()
        assert gpu in ("4", "7")
        assert (gpu in held) == (kind == "ends"), "given to two jobs at a time"
        held ^= {gpu}
    assert (workflow.folder / "none.out").read_text() == "<>\n"


def test_without_gpus_jobs_that_want_one_take_turns(workflow):
    workflow.environment |= {"CUDA_VISIBLE_DEVICES": ""}
    workflow.start(ON_GPUS, cluster="local")
    workflow.ends()
    assert (workflow.folder / "gpus").read_text().split() == ["begins", "ends"] * 3


def test_interrupt_ends_local_jobs(workflow):
    workflow.start(WAITING, cluster="local")
    workflow.wait_for("starts")
    workflow.head.send_signal(signal.SIGINT)
    workflow.ends(status=1)
    assert not workflow.processes()
