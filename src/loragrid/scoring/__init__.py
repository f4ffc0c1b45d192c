"""From answers to scores: one small file per metric, grouped into families by what they need.

A metric module declares `NAMES`, `FAMILY` and `VERSION` (raised when the same answers come to get other values: the
family is then scored anew), and imports its libraries inside its functions, because the front door imports this
package at each start. How its items become one number stands in `loragrid.metrics`.
"""

from loragrid.scoring import bleu, likelihood, rouge
from loragrid.study.registry import Family

_METRICS = (rouge, bleu, likelihood)
_NEEDS_MODEL = {"text": False, "likelihood": True}

FAMILIES: dict[str, Family] = {
    family: Family(
        {name: metric.VERSION for metric in _METRICS if family == metric.FAMILY for name in metric.NAMES}, needs_model
    )
    for family, needs_model in _NEEDS_MODEL.items()
}
"""Score families by name."""

__all__ = ["FAMILIES"]
