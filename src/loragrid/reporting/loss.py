"""Loss curves of the runs of one model and dataset, as SVG with the same bytes for the same losses."""

from dataclasses import dataclass
from pathlib import Path

from loragrid.comparing.collect import Row
from loragrid.errors import UserError
from loragrid.files import read_jsonl
from loragrid.reporting.svg import drawing
from loragrid.study.grid import Run

MANY = 12
COLOURED = 5
"""With more than `MANY` runs only so many are coloured, those with the lowest validation loss."""


@dataclass(frozen=True)
class Curve:
    """The losses of one run, as (step, loss)."""

    name: str
    train: list[tuple[float, float]]
    validation: list[tuple[float, float]]


def loss_figure(title: str, rows: list[Row]) -> str:
    """Training and validation loss over the steps.

    Args:
        title: above the figure.
        rows: of one model × dataset, in the grid's order.

    Returns:
        SVG. Runs without records are counted in a note; without any record the figure is only that note.
    """
    from matplotlib.ticker import MaxNLocator

    runs = {row.run.folder: row for row in rows if row.run}
    curves = {row.run.folder: curve for row in runs.values() if row.run and row.trained and (curve := _curve(row.run))}
    ranked = sorted(curves, key=lambda folder: _loss(runs[folder]))  # stable: the grid's order where equal
    coloured = ranked[:COLOURED] if len(curves) > MANY else ranked

    with drawing() as (figure, finished):
        axes = figure.add_subplot()
        axes.set_title(title, parse_math=False)
        axes.set_xlabel("optimiser step")
        of_pairs = any(row.run and row.run.compared_with for row in rows)
        axes.set_ylabel("loss (nats per pair of answers)" if of_pairs else "loss (nats per token)")
        for folder in curves:
            if folder not in coloured:
                axes.plot(*_xy(curves[folder].validation), color="0.7", linewidth=0.7)
        for index, folder in enumerate(coloured):
            curve, colour = curves[folder], f"C{index % 10}"
            axes.plot(*_xy(curve.train), color=colour, linewidth=0.8, alpha=0.45)
            marks = axes.plot(*_xy(curve.validation), color=colour, linewidth=1.6, marker="o", markersize=3)
            marks[0].set_label(curve.name.replace("$", r"\$"))
        note = _note(len(runs), len(curves), len(coloured))
        figure.supxlabel(note, fontsize=8, color="0.35")
        if curves:
            axes.grid(alpha=0.25)
            axes.xaxis.set_major_locator(MaxNLocator(integer=True))
            figure.legend(fontsize=7, loc="outside right upper")
        else:
            axes.set_axis_off()
            axes.text(0.5, 0.5, note, ha="center", va="center", transform=axes.transAxes)
        return finished()


def _curve(run: Run) -> Curve | None:
    """The curve of a run; None if there is none, or if it is damaged (scores and costs do not need it)."""
    train, validation = [], []
    try:
        for line in read_jsonl(Path(run.folder) / "training.jsonl"):
            if "loss" in line:
                train.append((float(line["step"]), float(line["loss"])))
            if "validation_loss" in line:
                validation.append((float(line["step"]), float(line["validation_loss"])))
    except (UserError, KeyError, TypeError, ValueError):
        return None
    if not train and not validation:
        return None
    return Curve(run.label or run.name, train, validation)


def _loss(row: Row) -> float:
    return row.validation_loss if row.validation_loss is not None else float("inf")


def _xy(points: list[tuple[float, float]]) -> tuple[list[float], list[float]]:
    return [x for x, _ in points], [y for _, y in points]


def _note(runs: int, curves: int, coloured: int) -> str:
    if not curves:
        return f"No loss curves yet: none of {runs} runs is trained." if runs else "No runs: nothing is trained here."
    note = "Thick: validation; thin: training."
    if coloured < curves:
        note += (
            f" Coloured: the {coloured} of {curves} runs with the lowest validation loss; grey: the others' validation."
        )
    return note + (f" No curve yet: {runs - curves} of {runs} runs." if curves < runs else "")
