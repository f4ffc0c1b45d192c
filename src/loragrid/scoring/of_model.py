"""Score files of what needs base and adapter: the generate job, which has the model, hands the items over."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from loragrid.errors import UserError, shortened
from loragrid.metrics import METRICS, accuracy
from loragrid.scoring.file import write_score


def write_of_model(
    out: Path,
    score: Mapping[str, Any],
    items: Sequence[dict[str, Any]],
    excluded: Sequence[dict[str, str]],
    counts: Mapping[str, Any],
) -> None:
    """Write the score file.

    Args:
        out: the file.
        score: as answers hold it.
        items: as its metric wants them, one for each reference or question.
        excluded: `id` and `reason` of those left out already.
        counts: what else is to be known of how they were asked.

    Raises:
        UserError: none of them counts, or none is of a category that was asked for.
    """
    metric: Any = METRICS[score["name"]]
    kept, without = metric.sound(items)
    more = _of_choices(score, kept) if metric is accuracy else {}
    write_score(out, score, kept, excluded=[*excluded, *without], made={"counts": {**counts, **more}})


def _of_choices(score: Mapping[str, Any], items: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """How many questions were a tie, and which part of each category was asked."""
    options = accuracy.Options.model_validate(score["options"])
    subjects = {item["groups"]["subject"] for item in items if "subject" in item["groups"]}
    covered = accuracy.coverage(options, subjects)
    if covered and not any(number["asked"] for number in covered.values()):
        there = shortened(", ".join(sorted(subjects))) or "none: records need `subject` in their `meta`"
        raise UserError(
            f"accuracy: no question is of a subject in `categories` ({', '.join(covered)}); subjects asked: {there}"
        )
    for name, number in covered.items():
        if number["asked"] < number["known"]:
            print(f"warning: accuracy_{name} is over {number['asked']} of its {number['known']} subjects", flush=True)
    return {"ties": accuracy.ties(items), "categories": covered}
