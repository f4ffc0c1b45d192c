"""Batches: the unit of work.

Loading a base model costs minutes, and importing libraries seconds, so several members may share one job. The main
process groups what is missing (see planning.py) and records each batch as `results/batches/<stage>-<id>.json`; the job
works on the members and ends with the empty file `<stage>-<id>.done`; then a local rule publishes each member by
itself. Members write into a work folder that Snakemake does not know, so nothing finished is lost when a job is
repeated.
"""

from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Generic, TypeVar

from loragrid.errors import UserError
from loragrid.files import canonical, read_json, write_json
from loragrid.study.grid import Answers, Run
from loragrid.study.members import Member, Stage, member_of, plain

BATCHES = Path("results/batches")

M = TypeVar("M", bound=Member, covariant=True)


@dataclass(frozen=True)
class Batch(Generic[M]):
    """What one job works on.

    Args:
        stage: what is done.
        id: hash of the members; in the names of the batch's files.
        members: everything needed to work on each, so that a job reads no study.
        needs: files that must be there first.
        after: the `.done` files of batches that come first.
    """

    stage: Stage
    id: str
    members: Sequence[M]
    needs: list[str]
    after: list[str]

    @property
    def file(self) -> Path:
        """Where the batch is recorded."""
        return BATCHES / f"{self.stage}-{self.id}.json"

    @property
    def done(self) -> str:
        """The file that says that every member finished or failed for good."""
        return str(BATCHES / f"{self.stage}-{self.id}.done")

    def is_settled(self) -> bool:
        """Whether every member finished or failed for good."""
        return all(member.is_settled() for member in self.members)

    def record(self) -> None:
        """Write the file that jobs read, if it is not there already."""
        content = plain(self)
        with suppress(UserError):  # damaged, or not there
            if canonical(read_json(self.file)) == canonical(content):
                return
        write_json(self.file, content)


def open_ids(stage: Stage) -> Iterator[str]:
    """Ids of the batches of a stage that are recorded and not done."""
    for file in sorted(BATCHES.glob(f"{stage}-*.json")):
        if not file.with_suffix(".done").exists():
            yield file.stem.removeprefix(f"{stage}-")


def read_batch(stage: Stage, id_: str) -> Batch[Any]:
    """The batch that the main process recorded; job processes use this and never regroup."""
    return open_batch(BATCHES / f"{stage}-{id_}.json")


def open_batch(file: Path) -> Batch[Any]:
    """A recorded batch.

    Raises:
        UserError: the file is missing or was written by another version of loragrid.
    """
    content = read_json(file)
    try:
        members = [member_of(content["stage"], each) for each in content["members"]]
        return Batch(**(content | {"members": members}))
    except (AttributeError, KeyError, TypeError) as error:
        raise UserError(
            f"{file}: is no batch of this version of loragrid ({error}); start the workflow again"
        ) from None


def is_trained(run: Run) -> bool:
    """Whether a run is published."""
    return Path(run.folder, "run.json").exists()


def missing_parts(answers: Answers) -> dict[str, str]:
    """What the generate job has still to make: file by part (`generations`, or the id of a score)."""
    parts = answers.score_files("model")
    if answers.generations:
        parts["generations"] = answers.generations
    return {part: file for part, file in parts.items() if not Path(file).exists()}


def missing_judgements(answers: Answers) -> dict[str, str]:
    """The files of judgements that are still to be made, by score; none for a score that is there without them."""
    return {
        id_: file
        for id_, file in answers.judgement_files().items()
        if not Path(file).exists() and not Path(answers.score_file(id_)).exists()
    }
