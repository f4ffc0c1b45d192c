"""Where vLLM is on this machine: in an environment of its own, which a variable or PATH names."""

import os
import platform
import shutil
from collections.abc import Mapping
from pathlib import Path

from loragrid.errors import NodeError

EXECUTABLE = "LORAGRID_VLLM"
"""Environment variable: the `vllm` of the environment that it is installed in. Default: that on PATH."""

INSTALL = "python -m venv vllm-env && vllm-env/bin/pip install -r envs/vllm.txt"


def executable_of(environment: Mapping[str, str] = os.environ) -> str:
    """The `vllm` that the environment names.

    Raises:
        NodeError: it names none that is there.
    """
    named = environment.get(EXECUTABLE, "").strip()
    found = shutil.which(named or "vllm", path=environment.get("PATH"))
    if found is None:
        what = (
            f"{EXECUTABLE} is {named}, where no program is" if named else f"no vllm on PATH, and {EXECUTABLE} not set"
        )
        raise NodeError(
            f"`backend: vllm` needs vLLM, in an environment of its own, on {platform.node()}: {what}. Install it with "
            f"{INSTALL}, then export {EXECUTABLE}=$PWD/vllm-env/bin/vllm and start again"
        )
    return str(Path(found).absolute())


def what_is_missing() -> str | None:
    """Why no vLLM can be started on this machine; None if one is there. Where jobs run it may be otherwise."""
    try:
        executable_of()
    except NodeError as error:
        return str(error)
    return None
