"""The status again and again, until Ctrl-C."""

import time
from datetime import datetime

from rich.live import Live

from loragrid.jobs.living import has_queue
from loragrid.status.overview import overview
from loragrid.status.show import console, show, table
from loragrid.study.grid import Grid

LOCAL_SECONDS, SLURM_SECONDS, SLURM_LEAST = 10.0, 30.0, 10.0
"""Between two looks: where nobody is asked, and where the controller is that answers everybody on the cluster."""


def watch(grid: Grid, seconds: int | None) -> None:
    """Show where a study stands, and keep that up to date.

    On a terminal the table is drawn anew in its place; elsewhere one follows the other, each with its time.

    Args:
        grid: the study.
        seconds: between two looks; where there is Slurm, ten at least.
    """
    pause = max(seconds or SLURM_SECONDS, SLURM_LEAST) if has_queue() else seconds or LOCAL_SECONDS
    screen = console()
    if not screen.is_terminal:
        while True:
            print(f"{datetime.now():%Y-%m-%d %H:%M:%S}")
            show(overview(grid), screen)
            time.sleep(pause)
    with Live(console=screen, auto_refresh=False, vertical_overflow="crop") as live:
        while True:
            # The last line stays free, or the terminal would scroll at each refresh.
            live.update(table(overview(grid), screen.height - 1), refresh=True)
            time.sleep(pause)
