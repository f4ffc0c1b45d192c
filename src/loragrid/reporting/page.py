"""The comparison as one HTML page that needs no other file and no network."""

from collections.abc import Mapping, Sequence
from html import escape

from loragrid.reporting.formats import cell
from loragrid.reporting.tables import TableRow

STYLE = """
:root { color-scheme: light dark; --line: #8884; --soft: #8881; --good: #1a7f37; --bad: #cf222e; --wait: #9a6700; }
@media (prefers-color-scheme: dark) { :root { --good: #4ac26b; --bad: #ff7b72; --wait: #d4a72c; } }
body { font: 15px/1.5 system-ui, sans-serif; margin: 2rem auto; max-width: 90rem; padding: 0 1rem; }
.table { overflow-x: auto; }
table { border-collapse: collapse; font-variant-numeric: tabular-nums; font-size: 13px; }
th, td { border-bottom: 1px solid var(--line); padding: .3rem .55rem; text-align: left; vertical-align: top; }
th { position: sticky; top: 0; background: Canvas; white-space: nowrap; }
th button { all: unset; cursor: pointer; } th button:focus-visible { outline: 2px solid; }
th[aria-sort=ascending] button::after { content: " ▲"; } th[aria-sort=descending] button::after { content: " ▼"; }
td.number { text-align: right; white-space: nowrap; }
tr.missing td { color: var(--wait); } tr.failed td { color: var(--bad); } tr.best { font-weight: 600; }
td.better { color: var(--good); } td.worse { color: var(--bad); }
.text { white-space: pre-wrap; overflow-wrap: anywhere; max-width: 60ch; }
section { border-top: 1px solid var(--line); margin-top: 1.5rem; } img { max-width: 100%; background: #fff; }
.note { opacity: .8; font-size: 13px; max-width: 80ch; }
"""

# Numbers sort as numbers, empty cells last in both directions.
_SORT = """
document.querySelectorAll("th button").forEach(button => button.addEventListener("click", () => {
  const th = button.parentElement, table = th.closest("table"), body = table.tBodies[0];
  const up = th.getAttribute("aria-sort") !== "ascending", column = th.cellIndex;
  table.querySelectorAll("th").forEach(other => other.removeAttribute("aria-sort"));
  th.setAttribute("aria-sort", up ? "ascending" : "descending");
  const key = row => row.cells[column].textContent.trim();
  const rows = Array.from(body.rows).sort((one, two) => {
    const a = key(one), b = key(two);
    if (a === "" || b === "") return (a === "") - (b === "");
    const order = isNaN(a) || isNaN(b) ? a.localeCompare(b) : a - b;
    return up ? order : -order;
  });
  rows.forEach(row => body.append(row));
}));
"""


def document(title: str, body: str, script: str = "") -> str:
    """A whole page.

    Args:
        title: plain text.
        body: HTML.
        script: JavaScript without `</script>`.
    """
    return (
        '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>{escape(title)}</title>\n<style>{STYLE}</style>\n</head>\n<body>\n{body}"
        + (f"<script>{script}</script>\n" if script else "")
        + "</body>\n</html>\n"
    )


def comparison_page(
    title: str,
    description: str,
    groups: Sequence[tuple[str, Sequence[str], Mapping[str, str]]],
    comparison: Sequence[TableRow],
    seeds: Sequence[TableRow],
    notes: Sequence[str],
    files: Sequence[str],
) -> str:
    """The page of a study.

    Args:
        title: of the study.
        description: of the study.
        groups: for each model × dataset its heading, sentences, and links by what they lead to (paths from this page).
        comparison: rows of the comparison table.
        seeds: rows of the table over seeds; empty if the study has one seed.
        notes: how to read the table.
        files: paths of the other tables.
    """
    parts = [
        f"<h1>{escape(title)}</h1>\n",
        *(f"<p>{escape(text)}</p>\n" for text in description.strip().split("\n\n") if text),
    ]
    for heading, sentences, links in groups:
        parts.append(f"<section>\n<h2>{escape(heading)}</h2>\n")
        parts += [f"<p>{escape(sentence)}</p>\n" for sentence in sentences]
        parts.append(f"<p>{_links(links)}</p>\n</section>\n")
    parts.append("<section>\n<h2>All results</h2>\n")
    parts += [f'<p class="note">{escape(note)}</p>\n' for note in notes]
    parts.append(html_table(comparison) + "</section>\n")
    if seeds:
        parts.append(
            "<section>\n<h2>Over seeds</h2>\n"
            '<p class="note">Mean and sample standard deviation over repeated trainings. '
            "This spread is no part of the intervals above, which are about the choice of dialogues.</p>\n"
            f"{html_table(seeds)}</section>\n"
        )
    return document(title, "".join(parts) + f"<p>Files: {_links({file: file for file in files})}</p>\n", _SORT)


def _links(files: Mapping[str, str]) -> str:
    return " · ".join(f'<a href="{escape(file)}">{escape(name)}</a>' for name, file in files.items())


def html_table(rows: Sequence[TableRow]) -> str:
    """A table that is sorted by a click on a heading; columns that are empty in every row are left out."""
    if not rows:
        return "<p>Nothing is planned in this study.</p>\n"
    columns = [name for name in rows[0] if any(cell(row[name]) for row in rows)]
    head = "".join(f'<th scope="col"><button>{escape(name.replace("_", " "))}</button></th>' for name in columns)
    body = "".join(
        f'<tr class="{_row_class(row)}">' + "".join(_html_cell(name, row) for name in columns) + "</tr>\n"
        for row in rows
    )
    return f'<div class="table"><table>\n<thead><tr>{head}</tr></thead>\n<tbody>\n{body}</tbody>\n</table></div>\n'


def _row_class(row: TableRow) -> str:
    return " ".join([str(row.get("status", "done")), *(["best"] if row.get("best") else [])])


def _html_cell(name: str, row: TableRow) -> str:
    value = row[name]
    if isinstance(value, int | float) and not isinstance(value, bool):
        return f'<td class="number">{cell(value)}</td>'
    kind = f' class="{escape(value)}"' if name == "verdict" and value else ""
    return f"<td{kind}>{escape(cell(value))}</td>"
