"""Snakemake as it is, but for one thing: it looks at its jobs on Slurm every few seconds.

The official plugin looks ever more seldom while nothing ends, which is right for jobs of hours, and makes a test of
jobs of half a minute wait for minutes.
"""

import sys

from snakemake.cli import main
from snakemake_executor_plugin_slurm import Executor

SECONDS = 3

if __name__ == "__main__":
    Executor.next_seconds_between_status_checks = property(lambda self: SECONDS, lambda self, seconds: None)
    sys.exit(main())
