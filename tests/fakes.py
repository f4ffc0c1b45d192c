"""Fake commands of Slurm, for what a test asks of them."""

import os

import pytest


@pytest.fixture
def fake(tmp_path, monkeypatch):
    """Put a fake command of Slurm on the PATH that prints a text."""
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")

    def fake(name, answer, status=0):
        (tmp_path / f"{name}.txt").write_text(answer)
        (tmp_path / name).write_text(
            f'#!/bin/sh\necho "$@" > {tmp_path}/asked\ncat {tmp_path}/{name}.txt\nexit {status}'
        )
        (tmp_path / name).chmod(0o755)
        return lambda: (tmp_path / "asked").read_text()

    return fake
