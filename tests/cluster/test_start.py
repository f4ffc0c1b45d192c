"""What is looked at before jobs are submitted; fakes on the PATH stand in for Slurm's commands."""

import pytest

from loragrid.cluster.start import refuse_second_start, warnings
from loragrid.errors import UserError


@pytest.mark.parametrize(("comment", "takes_over", "refused"), [
    ("rule_train_wildcards_0a", False, True),
    ("rule_train_wildcards_0a", True, True),
    ("loragrid-train-0a of Snakemake in /grid", False, True),
    ("loragrid-train-0a of Snakemake in /grid", True, False),
    ("mine", False, False),
])  # fmt: skip
def test_a_fake_queue_with_jobs_of_an_earlier_start(comment, takes_over, refused, fake, tmp_path):
    fake("squeue", f"7|RUNNING|None|1:00|{tmp_path}|{comment}\n8|RUNNING|None|1:00|/elsewhere|rule_train\n")
    if not refused:
        refuse_second_start(tmp_path, takes_over=takes_over)
        return
    with pytest.raises(UserError, match="scancel 7`"):
        refuse_second_start(tmp_path, takes_over=takes_over)


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
