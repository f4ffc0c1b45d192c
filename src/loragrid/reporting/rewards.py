"""Rewards of the runs of one model that learn from preferences, as SVG with the same bytes for the same records."""

from pathlib import Path

from loragrid.comparing.collect import Row
from loragrid.errors import UserError
from loragrid.files import read_jsonl
from loragrid.reporting.svg import drawing
from loragrid.study.grid import Run

COLOURS = 10
"""With more runs than that, the colours begin again."""

Points = list[tuple[float, float]]


def rewards_figure(title: str, rows: list[Row]) -> str | None:
    """Margin and accuracy of the rewards over the steps.

    Args:
        title: above the figure.
        rows: of one model × dataset, in the grid's order.

    Returns:
        SVG; None where no run has learned from preferences yet.
    """
    from matplotlib.ticker import MaxNLocator

    runs = {row.run.folder: row.run for row in rows if row.run and row.trained and row.run.compared_with}
    curves = {run.label or run.name: _curves(run) for run in runs.values()}
    curves = {name: points for name, points in curves.items() if any(points)}
    if not curves:
        return None
    with drawing() as (figure, finished):
        figure.suptitle(title, parse_math=False)
        above, below = figure.subplots(2, 1, sharex=True)
        for index, (name, (training, margins, accuracies)) in enumerate(curves.items()):
            colour = f"C{index % COLOURS}"
            above.plot(*_xy(training), color=colour, linewidth=0.8, alpha=0.45)
            marks = above.plot(*_xy(margins), color=colour, linewidth=1.6, marker="o", markersize=3)
            marks[0].set_label(name.replace("$", r"\$"))
            below.plot(*_xy(accuracies), color=colour, linewidth=1.6, marker="o", markersize=3)
        above.set_ylabel("margin of the rewards (nats)")
        below.set_ylabel("pairs with a margin above 0")
        below.set_xlabel("optimiser step")
        for axes in (above, below):
            axes.grid(alpha=0.25)
            axes.xaxis.set_major_locator(MaxNLocator(integer=True))
        figure.legend(fontsize=7, loc="outside right upper")
        figure.supxlabel("Thick: validation; thin: training.", fontsize=8, color="0.35")
        return finished()


def _curves(run: Run) -> tuple[Points, Points, Points]:
    """Margins in training, margins and accuracies in validation; empty if the records are damaged."""
    training: Points = []
    margins: Points = []
    accuracies: Points = []
    try:
        for line in read_jsonl(Path(run.folder) / "training.jsonl"):
            step, margin = float(line["step"]), float(line["reward_margin"])
            if "validation_loss" in line:
                margins.append((step, margin))
                accuracies.append((step, float(line["reward_accuracy"])))
            else:
                training.append((step, margin))
    except (UserError, KeyError, TypeError, ValueError):
        return [], [], []
    return training, margins, accuracies


def _xy(points: Points) -> tuple[list[float], list[float]]:
    return [x for x, _ in points], [y for _, y in points]
