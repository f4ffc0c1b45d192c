"""The 95 % interval of every row's own values."""

import math
from collections.abc import Sequence

from loragrid.comparing.cache import Cache, key
from loragrid.comparing.collect import Results, Score
from loragrid.comparing.compare import ONE_DIALOGUE, UNDEFINED, Comparison
from loragrid.comparing.draws import Draws, SharedDraws
from loragrid.comparing.interval import bootstrap, within
from loragrid.comparing.measure import Measure, of_all


def intervals(results: Results, cache: Cache | None = None) -> dict[tuple[str, str], Comparison]:
    """What the choice of dialogues leaves open of each value.

    Args:
        results: what there is of the study.
        cache: what was computed before.

    Returns:
        By id of the answers and metric: the value as `gain`, with its interval, or a reason why there is none.
    """
    cache = cache or Cache()
    all_draws = SharedDraws(1)
    found = {}
    for name, metric in results.measures.items():
        blocks: dict[tuple[str, ...], list[tuple[str, Score]]] = {}
        for row in results.rows:
            if name in row.scores:
                blocks.setdefault(row.scores[name].dialogues, []).append((row.answers.id, row.scores[name]))
        for dialogues, rows in blocks.items():
            values = _values(metric, [score for _, score in rows], all_draws.over(dialogues), cache)
            found.update({(id_, name): value for (id_, _), value in zip(rows, values, strict=True)})
    return found


def _values(measure: Measure, scores: Sequence[Score], draws: Draws | None, cache: Cache) -> list[Comparison]:
    keys = [key("value", measure, draws, [score]) for score in scores]
    return cache.recall(keys, lambda absent: [_value(measure, scores[index], draws) for index in absent])


def _value(metric: Measure, score: Score, draws: Draws | None) -> Comparison:
    value = float(of_all(metric, [score.sums])[0])
    if not math.isfinite(value):
        return Comparison(math.nan, reason=UNDEFINED)
    if draws is None:
        return Comparison(value, reason=ONE_DIALOGUE)
    (interval,) = bootstrap(metric, [score.sums], [{0: 1.0}], draws)
    if not (math.isfinite(interval.low) and math.isfinite(interval.high)):
        return Comparison(value, reason=UNDEFINED)
    return Comparison(value, *within(metric, interval))
