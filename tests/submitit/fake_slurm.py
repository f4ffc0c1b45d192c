"""Stands in for Slurm's commands: installed in a folder under their names, it runs jobs at once, on this machine.

What it knows of a job stands in `$FAKE_SLURM/<id>`: `state`, which tests may overwrite, `pid` and `arguments`.
"""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

PLACE = Path(os.environ["FAKE_SLURM"])


def sbatch(arguments: list[str]) -> None:
    if (PLACE / "refuses").exists():
        sys.exit("sbatch: error: invalid account")
    job = str(100 + len(list(PLACE.iterdir())))
    (PLACE / job).mkdir()
    (PLACE / job / "arguments").write_text(json.dumps(arguments[:-1]))
    (PLACE / job / "script").write_text(Path(arguments[-1]).read_text())
    script = f"bash {PLACE / job}/script && echo COMPLETED > {PLACE / job}/state || echo FAILED > {PLACE / job}/state"
    (PLACE / job / "state").write_text("RUNNING")
    process = subprocess.Popen(
        ["bash", "-c", script], env=os.environ | {"SLURM_JOB_ID": job}, start_new_session=True,
        stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    )  # fmt: skip
    (PLACE / job / "pid").write_text(str(process.pid))
    print(f"Submitted batch job {job}")


def srun(arguments: list[str]) -> None:
    while arguments[0].startswith("--"):
        option = arguments.pop(0)
        if option == "--output":
            log = Path(arguments.pop(0).replace("%j", os.environ["SLURM_JOB_ID"]).replace("%t", "0"))
            while not log.parent.exists():  # submitit makes it when it knows the job's id; no real job starts as soon
                time.sleep(0.05)
            output = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
            os.dup2(output, 1)
            os.dup2(output, 2)
    sys.exit(subprocess.run(arguments, check=False).returncode)


def squeue(arguments: list[str]) -> None:
    for job in sorted(PLACE.glob("[0-9]*")):
        print(f"{job.name}|{(job / 'state').read_text().strip()}|None")


def scancel(arguments: list[str]) -> None:
    for job in arguments:
        os.killpg(int((PLACE / job / "pid").read_text()), signal.SIGKILL)
        (PLACE / job / "state").write_text("CANCELLED")


{"sbatch": sbatch, "srun": srun, "squeue": squeue, "scancel": scancel}[Path(sys.argv[0]).name](sys.argv[1:])
