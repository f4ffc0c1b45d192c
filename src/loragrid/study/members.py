"""Members of batches: what a job does to one thing, with all that it needs to know, so that a job reads no study."""

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, field, is_dataclass
from pathlib import Path
from typing import Any, Literal

from loragrid.errors import UserError
from loragrid.files import read_json
from loragrid.study.grid import Answers, LogProbabilities, ModelEntry, Run, run_of
from loragrid.study.score_files import about_of

Stage = Literal["train", "log_probabilities", "generate", "judge", "score", "score_by_encoder"]

MOST_TOGETHER = 8
"""Subjects whose answers share batches, at most: the adapters of all of them are in memory."""

Reading = Literal["judge", "score", "score_by_encoder"]
"""The stages that read answers: each with its own jobs, since one needs the internet, and one wants a GPU."""


class Member(ABC):
    """One thing that a batch makes."""

    @property
    @abstractmethod
    def folder(self) -> str:
        """Where what it makes is published."""

    @property
    @abstractmethod
    def products(self) -> list[str]:
        """The files that it makes; of a training the one that says that all of them are there."""

    @property
    def work(self) -> Path:
        """Where checkpoints, logs and unfinished files grow, unknown to Snakemake."""
        return Path(self.folder, "work")

    @property
    def published(self) -> list[str]:
        """All files that are published of it, its products among them."""
        return self.products

    def is_settled(self) -> bool:
        """Whether all that it makes lies finished in its work folder, or its failure does."""
        if self.fails_as_one and has_failed(self.work):
            return True
        return all(self.finished(file).exists() or failure_of(self.work, file).exists() for file in self.products)

    @property
    def fails_as_one(self) -> bool:
        """Whether the record of a failure in the work folder is of this member."""
        return True

    def finished(self, product: str) -> Path:
        """Where a product lies in the work folder once it is whole."""
        return self.work / Path(product).name


@dataclass(frozen=True)
class Compared:
    """What a run by DPO is compared with: a file, and the key that it must have."""

    file: str
    key: str


@dataclass(frozen=True)
class TrainMember(Member):
    """A run to train.

    Args:
        run: the run.
        model: its base.
        preflight_file: the report on its data.
        parent_key: of the run that it goes on from.
        compared_with: what it is compared with, by DPO.
    """

    run: Run
    model: ModelEntry
    preflight_file: str
    parent_key: str | None = None
    compared_with: Compared | None = None

    @property
    def folder(self) -> str:
        """The run's."""
        return self.run.folder

    @property
    def products(self) -> list[str]:
        """What says that the run is there."""
        return [f"{self.run.folder}/run.json"]

    @property
    def published(self) -> list[str]:
        """The records, the adapter, and last what says that the run is there."""
        files = ("training.jsonl", "adapter/adapter_config.json", "adapter/adapter_model.safetensors", "run.json")
        return [f"{self.run.folder}/{file}" for file in files]

    @property
    def formatted(self) -> Path:
        """The folder of its rows."""
        return Path("data/formatted", self.run.formatted)


@dataclass(frozen=True)
class CompareMember(Member):
    """Log-probabilities to compute.

    Args:
        log_probabilities: what is wanted.
        model: the base.
        run: the parent; None for the untrained model.
    """

    log_probabilities: LogProbabilities
    model: ModelEntry
    run: Run | None = None

    @property
    def folder(self) -> str:
        """Where attempts are recorded."""
        return self.log_probabilities.folder

    @property
    def products(self) -> list[str]:
        """The one file, which is used where it grows."""
        return [self.log_probabilities.file]

    @property
    def published(self) -> list[str]:
        """Nothing: what it makes is used where it grows."""
        return []

    @property
    def formatted(self) -> Path:
        """The folder of the pairs."""
        return Path("data/formatted", self.log_probabilities.formatted)


@dataclass(frozen=True)
class _OfAnswers(Member):
    """What is done with one subject's answers to one evaluation.

    Args:
        answers: the answers.
        parts: the files that are made, by part: `generations`, or the id of a score.
        model: of the subject.
        prompts_file: what it is asked.
        run: the subject; None for an untrained model.
    """

    answers: Answers
    parts: dict[str, str]
    model: ModelEntry
    prompts_file: str
    run: Run | None

    @property
    def folder(self) -> str:
        """Of the answers."""
        return self.answers.folder

    @property
    def products(self) -> list[str]:
        """All that is made."""
        return sorted(self.parts.values())


@dataclass(frozen=True)
class AnswerMember(_OfAnswers):
    """A subject to ask, and to compute the scores of that need base and adapter.

    Args:
        preflight_file: the report on the model and its prompts.
    """

    preflight_file: str

    @property
    def published(self) -> list[str]:
        """What is made, and what the answers took."""
        files = self.products
        return [*files, f"{self.folder}/generation.json"] if "generations" in self.parts else files


@dataclass(frozen=True)
class EncodedReferences:
    """References as an encoder's layer sees them: a file, the key that it must have, and the layer."""

    file: str
    key: str
    layer: int


@dataclass(frozen=True)
class ScoreMember(_OfAnswers):
    """Answers to judge or to score.

    Args:
        stage: which of these.
        encoder_folder: of the encoder, if one makes the scores.
        references: what it has made of the references, by score.
    """

    stage: Reading
    encoder_folder: str | None = None
    references: dict[str, EncodedReferences] = field(default_factory=dict)

    @property
    def published(self) -> list[str]:
        """What is made, and what judgements took."""
        files = self.products
        return [*files, *(str(about_of(file)) for file in files)] if self.stage == "judge" else files

    @property
    def fails_as_one(self) -> bool:
        """A failure to answer is none to judge or score answers that are there."""
        return False

    def is_settled(self) -> bool:
        """Whether all is made, or failed for good; a judge who does not answer today may do so tomorrow."""
        if self.stage == "judge":
            return all(self.finished(file).exists() for file in self.products)
        return all(self.finished(file).exists() or self._has_failed(file) for file in self.products)

    def _has_failed(self, product: str) -> bool:
        failure = failure_of(self.work, product)
        if not failure.exists():
            return False
        try:
            record = read_json(failure)
        except UserError:  # damaged, which tables and status tell
            return True
        # Earlier versions recorded what a judge failed at where a failure to score is recorded.
        return not isinstance(record, dict) or record.get("stage") != "judge"


def failure_of(work: Path, product: str | Path) -> Path:
    """Where it stands that one of the files that a member makes cannot be made, while the others can."""
    # Judgements are JSON Lines, named like the score that is made of them: what befell these is another thing.
    return work / f"{Path(product).name.removesuffix('.json')}.failed.json"


def made_file(folder: str | Path, name: str) -> Path | None:
    """Where a file that a member makes lies: published, or in the work folder where it has just been made.

    Args:
        folder: of the member.
        name: of the file, below that folder.
    """
    places = (Path(folder, name), Path(folder, "work", Path(name).name))
    return next((file for file in places if file.exists()), None)


def has_failed(work: Path) -> bool:
    """Whether the member failed for good; not if all that stood in its way was a failure that is gone by now."""
    file = work / "failed.json"
    if not file.exists():
        return False
    try:
        record = read_json(file)
    except UserError:  # damaged, which tables and status tell
        return True
    blocked_by = record.get("blocked_by") if isinstance(record, dict) else None
    return blocked_by is None or Path(blocked_by).exists()


def plain(value: Any) -> Any:
    """A member as JSON values."""
    # dataclasses.asdict copies all values too, which takes half the time of a plan for thousands of runs.
    if is_dataclass(value):
        return {name: plain(each) for name, each in vars(value).items()}
    if isinstance(value, list):
        return [plain(each) for each in value]
    if isinstance(value, dict) and any(map(is_dataclass, value.values())):
        return {name: plain(each) for name, each in value.items()}
    return value


def member_of(stage: Stage, values: Mapping[str, Any]) -> Member:
    """The member that `plain` made values of.

    Raises:
        KeyError: a field is missing.
        TypeError: a field is missing, or there is one too many.
    """
    fields = dict(values)
    fields["model"] = ModelEntry(**fields["model"])
    fields["run"] = run_of(**fields["run"]) if fields["run"] else None
    if stage == "train":
        fields["compared_with"] = Compared(**fields["compared_with"]) if fields["compared_with"] else None
        return TrainMember(**fields)
    if stage == "log_probabilities":
        fields["log_probabilities"] = LogProbabilities(**fields["log_probabilities"])
        return CompareMember(**fields)
    fields["answers"] = Answers(**fields["answers"])
    if stage == "generate":
        return AnswerMember(**fields)
    fields["references"] = {id_: EncodedReferences(**each) for id_, each in fields["references"].items()}
    return ScoreMember(**fields)
