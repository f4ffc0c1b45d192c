"""A small workflow for the executor, on this machine or on commands that stand in for Slurm's."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest
from workspaces import finished, finished_once

__all__ = ["finished", "finished_once"]


class Workflow:
    """A workflow in a folder of its own, started by a head process that a test may kill."""

    def __init__(self, folder: Path, environment: dict[str, str]):
        self.folder = folder
        self.environment = os.environ | environment
        self.head: subprocess.Popen | None = None

    def start(self, rules: str, *arguments: str, cluster: str) -> None:
        """Start Snakemake on these rules and leave it running."""
        (self.folder / "Snakefile").write_text(rules)
        command = [
            sys.executable, "-m", "snakemake", "--executor", "submitit", "--submitit-cluster", cluster, "--jobs", "4",
            "--rerun-incomplete", "--keep-going", "--latency-wait", "2", "--show-failed-logs", *arguments,
        ]  # fmt: skip
        with (self.folder / "head.log").open("a") as log:
            self.head = subprocess.Popen(command, cwd=self.folder, env=self.environment, stdout=log, stderr=log)

    def ends(self, status: int = 0) -> str:
        """Wait for Snakemake to end, and return what it said."""
        assert self.head is not None
        self.head.wait(timeout=300)
        assert self.head.returncode == status, self.said()
        return self.said()

    def kill_head(self) -> None:
        """Kill Snakemake alone, and unlock its folder, as a user would."""
        assert self.head is not None
        self.head.kill()
        self.head.wait()
        command = [sys.executable, "-m", "snakemake", "--unlock"]
        subprocess.run(command, cwd=self.folder, env=self.environment, check=True, capture_output=True)

    def said(self) -> str:
        return (self.folder / "head.log").read_text()

    def wait_for(self, file: str) -> None:
        deadline = time.monotonic() + 300
        while not (self.folder / file).exists():
            assert time.monotonic() < deadline, self.said()
            time.sleep(0.1)

    def processes(self) -> list[psutil.Process]:
        """What runs in this folder."""
        found = []
        for process in psutil.process_iter():
            try:
                if process.cwd() == str(self.folder) and process.status() != psutil.STATUS_ZOMBIE:
                    found.append(process)
            except psutil.Error:
                continue
        return found


@pytest.fixture
def workflow(tmp_path):
    """A workflow with commands in its PATH that stand in for Slurm's; nothing of it runs on after the test."""
    commands, jobs, folder = tmp_path / "bin", tmp_path / "jobs", tmp_path / "workflow"
    for made in (commands, jobs, folder):
        made.mkdir()
    for name in ("sbatch", "srun", "squeue", "scancel"):
        script = Path(__file__).with_name("fake_slurm.py").read_text()
        (commands / name).write_text(f"#!{sys.executable}\n{script}")
        (commands / name).chmod(0o755)
    # Not a sacct of this machine, which knows nothing of these jobs.
    (commands / "sacct").symlink_to("/bin/false")
    environment = {
        "PATH": f"{commands}:{os.environ['PATH']}", "FAKE_SLURM": str(jobs), "CUDA_VISIBLE_DEVICES": "4,7",
    }  # fmt: skip
    workflow = Workflow(folder, environment)
    workflow.jobs = jobs
    yield workflow
    for process in workflow.processes():
        process.send_signal(signal.SIGKILL)
