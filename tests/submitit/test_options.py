import pytest
from snakemake_interface_common.exceptions import WorkflowError

from snakemake_executor_plugin_submitit.options import extra_arguments, job_name, sbatch_options


def test_resources_of_the_slurm_plugin():
    resources = {
        "slurm_account": "lab", "slurm_partition": "gpu", "runtime": 120, "mem_mb": 8000, "constraint": "a|b",
        "qos": "x", "gpu": 2, "gpu_model": "a100", "disk_mb": 1000,
    }  # fmt: skip
    assert sbatch_options(resources, threads=3) == {
        "account": "lab", "partition": "gpu", "time": 120, "mem": "8000M", "constraint": "a|b", "qos": "x",
        "wckey": None, "cpus_per_task": 3, "srun_args": ["--nodes=1", "--ntasks=1", "--cpus-per-task=3"],
        "additional_parameters": {"requeue": True, "gpus": "a100:2"},
    }  # fmt: skip


def test_type_of_gpu_alone_asks_for_none():
    assert "gpus" not in sbatch_options({"gpu_model": "t4"}, threads=1)["additional_parameters"]


def test_gres_takes_the_place_of_gpus():
    options = sbatch_options({"gpu": 1, "gpu_model": "t4", "gres": "gpu:t4:1"}, threads=1)
    assert options["gres"] == "gpu:t4:1"
    assert "gpus" not in options["additional_parameters"]


def test_memory_for_each_core_wins():
    options = sbatch_options({"mem_mb": 8000, "mem_mb_per_cpu": 1000}, threads=1)
    assert options["mem_per_cpu"] == "1000M"
    assert "mem" not in options


def test_cores_other_than_threads():
    assert sbatch_options({"cpus_per_task": 8}, threads=2)["cpus_per_task"] == 8
    assert "cpus_per_task" not in sbatch_options({"cpus_per_task": -1}, threads=2)


@pytest.mark.parametrize("resources", [{"gpu": "t4"}, {"gpu": 1, "gpu_model": "t4; rm"}])
def test_nonsense_is_refused(resources):
    with pytest.raises(WorkflowError, match="resource gpu"):
        sbatch_options(resources, threads=1)


def test_extra_arguments():
    assert extra_arguments(
        {"slurm_extra": "--signal TERM@30 --mail-type=END --signal=TERM@120 --comment='two words'"}
    ) == [
        "--mail-type=END",
        "--comment=two words",
    ]
    with pytest.raises(WorkflowError, match="resource slurm_extra"):
        extra_arguments({"slurm_extra": "--comment='open"})


def test_name_in_squeue():
    assert job_name("train", {"batch": "3f9c"}) == "loragrid-train-3f9c"
    assert job_name("clean", {"dataset": "a/b c"}) == "loragrid-clean-a_b_c"
