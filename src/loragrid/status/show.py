"""The status as a table in a terminal, or as plain lines in a file."""

import sys
from collections import Counter

from rich.console import Console, Group
from rich.table import Table
from rich.text import Text

from loragrid.status.cell import Cell, State
from loragrid.status.overview import Overview, StatusRow
from loragrid.study.preflights import found_before
from loragrid.terminal import printable

STYLES: dict[State, str] = {
    "failed": "red",
    "running": "green",
    "queued": "cyan",
    "interrupted": "yellow",
    "waiting": "dim",
    "done": "",
}

HIDDEN_FIRST: tuple[State, ...] = ("done", "waiting", "queued", "interrupted")
"""Rows that make room where the terminal has too few lines."""

UNLIMITED = 10_000
"""Columns of what is no terminal: nothing is cut there."""


def console() -> Console:
    """Standard output, for tables."""
    return Console(width=None if sys.stdout.isatty() else UNLIMITED, highlight=False, soft_wrap=False)


def show(overview: Overview, screen: Console) -> None:
    """Print the status; elsewhere than on a terminal without the blanks that fill a table's lines up."""
    if screen.is_terminal:
        screen.print(table(overview))
        return
    with screen.capture() as printed:
        screen.print(table(overview))
    print("\n".join(line.rstrip() for line in printed.get().splitlines()), flush=True)


def table(overview: Overview, lines: int | None = None) -> Group:
    """The status of a study.

    Args:
        overview: where it stands.
        lines: that there are; rows that need no attention are left out if they are too few.
    """
    summary = _summary(overview)
    missing = [(item, cell) for item, cell in overview.data if cell.state != "done"]
    rows = overview.rows
    if lines is not None:
        rows = _that_fit(rows, lines - len(summary) - (len(missing) + 2 if missing else 0) - 2)
    parts: list[Table | Text] = []
    if missing:
        waiting_for = _columns(["data", ""], [""])
        for item, cell in missing:
            waiting_for.add_row(item.stage, Text(printable(item.id)), _text(cell))
        parts += [waiting_for, Text()]
    # Few studies have a judge.
    stages = ["train", "generate", *(["judge"] if any(row.judge for row in overview.rows) else []), "score"]
    runs = _columns(["model", "dataset", "run"], stages)
    for row in rows:
        names = (Text(printable(name), STYLES[row.state]) for name in (row.model, row.dataset, row.run))
        runs.add_row(*names, *(_text(getattr(row, stage)) for stage in stages))
    parts.append(runs)
    if hidden := len(overview.rows) - len(rows):
        parts.append(Text(f"… and {hidden} more: {_states(overview.rows, rows)}", "dim"))
    return Group(*parts, *summary)


def _columns(names: list[str], stages: list[str]) -> Table:
    made = Table(box=None, padding=(0, 2, 0, 0), pad_edge=False, header_style="bold")
    for name in names:
        made.add_column(name, no_wrap=True)
    for stage in stages:
        made.add_column(stage)  # where there is no room, it is these that become narrower
    return made


def _text(cell: Cell | None) -> Text:
    text = printable(cell.text.replace("\n", " ")) if cell else ""
    return Text(text, STYLES[cell.state] if cell else "", no_wrap=True, overflow="ellipsis")


def _that_fit(rows: list[StatusRow], lines: int) -> list[StatusRow]:
    for state in HIDDEN_FIRST:
        if len(rows) > lines:
            rows = [row for row in rows if row.state != state]
    return rows[: max(lines, 1)]


def _states(all_rows: list[StatusRow], shown: list[StatusRow]) -> str:
    numbers = Counter(row.state for row in all_rows)
    numbers.subtract(Counter(row.state for row in shown))
    return ", ".join(f"{number} {state}" for state, number in numbers.items() if number)


def _summary(overview: Overview) -> list[Text]:
    """What there is to know in a line each."""
    name = overview.grid.study
    lines = [Text(), Text(f"{printable(name)}: {overview.counts() or 'nothing to do'}", "bold")]
    counted = Counter(item.stage for item, _ in overview.data)
    done = Counter(item.stage for item, cell in overview.data if cell.state == "done")
    if counted != done:
        lines.append(Text("data: " + ", ".join(f"{stage} {done[stage]}/{number}" for stage, number in counted.items())))
    is_over = all(row.state in ("done", "failed") for row in overview.rows)
    if not overview.queue_known and not is_over:
        lines.append(Text("Slurm does not answer: what waits and what runs is told from files alone", "yellow"))
    if not overview.started and any(row.state != "done" for row in overview.rows):
        lines.append(Text("no workflow has this folder locked: nothing new begins until one is started"))
    lines += [Text(printable(f"before training: {line}"), "yellow") for line in found_before(overview.grid)]
    if overview.failures():
        lines.append(Text(f"why something failed: loragrid failures {printable(name)}"))
    return lines
