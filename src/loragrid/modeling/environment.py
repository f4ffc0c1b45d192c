"""What a computation ran on: device, threads, versions, git commit; and how much memory it took."""

import hashlib
import importlib.metadata
import os
import platform
import resource
import subprocess
from pathlib import Path
from typing import Any

PACKAGES = ("torch", "transformers", "peft", "trl", "bitsandbytes", "accelerate", "datasets", "tokenizers", "safetensors")


def set_up() -> None:
    """Prepare a job's process: no telemetry, no network, as many threads as the job was given, repeatable arithmetic.

    Called before the first import of torch or transformers.
    """
    os.environ.setdefault("HF_HUB_DISABLE_TELEMETRY", "1")
    # Models and data are on disk by now; compute nodes often have no internet, where a lookup hangs until it times out.
    os.environ["HF_HUB_OFFLINE"] = "1"
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
    # Needed by torch.use_deterministic_algorithms on CUDA; must be set before the first cuBLAS call.
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    import torch

    # OMP_NUM_THREADS is what Snakemake sets from the job's threads.
    if threads := os.environ.get("OMP_NUM_THREADS"):
        torch.set_num_threads(int(threads))


def describe() -> dict[str, Any]:
    """Device, threads, package versions and commit, for run.json."""
    import torch

    return {
        "device": torch.cuda.get_device_name() if torch.cuda.is_available() else f"cpu ({platform.machine()})",
        "threads": torch.get_num_threads(),
        "python": platform.python_version(),
        "versions": {name: importlib.metadata.version(name) for name in PACKAGES},
        "git": git_commit(),
    }


def git_commit() -> str | None:
    """The commit of the working copy, `+` appended where it was changed since; None outside of git."""
    here = Path(__file__).parent
    try:
        commit = subprocess.run(
            ["git", "rev-parse", "--short=12", "HEAD"], cwd=here, capture_output=True, text=True, check=True
        )
        changes = subprocess.run(
            ["git", "status", "--porcelain", "--untracked-files=no"], cwd=here, capture_output=True, text=True, check=True
        )
    except (OSError, subprocess.CalledProcessError):
        return None
    return commit.stdout.strip() + ("+" if changes.stdout.strip() else "")


def peak_memory() -> int:
    """Most memory in use so far, in bytes: of the GPUs where there are any, else of this process."""
    import torch

    if torch.cuda.is_available():
        return max(torch.cuda.max_memory_allocated(device) for device in range(torch.cuda.device_count()))
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024  # Linux counts in KiB


def stream(seed: int, name: str) -> int:
    """The seed of one named stream of random numbers (order, initialisation, dropout …).

    Streams of one seed are independent, so that drawing more from one of them moves no other.
    """
    return int.from_bytes(hashlib.sha256(f"{seed}:{name}".encode()).digest()[:4], "big")
