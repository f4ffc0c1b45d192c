"""The gain of every run over its untrained model, and over the best run, with what chance explains of it."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any, TypeVar

import numpy as np

from loragrid.comparing.cache import Cache, compared
from loragrid.comparing.collect import Results, Row, Score
from loragrid.comparing.compare import Comparison
from loragrid.comparing.draws import SharedDraws
from loragrid.comparing.holm import holm
from loragrid.comparing.measure import Measure, sign
from loragrid.comparing.verdict import ALPHA, Verdict, dialogues_needed, verdict
from loragrid.metrics import Column


@dataclass(frozen=True)
class Gain:
    """One run × evaluation × metric against something else.

    Args:
        comparison: gain, interval and p-value.
        p_holm: p-value adjusted for all comparisons of this table in this metric.
        verdict: what may be said; None without an interval.
        reference: value of what the run is compared with; None if there is none.
        dialogues: number of dialogues compared.
        reason: why there is no verdict, or why the dialogues are too few for one; empty otherwise.
    """

    comparison: Comparison
    p_holm: float | None = None
    verdict: Verdict | None = None
    reference: float | None = None
    dialogues: int | None = None
    reason: str = ""


WHOLE = "a value of all answers together, which no resample of them has"

Gains = dict[tuple[str, str], Gain]
"""By id of the answers and metric."""


def gains(results: Results, cache: Cache | None = None) -> Gains:
    """Every run against the untrained model.

    Args:
        results: what there is of the study.
        cache: comparisons that were made before.

    Returns:
        For every run whose metric is there; where there is nothing to compare with, it says so.
    """
    return _against(
        results,
        results.untrained,
        "the untrained model",
        "no untrained model in the study to compare with",
        cache or Cache(),
    )


def gains_over_best(results: Results, cache: Cache | None = None) -> Gains:
    """Every run against the best one of its model and dataset, which is chosen on validation data.

    Args:
        results: what there is of the study.
        cache: comparisons that were made before.

    Returns:
        For every other run whose metric is there; where there is no best run, it says so.
    """
    best = {}
    for row in results.rows:
        if row.run and row.run.folder in results.best_runs:
            best[results.model(row), results.dataset(row), row.answers.evaluation] = row
    found = _against(
        results,
        lambda row: best.get((results.model(row), results.dataset(row), row.answers.evaluation)),
        "the best run",
        "no run is the best on validation data",
        cache or Cache(),
    )
    chosen = {row.answers.id for row in best.values()}
    return {place: gain for place, gain in found.items() if place[0] not in chosen}


def _against(results: Results, reference_of: Callable[[Row], Row | None], who: str, nobody: str, cache: Cache) -> Gains:
    """Every run against its reference, each metric corrected for all of its comparisons."""
    all_draws = SharedDraws(sum(row.run is not None for row in results.rows))
    found: Gains = {}
    for name, metric in results.columns.items():
        # Runs over the same dialogues are compared in one go.
        blocks: dict[tuple[str, ...], list[tuple[str, Score, Score]]] = {}
        for row in results.rows:
            if row.run is None or name not in row.scores:
                continue
            other, score = reference_of(row), row.scores[name]
            if other is row:
                continue
            reason = _incomparable(other, score, metric, who) if other else nobody
            if other is None or reason:
                found[row.answers.id, name] = Gain(Comparison(float("nan"), reason=reason), reason=reason)
            elif not metric.is_sum:
                value = other.scores[name].value
                gain = sign(metric) * (score.value - value)
                found[row.answers.id, name] = Gain(Comparison(gain, reason=WHOLE), reference=value, reason=WHOLE)
            else:
                blocks.setdefault(score.dialogues, []).append((row.answers.id, score, other.scores[name]))
        for dialogues, runs in blocks.items():
            pairs = [[(score, base)] for _, score, base in runs]
            comparisons = compared(metric, pairs, all_draws.over(dialogues), cache)
            for (id_, _, base), comparison in zip(runs, comparisons, strict=True):
                found[id_, name] = Gain(
                    comparison, reference=base.value, dialogues=len(dialogues), reason=comparison.reason
                )
    return judged(found, lambda place: place[1], results.measures)


Place = TypeVar("Place")


def judged(
    found: dict[Place, Gain], metric_of: Callable[[Place], str], measures: Mapping[str, Measure]
) -> dict[Place, Gain]:
    """Gains with Holm's p-values and verdicts.

    Args:
        found: all comparisons of a table.
        metric_of: the metric of one; each is corrected for its own comparisons.
        measures: the metrics by name.
    """
    complete = dict(found)
    for name, metric in measures.items():
        tested = [place for place, gain in found.items() if metric_of(place) == name and gain.comparison.p is not None]
        p_holm = holm([p for place in tested if (p := found[place].comparison.p) is not None])
        for place, adjusted in zip(tested, p_holm, strict=True):
            gain, comparison = found[place], found[place].comparison
            low, high, smallest = comparison.low, comparison.high, comparison.smallest_p
            if low is None or high is None or smallest is None:
                continue
            if smallest * len(tested) >= ALPHA:
                needed = dialogues_needed(len(tested))
                reason = f"too few dialogues for a verdict: {gain.dialogues}, at least {needed} are needed"
                complete[place] = replace(gain, p_holm=adjusted, verdict="too few", reason=reason)
            else:
                complete[place] = replace(
                    gain, p_holm=adjusted, verdict=verdict(metric, comparison.gain, low, high, adjusted)
                )
    return complete


def _incomparable(other: Row, score: Score, metric: Column, who: str) -> str:
    if metric.name not in other.scores:
        return f"{who} has no {metric.name}: {other.reason}"
    return unpaired(other.scores[metric.name], score, metric, who)


def unpaired(other: Score, score: Score, metric: Column, who: str) -> str:
    """Why two scores cannot be compared item by item; empty if they can.

    Args:
        other: what is compared with.
        score: what is compared.
        metric: in which they are compared.
        who: whose `other` is, for the message.
    """
    if other.items != score.items:
        theirs, ours = set(other.dialogues), set(score.dialogues)
        if ours < theirs:
            return f"{len(theirs - ours)} of the {len(theirs)} dialogues of {who} are missing"
        if theirs < ours:
            return f"{who} lacks {len(ours - theirs)} of the {len(ours)} dialogues"
        return f"scored on other prompts than {who}"
    if any(not np.array_equal(other.sums[:, index], score.sums[:, index]) for index in metric.same):
        return metric.unless_same.format(who=who)
    if other.way != score.way:
        return f"scored in another way than {who}: {score.way} instead of {other.way}; delete one to score it again"
    return ""


def gain_columns(gain: Gain) -> dict[str, Any]:
    """The columns that all tables of comparisons have."""
    return {
        "gain": gain.comparison.gain,
        "low": gain.comparison.low,
        "high": gain.comparison.high,
        "p": gain.comparison.p,
        "p_holm": gain.p_holm,
        "verdict": gain.verdict,
        "dialogues": gain.dialogues,
        "reason": gain.reason,
    }
