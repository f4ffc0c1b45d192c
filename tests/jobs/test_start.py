"""What is looked at before jobs are submitted; fakes on the PATH stand in for Slurm's commands."""

import contextlib

import pytest

from loragrid.errors import UserError
from loragrid.jobs.start import refuse_second_start, warnings


@pytest.mark.parametrize(("comment", "takes_over", "refused"), [
    ("rule_train_wildcards_0a", False, True),
    ("rule_train_wildcards_0a", True, True),
    ("rule_train_wildcards_0b", False, False),  # of another study, whose Snakemake may be running
    ("rule_format_wildcards_tiny_a_b", False, True),
    ("loragrid-train-0a of Snakemake in {folder}", False, True),
    ("loragrid-train-0a of Snakemake in {folder}", True, False),
    ("loragrid-train-0b of Snakemake in {folder}", False, False),
    ("mine", False, False),
])  # fmt: skip
def test_a_fake_queue_with_jobs_of_another_start(comment, takes_over, refused, fake, tmp_path):
    comment = comment.format(folder=tmp_path)
    fake("squeue", f"7|RUNNING|None|1:00|{tmp_path}|{comment}\n8|RUNNING|None|1:00|/elsewhere|{comment}\n")
    submitted = [("train", {"batch": "0a"}), ("format", {"model": "tiny", "dataset": "a/b"})]
    with pytest.raises(UserError, match="scancel 7`") if refused else contextlib.nullcontext():
        refuse_second_start(tmp_path, submitted, takes_over=takes_over)


def test_a_fake_slurm_without_accounting(fake):
    fake("scontrol", "PreemptType = preempt/none\n")
    fake("sacct", "Slurm accounting storage is disabled\n", status=1)
    (said,) = warnings({None}, "sacct")
    assert "slurm-status-command: squeue" in said
    assert warnings({None}, "squeue") == []


def test_a_fake_partition_that_cancels(fake):
    fake("scontrol", "PartitionName=a PreemptMode=CANCEL\nPartitionName=b PreemptMode=REQUEUE\n")
    fake("sacct", "")
    fake("sinfo", "a*\nb\n")
    assert warnings({"b"}, "sacct") == []
    for names in ({"a"}, {None}, {"a", "b"}):
        (said,) = warnings(names, "sacct")
        assert said.startswith("partition a: preempted jobs are cancelled here (PreemptMode=CANCEL)")
