"""Exact match: the share of answers that are the reference, letter by letter, as evaluate's `exact_match`."""

from typing import Any

from loragrid.metrics.base import Place, TextOptions, Texts, mean

VERSION = 1
TITLE = "exact match"
PLACE: Place = "cpu"
LIBRARIES: tuple[str, ...] = ()
NEEDS: tuple[str, ...] = ()

COLUMNS = (mean("exact_match", "exact match", is_brief=True),)


class Options(TextOptions):
    """None of its own."""


def items(texts: Texts, options: Options) -> list[dict[str, Any]]:
    """1 for an answer that is the reference, else 0."""
    return [{"exact_match": float(a == r)} for a, r in zip(texts.answers, texts.references, strict=True)]


def about(texts: Texts, options: Options) -> dict[str, Any]:
    """Nothing else decides it."""
    return {}
