"""How often judges would be asked, told before any of it costs something, and how long that would take."""

from collections import Counter
from collections.abc import Iterable, Mapping
from typing import Any

from loragrid.estimates.workload import Workload
from loragrid.metrics.judge import Options
from loragrid.study.batches import missing_judgements
from loragrid.study.grid import Answers, Grid

SECONDS_A_REPLY = 3.0
"""Assumed of a judge whose server is not known."""


def judging_line(grid: Grid, workload: Workload) -> str | None:
    """How many judgements are still to be asked for, by model; None if there are none.

    What was asked in another study is counted here, too, and asked no more; so are equal answers.

    Args:
        grid: the study.
        workload: knows how many prompts there are.
    """
    requests = Counter[str]()
    for answers in grid.answers.values():
        for id_ in missing_judgements(answers):
            score = answers.scores[id_]
            requests[score["options"]["model"]] += _requests(answers, score, workload.scored(answers))
    requests = +requests
    if not requests:
        return None
    asked = ", ".join(f"{number:,} of {model}" for model, number in sorted(requests.items()))
    return f"judgements to ask for, at most: {asked}"


def judging_minutes(answers: Answers, ids: Iterable[str], prompts: int) -> float:
    """How long judges take for a set of answers, as fast as they may be asked.

    Args:
        answers: what is judged.
        ids: of the scores that it is judged for.
        prompts: how many answers there are.
    """
    minutes = 0.0
    for score in (answers.scores[id_] for id_ in ids):
        options = Options.model_validate(score["options"])
        a_minute = options.concurrency * 60 / SECONDS_A_REPLY
        if options.requests_per_minute is not None:
            a_minute = min(a_minute, options.requests_per_minute)
        minutes += _requests(answers, score, prompts) / a_minute
    return minutes


def _requests(answers: Answers, score: Mapping[str, Any], prompts: int) -> int:
    """Questions about a set of answers, if none was asked before and no two answers are equal."""
    if score["opponent"] == answers.folder:
        return 0  # compared with itself
    orders = 2 if score["opponent"] else 1
    return prompts * int(score["options"].get("repeats", 1)) * orders
