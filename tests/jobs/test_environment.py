"""What stands in a job's log though nothing is wrong, and what does not; and what a job does not wait for."""

import subprocess
import sys

SCRIPT = """
import logging, sys, warnings
from loragrid.jobs.environment import set_up
set_up()
import transformers
from loragrid.modeling.load import load_base
print("loaded")
warnings.warn("`is_gradient_checkpointing` is deprecated and will be removed in v6.", FutureWarning)
warnings.warn("something else is deprecated", FutureWarning)
bitsandbytes = logging.getLogger("bitsandbytes.backends.cpu.ops")
bitsandbytes.warning("Failed to load CPU gemm_4bit_forward from kernels-community: %s. Please", "No module")
bitsandbytes.warning("Failed to load something else: %s", "reason")
print("progress bars:", transformers.utils.logging.is_progress_bar_enabled())
print("compiler:", "torch._inductor.compile_fx" in sys.modules)
"""


def test_only_what_is_wrong_is_said_and_no_compiler_is_prepared():
    done = subprocess.run([sys.executable, "-c", SCRIPT], capture_output=True, text=True, check=True)
    assert done.stdout == "loaded\nprogress bars: False\ncompiler: False\n"
    assert "something else is deprecated" in done.stderr
    assert "Failed to load something else: reason" in done.stderr
    assert "gemm_4bit_forward" not in done.stderr
    assert "is_gradient_checkpointing" not in done.stderr
