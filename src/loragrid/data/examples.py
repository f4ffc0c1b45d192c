"""Records of a cleaned file as examples, by a format; what makes none is counted."""

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from loragrid.data.formats import FORMATS
from loragrid.data.formats.base import Example
from loragrid.data.records import from_json
from loragrid.errors import UserError
from loragrid.study.choices import found


def examples_of(
    lines: Iterable[dict[str, Any]], choice: Mapping[str, Any], dropped: dict[str, int]
) -> Iterator[Example]:
    """Make examples of cleaned records.

    Args:
        lines: of a cleaned file.
        choice: resolved format.
        dropped: counts records that make none, by reason.

    Raises:
        UserError: the records are not of the kind that the format takes, or lack what its options ask for.
    """
    format_, options = found("format", choice, FORMATS)
    for line in lines:
        record = from_json(line)
        if not isinstance(record, format_.KIND):
            raise UserError(f"format {choice['name']!r} is not for records such as {record.id!r}")
        made = format_.examples(record, options)
        if isinstance(made, str):
            dropped[made] = dropped.get(made, 0) + 1
        else:
            yield from made
