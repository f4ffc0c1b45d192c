"""The grid of a study: every artifact that it needs, each with its key and its path."""

from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

from loragrid.files import canonical, read_json, write_json
from loragrid.study.recipe import Recipe
from loragrid.study.score_files import file_name, judgements_of


@dataclass(frozen=True)
class Raw:
    """A download, or a local copy in its place: `data/raw/<id>/`."""

    id: str
    key: str
    source: str
    path: str | None
    revision: str | None
    remote: dict[str, Any] | None

    @property
    def folder(self) -> str:
        """Where the files and provenance.json lie."""
        return f"data/raw/{self.id}"


@dataclass(frozen=True)
class _Cleaned:
    """What all cleaned data has."""

    id: str
    key: str
    slug: str

    @property
    def folder(self) -> str:
        """Where {train,validation,test}.jsonl and cleaning.json lie."""
        return f"data/clean/{self.id}"


@dataclass(frozen=True)
class Clean(_Cleaned):
    """A cleaned dataset: `data/clean/<id>/`."""

    raw: str
    raw_key: str
    source: str
    version: int
    read: dict[str, Any]
    steps: list[dict[str, Any]]
    needs: list[str]
    splits: dict[str, float]
    rows: dict[str, int]
    seed: int


@dataclass(frozen=True)
class Mixture(_Cleaned):
    """Several cleaned datasets as one: `data/clean/<id>/`.

    Its parts have `name` (in the study), `clean` (id) and `number`, a weight or a count as `by` says.
    """

    parts: list[dict[str, Any]]
    by: Literal["weights", "counts"]
    repeat: bool
    needs: list[str]
    rows: dict[str, int]
    seed: int


@dataclass(frozen=True)
class Decontaminated(_Cleaned):
    """A cleaned dataset without what evaluations ask: `data/clean/<id>/`.

    What is asked has `clean` (id), `split` and `rows`.
    """

    base: str
    asked: list[dict[str, Any]]
    needs: list[str]
    rows: dict[str, int]
    seed: int


Data = Clean | Mixture | Decontaminated
"""What `data/clean` holds."""


@dataclass(frozen=True)
class Contamination:
    """What training data has in common with what its runs are asked: `results/contamination/<id>.json`.

    What is asked has `clean` (id), `split` and `rows`.
    """

    id: str
    key: str
    clean: str
    asked: list[dict[str, Any]]

    @property
    def made_from(self) -> list[str]:
        """Ids of the cleaned data that is compared."""
        return [self.clean, *(asked["clean"] for asked in self.asked)]

    @property
    def file(self) -> str:
        """The report."""
        return f"results/contamination/{self.id}.json"


@dataclass(frozen=True)
class ModelEntry:
    """A base model: `data/models/<id>/`."""

    id: str
    key: str
    label: str
    slug: str
    hub: str | None
    revision: str | None
    path: str | None
    build: dict[str, Any] | None
    precision: str
    parameters: float | None
    micro_batch: int
    gpus: int
    sharded: bool
    gradient_checkpointing: bool | str

    @property
    def folder(self) -> str:
        """Where weights, tokenizer and model.json lie."""
        return f"data/models/{self.id}"

    def recomputes(self, *, on_gpu: bool) -> bool:
        """Whether training computes activations again for the backward pass."""
        return on_gpu if self.gradient_checkpointing == "auto" else bool(self.gradient_checkpointing)

    @property
    def gpus_to_answer(self) -> int:
        """GPUs that its answers need: one, if one is big enough for it."""
        return self.gpus if self.sharded else 1


@dataclass(frozen=True)
class Chat:
    """How dialogues become text for a model: a name in the study, and what it stands for.

    Runs, formatted data and answers hold it as a mapping of these fields.
    """

    name: str | None
    template: str | None
    template_key: str | None
    system: str | None
    arguments: dict[str, Any]
    date: str
    end_token: str

    def key_parts(self) -> dict[str, Any]:
        """What a key needs of it; the system prompt stands in the messages already where they are keyed."""
        changed = {"end_token": self.end_token} if self.end_token != "text" else {}
        return {"template": self.template_key, "arguments": self.arguments, "date": self.date, **changed}

    def unused(self) -> "Chat":
        """What is left of it where a model is asked in plain text: its name."""
        return Chat(self.name, None, None, None, {}, "", "text")

    def untrained(self) -> "Chat":
        """The same for a model as it is, which cannot have learnt a token that its tokenizer does not have."""
        return replace(self, end_token="text")


@dataclass(frozen=True)
class Formatted:
    """Tokenised, masked rows of one dataset for one model: `data/formatted/<model>/<dataset>-<key>/`."""

    id: str
    key: str
    clean: str
    format: dict[str, Any]
    model: str
    chat: dict[str, Any]
    mask: str
    max_length: int

    @property
    def folder(self) -> str:
        """Where the Arrow rows and format.json lie."""
        return f"data/formatted/{self.id}"


@dataclass(frozen=True)
class Preflight:
    """What can be known of a model before any GPU is used: `data/preflight/<id>.json`.

    It is looked at with data formatted for it, or, for what only untrained models are asked, without. `trainings` and
    `asked` are the settings that it is looked at for (see `loragrid.study.preflights`).
    """

    id: str
    key: str
    model: str
    chat: dict[str, Any]
    formatted: str | None
    trainings: list[dict[str, Any]]
    asked: list[dict[str, Any]]

    @property
    def file(self) -> str:
        """The report."""
        return f"data/preflight/{self.id}.json"


@dataclass(frozen=True)
class Prompts:
    """The prompts and references of an evaluation: `data/prompts/<id>.jsonl`.

    Those with choices have `choice`: the `shots` before each question, `rows` of each subject (not of all, which `rows`
    is), and the `wording` as far as it is not the usual one. `context` has what differs from reading all of a dialogue.
    With `replay` they are turns of conversations, which are answered one after the other.
    """

    id: str
    key: str
    clean: str
    format: dict[str, Any]
    split: str
    turns: str
    rows: int | None
    system: str | None
    default_system: str | None
    choice: dict[str, Any] | None = None
    context: dict[str, Any] = field(default_factory=dict)
    replay: bool = False

    @property
    def file(self) -> str:
        """Where the prompts lie."""
        return f"data/prompts/{self.id}.jsonl"


@dataclass(frozen=True)
class Encoder:
    """A model by which texts are compared: `data/encoders/<id>/`."""

    id: str
    key: str
    slug: str
    hub: str | None
    revision: str | None
    path: str | None

    @property
    def folder(self) -> str:
        """Where weights, tokenizer and model.json lie."""
        return f"data/encoders/{self.id}"

    @property
    def manifest(self) -> str:
        """The file that says that all of it is there."""
        return f"{self.folder}/model.json"


@dataclass(frozen=True)
class References:
    """The references of an evaluation as a layer of an encoder sees them: `data/references/<id>.safetensors`."""

    id: str
    key: str
    prompts: str
    encoder: str
    layer: int

    @property
    def file(self) -> str:
        """Where the vectors lie."""
        return f"data/references/{self.id}.safetensors"


@dataclass(frozen=True)
class LogProbabilities:
    """What a run by DPO is compared with: the answers of its pairs as a parent, or the untrained model, sees them.

    `results/log_probabilities/<id>/`; `run` is the parent's folder.
    """

    id: str
    key: str
    model: str
    precision: str
    formatted: str
    chat: dict[str, Any]
    run: str | None

    @property
    def folder(self) -> str:
        """Where attempts at them are recorded."""
        return f"results/log_probabilities/{self.id}"

    @property
    def file(self) -> str:
        """Where they lie: nobody else's work depends on when they are made, so they are not published."""
        return f"{self.folder}/work/log_probabilities.safetensors"


@dataclass(frozen=True)
class Run:
    """One training: model × dataset × recipe × seed (× parent run).

    By DPO it is `compared_with` log-probabilities, named by their id.
    """

    name: str
    key: str
    label: str | None
    model: str
    dataset: str
    clean: str
    formatted: str
    precision: str
    chat: dict[str, Any]
    recipe: Recipe
    seed: int
    parent: str | None
    compared_with: str | None
    folder: str


@dataclass(frozen=True)
class Untrained:
    """A base model scored as it is; not a run."""

    name: str
    model: str
    precision: str
    folder: str


@dataclass(frozen=True)
class Answers:
    """What one subject (a run or an untrained model) answers to one evaluation, and how that is scored.

    Of choices there is no `decoding`; `in_chat` says whether the chat is used, as it is for all else; `backend` is what
    generates the answers.
    """

    id: str
    subject: str
    evaluation: str
    model: str
    precision: str
    dataset: str
    chat: dict[str, Any]
    prompts: str
    decoding: dict[str, Any]
    seed: int
    key: str
    scores: dict[str, dict[str, Any]]
    folder: str
    in_chat: bool = True
    backend: str = "transformers"

    @property
    def generations(self) -> str | None:
        """The file of answers, if any score reads it."""
        return f"{self.folder}/generations.jsonl" if len(self.made_with("model")) < len(self.scores) else None

    def made_with(self, *places: str) -> list[str]:
        """Ids of the scores that are computed in one of these places."""
        return [id_ for id_, score in self.scores.items() if score["place"] in places]

    def score_file(self, id_: str) -> str:
        """The file of one score."""
        return f"{self.folder}/scores/{file_name(self.scores[id_])}"

    def compared(self, opponent: str | None) -> list[str]:
        """Folders of the answers that a judge sees: these, and those that they are compared with."""
        return sorted({self.folder, opponent or self.folder})

    def judgement_files(self) -> dict[str, str]:
        """The files of what judges say, by the id of the score that is made of each."""
        return {id_: judgements_of(self.folder, self.scores[id_]) for id_ in self.made_with("judge")}

    def score_files(self, place: str) -> dict[str, str]:
        """The files of the scores that are computed in one place, by id."""
        return {id_: self.score_file(id_) for id_ in self.made_with(place)}

    def missing(self, place: str) -> dict[str, str]:
        """Those of them that are not there."""
        return {id_: file for id_, file in self.score_files(place).items() if not Path(file).exists()}


@dataclass
class Grid:
    """Everything a study needs, by id; what `study.json` holds."""

    study: str
    file: str
    title: str
    description: str
    raw: dict[str, Raw] = field(default_factory=dict)
    clean: dict[str, Data] = field(default_factory=dict)
    models: dict[str, ModelEntry] = field(default_factory=dict)
    formatted: dict[str, Formatted] = field(default_factory=dict)
    prompts: dict[str, Prompts] = field(default_factory=dict)
    preflights: dict[str, Preflight] = field(default_factory=dict)
    encoders: dict[str, Encoder] = field(default_factory=dict)
    references: dict[str, References] = field(default_factory=dict)
    log_probabilities: dict[str, LogProbabilities] = field(default_factory=dict)
    runs: dict[str, Run] = field(default_factory=dict)
    untrained: dict[str, Untrained] = field(default_factory=dict)
    answers: dict[str, Answers] = field(default_factory=dict)
    contamination: dict[str, Contamination] = field(default_factory=dict)
    published: list[dict[str, Any]] = field(default_factory=list)

    @property
    def folder(self) -> str:
        """Where the tables of the study lie."""
        return f"results/studies/{self.study}"

    def subject(self, folder: str) -> Run | Untrained:
        """The run or untrained model of a folder."""
        return self.runs.get(folder) or self.untrained[folder]

    def made_from(self, id_: str) -> list[str]:
        """Ids of the cleaned data that cleaned data is made from; none where it is made from a download."""
        data = self.clean[id_]
        if isinstance(data, Mixture):
            return [part["clean"] for part in data.parts]
        if isinstance(data, Decontaminated):
            return [data.base, *(asked["clean"] for asked in data.asked)]
        return []

    def read_for(self, id_: str) -> list[Clean]:
        """The datasets that cleaned data consists of, as each was read."""
        data = self.clean[id_]
        if isinstance(data, Clean):
            return [data]
        bases = [part["clean"] for part in data.parts] if isinstance(data, Mixture) else [data.base]
        return [clean for base in bases for clean in self.read_for(base)]

    def records_of(self, id_: str, split: str) -> Any:
        """What decides which records a split has: equal where it is the same ones.

        Args:
            id_: of cleaned data.
            split: validation or test; of train it does not tell all.
        """
        data = self.clean[id_]
        if isinstance(data, Decontaminated):
            return self.records_of(data.base, split)
        if isinstance(data, Clean):
            return [data.raw, data.steps, data.splits, data.rows.get(split), data.seed]
        parts = [[part["name"], self.records_of(part["clean"], split), part["number"]] for part in data.parts]
        return [parts, data.by, data.rows.get(split), data.seed]

    def to_json(self) -> dict[str, Any]:
        """Plain values for study.json."""
        return asdict(self)

    def record(self) -> None:
        """Write study.json for the jobs, unless it says the same already."""
        file = Path(self.folder, "study.json")
        content = self.to_json()
        if not file.exists() or canonical(read_json(file)) != canonical(content):
            write_json(file, content)

    @classmethod
    def from_json(cls, content: dict[str, Any]) -> "Grid":
        """The grid that `to_json` made."""
        kinds: dict[str, Any] = {
            "raw": Raw, "clean": _data, "models": ModelEntry, "formatted": Formatted, "prompts": Prompts,
            "preflights": Preflight, "encoders": Encoder, "references": References,
            "log_probabilities": LogProbabilities, "runs": run_of, "untrained": Untrained, "answers": Answers,
            "contamination": Contamination,
        }  # fmt: skip
        parts: dict[str, Any] = {
            name: {id_: kinds[name](**item) for id_, item in value.items()} if name in kinds else value
            for name, value in content.items()
        }
        return cls(**parts)


def run_of(*, recipe: dict[str, Any], **fields: Any) -> Run:
    """The run of the values that a record has of it."""
    return Run(recipe=Recipe(**recipe), **fields)


def _data(**fields: Any) -> Data:
    return (Mixture if "parts" in fields else Decontaminated if "base" in fields else Clean)(**fields)
