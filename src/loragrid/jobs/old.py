"""Runs that an older loragrid has left behind: their names mean other things now, so they are told and never used."""

from pathlib import Path

from loragrid.errors import UserError
from loragrid.files import read_json

VERSION = 2
"""Of run.json. In the first, which did not say it, formatted data had no chat and no format of its own."""


def about_old_runs(runs: Path = Path("results/runs")) -> str | None:
    """A sentence about runs of an older loragrid; None if there are none.

    Args:
        runs: where runs lie.
    """
    old = [file for file in sorted(runs.glob("*/*/*/run.json")) if _version(file) < VERSION]
    if not old:
        return None
    what = "1 run is" if len(old) == 1 else f"{len(old)} runs are"
    return (
        f"{what} of an older loragrid ({old[0].parent}{' …' if len(old) > 1 else ''}): what is trained has got other "
        "names since, so none of it is used; move or delete it"
    )


def _version(file: Path) -> int:
    try:
        content = read_json(file)
    except UserError:
        return VERSION  # damaged: told where it is read
    version = content.get("version", 1) if isinstance(content, dict) else VERSION
    return version if isinstance(version, int) else VERSION
