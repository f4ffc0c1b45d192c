"""Inspected records in a terminal, and as a page. Everything that a dataset says is escaped."""

import sys
from collections.abc import Iterator
from html import escape

from rich.console import Console, Group
from rich.panel import Panel
from rich.table import Table
from rich.text import Text

from loragrid.data.records import ChoiceQuestion, Dialogue, PreferencePair, Record, kind_of
from loragrid.reporting.inspect import Inspected, Inspection, Row, Token
from loragrid.reporting.page import document
from loragrid.terminal import printable

WIDTH = 120
"""Columns of what is no terminal."""

TRAINED = "carries loss in training; the rest is only shown to the model"
ASKED = "is the answer that a model's own is compared with; nothing is trained on it"
OPEN, CLOSE = "⟦", "⟧"
"""Around what is green where there are no colours."""


STYLE = """<style>
.learnt { color: var(--good); font-weight: 600; }
.tokens { white-space: pre-wrap; overflow-wrap: anywhere; font-family: ui-monospace, monospace; font-size: 13px; }
.tokens span { border-right: 1px solid var(--line); }
</style>
"""


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
    parts = [STYLE, f"<h1>{escape(_heading(inspection))}</h1>\n"]
    if inspection.note:
        parts.append(f'<p class="note">{escape(inspection.note)}</p>\n')
    if inspection.model:
        parts.append(f'<p class="note">bold and green: {escape(_meaning(inspection))}</p>\n')
    for each in inspection.records:
        parts.append(f"<section>\n<h2>{escape(_title(each))}</h2>\n<table>\n<tbody>\n")
        for name, text in (("raw", "\n".join(_lines(each.raw))), ("cleaned", "\n".join(_after(each)))):
            parts.append(f'<tr><th scope="row">{name}</th><td class="text">{escape(text)}</td></tr>\n')
        rows = (
            [("", escape(each.rows))] if isinstance(each.rows, str) else [(r.note, _html_tokens(r)) for r in each.rows]
        )
        parts += [
            f'<tr><th scope="row">rendered<br>{escape(note)}</th><td class="tokens">{row}</td></tr>\n'
            for note, row in rows
        ]
        parts.append("</tbody>\n</table>\n</section>\n")
    return document(f"{inspection.dataset}: records", "".join(parts))


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


def _html_tokens(row: Row) -> str:
    if not row.tokens:
        return escape("\n".join(_messages(row)))
    rejected = f"\nrejected: {_spans(row.rejected)}" if row.rejected else ""
    return _spans(row.tokens) + rejected


def _spans(tokens: list[Token]) -> str:
    spans = []
    for token in tokens:
        kind = ' class="learnt"' if token.is_learnt else ""
        spans.append(f"<span{kind}>{escape(token.text)}</span>")
    return "".join(spans)


def _messages(row: Row) -> Iterator[str]:
    yield from (f"{message['role']}: {message['content']}" for message in row.example.messages)
    if row.example.rejected is not None:
        yield f"rejected: {row.example.rejected}"
