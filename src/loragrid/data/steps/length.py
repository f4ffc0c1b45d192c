"""Records that are shorter or longer than wanted are dropped whole; none is shortened."""

from pydantic import BaseModel, Field, model_validator

from loragrid.data.records import ChoiceQuestion, Dropped, Record, texts
from loragrid.data.steps.base import Apply

VERSION = 1


class Options(BaseModel, extra="forbid", frozen=True):
    """Limits; without one, anything goes. Words are what stands between blanks; for Chinese or Thai use characters."""

    min_words: int | None = Field(None, ge=1, description="Fewest words of a record.")
    max_words: int | None = Field(None, ge=1, description="Most words of a record.")
    min_characters: int | None = Field(None, ge=1, description="Fewest characters of a record.")
    max_characters: int | None = Field(None, ge=1, description="Most characters of a record.")
    min_turns: int | None = Field(None, ge=1, description="Fewest messages, the system's aside.")
    max_turns: int | None = Field(None, ge=1, description="Most messages, the system's aside.")

    @model_validator(mode="after")
    def _some_pass(self) -> "Options":
        for unit in ("words", "characters", "turns"):
            low, high = getattr(self, f"min_{unit}"), getattr(self, f"max_{unit}")
            if low is not None and high is not None and low > high:
                raise ValueError(f"min_{unit} ({low}) is above max_{unit} ({high}): nothing passes")
        if self == type(self).model_construct():
            raise ValueError(f"give at least one of {', '.join(type(self).model_fields)}")
        return self


def begin(options: Options) -> Apply:
    """See `loragrid.data.steps.base.Step.begin`."""

    def apply(record: Record, split: str) -> Record | Dropped:
        sizes = {
            "words": sum(len(text.split()) for text in texts(record)),
            "characters": sum(map(len, texts(record))),
        }
        if not isinstance(record, ChoiceQuestion):
            sizes["turns"] = sum(message["role"] != "system" for message in record.messages)
        for unit, size in sizes.items():
            low, high = getattr(options, f"min_{unit}"), getattr(options, f"max_{unit}")
            if low is not None and size < low:
                return f"fewer than {low} {unit}"
            if high is not None and size > high:
                return f"more than {high} {unit}"
        return record

    return apply
