"""Evaluations, as a study file says them."""

from typing import Annotated, Any, ClassVar, Literal

from pydantic import BeforeValidator, Discriminator, Field, Tag, model_validator

from loragrid.study.schema.parts import BackendName, Choice, Model


class Decoding(Model):
    """How answers are generated. Temperature 0 is greedy."""

    max_new_tokens: int = Field(128, ge=1, description="Longest answer in tokens.")
    temperature: float = Field(0.0, ge=0, description="0 for greedy decoding.")
    top_p: float = Field(1.0, gt=0, le=1, description="Nucleus sampling; only with a temperature.")
    top_k: int = Field(0, ge=0, description="Sample among the k likeliest tokens; 0 for all.")
    repetition_penalty: float = Field(1.0, gt=0, description="1 for none.")


class Context(Model):
    """What a model reads of the dialogue before what it is asked."""

    stopwords: Literal["keep", "remove"] = Field(
        "keep", description="`remove`: the messages before the one that is asked are read without their stopwords."
    )
    language: Literal["en", "tr", "zh"] | None = Field(
        None, description="Whose stopwords: English, Turkish or Chinese. Only, and always, with `stopwords: remove`."
    )
    turns: int | None = Field(
        None,
        ge=1,
        description="At most this many messages are read, the newest: with the one that is asked, beside the system "
        "prompt. One fewer where they would begin with the model's.",
    )

    @model_validator(mode="after")
    def _language_of_stopwords(self) -> "Context":
        if self.stopwords == "remove" and self.language is None:
            raise ValueError("`stopwords: remove` needs the `language` of the dialogues: en, tr or zh")
        if self.stopwords == "keep" and self.language is not None:
            raise ValueError("`language` is that of the stopwords: it needs `stopwords: remove`")
        return self


class _Asked(Model):
    """What every kind of evaluation has."""

    split: Literal["validation", "test"] = Field("test", description="Split that the prompts come from.")
    rows: int | None = Field(None, ge=1, description="At most this many records, the first of the split.")
    system: str | None = Field(None, description="System prompt in place of the record's own.")
    context: Context = Field(default_factory=Context, description="What is read of the dialogue so far. Default: all.")
    decoding: Decoding = Field(default_factory=Decoding, description="How answers are generated.")
    seed: int = Field(0, ge=0, description="Seed of sampling.")
    backend: BackendName = Field(
        "transformers",
        description="What generates the answers: `transformers`, or `vllm`, a server in an environment of its own "
        "(envs/vllm.txt), for many prompts on a GPU. Answers of one are never compared with those of the other.",
    )
    scores: list[Choice] = Field(
        ["rouge", "sacrebleu", "likelihood"],
        min_length=1,
        description="Metrics by name, or `{metric: {setting: value}}`; a `label` among the settings names its columns.",
    )


class DialogueEvaluation(_Asked):
    """Answers within recorded dialogues, compared with what was said there."""

    kind: Literal["dialogue"] = Field("dialogue", description="Answers within recorded dialogues.")
    dataset: str | None = Field(None, description="Dataset asked about; default: the one that the run was trained on.")
    turns: Literal["all", "last"] = Field(
        "last", description="Ask at every assistant turn of a dialogue, or at the last."
    )


class PromptsEvaluation(_Asked):
    """A list of prompts with reference answers, the same for every run."""

    kind: Literal["prompts"] = Field(description="A list of prompts, the same for every run.")
    dataset: str = Field(description="Dataset that the prompts are.")
    turns: ClassVar[Literal["last"]] = "last"


class ReplayEvaluation(_Asked):
    """Conversations of which the user's turns are recorded, and the answers between them the model's own."""

    kind: Literal["replay"] = Field(description="The user's recorded turns, answered one after the other.")
    dataset: str | None = Field(None, description="Dataset asked about; default: the one that the run was trained on.")
    turns: Literal["all", "last"] = Field(
        "all", description="Score every answer of a conversation, each with what came before it, or the last one."
    )
    scores: list[Choice] = Field(
        ["length", "distinct"],
        min_length=1,
        description="Metrics that compare with no reference: what was recorded answered another conversation.",
    )


class ChoiceEvaluation(Model):
    """Questions with choices, of which the likeliest counts as the answer, after examples of the same subject."""

    kind: Literal["choice"] = Field(description="Questions with choices, compared by their likelihood.")
    dataset: str = Field(description="Dataset of such questions.")
    split: Literal["validation", "test"] = Field("test", description="Split that the questions come from.")
    shots: int = Field(
        5,
        ge=0,
        description="Examples before each question, with their answers: the first of its subject in the validation "
        "split (CMMLU's dev). 0 for none.",
    )
    rows: int | None = Field(None, ge=1, description="At most this many questions of each subject, the first ones.")
    chat_template: bool = Field(
        False,
        description="Ask through the model's chat: examples are earlier turns. Else, as is usual, all is plain text, "
        "also for models that were trained to chat.",
    )
    scores: list[Choice] = Field(
        ["accuracy"],
        min_length=1,
        description="Metrics by name, or `{metric: {setting: value}}`; a `label` among the settings names its columns.",
    )
    turns: ClassVar[Literal["last"]] = "last"

    @model_validator(mode="after")
    def _examples_are_not_asked(self) -> "ChoiceEvaluation":
        if self.split == "validation" and self.shots:
            raise ValueError("`split: validation` is what the examples are taken from: give `shots: 0`, or ask `test`")
        return self


AnsweredEvaluation = DialogueEvaluation | PromptsEvaluation | ReplayEvaluation

EvaluationSpec = AnsweredEvaluation | ChoiceEvaluation


class UnknownKind(ValueError):
    """The `kind` of an evaluation is none that there is."""


_KINDS = {
    "dialogue": DialogueEvaluation,
    "prompts": PromptsEvaluation,
    "replay": ReplayEvaluation,
    "choice": ChoiceEvaluation,
}


def _kind(value: Any) -> Any:
    """The kind of an evaluation, as read or checked."""
    return value.get("kind", "dialogue") if isinstance(value, dict) else getattr(value, "kind", "dialogue")


def _known_kind(value: Any) -> Any:
    kind = _kind(value)
    if isinstance(kind, str) and kind in _KINDS:
        return value
    raise UnknownKind(f"there is no kind {kind!r}. Valid: {', '.join(_KINDS)}.")


Evaluation = Annotated[
    Annotated[DialogueEvaluation, Tag("dialogue")]
    | Annotated[PromptsEvaluation, Tag("prompts")]
    | Annotated[ReplayEvaluation, Tag("replay")]
    | Annotated[ChoiceEvaluation, Tag("choice")],
    Discriminator(_kind),
    BeforeValidator(_known_kind),
]
