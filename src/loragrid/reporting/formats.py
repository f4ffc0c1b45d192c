"""How tables are written: CSV, Markdown, LaTeX and plain text. Pages stand in loragrid.pages."""

import csv
import re
import textwrap
from collections.abc import Sequence
from io import StringIO

from loragrid.reporting.columns import Column, Table, full

_TEX = {
    "\\": r"\textbackslash{}", "&": r"\&", "%": r"\%", "$": r"\$", "#": r"\#", "_": r"\_", "{": r"\{", "}": r"\}",
    "~": r"\textasciitilde{}", "^": r"\textasciicircum{}", "<": r"\textless{}", ">": r"\textgreater{}",
    "−": r"$-$", "×": r"$\times$", "±": r"$\pm$", "|": r"\textbar{}", '"': r"\textquotedbl{}",
    "↑": r"$\uparrow$", "↓": r"$\downarrow$",
}  # fmt: skip


def to_csv(table: Table) -> str:
    r"""All columns of a table in full, `\n` line ends."""
    out = StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(column.key for column in table.columns)
    writer.writerows([full(row[column.key]) for column in table.columns] for row in table.rows)
    return out.getvalue()


def to_markdown(table: Table) -> str:
    """A Markdown table with aligned columns."""
    if not table.rows:
        return ""
    columns = table.columns
    lines = [[_markdown(text) for text in line] for line in ([column.heading for column in columns], *_shown(table))]
    widths = [max(3, *(len(line[index]) for line in lines)) for index in range(len(columns))]
    rule = [
        "-" * width if column.is_text else "-" * (width - 1) + ":"
        for width, column in zip(widths, columns, strict=True)
    ]
    lines.insert(1, rule)
    return "".join(f"| {' | '.join(_aligned(line, widths, columns))} |\n" for line in lines)


def to_latex(table: Table, caption: str) -> str:
    """A LaTeX table that needs the booktabs package."""
    columns = "".join("l" if column.is_text else "r" for column in table.columns)
    body = "".join(" & ".join(map(latex, line)) + r" \\" + "\n" for line in _shown(table))
    return (
        "\\begin{table}\n\\centering\n"
        f"\\caption{{{latex(caption)}}}\n"
        f"\\begin{{tabular}}{{{columns}}}\n\\toprule\n"
        f"{' & '.join(latex(column.heading) for column in table.columns)} \\\\\n\\midrule\n{body}\\bottomrule\n"
        "\\end{tabular}\n\\end{table}\n"
    )


def latex(text: str) -> str:
    """Text as LaTeX prints it literally."""
    return "".join(_TEX.get(character, character) for character in text.replace("\n", " "))


def to_text(table: Table, width: int) -> str:
    """A table for a terminal, no line wider than `width`.

    The last column may hold a long reason: it then begins where the cells before it end, and is cut.
    """
    if not table.rows:
        return ""
    lines = [[column.title for column in table.columns], *_shown(table)]
    widths = [max(len(line[index]) for line in lines) for index in range(len(table.columns) - 1)]
    texts = []
    for line in lines:
        start = "  ".join(_aligned(line[:-1], widths, table.columns[:-1])) + "  "
        if len(start) + len(line[-1]) > width:
            start = start.rstrip() + "  "
        texts.append(
            (start + textwrap.shorten(line[-1], max(9, width - len(start)), placeholder=" …"))[:width].rstrip()
        )
    return "\n".join(texts) + "\n"


def _shown(table: Table) -> list[list[str]]:
    return [[column.shown(row[column.key]) for column in table.columns] for row in table.rows]


def _aligned(line: Sequence[str], widths: Sequence[int], columns: Sequence[Column]) -> list[str]:
    return [
        text.ljust(width) if column.is_text else text.rjust(width)
        for text, width, column in zip(line, widths, columns, strict=True)
    ]


def _markdown(text: str) -> str:
    return re.sub(r"([|\\<>*_`])", r"\\\1", text.replace("\n", " "))
