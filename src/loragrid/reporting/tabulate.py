"""The last stage: all tables, figures and pages of a study from whatever results exist."""

import textwrap
from pathlib import Path

from loragrid.files import write_text
from loragrid.metrics import Column as Metric
from loragrid.reporting import contamination, data, tables
from loragrid.reporting.collect import Row, collect
from loragrid.reporting.columns import Table, TableRow
from loragrid.reporting.examples import examples_page
from loragrid.reporting.formats import to_csv, to_latex, to_markdown, to_text
from loragrid.reporting.lengths import lengths_figure
from loragrid.reporting.loss import loss_figure
from loragrid.reporting.overview import Overview, overview
from loragrid.reporting.page import Section, comparison_page
from loragrid.reporting.sentences import cautions, summary
from loragrid.reporting.short import short
from loragrid.study.grid import Grid

WIDTH = 120


def tabulate(grid: Grid) -> None:
    """Write all tables, pages and figures of a study.

    These are comparison.{csv,md,tex,html}, gains.csv, contamination.csv, cost.csv, seeds.csv, figures/ and examples/.

    Whatever is missing or damaged becomes a row with its reason. seeds.csv is there only if the study has several
    seeds, a figure of token lengths only as long as the formatted data is. Figures and pages of models and datasets
    that are no longer in the study are removed.

    Args:
        grid: the study; its paths are relative to the working directory.
    """
    folder = Path(grid.folder)
    study = overview(collect(grid))
    comparison = tables.comparison(study)
    seeds = tables.seeds(study)

    written = {
        "comparison.csv": to_csv(comparison),
        "gains.csv": to_csv(tables.gains_table(study)),
        "contamination.csv": to_csv(contamination.table(study.results, study.overlaps)),
        "cost.csv": to_csv(tables.cost(study)),
    }
    if seeds.rows:
        written["seeds.csv"] = to_csv(seeds)

    sections = []
    for (model, dataset), rows in study.groups.items():
        title = f"{model} · {dataset}"
        figure, examples = f"figures/loss-{model}.{dataset}.svg", f"examples/{model}.{dataset}.html"
        sentences = summary(study, rows)
        sentences += data.sentences(study.results, rows) + contamination.sentences(study.overlaps, rows)
        written[figure] = loss_figure(title, rows)
        written[examples] = examples_page(study.results, f"{grid.title}: {title}", rows)
        lengths = f"figures/lengths-{model}.{dataset}.svg"
        if (drawn := lengths_figure(title, rows, grid)) is not None:
            written[lengths] = drawn
        links = {"Loss curves": figure, "Token lengths": lengths, "Example answers": examples}
        links = {name: file for name, file in links.items() if file in written}
        sections.append((Section(title, sentences, links), short(study, _lines(study, comparison, rows))))

    notes = _notes(study.headline)
    arrows = "↑: higher is better; ↓: lower is better."
    written["comparison.md"] = "\n".join(
        [f"# {grid.title}\n", *(f"{text}\n" for text in (grid.description.strip(), *notes, arrows) if text)]
        + [f"## {each.title}\n\n{' '.join(each.sentences)}\n\n{to_markdown(table)}" for each, table in sections]
    )
    written["comparison.tex"] = (
        "% Needs \\usepackage{booktabs}.\n"
        + "\n".join(to_latex(table, f"{grid.title}: {each.title}. {notes[0]}") for each, table in sections)
    )  # fmt: skip
    files = [name for name in written if "/" not in name]
    written["comparison.html"] = comparison_page(grid, [each for each, _ in sections], comparison, seeds, notes, files)

    for name, text in written.items():
        write_text(folder / name, text)
    _remove_stale(folder, set(written))


def terminal_table(grid: Grid) -> str:
    """The comparison in at most 120 columns, for a terminal: one table per model, dataset and evaluation."""
    study = overview(collect(grid))
    comparison = tables.comparison(study)
    parts = [grid.title + "\n"]
    warnings = []
    for (model, dataset), rows in study.groups.items():
        for evaluation in dict.fromkeys(row.answers.evaluation for row in rows):
            asked = [row for row in rows if row.answers.evaluation == evaluation]
            table = to_text(short(study, _lines(study, comparison, asked), compact=True), WIDTH)
            parts.append(f"{model} · {dataset} · {evaluation}\n{table}")
        warnings += [f"{model} · {dataset}: {caution}" for caution in cautions(study, rows)]
    return "\n".join([*parts, *(textwrap.fill(note, WIDTH) for note in [*_notes(study.headline), *warnings])])


def _lines(study: Overview, comparison: Table, rows: list[Row]) -> list[TableRow]:
    """The lines of the comparison that are about some rows, in its order."""
    ids = {row.answers.id for row in rows}
    return [line for line, row in zip(comparison.rows, study.results.rows, strict=True) if row.answers.id in ids]


def _notes(metric: Metric) -> list[str]:
    return [
        f"gain: improvement in {metric.title} over the untrained model (above 0 is better), with its 95 % interval. "
        "Runs are tested against the untrained model, not against one another. "
        "* marks the lowest validation loss: the best run is chosen on validation data and tested on test data.",
        f"verdict: about {metric.title}; gains.csv has the other metrics. Better or worse only if the interval "
        "excludes 0 and p < 0.05 after Holm's correction for all runs in the table; else chance may explain the "
        "difference. Paired bootstrap and permutation over dialogues.",
    ]


def _remove_stale(folder: Path, written: set[str]) -> None:
    """Remove what an earlier state of the study has left."""
    for kept in ("seeds.csv", "figures/*", "examples/*"):
        for file in folder.glob(kept):
            if file.relative_to(folder).as_posix() not in written:
                file.unlink()
