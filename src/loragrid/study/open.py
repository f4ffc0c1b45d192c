"""Open a study: from its YAML file, or as the main process recorded it for its jobs."""

from pathlib import Path

from loragrid.errors import UserError
from loragrid.files import read_json
from loragrid.study.grid import Grid
from loragrid.study.load import find_study, load_study
from loragrid.study.registry import Registry
from loragrid.study.resolve import resolve
from loragrid.study.schema.evaluations import DialogueEvaluation


def open_study(name: str, registry: Registry) -> Grid:
    """The grid of a study.

    Args:
        name: a study in config/studies, the path of a YAML file, or the path of a recorded study.json.
        registry: sources and metrics.

    Raises:
        UserError: there is no such study, or it has problems (all listed).
    """
    if name.endswith(".json"):
        return _recorded(Path(name))
    file = find_study(name)
    _refuse_namesake(file)
    return resolve(load_study(file, registry), file, registry)


def open_alone(name: str, dataset: str, registry: Registry) -> Grid:
    """The grid of a study as if it only asked about one of its datasets: to look at one that it does not use.

    Args:
        name: of the study, or the path of its file.
        dataset: its name in the study.
        registry: sources and metrics.

    Raises:
        UserError: there is no such study or dataset, the study has problems, or nobody can be asked about the dataset.
    """
    file = find_study(name)
    study = load_study(file, registry)
    if dataset not in study.datasets:
        raise UserError(f"{file}: has no dataset {dataset!r}; it has: {', '.join(sorted(study.datasets))}")
    only = {
        "datasets": {dataset: study.datasets[dataset].model_copy(update={"train": False})},
        "points": [],
        "published": [],
        "untrained": list(study.models)[:1],
        "evaluations": {"inspect": DialogueEvaluation(dataset=dataset)},
    }
    return resolve(study.model_copy(update=only), file, registry)


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
