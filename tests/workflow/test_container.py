"""`--sdm apptainer`: jobs run in the image that envs/apptainer.def makes."""

import os

# Notes what it was called with, and runs the command outside of any container.
APPTAINER = """#!/bin/bash
if [ "$1" = --version ]; then echo "apptainer version 1.3.4"; exit; fi
echo "$@" | tr '\\n' ' ' >> "{notes}"; echo >> "{notes}"
while [ "$1" != bash ]; do shift; done
exec "$@"
"""


def test_jobs_run_in_the_image_with_a_fake_apptainer(fresh, tmp_path, monkeypatch):
    notes, program = tmp_path / "notes", tmp_path / "bin/apptainer"
    program.parent.mkdir()
    program.write_text(APPTAINER.format(notes=notes))
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{program.parent}:{os.environ['PATH']}")
    fresh.snakemake("--until", "clean", "--sdm", "apptainer", "--apptainer-args=--nv")
    calls = notes.read_text().splitlines()
    assert [line for line in calls if "python -m loragrid clean" in line]
    for line in calls:
        assert line.startswith("exec ")
        assert "--nv" in line.split()
        assert "envs/loragrid.sif" in line
