"""A working copy of the project in a folder of its own, in which tests run the real workflow."""

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import yaml

REPO = Path(__file__).parents[2]
PARTS = ("Snakefile", "workflow", "config", "cluster", "profiles", "envs", "src", "data/demo", "data/samples")
NANO = Path(__file__).with_name("nano.yaml")

# In a new network namespace the loopback interface is down; processes that train together meet there.
ONLY_LOOPBACK = """
import fcntl, os, socket, struct, sys
SIOCSIFFLAGS, UP, RUNNING = 0x8914, 0x1, 0x40
with socket.socket() as one:
    fcntl.ioctl(one, SIOCSIFFLAGS, struct.pack("16sH14x", b"lo", UP | RUNNING))
os.execvp(sys.argv[1], sys.argv[1:])
"""


class Workspace:
    """A folder with the project's files, as after a clone."""

    def __init__(self, folder: Path):
        self.folder = folder

    @classmethod
    def fresh(cls, folder: Path) -> "Workspace":
        """Copy the project's files, without anything that runs have made."""
        for part in PARTS:
            target = folder / part
            target.parent.mkdir(parents=True, exist_ok=True)
            if (REPO / part).is_dir():
                shutil.copytree(REPO / part, target, ignore=shutil.ignore_patterns("__pycache__", "*.egg-info"))
            else:
                shutil.copy(REPO / part, target)
        workspace = cls(folder)
        workspace.study("nano", NANO.read_text())
        return workspace

    def copy_to(self, folder: Path) -> "Workspace":
        """A second workspace in the same state, modification times included."""
        shutil.copytree(self.folder, folder, symlinks=True)
        return Workspace(folder)

    def study(self, name: str, text: str | None = None, **changes: object) -> None:
        """Write a study file: `text`, or the nano study with some keys changed."""
        content = yaml.safe_load(text if text is not None else NANO.read_text())
        content.update(changes)
        (self.folder / f"config/studies/{name}.yaml").write_text(yaml.safe_dump(content, sort_keys=False))

    def snakemake(
        self, *arguments: str, study: str = "nano", fails: bool = False, network: bool = False, own: dict | None = None
    ) -> subprocess.CompletedProcess:
        """Run the workflow here; no network can be reached, unless a server of a test has to be.

        Args:
            *arguments: of Snakemake.
            study: which.
            fails: whether it is expected to.
            network: leave the network as it is.
            own: further environment variables.
        """
        command = self.command(*arguments, study=study, network=network)
        done = subprocess.run(command, cwd=self.folder, env=environment() | (own or {}), text=True,
                              capture_output=True, check=False)  # fmt: skip
        said = done.stdout + done.stderr
        assert (done.returncode != 0) == fails, said[-6000:] + self.last_logs()
        return done

    def command(self, *arguments: str, study: str = "nano", network: bool = False) -> list[str]:
        """The command line of `snakemake`, with the local profile unless arguments say otherwise."""
        cut_off = [] if network else _no_network()
        profile = [] if "--profile" in arguments else ["--profile", "cluster/local"]
        # --config takes all that follows, so it comes last.
        return [
            *cut_off, sys.executable, "-m", "snakemake", *arguments, *profile, "--config", f"study={study}",
        ]  # fmt: skip

    def loragrid(self, *arguments: str, fails: bool = False) -> subprocess.CompletedProcess:
        """Run one command of the package here."""
        done = subprocess.run([sys.executable, "-m", "loragrid", *arguments], cwd=self.folder, text=True,
                              env=environment() | {"PYTHONPATH": "src"}, capture_output=True, check=False)  # fmt: skip
        assert (done.returncode != 0) == fails, done.stdout + done.stderr
        return done

    def files(self, *patterns: str) -> dict[str, int]:
        """Modification times, in nanoseconds, of the files that match."""
        found = {path for pattern in patterns for path in self.folder.glob(pattern) if path.is_file()}
        return {str(path.relative_to(self.folder)): path.stat().st_mtime_ns for path in sorted(found)}

    def made(self) -> dict[str, int]:
        """Everything that took a model to make: adapters, answers and scores."""
        return self.files("data/models/*/model.json", "results/runs/**/*.*", "results/untrained/**/*.*")

    def runs(self) -> dict[str, Path]:
        """Run folders by name without key, e.g. `r2-a4-s42`."""
        return {path.name.rsplit("-", 1)[0]: path for path in self.folder.glob("results/runs/*/*/*")}

    def table(self, study: str = "nano") -> list[dict[str, str]]:
        """Rows of comparison.csv."""
        import csv

        with (self.folder / f"results/studies/{study}/comparison.csv").open(newline="") as file:
            return list(csv.DictReader(file))

    def yaml(self, path: Path | str) -> dict:
        """A YAML file of the workspace."""
        return yaml.safe_load((self.folder / path).read_text())

    def json(self, path: Path | str) -> dict:
        """A JSON file of the workspace."""
        return json.loads((self.folder / path).read_text())

    def json_lines(self, path: Path | str) -> list[dict]:
        """A JSON Lines file of the workspace."""
        return [json.loads(line) for line in (self.folder / path).read_text().splitlines()]

    def last_logs(self) -> str:
        """Ends of the logs, for a failing test's message."""
        places = ("results/logs/**/*.log", "results/**/work/attempt-*.log", ".snakemake/submitit/**/*_log.out")
        logs = sorted((log for place in places for log in self.folder.glob(place)), key=lambda log: log.stat().st_mtime)
        return "".join(f"\n--- {log}\n{log.read_text()[-1500:]}" for log in logs[-8:])


def environment() -> dict[str, str]:
    """The environment of a user without any address to reach, if the system cannot cut the network off.

    GPUs that a test gives to jobs are none: it is computed on the CPU.
    """
    unreachable = "http://127.0.0.1:9"
    return os.environ | {
        "LORAGRID_ALLOW_CPU": "1",
        "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
        "HTTP_PROXY": unreachable, "HTTPS_PROXY": unreachable, "ALL_PROXY": unreachable,
        "http_proxy": unreachable, "https_proxy": unreachable, "no_proxy": "", "NO_PROXY": "",
    }  # fmt: skip


def jobs(output: str) -> dict[str, int]:
    """Snakemake's table of job counts, without the total."""
    table = output.split("Job stats:\n", 1)[1].split("\n\n", 1)[0] if "Job stats:" in output else ""
    counts = dict(re.findall(r"^(\w+) +(\d+)$", table, flags=re.M))
    counts.pop("total", None)
    return {name: int(number) for name, number in counts.items()}


def _no_network() -> list[str]:
    # A network namespace of its own, where the system lets us make one.
    command = ["unshare", "--net", sys.executable, "-c", ONLY_LOOPBACK]
    probe = subprocess.run([*command, "true"], capture_output=True, check=False)
    return command if probe.returncode == 0 else []
