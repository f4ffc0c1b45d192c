"""What the files of scores and judgements are called."""

from pathlib import Path
from typing import Any

from loragrid.study.keys import short


def file_name(score: dict[str, Any]) -> str:
    """The name of a score's file, below `scores/` or in a work folder."""
    return f"{score['name']}-{short(score['key'])}.json"


def judgements_of(folder: str, score: dict[str, Any]) -> str:
    """The file of what a judge said of answers, from the folder of these; it is named like the score's own."""
    return f"{folder}/judgements/{file_name(score).removesuffix('.json')}.jsonl"


def about_of(judgements: str | Path) -> Path:
    """The file that says what judgements took, beside them."""
    return Path(judgements).with_suffix(".about.json")
