import subprocess
import sys


def test_the_front_door_imports_nothing_heavy():
    """Each start of Snakemake and of a job pays for what checking a study imports."""
    script = (
        "import sys\n"
        "from loragrid.plugins import REGISTRY\n"
        "from loragrid.estimates import plan\n"
        "from loragrid.study import batches, open\n"
        "heavy = {'torch', 'transformers', 'datasets', 'numpy', 'matplotlib', 'requests', 'huggingface_hub'}\n"
        "print(sorted(heavy & sys.modules.keys()))"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
