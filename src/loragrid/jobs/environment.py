"""What a computation ran on: device, threads, versions, git commit; and how much memory it took."""

import contextlib
import ctypes
import gc
import hashlib
import importlib.metadata
import logging
import os
import platform
import re
import resource
import subprocess
import sys
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

PACKAGES = (
    "torch",
    "transformers",
    "peft",
    "trl",
    "bitsandbytes",
    "accelerate",
    "datasets",
    "tokenizers",
    "safetensors",
)


@contextlib.contextmanager
def importing() -> Iterator[None]:
    """Prepare a job's process (see `set_up`) and import in the block what it works with.

    torch, transformers and peft leave a million objects behind that stay until the end. The garbage collector is kept
    from walking over them, while they come, whenever it looks at everything, and at the end: a third of the CPU time
    that it takes to start and end such a process (benchmarks/README.md).
    """
    gc.disable()
    try:
        set_up()
        yield
    finally:
        gc.freeze()
        gc.enable()


def set_up() -> None:
    """Prepare a job's process: no telemetry, no network, the job's threads, repeatable arithmetic, a clean log.

    Called before the first import of torch or transformers.
    """
    os.environ.setdefault("HF_HUB_DISABLE_TELEMETRY", "1")
    # Models and data are on disk by now; compute nodes often have no internet, where a lookup hangs until it times out.
    os.environ["HF_HUB_OFFLINE"] = "1"
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
    # Needed by torch.use_deterministic_algorithms on CUDA (see below); must be set before the first cuBLAS call.
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    # Nothing here is compiled by torch. bitsandbytes, when it is imported, prepares to compile what it has no kernels
    # for on some devices, and imports 500 modules to do so: a second of CPU time.
    os.environ.setdefault("TORCHDYNAMO_DISABLE", "1")
    _keep_logs_clean()
    import torch

    # OMP_NUM_THREADS is what Snakemake sets from the job's threads.
    if threads := os.environ.get("OMP_NUM_THREADS"):
        torch.set_num_threads(int(threads))
    # Each process that a launcher starts has a GPU of its own.
    if torch.cuda.is_available():
        torch.cuda.set_device(int(os.environ.get("LOCAL_RANK", "0")))
        # The same run is the same bytes: gradients of attention, and of rows of an embedding, else add up in the order
        # in which threads happen to end. What has no such algorithm says so in the log, and runs all the same.
        torch.use_deterministic_algorithms(True, warn_only=True)
        # A help to find faults, which takes time.
        setattr(torch.utils.deterministic, "fill_uninitialized_memory", False)  # noqa: B010 – a property, to mypy


def _keep_logs_clean() -> None:
    """Leave out of logs what stands in each of them though nothing is wrong, and nothing else."""
    # bitsandbytes 0.50 tries a faster kernel for CPUs with AVX512-BF16 from a package that we do not use (see
    # `_keep_gradients` in load.py), and says "Failed to load" when it is imported: at the top of each log, the first
    # thing to be taken for the cause of whatever failed later.
    logging.getLogger("bitsandbytes.backends.cpu.ops").addFilter(
        lambda record: not str(record.msg).startswith("Failed to load CPU gemm_4bit_forward from kernels-community")
    )
    # TRL 1.16 asks transformers by the old name.
    warnings.filterwarnings("ignore", message="`is_gradient_checkpointing` is deprecated", category=FutureWarning)
    # Bars of transformers ("Loading weights", "Writing model shards") are one endless line in a file.
    os.environ.setdefault("HF_HUB_DISABLE_PROGRESS_BARS", "1")


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
    try:
        commit = _git("rev-parse", "--short=12", "HEAD")
        changes = _git("status", "--porcelain", "--untracked-files=no")
    except (OSError, subprocess.CalledProcessError):
        return None
    return commit + ("+" if changes else "")


def _git(*arguments: str) -> str:
    here = Path(__file__).parent
    return subprocess.run(["git", *arguments], cwd=here, capture_output=True, text=True, check=True).stdout.strip()


def is_main_process() -> bool:
    """Whether this process is the one that writes files: the only one, or the first that a launcher started."""
    return os.environ.get("RANK", "0") == "0"


def release_memory() -> None:
    """Give back the memory of what is no longer used, and begin to measure the peak anew.

    A trainer and its callbacks refer to each other, so without a collection a base model stays on the GPU while the
    next one is loaded.
    """
    gc.collect()
    torch = sys.modules.get("torch")
    if torch is not None and torch.cuda.is_available():
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats()
        return
    with contextlib.suppress(OSError, AttributeError):  # another C library, or a kernel that does not allow it
        ctypes.CDLL("libc.so.6").malloc_trim(0)
        Path("/proc/self/clear_refs").write_text("5", encoding="ascii")  # the peak begins at what is in use now


def peak_memory() -> int:
    """Most memory in use since `release_memory`: on the busiest GPU, or on a CPU by this process. In bytes."""
    torch = sys.modules.get("torch")
    if torch is not None and torch.cuda.is_available():
        return max(torch.cuda.max_memory_allocated(device) for device in range(torch.cuda.device_count()))
    status = Path("/proc/self/status").read_text(encoding="ascii")
    peak = re.search(r"^VmHWM:\s*(\d+) kB", status, re.MULTILINE)
    return int(peak[1]) * 1024 if peak else 0


def memory_in_use() -> int:
    """Memory that this process holds now: on its GPU with what its allocator keeps, or on a CPU in all. In bytes."""
    torch = sys.modules.get("torch")
    if torch is not None and torch.cuda.is_available():
        return int(torch.cuda.memory_reserved())
    pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1])
    return pages * resource.getpagesize()


def stream(seed: int, name: str) -> int:
    """The seed of one named stream of random numbers (order, initialisation, dropout …).

    Streams of one seed are independent, so that drawing more from one of them moves no other.
    """
    return int.from_bytes(hashlib.sha256(f"{seed}:{name}".encode()).digest()[:4], "big")
