"""The study file, field by field: the one source of what a study may say.

`workflow/schemas/study.schema.yaml`, which editors use to complete and check studies, is generated from these models
by `loragrid schema`.
"""

from typing import Annotated, Any, ClassVar, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Discriminator, Field, Tag, field_validator, model_validator

from loragrid.study.keys import plain
from loragrid.study.recipe import Recipe
from loragrid.study.swiglu import swiglu_width

Name = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$", max_length=60)]
"""A name that becomes part of a path."""

Precision = Literal["nf4", "16bit", "32bit"]
BackendName = Literal["transformers", "vllm"]
Fraction = Annotated[float, Field(gt=0, lt=1)]
# A wider type than that of `loragrid.study.choices`: what is wrong with it is told there, in words.
Choice = str | dict[str, Any]
Scalar = bool | int | float | str | None


class Model(BaseModel):
    """Base of all parts: unknown keys are errors, values do not change."""

    model_config = ConfigDict(extra="forbid", frozen=True, protected_namespaces=(), allow_inf_nan=False)


class Build(Model):
    """A small Llama made here from a text corpus, for demonstrations and tests without a hub."""

    corpus: str = Field(description="JSON Lines file with `text` or `messages` in each record; the pre-training text.")
    vocabulary: int = Field(
        2048, ge=300, description="Entries of the byte-level BPE tokenizer, special tokens included."
    )
    hidden: int = Field(
        192, ge=64, multiple_of=64, description="Width of the residual stream, in whole NF4 blocks of 64."
    )
    layers: int = Field(6, ge=1, description="Decoder layers.")
    heads: int = Field(4, ge=1, description="Attention heads; must divide `hidden`.")
    context: int = Field(512, ge=64, description="Longest sequence in tokens.")
    steps: int = Field(150, ge=1, description="Optimiser steps of pre-training.")
    batch_size: int = Field(16, ge=1, description="Sequences a step.")
    sequence: int = Field(128, ge=16, description="Tokens of each pre-training sequence.")
    learning_rate: float = Field(3e-3, gt=0, description="Peak learning rate (AdamW, cosine to zero).")
    seed: int = Field(1, ge=0, description="Seed of initialisation and order.")

    @model_validator(mode="after")
    def _heads_divide(self) -> "Build":
        if self.hidden % self.heads:
            raise ValueError(f"heads ({self.heads}) must divide hidden ({self.hidden})")
        return self

    @property
    def intermediate(self) -> int:
        """Width of the SwiGLU layers."""
        return swiglu_width(self.hidden)

    @property
    def parameters(self) -> int:
        """Number of parameters, normalisation aside."""
        layer = 4 * self.hidden**2 + 3 * self.hidden * self.intermediate
        return 2 * self.vocabulary * self.hidden + self.layers * layer


class ChatSpec(Model):
    """How dialogues become text for a model. What is not given is the model's own."""

    template: str | None = Field(
        None,
        description="Chat template: a name (chatml, gemma, llama-2, llama-3, mistral, phi-3, plain, zephyr) or a file "
        "with Jinja text. Default: the tokenizer's own.",
    )
    system: str | None = Field(None, description="System prompt put before every dialogue without one.")
    template_arguments: dict[str, Scalar] = Field(
        default_factory=dict,
        description="Variables that the template knows, e.g. `{enable_thinking: true}`. A template that can do without "
        "thoughts is told to, unless it is told otherwise here.",
    )
    date: str = Field(
        "2024-07-26",
        pattern=r"^\d{4}-\d{2}-\d{2}$",
        description="What a template takes for today that writes the date: a result must not depend on the day.",
    )
    end_token: Literal["text", "train"] = Field(
        "text",
        description="Where the template ends an answer with words that are no token of the tokenizer: `text` leaves "
        "them words, and answers are cut at them; `train` adds a token for them and trains its rows of the embedding "
        "and the head with the adapter. Untrained models are asked with `text`.",
    )


class ModelSpec(ChatSpec):
    """A base model: from the hub (`id`, `revision`), from a local folder (`path`) or made here (`build`)."""

    id: str | None = Field(None, description="Repository on the Hugging Face hub, e.g. `mistralai/Mistral-7B-v0.1`.")
    revision: str = Field("main", description="Commit, tag or branch on the hub; a commit makes the study repeatable.")
    path: str | None = Field(None, description="Local folder with the same files, used instead of a download.")
    build: Build | None = Field(None, description="Make a small model here instead.")
    precision: Precision = Field(
        "nf4",
        description="Of the base weights: `nf4` (4 bits, double quantisation), `16bit` (bf16 or fp16, as the device "
        "has), `32bit`.",
    )
    parameters: float | None = Field(
        None, gt=0, description="Number of parameters, for the plan before the model is downloaded, e.g. 7.2e9."
    )
    micro_batch: int = Field(
        8,
        ge=1,
        description="Most rows at a time on one device; answers have more, up to 64, where its memory has room. "
        "Changes speed and memory, not results or keys.",
    )
    gpus: int = Field(1, ge=1, description="GPUs that train together. Changes speed and memory, not results or keys.")
    gradient_checkpointing: Literal["auto"] | bool = Field(
        "auto",
        description="Compute activations again for the backward pass instead of keeping them: less memory, more time. "
        "`auto`: on a GPU. Changes speed and memory, not results or keys.",
    )
    sharded: bool = Field(
        False,
        description="Its weights are spread over its `gpus` (FSDP) instead of being on each: for models too big for "
        "one GPU. Changes memory and speed, not results or keys.",
    )

    @model_validator(mode="after")
    def _one_origin(self) -> "ModelSpec":
        if (self.id is None) == (self.build is None):
            raise ValueError("give either `id` (a hub model, with `path` for a local copy) or `build`")
        if self.path is not None and self.id is None:
            raise ValueError("`path` is a local copy of a hub model: give its `id` too")
        return self

    @model_validator(mode="after")
    def _shards_need_gpus(self) -> "ModelSpec":
        if self.sharded and self.gpus == 1:
            raise ValueError("`sharded` spreads the weights over several GPUs: give their number as `gpus`")
        return self


class Rows(Model):
    """How many rows of each split to keep, chosen by seed; all if not given."""

    train: int | None = Field(None, ge=1, description="Rows to train on.")
    validation: int | None = Field(None, ge=1, description="Rows to validate on.")
    test: int | None = Field(None, ge=1, description="Rows to test on.")


class Splits(Model):
    """Shares of the rows set aside, for data that comes without (or with another) split."""

    validation: Fraction | None = Field(None, description="Share of the rows for validation.")
    test: Fraction | None = Field(None, description="Share of the rows for the test.")

    @model_validator(mode="after")
    def _leave_something(self) -> "Splits":
        if (self.validation or 0) + (self.test or 0) >= 1:
            raise ValueError("validation and test together leave nothing to train on")
        return self


class MixtureSpec(Model):
    """Several datasets of the study as one, by weights or by numbers of rows."""

    weights: dict[Name, Annotated[float, Field(gt=0, allow_inf_nan=False)]] | None = Field(
        None,
        min_length=1,
        description="Weight of each dataset: its share of the `rows` of a split. Without them there are as many "
        "training rows as there can be without a repeat, and all of validation and test.",
    )
    counts: dict[Name, Annotated[int, Field(ge=1, le=10_000_000)]] | None = Field(
        None,
        min_length=1,
        description="Training rows of each dataset. `rows` of validation and test are in the same shares; without "
        "them all are there.",
    )
    repeat: bool = Field(
        False, description="Repeat training rows of a dataset that has too few. Otherwise the mixture has fewer."
    )

    @model_validator(mode="after")
    def _weights_or_counts(self) -> "MixtureSpec":
        if (self.weights is None) == (self.counts is None):
            raise ValueError("give either `weights` or `counts` of the datasets to mix")
        return self

    @property
    def numbers(self) -> dict[str, float]:
        """Weights or counts."""
        return dict(self.weights or self.counts or {})


class DatasetSpec(Model):
    """A dataset: where it comes from, how it is read and cleaned, and what it becomes for a model.

    Further keys are options of its source.
    """

    model_config = ConfigDict(extra="allow", frozen=True, allow_inf_nan=False)

    source: str | None = Field(None, description="Module in loragrid/data/sources that reads its original format.")
    mixture: MixtureSpec | None = Field(
        None, description="Other datasets of this study that it is made of, instead of a `source`."
    )
    path: str | None = Field(
        None, description="Local file or folder in the original format, instead of the download. May use $VARIABLES."
    )
    revision: str | None = Field(None, description="Revision of the download instead of the source's own.")
    steps: list[Choice] | None = Field(
        None, description="Cleaning steps, in their order: names, or `{name: options}`. Default: the source's own."
    )
    format: Choice | None = Field(
        None,
        description="What a record becomes: a name, or `{name: options}`. Default: the source's own.",
    )
    train: bool | None = Field(
        None,
        description="Whether runs are trained on it; `false` for data that is only asked about. Default: unless it is "
        "part of a mixture.",
    )
    contamination: Literal["report", "remove"] = Field(
        "report",
        description="What becomes of training records that ask what an evaluation asks, or share 13 words in a row "
        "with it (13 characters where a script has no spaces): reported in either case, or removed, too.",
    )
    rows: Rows = Field(default_factory=Rows, description="Rows to keep of each split.")
    splits: Splits = Field(default_factory=Splits, description="Splits to make, where the data has none.")
    seed: int = Field(0, ge=0, description="Seed of splits and of the choice of rows.")

    @model_validator(mode="after")
    def _one_origin(self) -> "DatasetSpec":
        if self.mixture is None:
            if self.source is None:
                raise ValueError("give a `source`, or a `mixture` of other datasets")
            return self
        theirs = ("source", "path", "revision", "steps", "splits")
        given = [name for name in theirs if name in self.model_fields_set] + sorted(self.options)
        if given:
            raise ValueError(f"{', '.join(given)}: said of each dataset of a `mixture`, not of the mixture")
        if self.mixture.counts and self.rows.train is not None:
            raise ValueError("rows.train: `counts` say how many training rows the mixture has")
        if self.mixture.repeat and self.mixture.weights and self.rows.train is None:
            raise ValueError("mixture.repeat: without `rows: {train: …}` there is nothing to fill up by `weights`")
        return self

    @property
    def options(self) -> dict[str, Any]:
        """Options of the source."""
        return self.model_extra or {}


class RecipeSpec(Model):
    """Everything that defines a training. A new field with its default changes no key."""

    method: Literal["qlora", "lora"] = Field(
        "qlora",
        description="`qlora`: LoRA over an NF4 base; `lora`: over a 16 or 32 bit base (the model's `precision`).",
    )
    objective: Literal["sft", "dpo"] = Field(
        "sft",
        description="`sft`: to say what the data says; `dpo`: to prefer the better of two answers to the worse one, "
        "compared with the `parent` or, without one, with the untrained model (Rafailov et al. 2023).",
    )
    beta: float = Field(
        0.1, gt=0, description="DPO's beta: how much it costs to move away from what it is compared with."
    )
    adapter: Literal["continue", "stack"] = Field(
        "continue",
        description="With a `parent`: `continue` trains its adapter on; `stack` trains a new one, of a rank, alpha and "
        "modules of its own, over the frozen parent. Both save one adapter that holds everything.",
    )
    rank: int = Field(16, ge=1, le=1024, description="LoRA rank r (Hu et al. 2021, section 4.1).")
    alpha: float = Field(
        32, gt=0, description="LoRA alpha; the update is scaled by alpha/r, or alpha/√r with `rslora`."
    )
    dropout: float = Field(0.0, ge=0, lt=1, description="Dropout before the LoRA matrices.")
    target_modules: Literal["all-linear"] | list[str] = Field(
        "all-linear", description="Which linear layers get an adapter: `all-linear` or names such as `q_proj`."
    )
    rslora: bool = Field(False, description="Rank-stabilised scale alpha/√r (Kalajdzievski 2023).")
    dora: bool = Field(
        False,
        description="Train the magnitude of each adapted weight apart from its direction (DoRA, Liu et al. 2024).",
    )
    initialisation: Literal["default", "gaussian", "pissa", "olora"] = Field(
        "default",
        description="How adapters begin: as no change (`default`, or `gaussian` A), or with the principal part of each "
        "weight (`pissa`, Meng et al. 2024; over a 16 or 32 bit base) or a part of its QR decomposition (`olora`, "
        "Büyükakyüz 2024). The last two are saved as plain LoRA of twice the rank, over the base as it is.",
    )
    loraplus: float = Field(
        1.0, ge=1, description="Learning rate of B over that of A (LoRA+, Hayou et al. 2024); 1 for plain LoRA."
    )
    lora_config: dict[str, Any] = Field(
        {}, description="Further fields of PEFT's LoraConfig, e.g. `{layers_to_transform: [0, 1]}`."
    )
    epochs: float = Field(3, gt=0, description="Passes over the training rows.")
    max_steps: int | None = Field(
        None, ge=1, description="Stop after this many optimiser steps, whatever `epochs` says."
    )
    batch_size: int = Field(16, ge=1, description="Effective batch: rows an optimiser step, over all devices.")
    learning_rate: float = Field(2e-4, gt=0, description="Peak learning rate.")
    schedule: Literal[
        "linear", "cosine", "constant", "cosine_with_restarts", "cosine_with_min_lr", "polynomial", "inverse_sqrt"
    ] = Field("linear", description="Decay after the warm-up.")
    warmup: float = Field(0.0, ge=0, lt=1, description="Share of the steps over which the learning rate rises.")
    optimizer: Literal["adamw", "adamw_8bit", "paged_adamw_32bit"] = Field(
        "adamw", description="`adamw` (torch), or bitsandbytes' 8-bit or paged form, which need a GPU."
    )
    weight_decay: float = Field(0.0, ge=0, description="AdamW weight decay.")
    max_grad_norm: float = Field(1.0, gt=0, description="Gradients are clipped to this norm.")
    max_length: int = Field(
        512, ge=16, description="Longest training row in tokens; of longer ones the oldest turns go."
    )
    mask: Literal["answers", "all"] = Field(
        "answers", description="Loss on the assistant's answers only, or on every token."
    )
    group_by_length: bool = Field(True, description="Put rows of like length into one batch, so that less is padded.")
    evaluations: Literal["epoch"] | Annotated[int, Field(ge=1)] = Field(
        4,
        description="How often the validation loss is measured, at equal distances (10: after every tenth of the "
        "training), or `epoch`: after each epoch, and at the end.",
    )
    keep: Literal["last", "best"] = Field(
        "last", description="Publish the adapter of the last step or of the lowest validation loss."
    )
    patience: int | None = Field(
        None,
        ge=1,
        description="Stop early: after so many validations in a row without a lower loss than before. Usually with "
        "`keep: best`.",
    )
    training_arguments: dict[str, Any] = Field(
        {}, description="Further fields of transformers' TrainingArguments, e.g. `{adam_beta2: 0.95}`."
    )

    @field_validator("target_modules")
    @classmethod
    def _order_means_nothing(cls, value: str | list[str]) -> str | list[str]:
        return value if isinstance(value, str) else sorted(set(value))

    def recipe(self) -> Recipe:
        """The same as runs have it."""
        return Recipe(**plain(self.model_dump()))


class Point(Model):
    """One combination that is not part of the product: recipe fields by name, and optionally where it applies."""

    model_config = ConfigDict(extra="allow", frozen=True, allow_inf_nan=False)

    name: Name | None = Field(None, description="Label in the tables, e.g. `SFT4`; also what `parent` refers to.")
    model: str | None = Field(None, description="Only for this model.")
    dataset: str | None = Field(None, description="Only for this dataset.")
    chat: Name | None = Field(None, description="Name in `chats`; default: the model's own chat.")
    rows: Rows | None = Field(None, description="Rows of data for this point.")
    splits: Splits | None = Field(None, description="Splits of data for this point.")
    parent: Name | None = Field(None, description="Name of the point that this one goes on from.")


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


class Published(Model):
    """A figure from the study that is reproduced, shown beside our own."""

    source: str = Field(description="Where it is printed, e.g. `Table II`.")
    metric: str = Field(description="Column of the comparison table, e.g. `rougeL`.")
    value: float | list[float] = Field(description="The figure, or several (repeats, epochs).")
    model: str = Field(description="Name of the model in this study.")
    dataset: str | None = Field(
        None,
        description="Name of the dataset in this study that was trained on; of an untrained model, that it is asked "
        "about. Default: whichever.",
    )
    evaluation: Name | None = Field(
        None, description="Name of the evaluation in this study; default: each that has a value in the metric."
    )
    subject: Literal["untrained", "tuned"] = Field("tuned", description="The model as it is, or fine-tuned.")
    where: dict[str, Scalar] = Field(default_factory=dict, description="Recipe fields that the figure belongs to.")


class Study(Model):
    """A study: models × datasets × recipe grid, evaluations and published results."""

    title: str = Field(description="One line, shown above the tables.")
    description: str = Field("", description="What the study asks; shown in the report.")
    models: dict[Name, ModelSpec] = Field(min_length=1, description="Base models by name.")
    datasets: dict[Name, DatasetSpec] = Field(min_length=1, description="Datasets by name.")
    chats: dict[Name, ChatSpec] = Field(
        default_factory=dict,
        description="Templates and system prompts by name, for `grid: {chat: […]}` and the `chat` of a point.",
    )
    recipe: dict[str, Any] = Field(default_factory=dict, description="Recipe fields common to all runs.")
    grid: dict[str, list[Any]] = Field(
        default_factory=dict,
        description="Recipe fields, and `chat`, with lists of values: the product.",
    )
    points: list[Point] = Field(default_factory=list, description="Combinations that are not a product.")
    seeds: list[Annotated[int, Field(ge=0)]] = Field(
        [42], min_length=1, description="Each run is repeated with each seed."
    )
    untrained: list[str] = Field(default_factory=list, description="Models also scored as they are.")
    evaluations: dict[Name, Evaluation] = Field(
        default_factory=lambda: dict[str, EvaluationSpec](test=DialogueEvaluation()),
        min_length=1,
        description="What is asked, by name.",
    )
    published: list[Published] = Field(default_factory=list, description="Figures to show beside our own.")

    @property
    def trained(self) -> list[str]:
        """Names of the datasets that runs are trained on."""
        parts = {name for spec in self.datasets.values() if spec.mixture for name in spec.mixture.numbers}
        usual = {name: name not in parts for name in self.datasets}
        return [name for name, spec in self.datasets.items() if (usual[name] if spec.train is None else spec.train)]
