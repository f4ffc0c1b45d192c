"""What is to be said of the data that runs are trained on: less of it than asked for, shares of a mixture, repeats."""

from pathlib import Path
from typing import Any

from loragrid.comparing.collect import Results, Row
from loragrid.errors import UserError
from loragrid.files import read_json


def sentences(results: Results, rows: list[Row]) -> list[str]:
    """Sentences about the data of a group of rows, as far as cleaning.json is still there.

    Args:
        results: the study.
        rows: rows of one group of `Results.groups`.
    """
    said: dict[str, None] = {}
    for dataset, clean in dict.fromkeys((row.run.dataset, row.run.clean) for row in rows if row.run):
        for sentence in _about(dataset, Path(results.grid.clean[clean].folder, "cleaning.json")):
            said[sentence] = None
    return list(said)


def _about(dataset: str, file: Path) -> list[str]:
    try:
        cleaning: dict[str, Any] = read_json(file)
        if "mixture" in cleaning:
            return _mixture(dataset, cleaning)
        return [
            f"{dataset!r} has {lack['kept']} of the {lack['wanted']} {split} rows that the study asks for."
            for split, lack in cleaning.get("short", {}).items()
        ]
    except (UserError, AttributeError, KeyError, TypeError):  # deleted, or damaged: it is made anew when it is needed
        return []


def _mixture(dataset: str, cleaning: dict[str, Any]) -> list[str]:
    shares = ", ".join(f"{share:.1%} {name}" for name, share in cleaning["shares"]["train"].items())
    said = [f"The {cleaning['kept']['train']} training rows of {dataset!r} are {shares}."]
    for split, parts in cleaning["short"].items():
        said += [
            f"Of {name!r} there are {lack['kept']} of the {lack['wanted']} {split} rows that {dataset!r} asks for; "
            "none is repeated."
            for name, lack in parts.items()
        ]
    for name, part in cleaning["parts"]["train"].items():
        if part["repeats"]:
            said.append(f"{part['repeats']} of the {part['kept']} training rows of {name!r} are repeats.")
    return said
