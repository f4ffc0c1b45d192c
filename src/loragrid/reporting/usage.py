"""The memory that trainings took over their steps, and how fast they were, as SVG: from usage.jsonl."""

from pathlib import Path

from loragrid.comparing.collect import Row
from loragrid.errors import UserError
from loragrid.files import read_jsonl
from loragrid.reporting.svg import drawing
from loragrid.study.grid import Run

MOST = 12
"""Runs that are drawn: more would hide each other."""


def usage_figure(title: str, rows: list[Row]) -> str | None:
    """Memory and tokens a second over the steps.

    Args:
        title: above the figure.
        rows: of one model × dataset, in the grid's order.

    Returns:
        SVG; None where no run of these has recorded what it took.
    """
    from matplotlib.ticker import MaxNLocator

    runs = {row.run.folder: row.run for row in rows if row.run and row.trained}
    known = [(run, usage) for run in runs.values() if (usage := _read(run))]
    if not known:
        return None
    with drawing() as (figure, finished):
        memory, speed = figure.subplots(2, sharex=True)
        memory.set_title(title, parse_math=False)
        memory.set_ylabel("memory in use (GiB)")
        speed.set_ylabel("tokens a second")
        speed.set_xlabel("optimiser step")
        for index, (run, usage) in enumerate(known[:MOST]):
            steps = [step for step, _, _ in usage]
            name = (run.label or run.name).replace("$", r"\$")
            colour = f"C{index % 10}"
            memory.plot(steps, [taken / 2**30 for _, taken, _ in usage], color=colour, linewidth=1, label=name)
            speed.plot(steps, [rate for _, _, rate in usage], color=colour, linewidth=0.8)
        for axes in (memory, speed):
            axes.grid(alpha=0.25)
            axes.set_ylim(bottom=0)
        speed.xaxis.set_major_locator(MaxNLocator(integer=True))
        figure.legend(fontsize=7, loc="outside right upper")
        left = f" Drawn: the first {MOST} of {len(known)} runs." if len(known) > MOST else ""
        note = f"On the first GPU, or of the process on a CPU, at the end of each step.{left}"
        figure.supxlabel(note, fontsize=8, color="0.35")
        return finished()


def _read(run: Run) -> list[tuple[float, float, float]]:
    """Step, bytes and tokens a second; nothing if they are not there or damaged, since no result needs them."""
    try:
        return [
            (float(line["step"]), float(line["memory_bytes"]), float(line["tokens_per_second"]))
            for line in read_jsonl(Path(run.folder) / "usage.jsonl")
        ]
    except (UserError, KeyError, TypeError, ValueError):
        return []
