"""Rubrics: what a judge is told to look at, one YAML file each, in `rubrics/` or wherever a study says."""

import re
from pathlib import Path
from typing import Annotated, Any, Literal

import yaml
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError, model_validator

from loragrid.study.problems import describe, suggestion
from loragrid.study.references import expand, unreadable_text

FOLDER = Path(__file__).with_name("rubrics")

Name = Annotated[str, Field(pattern="^[a-z][a-z0-9_]*$")]
"""Of a criterion or a category; it becomes a column."""

TAKEN = ("mean", "noise", "length_correlation", "parse_failures")
"""Names of columns that every judge has."""

BETTER = "better"
"""The one criterion where two answers are compared."""


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Example(_Part):
    """One question and answer, with the judgement that is wanted of it."""

    question: str
    answer: str
    values: dict[Name, float]


class Rubric(_Part):
    """What a judge is told, and what it has to say.

    All of it is in the key of a score, since all of it may change what the judge says.
    """

    title: str = Field(description="For people.")
    kind: Literal["score", "pairwise"] = Field(
        "score", description="`score`: a number for each criterion; `pairwise`: which of two answers is better."
    )
    instructions: str = Field(description="What the judge is told to do. How to reply is added to it.")
    criteria: dict[Name, str] = Field(
        default_factory=dict, description="Name of each criterion, and what it means; none for `pairwise`."
    )
    minimum: float = Field(0, allow_inf_nan=False, description="The worst value.")
    maximum: float = Field(10, allow_inf_nan=False, description="The best value.")
    examples: list[Example] = Field(
        default_factory=list, description="Shown before what is to be judged, each with its judgement."
    )
    by: str | None = Field(None, description="What the data says of a question, e.g. `category`, to report means by.")
    categories: list[Name] = Field(default_factory=list, description="Those of them that get a column.")

    @model_validator(mode="after")
    def _fits_together(self) -> "Rubric":
        if self.is_pairwise:
            if self.criteria or self.examples or self.categories:
                raise ValueError("`pairwise` asks which answer is better: it has no criteria, examples or categories")
            return self
        if not self.criteria:
            raise ValueError("give `criteria`, a name and a sentence each")
        if not self.minimum < self.maximum:
            raise ValueError("`minimum` must be below `maximum`")
        if self.categories and self.by is None:
            raise ValueError("say `by` what the categories are, e.g. `category`")
        names = [*TAKEN, *self.criteria, *self.categories]
        if twice := sorted({name for name in names if names.count(name) > 1}):
            raise ValueError(f"{', '.join(twice)}: would be two columns of one name")
        for example in self.examples:
            if set(example.values) != set(self.criteria):
                raise ValueError("an example has a value for each criterion, and no other")
            if not all(self.minimum <= value <= self.maximum for value in example.values.values()):
                raise ValueError(f"an example's values are from {self.minimum:g} to {self.maximum:g}")
        return self

    @property
    def is_pairwise(self) -> bool:
        """Whether it compares two answers."""
        return self.kind == "pairwise"

    @property
    def names(self) -> list[str]:
        """What a reply has a value for."""
        return [BETTER] if self.is_pairwise else list(self.criteria)

    def schema_of_reply(self) -> dict[str, Any]:
        """The JSON Schema of a reply."""
        one = (
            {"type": "string", "enum": ["A", "B", "tie"]}
            if self.is_pairwise
            else {"type": "number", "minimum": self.minimum, "maximum": self.maximum}
        )
        return {
            "type": "object",
            "properties": dict.fromkeys(self.names, one),
            "required": self.names,
            "additionalProperties": False,
        }


def shipped() -> dict[str, Path]:
    """The rubrics that come with loragrid, by name."""
    return {file.stem: file for file in sorted(FOLDER.glob("*.yaml"))}


def _found(value: Any) -> Any:
    """A rubric by its name or path; what is no text is one already.

    Raises:
        ValueError: there is none, or it is not as it must be.
    """
    if not isinstance(value, str):
        return value
    file = shipped().get(value)
    if file is None:
        if not re.search(r"[/.$~]", value):
            raise ValueError(
                f"there is no rubric {value!r}.{suggestion(value, shipped())} Valid: {', '.join(shipped())}, or the "
                "path of a YAML file."
            )
        if problems := unreadable_text("", value):
            raise ValueError(problems[0].removeprefix(": "))
        file = expand(value)
    try:
        content = yaml.safe_load(file.read_text(encoding="utf-8"))
    except yaml.YAMLError as error:
        raise ValueError(f"{value}: not valid YAML: {' '.join(str(error).split())}") from None
    except (UnicodeDecodeError, OSError) as error:
        raise ValueError(f"{value}: cannot be read ({error})") from None
    if not isinstance(content, dict):
        raise ValueError(f"{value}: a rubric is a mapping with title, instructions, criteria …")
    try:
        return Rubric.model_validate(content)
    except ValidationError as error:
        raise ValueError(f"{value}: {'; '.join(describe(error, Rubric, content))}") from None


NamedRubric = Annotated[Rubric, BeforeValidator(_found, json_schema_input_type=str)]
"""A rubric, which a study gives as a name or a path. Once resolved it is whole: jobs read no file that may change."""
