"""Downloads, models, cleaned and formatted data that the rest of a study waits for."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from loragrid.jobs.log import error_in
from loragrid.status.activity import Activity
from loragrid.status.cell import DONE, WAITING, Cell, Failure, failed
from loragrid.status.stages import LOGS, active_cell
from loragrid.study.batches import is_trained, missing_parts
from loragrid.study.grid import Clean, Grid
from loragrid.study.preflights import preflight_of_answers


@dataclass(frozen=True)
class Item:
    """One thing that a rule makes.

    Args:
        stage: for people: download, build, clean, format, prompts, encode, contamination, preflight.
        rule: of the workflow.
        id: in the grid.
        made: the file that says that it is there.
        command: arguments of `loragrid` that tell its process from others.
    """

    stage: str
    rule: str
    id: str
    made: Path
    command: tuple[str, ...]

    @property
    def there(self) -> bool:
        """Whether it is made."""
        return self.made.exists()


def data(grid: Grid, activity: Activity) -> list[tuple[Item, Cell]]:
    """Everything that what is missing of a study is made from, with how far it is.

    What was deleted after it had served is not needed, and left out.
    """
    return [(item, _cell(item, activity)) for item in _needed(grid)]


def _needed(grid: Grid) -> Iterator[Item]:
    untrained = [run for run in grid.runs.values() if not is_trained(run)]
    asked = [answers for answers in grid.answers.values() if missing_parts(answers)]
    unscored = [
        answers
        for answers in grid.answers.values()
        if any(not Path(answers.score_file(id_)).exists() for id_ in answers.scores)
    ]
    formatted = [_format(id_, grid) for id_ in dict.fromkeys(run.formatted for run in untrained)]
    prompts = [_prompts(id_, grid) for id_ in dict.fromkeys(answers.prompts for answers in unscored)]
    to_clean = [grid.formatted[item.id].clean for item in formatted if not item.there]
    to_clean += [grid.prompts[item.id].clean for item in prompts if not item.there]
    reports = [_contamination(id_, grid) for id_ in grid.contamination]
    to_clean += [id_ for item in reports if not item.there for id_ in grid.contamination[item.id].made_from]
    clean = [_clean(id_, grid) for id_ in _made_from(to_clean, grid)]
    raws = [data.raw for item in clean if not item.there and isinstance(data := grid.clean[item.id], Clean)]
    yield from (_raw(id_, grid) for id_ in dict.fromkeys(raws))
    models = [run.model for run in untrained] + [answers.model for answers in asked]
    yield from (_model(id_, grid) for id_ in dict.fromkeys(models))
    encoded = [answers.scores[id_]["encoded"] for answers in unscored for id_ in answers.missing("encoder")]
    yield from (_encoder(id_, grid) for id_ in dict.fromkeys(each["encoder"] for each in encoded))
    references = [_references(id_, grid) for id_ in dict.fromkeys(each["references"] for each in encoded)]
    wanted = {run.formatted for run in untrained}
    of_answers = preflight_of_answers(grid) if asked else {}
    wanted_to_ask = {of_answers[answers.folder].id for answers in asked}
    looked = [
        _preflight(id_, grid)
        for id_, preflight in grid.preflights.items()
        if preflight.formatted in wanted or id_ in wanted_to_ask
    ]
    yield from (*clean, *formatted, *prompts, *references, *reports, *looked)


def _made_from(wanted: list[str], grid: Grid) -> list[str]:
    """Cleaned data that is wanted or still has to be there for what is wanted; what is made first comes first."""
    found: dict[str, None] = {}

    def visit(id_: str) -> None:
        if not Path(grid.clean[id_].folder, "cleaning.json").exists():
            for other in grid.made_from(id_):
                visit(other)
        found[id_] = None

    for id_ in wanted:
        visit(id_)
    return list(found)


def _raw(id_: str, grid: Grid) -> Item:
    made = Path(grid.raw[id_].folder, "provenance.json")
    return Item("download", "download_dataset", id_, made, ("download", "--dataset", id_))


def _model(id_: str, grid: Grid) -> Item:
    model = grid.models[id_]
    stage = "build" if model.build else "download"
    return Item(stage, f"{stage}_model", id_, Path(model.folder, "model.json"), (stage, "--model", id_))


def _clean(id_: str, grid: Grid) -> Item:
    return Item("clean", "clean", id_, Path(grid.clean[id_].folder, "cleaning.json"), ("clean", id_))


def _format(id_: str, grid: Grid) -> Item:
    return Item("format", "format", id_, Path(grid.formatted[id_].folder, "format.json"), ("format", id_))


def _preflight(id_: str, grid: Grid) -> Item:
    return Item("preflight", "preflight", id_, Path(grid.preflights[id_].file), ("preflight", id_))


def _prompts(id_: str, grid: Grid) -> Item:
    return Item("prompts", "prompts", id_, Path(grid.prompts[id_].file), ("prompts", id_))


def _encoder(id_: str, grid: Grid) -> Item:
    return Item("download", "download_encoder", id_, Path(grid.encoders[id_].manifest), ("download", "--encoder", id_))


def _references(id_: str, grid: Grid) -> Item:
    return Item("encode", "encode", id_, Path(grid.references[id_].file), ("encode", id_))


def _contamination(id_: str, grid: Grid) -> Item:
    made = Path(grid.contamination[id_].file)
    return Item("contamination", "contamination", id_, made, ("contamination", id_))


def _cell(item: Item, activity: Activity) -> Cell:
    if item.there:
        return DONE
    if active := activity.of_rule(item.rule, tuple(item.id.split("/")), item.command):
        if item.stage == "download" and not active.queued:
            return Cell("running", f"running, {_arrived(item)} so far")
        return active_cell(active)
    log = LOGS / item.rule / f"{item.id}.log"
    if reason := error_in(log):
        return failed(Failure(f"{item.stage} {item.id}", reason, log))
    # The head process may run on another login node, where nobody can look.
    return Cell("interrupted", "begun, not running on this machine") if log.exists() else WAITING


def _arrived(item: Item) -> str:
    """Size of what has been downloaded, hidden unfinished parts included."""
    bytes_ = 0
    for file in item.made.parent.rglob("*"):
        try:
            bytes_ += file.stat().st_size if file.is_file() else 0
        except OSError:  # moved to its place at this moment
            continue
    return f"{bytes_ / 1e9:.1f} GB" if bytes_ >= 1e8 else f"{bytes_ / 1e6:.1f} MB"
