"""The score file of how likely references are: the generate job, which has the model, hands the items over."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from loragrid.metrics.likelihood import sound
from loragrid.scoring.file import write_score


def write_likelihood(
    out: Path, score: Mapping[str, Any], items: Sequence[dict[str, Any]], excluded: Sequence[dict[str, str]]
) -> None:
    """Write the score file.

    Args:
        out: the file.
        score: as answers hold it.
        items: `id`, `dialogue`, `nats`, `tokens` and `bytes` of each reference.
        excluded: `id` and `reason` of those left out already.

    Raises:
        UserError: no reference is left.
    """
    kept, without = sound(items)
    write_score(out, score, kept, excluded=[*excluded, *without])
