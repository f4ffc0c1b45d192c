"""Open a study: from its YAML file, or as the main process recorded it for its jobs."""

from pathlib import Path

from loragrid.errors import UserError
from loragrid.files import read_json
from loragrid.study.grid import Grid
from loragrid.study.load import find_study, load_study
from loragrid.study.registry import Registry
from loragrid.study.resolve import resolve


def open_study(name: str, registry: Registry) -> Grid:
    """The grid of a study.

    Args:
        name: a study in config/studies, the path of a YAML file, or the path of a recorded study.json.
        registry: sources and score families.

    Raises:
        UserError: there is no such study, or it has problems (all listed).
    """
    if name.endswith(".json"):
        return _recorded(Path(name))
    file = find_study(name)
    _refuse_namesake(file)
    return resolve(load_study(file, registry), file, registry)


def recorded_study(name: str) -> Grid:
    """The grid as the main process recorded it: jobs do not see later edits of the study file.

    Raises:
        UserError: it was not recorded, or by another version of loragrid.
    """
    file = Path(name)
    study = file.stem if file.suffix in (".yaml", ".yml") else name  # a name may have a dot in it
    return _recorded(Path("results/studies", study, "study.json"))


def _refuse_namesake(file: Path) -> None:
    """Keep two studies of one name in two folders from overwriting each other's tables."""
    recorded = Path("results/studies", file.stem, "study.json")
    if recorded.exists() and Path(other := read_json(recorded).get("file", "")) != file and Path(other).exists():
        raise UserError(f"{file}: {recorded.parent} holds the tables of {other}; give one of the two another name")


def _recorded(file: Path) -> Grid:
    content = read_json(file)
    try:
        return Grid.from_json(content)
    except (TypeError, AttributeError) as error:
        raise UserError(
            f"{file}: was written by another version of loragrid ({error}); start the workflow again"
        ) from None
