"""What the files of scores and judgements are called."""

from typing import Any

from loragrid.study.keys import short


def file_name(score: dict[str, Any]) -> str:
    """The name of a score's file, below `scores/` or in a work folder."""
    return f"{score['name']}-{short(score['key'])}.json"


def judgements_of(folder: str, score: dict[str, Any]) -> str:
    """The file of what a judge said of answers, from the folder of these; it is named like the score's own."""
    return f"{folder}/judgements/{file_name(score).removesuffix('.json')}.jsonl"
