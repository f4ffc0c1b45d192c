"""Which GPUs the processes that train and answer are given in jobs."""

from head import accounted

# They write down what they find in their environment.
TELL = """
import sys
if "worker" in sys.orig_argv:
    import json, os
    with open("environments.jsonl", "a") as file:
        file.write(json.dumps(dict(os.environ)) + "\\n")
"""


def with_gpus(head, rules):
    """Check that the processes of all jobs of some rules were given a GPU, and told not to ask the hub."""
    environments = head.workspace.json_lines("environments.jsonl")
    assert len(environments) == len([job for job in accounted(head.workspace.folder) if job["rule"] in rules])
    for environment in environments:
        assert environment["CUDA_VISIBLE_DEVICES"] in ("0", "1")
        assert environment["HF_HUB_OFFLINE"] == "1"
