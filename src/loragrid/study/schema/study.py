"""The study file as a whole."""

from typing import Annotated, Any, Literal

from pydantic import Field

from loragrid.study.schema.data import DatasetSpec
from loragrid.study.schema.evaluations import DialogueEvaluation, Evaluation, EvaluationSpec
from loragrid.study.schema.models import ChatSpec, ModelSpec
from loragrid.study.schema.parts import Model, Name, Scalar
from loragrid.study.schema.recipe import Point


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
