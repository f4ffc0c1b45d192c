"""Local files that a study names, by their content."""

from pathlib import Path

from loragrid.errors import UserError
from loragrid.files import unreadable
from loragrid.study.references import expand
from loragrid.study.registry import Registry


def digest(registry: Registry, problems: list[str], where: str, path: str | None) -> str | None:
    """The digest of a local file or folder; None if there is none, or it cannot be read.

    Args:
        registry: has the function.
        problems: that it cannot be read is added to them.
        where: its key in the study.
        path: of the study.
    """
    if path is None:
        return None
    try:
        return registry.digest(expand(path))
    except UserError as error:
        problems.append(f"{where}: {error}")
    except OSError as error:
        problems.append(f"{where}: {unreadable(Path(error.filename or path), error)}")
    return None
