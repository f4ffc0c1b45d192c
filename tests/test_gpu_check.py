"""benchmarks/gpu.py, small and on a CPU: so that nothing in it is found broken on the day when there is a GPU."""

import json
import os
import subprocess
import sys
from datetime import date
from pathlib import Path

import torch
from vllm_stand_in import install

ROOT = Path(__file__).parents[1]

# Where there is a GPU and no network, there is only what training and answers need.
LACKING = """
import sys
from importlib.machinery import PathFinder
ABSENT = {
    "snakemake", "snakemake_interface_common", "snakemake_interface_executor_plugins", "submitit", "zstandard", "emoji",
    "datasketch", "py3langid", "rouge_score", "nltk", "bert_score", "lm_eval", "matplotlib",
}
class Finder(PathFinder):
    @classmethod
    def find_spec(cls, name, path=None, target=None):
        return None if name.partition(".")[0] in ABSENT else super().find_spec(name, path, target)
sys.meta_path[:] = [Finder if each is PathFinder else each for each in sys.meta_path]
"""

# Ends when the first check begins, with the alarm of its time limit.
BROKEN = """
import os, signal, sys
def ended(_):
    os.write(2, b"no driver\\n")
    os._exit(3)
if "gpu_checks.py" in " ".join(sys.orig_argv):
    signal.alarm = ended
"""

MISSING = """
import sys
if "gpu_checks.py" in " ".join(sys.orig_argv):
    sys.modules["torch"] = None
"""


def test_each_check_passes_or_says_why_it_was_left_out(tmp_path):
    (tmp_path / "sitecustomize.py").write_text(LACKING)
    environment = os.environ | {"PYTHONPATH": str(tmp_path), "OMP_NUM_THREADS": "1", "LORAGRID_VLLM": "/nowhere/vllm"}
    command = [sys.executable, ROOT / "benchmarks/gpu.py", "--small", "--minutes", "60", "--output", "found.json"]
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    found = json.loads((tmp_path / "found.json").read_text())
    assert date.fromisoformat(found["date"]) <= date.today()
    assert found["device"]
    assert found["versions"]["torch"] == torch.__version__
    assert found["small"]
    assert "figures mean nothing" in done.stdout
    outcomes = {check["name"]: check["outcome"] for check in found["checks"]}
    assert {"sft", "sft-fp16", "dpo-continue", "dpo-stack", "exhausted-memory", "llama-2-7b", "answers"} <= {
        name for name, outcome in outcomes.items() if outcome == "passed"
    }
    needs_cuda = set() if torch.cuda.is_available() else {"adamw-8bit", "paged-adamw"}
    left_out = {name for name, outcome in outcomes.items() if outcome != "passed"}
    assert left_out - {"flash-attention"} == needs_cuda | {"vllm"}  # flash-attn is a package of its own
    assert "pip install -r envs/vllm.txt" in next(
        check["figure"] for check in found["checks"] if check["name"] == "vllm"
    )
    for check in found["checks"]:
        assert check["figure"]
        assert f"{check['name']} " in done.stdout


def test_answers_by_a_stand_in_for_vllm_are_those_of_transformers(tmp_path):
    environment = os.environ | {"LORAGRID_VLLM": str(install(tmp_path / "vllm-env")), "OMP_NUM_THREADS": "1"}
    command = [sys.executable, ROOT / "benchmarks/gpu.py", "--small", "--only", "vllm", "--output", "found.json"]
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    (check,) = json.loads((tmp_path / "found.json").read_text())["checks"]
    assert check["outcome"] == "passed"
    assert check["values"]["same_answers"] == [1, 1, 1]


def check_with(folder, script):
    (folder / "sitecustomize.py").write_text(script)
    command = [sys.executable, ROOT / "benchmarks/gpu.py", "--only", "sft", "answers", "--output", "found.json"]
    environment = os.environ | {"PYTHONPATH": str(folder)}
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True)
    assert done.returncode == 1
    return done


def test_checks_that_cannot_start_say_why_at_once(tmp_path):
    done = check_with(tmp_path, MISSING)
    assert done.stderr.startswith("the checks did not start: ModuleNotFoundError: import of torch halted")
    assert not (tmp_path / "found.json").exists()


def test_a_check_whose_process_ends_fails_and_the_others_go_on(tmp_path):
    check_with(tmp_path, BROKEN)
    found = json.loads((tmp_path / "found.json").read_text())
    assert [check["name"] for check in found["checks"]] == ["sft", "answers"]
    for check in found["checks"]:
        assert check["outcome"] == "failed"
        assert check["figure"] == "its process ended with 3: no driver"
