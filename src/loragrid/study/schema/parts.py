"""What all parts of a study file have in common."""

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field

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
