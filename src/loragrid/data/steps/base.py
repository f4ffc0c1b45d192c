"""What every cleaning step shares."""

from collections.abc import Callable
from typing import Any, Protocol

from pydantic import BaseModel

from loragrid.data.records import Dropped, Record

Apply = Callable[[Record, str], Record | Dropped]
"""From a record and its split (train, validation, test or all) to the record, changed or not, or why it is dropped."""


class Step(Protocol):
    """What a module in this package defines, beside a docstring that says what the step does and leaves alone."""

    VERSION: int
    """Raised when the same options come to make other records: what was cleaned is then cleaned anew."""

    Options: type[BaseModel]

    def begin(self, options: Any) -> Apply:
        """Begin with a dataset.

        Args:
            options: a checked instance of the module's `Options`.

        Returns:
            What is called for each record in turn. It never raises, whatever a text holds, and never invents text.
        """
        ...


class NoOptions(BaseModel, extra="forbid", frozen=True):
    """A step without options."""
