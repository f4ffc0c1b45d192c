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


def test_a_command_that_reads_no_study_does_not_import_what_one_may_be_made_of():
    """Each file of a grid is published by a process of its own, and each job is one."""
    script = (
        "import sys\n"
        "from loragrid.cli import main\n"
        "main(['publish', 'nowhere', 'nowhere/run.json'])\n"
        "print('loragrid.plugins' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert "nowhere: not finished" in done.stderr
    assert done.stdout.strip() == "False"
