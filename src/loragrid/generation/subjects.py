"""Who is asked at the command line, with the files that this takes."""

from collections.abc import Sequence
from pathlib import Path

from loragrid.errors import UserError
from loragrid.files import canonical
from loragrid.generation.ask import Subject
from loragrid.study.grid import Grid, Run
from loragrid.study.subjects import names_of


def subjects_of(grid: Grid, runs: Sequence[Run], *, base: bool) -> list[Subject]:
    """Runs as subjects, those of a base model after each other.

    Args:
        grid: the study.
        runs: trained ones.
        base: each base model, untrained, before its runs, in the chat of each.

    Raises:
        UserError: a base model is gone.
    """
    names = dict(zip((run.folder for run in runs), names_of(grid, runs), strict=True))
    found: list[Subject] = []
    bases: dict[str, Subject] = {}
    for run in sorted(runs, key=lambda run: (run.model, run.precision)):  # stable: in the study's order otherwise
        model = grid.models[run.model]
        if not Path(model.folder, "model.json").exists():
            raise UserError(f"{model.folder}: the model is gone; `snakemake {model.folder}/model.json` brings it back")
        if base:
            # A token that training added is unknown to it.
            chat = {**run.chat, "end_token": "text"}
            way = canonical([run.model, run.precision, chat])
            if way not in bases:
                parts = [f"untrained {model.label}", run.precision, run.chat["name"]]
                taken = {each.name for each in bases.values()}
                name = next(
                    (name for name in (" ".join(filter(None, parts[:n])) for n in (1, 2, 3)) if name not in taken),
                    f"untrained {model.label} ({len(bases) + 1})",
                )
                bases[way] = Subject(name, model.folder, run.precision, chat, None, model.micro_batch, model.sharded)
                found.append(bases[way])
        own = run.precision, run.chat, run, model.micro_batch, model.sharded
        found.append(Subject(names[run.folder], model.folder, *own))
    return found
