"""How tables look: CSV, Markdown, LaTeX and plain text. The HTML page stands in page."""

import csv
import math
import re
import textwrap
from collections.abc import Sequence
from io import StringIO
from typing import Any

from loragrid.reporting.tables import TableRow

_TITLES = {
    "bits_per_byte": "bits/byte",
    "rougeL": "ROUGE-L",
    "sacrebleu": "BLEU",
}

_TEX = {
    "\\": r"\textbackslash{}", "&": r"\&", "%": r"\%", "$": r"\$", "#": r"\#", "_": r"\_", "{": r"\{", "}": r"\}",
    "~": r"\textasciitilde{}", "^": r"\textasciicircum{}", "<": r"\textless{}", ">": r"\textgreater{}",
    "−": r"$-$", "×": r"$\times$", "±": r"$\pm$", "|": r"\textbar{}", '"': r"\textquotedbl{}",
}  # fmt: skip


def number(value: float, digits: int = 6) -> str:
    """A number with so many significant digits, written the same way everywhere; empty for NaN."""
    if isinstance(value, float) and math.isnan(value):
        return ""
    if isinstance(value, int):
        return str(value)
    return f"{value + 0.0:.{digits}g}"  # adding zero makes -0.0 a plain 0


def cell(value: Any) -> str:
    """A value of a table as text, in full."""
    if value is None:
        return ""
    return number(value) if isinstance(value, int | float) and not isinstance(value, bool) else str(value)


def to_csv(rows: Sequence[TableRow], columns: Sequence[str] = ()) -> str:
    r"""All columns of a table, `\n` line ends.

    Args:
        rows: the table, perhaps empty.
        columns: its columns, which an empty table cannot tell.
    """
    columns = list(rows[0]) if rows else columns
    out = StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(columns)
    writer.writerows([cell(row[name]) for name in columns] for row in rows)
    return out.getvalue()


def overview(rows: Sequence[TableRow], metric: str, *, compact: bool = False) -> list[dict[str, str]]:
    """The selection of columns that fits a page, with short numbers.

    Args:
        rows: rows of the comparison table.
        metric: the one that its gains are about.
        compact: name runs briefly, as fits a terminal.

    Returns:
        For each row its cells by title. A row that is not done has its reason under `verdict`.
    """
    several = [name for name in ("evaluation", "chat", "data") if len({row.get(name) or "" for row in rows}) > 1]
    values = [name for name in dict.fromkeys((metric, "rougeL", "sacrebleu")) if name != metric]
    table = []
    for row in rows:
        cells = {"run": _brief_name(row) if compact else _full_name(row)}
        cells |= {name: cell(row.get(name)) for name in several}
        for name in ("rank", "alpha", "scale"):
            cells[name] = "" if row[name] is None else number(row[name], 3)
        cells["params"] = short_count(row["trainable_parameters"])
        cells["val. loss"] = _fixed(row["validation_loss"]) + ("*" if row["best"] else "")
        cells[_TITLES[metric]] = _fixed(row[metric])
        cells["gain"] = interval(row, metric)
        for name in values:
            cells[_TITLES[name]] = _fixed(row.get(name), 2 if name == "sacrebleu" else 3)
        reason = row["reason"] if row["reason"].startswith(row["status"]) else f"{row['status']}: {row['reason']}"
        cells["verdict"] = cell(row["verdict"]) if row["status"] == "done" else reason
        table.append(cells)
    return table


def interval(row: TableRow, metric: str) -> str:
    """The gain of a row with its interval, such as `+0.120 [0.080, 0.163]`; empty if there is none."""
    gain, low, high = (row[f"{metric}_gain{end}"] for end in ("", "_low", "_high"))
    if gain is None or math.isnan(gain):
        return ""
    return f"{gain + 0.0:+.3f}" + ("" if low is None else f" [{low + 0.0:.3f}, {high + 0.0:.3f}]")


def short_count(count: int | None) -> str:
    """A count in at most five characters: 512, 40.9k, 4.19M, 7.24B."""
    if count is None:
        return ""
    for unit, size in (("B", 10**9), ("M", 10**6), ("k", 10**3)):
        if count >= size:
            return f"{count / size:.3g}{unit}"
    return str(count)


def to_markdown(table: Sequence[dict[str, str]]) -> str:
    """A Markdown table with aligned columns."""
    if not table:
        return ""
    titles = list(table[0])
    lines = [[_markdown(text) for text in row] for row in (titles, *(row.values() for row in table))]
    widths = [max(3, *(len(line[index]) for line in lines)) for index in range(len(titles))]
    left = [_is_text(title) for title in titles]
    lines.insert(
        1, ["-" * width if text else "-" * (width - 1) + ":" for width, text in zip(widths, left, strict=True)]
    )
    return "".join(f"| {' | '.join(_aligned(line, widths, left))} |\n" for line in lines)


def to_latex(table: Sequence[dict[str, str]], caption: str) -> str:
    """A LaTeX table that needs the booktabs package."""
    titles = list(table[0]) if table else ["run"]
    columns = "".join("l" if _is_text(title) else "r" for title in titles)
    body = "".join(" & ".join(map(latex, row.values())) + r" \\" + "\n" for row in table)
    return (
        "\\begin{table}\n\\centering\n"
        f"\\caption{{{latex(caption)}}}\n"
        f"\\begin{{tabular}}{{{columns}}}\n\\toprule\n"
        f"{' & '.join(map(latex, titles))} \\\\\n\\midrule\n{body}\\bottomrule\n"
        "\\end{tabular}\n\\end{table}\n"
    )


def latex(text: str) -> str:
    """Text as LaTeX prints it literally."""
    return "".join(_TEX.get(character, character) for character in text.replace("\n", " "))


def to_text(table: Sequence[dict[str, str]], width: int) -> str:
    """A table for a terminal, no line wider than `width`.

    The last column may hold a long reason: it then begins where the cells before it end, and is cut.
    """
    if not table:
        return ""
    titles = list(table[0])
    lines = [titles, *(list(row.values()) for row in table)]
    left = [_is_text(title) for title in titles]
    widths = [max(len(line[index]) for line in lines) for index in range(len(titles) - 1)]
    texts = []
    for line in lines:
        start = "  ".join(_aligned(line[:-1], widths, left[:-1])) + "  "
        if len(start) + len(line[-1]) > width:
            start = start.rstrip() + "  "
        texts.append(
            (start + textwrap.shorten(line[-1], max(9, width - len(start)), placeholder=" …"))[:width].rstrip()
        )
    return "\n".join(texts) + "\n"


def _full_name(row: TableRow) -> str:
    return f"{row['label']} ({row['run']})" if row["label"] else row["run"]


def _brief_name(row: TableRow) -> str:
    """The label with the seed, or the name with the first digits of its key."""
    if row["label"]:
        return f"{row['label']}-s{row['seed']}"
    return re.sub(r"(-[0-9a-f]{4})[0-9a-f]{6}$", r"\1", row["run"])


def _aligned(line: Sequence[str], widths: Sequence[int], left: Sequence[bool]) -> list[str]:
    return [
        text.ljust(width) if is_left else text.rjust(width)
        for text, width, is_left in zip(line, widths, left, strict=True)
    ]


def _is_text(title: str) -> bool:
    return title in ("run", "evaluation", "gain", "verdict")


def _fixed(value: float | None, places: int = 3) -> str:
    return "" if value is None or math.isnan(value) else f"{value:.{places}f}"


def _markdown(text: str) -> str:
    return re.sub(r"([|\\<>*_`])", r"\\\1", text.replace("\n", " "))
