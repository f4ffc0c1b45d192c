"""The gain of every run over its untrained model, in every metric, with what chance explains of it."""

import math
from dataclasses import dataclass

import numpy as np

from loragrid.metrics import Column
from loragrid.reporting.chance import Comparison, Draws, Verdict, compare, holm, verdict
from loragrid.reporting.collect import Results, Row, Score


@dataclass(frozen=True)
class Gain:
    """One run × evaluation × metric against the untrained model.

    Args:
        comparison: gain, interval and p-value.
        p_holm: p-value adjusted for all comparisons of this table in this metric.
        verdict: `better`, `worse`, `chance`; None without an interval.
        untrained: value of the untrained model; None if there is none.
        dialogues: number of dialogues compared.
    """

    comparison: Comparison
    p_holm: float | None = None
    verdict: Verdict | None = None
    untrained: float | None = None
    dialogues: int | None = None


def gains(results: Results) -> dict[tuple[str, str], Gain]:
    """All gains of a study.

    Args:
        results: what there is of it.

    Returns:
        By id of the answers and metric, for every run whose metric is there; where there is nothing to compare with,
        the comparison says so.
    """
    all_draws = _SharedDraws(sum(row.run is not None for row in results.rows))
    found: dict[tuple[str, str], Gain] = {}
    for name, column in results.columns.items():
        # Runs with one untrained row and equal items are compared in one go.
        blocks: dict[str, tuple[Score, list[tuple[str, Score]]]] = {}
        for row in results.rows:
            if row.run is None or name not in row.scores or not column.is_sum:
                continue
            base, score = results.untrained(row), row.scores[name]
            if base is None or (reason := _incomparable(base, score, column)):
                reason = "no untrained model in the study to compare with" if base is None else reason
                found[row.answers.id, name] = Gain(Comparison(math.nan, reason=reason))
            else:
                blocks.setdefault(base.answers.id, (base.scores[name], []))[1].append((row.answers.id, score))
        for base_score, runs in blocks.values():
            comparisons = compare(
                column,
                _sums(base_score),
                [_sums(score) for _, score in runs],
                all_draws.over(base_score.dialogues),
            )
            for (id_, _), comparison in zip(runs, comparisons, strict=True):
                found[id_, name] = Gain(comparison, untrained=base_score.value, dialogues=len(base_score.dialogues))
        _adjust(found, name)
    return found


class _SharedDraws:
    """One set of draws for each list of dialogues."""

    def __init__(self, comparisons: int):
        self._comparisons = comparisons
        self._draws: dict[tuple[str, ...], Draws] = {}

    def over(self, dialogues: tuple[str, ...]) -> Draws | None:
        if len(dialogues) < 2:
            return None
        if dialogues not in self._draws:
            self._draws[dialogues] = Draws(dialogues, self._comparisons)
        return self._draws[dialogues]


def _incomparable(base: Row, score: Score, column: Column) -> str:
    name = column.name
    if name not in base.scores:
        return f"the untrained model has no {name}: {base.reason}"
    if base.scores[name].items != score.items:
        return "scored on other prompts than the untrained model"
    one, other = _sums(base.scores[name]), _sums(score)
    if any(not np.array_equal(one[:, index], other[:, index]) for index in column.same):
        return column.unless_same
    return ""


def _sums(score: Score) -> np.ndarray:
    if score.sums is None:
        raise TypeError("a value of the whole sample has no sums")
    return score.sums


def _adjust(found: dict[tuple[str, str], Gain], name: str) -> None:
    """Add Holm's p-values and the verdicts of one metric."""
    tested = [key for key, gain in found.items() if key[1] == name and gain.comparison.p is not None]
    adjusted = holm([p for key in tested if (p := found[key].comparison.p) is not None])
    for key, p_holm in zip(tested, adjusted, strict=True):
        gain = found[key]
        found[key] = Gain(gain.comparison, p_holm, verdict(gain.comparison, p_holm), gain.untrained, gain.dialogues)
