"""How perplexity and prompts change with the number of utterances that a model reads, as SVG."""

from collections.abc import Callable
from typing import Any

from loragrid.comparing.collect import Row
from loragrid.comparing.utterances import AtUtterances
from loragrid.reporting.svg import drawing

MOST = 12
"""Lines of perplexity that are drawn, and markers: more would hide each other."""

MARKERS = "osD^v<>pP*Xh"

WIDE = 10
"""Largest over least perplexity from which on the axis is logarithmic."""


def utterances_figure(title: str, rows: list[Row]) -> str | None:
    """Perplexity, tokens of prompts, utterances that would fit, and how many answers that is from, over utterances.

    Each point is of all answers to prompts of so many utterances: nothing is smoothed.

    Args:
        title: above the figure.
        rows: of one model × dataset, in the grid's order.

    Returns:
        SVG; None where none of these rows has prompts of several lengths, as far as that is known.
    """
    from matplotlib.ticker import MaxNLocator

    known = [row for row in rows if len(row.by_utterances) > 1]
    drawn = known[:MOST]
    if not drawn:
        return None
    evaluations = list(dict.fromkeys(row.answers.evaluation for row in drawn))
    subjects = list(dict.fromkeys(row.answers.subject for row in drawn))
    with drawing() as (figure, finished):
        panels = figure.subplots(2, 2, sharex=True)
        (perplexity, tokens), (fitting, answers) = panels
        figure.suptitle(title, fontsize="large", parse_math=False)
        for row in drawn:
            colour = f"C{evaluations.index(row.answers.evaluation) % 10}"
            name = (row.run.label or row.run.name) if row.run else "untrained"
            (line,) = perplexity.plot(
                *_xy(row, lambda each: each.perplexity), color=colour, linewidth=1, markersize=4,
                marker=MARKERS[subjects.index(row.answers.subject)],
            )  # fmt: skip
            line.set_label(f"{name} · {row.answers.evaluation}".replace("$", r"\$"))
            # Where subjects are asked in one chat, these lines are one.
            tokens.plot(*_xy(row, lambda each: each.prompt_tokens), color=colour, linewidth=1.2)
            fitting.plot(*_xy(row, lambda each: each.utterances_fitting), color=colour, linewidth=1.2)
            answers.plot(*_xy(row, lambda each: each.answers), color=colour, linewidth=1.2)
        values = [each.perplexity for row in drawn for each in row.by_utterances]
        if max(values) > WIDE * min(values):
            perplexity.set_yscale("log")
        labels = ("perplexity", "tokens of a prompt", "utterances that would fit", "answers")
        for axes, label in zip(panels.flat, labels, strict=True):
            axes.set_ylabel(label)
            axes.grid(alpha=0.25)
        for axes in (tokens, fitting, answers):
            axes.set_ylim(bottom=0)
        for axes in (fitting, answers):
            axes.set_xlabel("utterances of a prompt")
            axes.xaxis.set_major_locator(MaxNLocator(integer=True))
        figure.legend(fontsize=7, loc="outside right upper")
        left = f" Drawn: the first {MOST} of {len(known)}." if len(known) > MOST else ""
        note = (
            "Colours: evaluations; marks: models. Would fit: what the context holds beside the longest answer,\n"
            f"if each utterance took as many tokens as these do on average.{left}"
        )
        figure.supxlabel(note, fontsize=8, color="0.35")
        return finished()


def _xy(row: Row, value: Callable[[AtUtterances], Any]) -> tuple[list[int], list[Any]]:
    """Points of a line; a value that is not known makes a gap."""
    return [each.utterances for each in row.by_utterances], [_or_gap(value(each)) for each in row.by_utterances]


def _or_gap(value: float | None) -> float:
    return float("nan") if value is None else value
