"""Inspected records in a terminal, and as a page."""

import sys
from collections.abc import Iterator
from typing import Any

from rich.console import Console, Group
from rich.panel import Panel
from rich.table import Table
from rich.text import Text

from loragrid.data.records import ChoiceQuestion, Dialogue, PreferencePair, Record, kind_of
from loragrid.pages.render import render
from loragrid.reporting.inspect import Inspected, Inspection, Row, Token
from loragrid.terminal import printable

WIDTH = 120
"""Columns of what is no terminal."""

TRAINED = "carries loss in training; the rest is only shown to the model"
ASKED = "is the answer that a model's own is compared with; nothing is trained on it"
OPEN, CLOSE = "⟦", "⟧"
"""Around what is green where there are no colours."""


def show(inspection: Inspection) -> None:
    """Print the records one after the other: raw and cleaned side by side, below them what a model sees."""
    screen = Console(width=None if sys.stdout.isatty() else WIDTH, highlight=False)
    screen.print(_panels(inspection, has_colours=screen.is_terminal))


def _panels(inspection: Inspection, *, has_colours: bool) -> Group:
    parts: list[Text | Panel] = [Text(_heading(inspection))]
    if inspection.note:
        parts.append(Text(printable(inspection.note), style="yellow"))
    for each in inspection.records:
        table = Table(show_edge=False, expand=True, box=None, padding=(0, 2))
        table.add_column("raw", ratio=1, overflow="fold")
        table.add_column("cleaned", ratio=1, overflow="fold")
        table.add_row(_plain(_lines(each.raw)), _plain(_after(each)))
        body: list[Table | Text] = [table]
        if isinstance(each.rows, str):
            body += [Text(""), Text(printable(each.rows), style="yellow")]
        else:
            for row in each.rows:
                body += [Text(f"\n{row.note}", style="yellow"), _tokens(row, has_colours)]
        parts.append(Panel(Group(*body), title=printable(_title(each)), title_align="left"))
    if inspection.model:
        how = "green" if has_colours else f"in {OPEN}…{CLOSE}"
        parts.append(Text(f"{how}: {_meaning(inspection)}", style="dim"))
    return Group(*parts)


def as_page(inspection: Inspection) -> str:
    """The same as an HTML page that needs no other file."""
    return render(
        "inspect",
        title=f"{inspection.dataset}: records",
        heading=_heading(inspection),
        note=inspection.note,
        meaning=_meaning(inspection) if inspection.model else "",
        records=[
            {
                "title": _title(each),
                "raw": "\n".join(_lines(each.raw)),
                "cleaned": "\n".join(_after(each)),
                "rows": [_rendered(each.rows)] if isinstance(each.rows, str) else [_rendered(row) for row in each.rows],
            }
            for each in inspection.records
        ],
    )


def _rendered(row: Row | str) -> dict[str, Any]:
    """What a model sees of a row: its tokens, or a text where there are none."""
    if isinstance(row, str):
        return {"note": "", "text": row, "tokens": [], "rejected": []}
    text = "" if row.tokens else "\n".join(_messages(row))
    return {"note": row.note, "text": text, "tokens": row.tokens, "rejected": row.rejected if row.tokens else []}


def _meaning(inspection: Inspection) -> str:
    return TRAINED if inspection.is_trained else ASKED


def _heading(inspection: Inspection) -> str:
    model = f" for {inspection.model}" if inspection.model else ""
    return f"{inspection.dataset}{model}: {len(inspection.records)} of the first {inspection.looked} records"


def _title(each: Inspected) -> str:
    steps = f"; changed by {', '.join(each.changed)}" if each.changed else ""
    return f"{each.why}: {kind_of(each.raw)} {each.raw.id}, {each.split}, {each.raw.where}{steps}"


def _after(each: Inspected) -> list[str]:
    return [f"dropped ({each.clean})"] if isinstance(each.clean, str) else _lines(each.clean)


def _lines(record: Record) -> list[str]:
    """A record for people, a line for each of its texts."""
    lines = []
    if isinstance(record, ChoiceQuestion):
        marks = ("→" if place == record.answer else " " for place in range(len(record.choices)))
        lines = [record.question, *(f"{mark} {choice}" for mark, choice in zip(marks, record.choices, strict=True))]
    else:
        lines = [f"{message['role']}: {message['content']}" for message in record.messages]
    if isinstance(record, PreferencePair):
        lines += [f"chosen: {record.chosen}", f"rejected: {record.rejected}"]
    if isinstance(record, Dialogue):
        lines += [f"summary: {summary}" for summary in record.summaries]
    return lines + [f"{name} = {value}" for name, value in record.meta.items()]


def _plain(lines: list[str]) -> Text:
    return Text("\n".join(printable(part) for line in lines for part in line.split("\n")))


def _tokens(row: Row, has_colours: bool) -> Text:
    text = Text()
    if not row.tokens:
        return _plain(list(_messages(row)))
    before = False
    for token in [*row.tokens, Token("", False)]:
        if token.is_learnt != before and not has_colours:
            text.append(OPEN if token.is_learnt else CLOSE)
        before = token.is_learnt
        style = "green" if token.is_learnt else "dim"
        text.append("\n".join(map(printable, token.text.split("\n"))), style=style)
    if row.rejected:
        rejected = "".join(token.text for token in row.rejected)
        text.append("\nrejected: " + "\n".join(map(printable, rejected.split("\n"))), style="red")
    return text


def _messages(row: Row) -> Iterator[str]:
    yield from (f"{message['role']}: {message['content']}" for message in row.example.messages)
    if row.example.rejected is not None:
        yield f"rejected: {row.example.rejected}"
