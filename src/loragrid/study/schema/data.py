"""Datasets and mixtures, as a study file says them."""

from typing import Annotated, Any, Literal

from pydantic import ConfigDict, Field, model_validator

from loragrid.study.schema.parts import Choice, Fraction, Model, Name


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
