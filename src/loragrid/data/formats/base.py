"""What every format shares."""

from dataclasses import dataclass, field
from typing import Any, Protocol

from pydantic import BaseModel

from loragrid.data.records import Dropped, Message, Record


@dataclass(frozen=True, slots=True)
class Example:
    """What a model is trained on or asked: messages, of which the assistant's are its answers.

    Args:
        id: of the record, or `<record>:<number>` where a record makes several.
        record: id of the record; what comes of one record is not independent, and stays together.
        messages: begin with the user (after the system's, if there is one) and end with the assistant.
        rejected: for preference data, the answer that is worse than the last message.
        choices: for a choice question, the answers to choose from, the last message's among them.
        meta: the record's.
    """

    id: str
    record: str
    messages: list[Message]
    rejected: str | None = None
    choices: list[str] | None = None
    meta: dict[str, Any] = field(default_factory=dict)


class Format(Protocol):
    """What a module in this package defines, beside a docstring that says what it makes of which records."""

    VERSION: int
    """Raised when the same options come to make other examples: what was formatted is then formatted anew."""

    KIND: type[Record]
    """Which records it takes."""

    HAS_ANSWERS: bool
    """Whether its examples have answers to compare with."""

    OBJECTIVES: tuple[str, ...]
    """Objectives of recipes that can be trained for on its examples."""

    Options: type[BaseModel]

    def examples(self, record: Any, options: Any) -> list[Example] | Dropped:
        """Make examples of a record.

        Args:
            record: of this format's kind.
            options: a checked instance of the module's `Options`.

        Returns:
            The examples, or why there are none: the same words each time, since they are counted.

        Raises:
            UserError: an option asks for something that the records of this dataset do not have.
        """
        ...
