"""The last stage: all tables, figures and pages of a study from whatever results exist."""

import textwrap
from pathlib import Path

from loragrid.comparing.cache import Cache
from loragrid.comparing.collect import collect
from loragrid.comparing.gains import gains
from loragrid.files import write_text
from loragrid.metrics import METRICS
from loragrid.reporting import contamination, data, tables
from loragrid.reporting.examples import examples_page
from loragrid.reporting.formats import overview, to_csv, to_latex, to_markdown, to_text
from loragrid.reporting.lengths import lengths_figure
from loragrid.reporting.loss import loss_figure
from loragrid.reporting.page import comparison_page
from loragrid.reporting.sentences import summary
from loragrid.study.grid import Grid

WIDTH = 120


def tabulate(grid: Grid) -> None:
    """Write all tables, pages and figures of a study.

    These are comparison.{csv,md,tex,html}, gains.csv, contamination.csv, cost.csv, seeds.csv, figures/ and examples/.

    Whatever is missing or damaged becomes a row with its reason. seeds.csv is there only if the study has several
    seeds, a figure of token lengths only as long as the formatted data is. Figures and pages of models and datasets
    that are no longer in the study are removed. Comparisons are kept in results/comparisons for the next time.

    Args:
        grid: the study; its paths are relative to the working directory.
    """
    folder = Path(grid.folder)
    results = collect(grid)
    cache = Cache(_comparisons(grid))
    all_gains = gains(results, cache)
    cache.save()
    comparison = tables.comparison(results, all_gains)
    seeds = tables.seeds(results)
    groups = results.groups()
    metric = results.headline

    written = {"comparison.csv": to_csv(comparison)}
    gain_rows = tables.gains_table(results, all_gains)
    written["gains.csv"] = to_csv(gain_rows, tables.GAIN_COLUMNS)
    written["contamination.csv"] = to_csv(contamination.table(results), contamination.COLUMNS)
    written["cost.csv"] = to_csv(tables.cost(results))
    if seeds:
        written["seeds.csv"] = to_csv(seeds)

    pages = []
    sections = []
    for (model, dataset), rows in groups.items():
        title = f"{model} · {dataset}"
        figure, examples = f"figures/loss-{model}.{dataset}.svg", f"examples/{model}.{dataset}.html"
        sentences = summary(results, rows, all_gains)
        sentences += data.sentences(results, rows) + contamination.sentences(results, rows)
        written[figure] = loss_figure(title, rows)
        written[examples] = examples_page(results, f"{grid.title}: {title}", rows)
        lengths = f"figures/lengths-{model}.{dataset}.svg"
        if (drawn := lengths_figure(title, rows, grid)) is not None:
            written[lengths] = drawn
        links = {"Loss curves": figure, "Token lengths": lengths, "Example answers": examples}
        pages.append((title, sentences, {name: file for name, file in links.items() if file in written}))
        ids = {row.answers.id for row in rows}
        selected = [line for line, row in zip(comparison, results.rows, strict=True) if row.answers.id in ids]
        sections.append((title, sentences, overview(selected, metric)))

    notes = _notes(metric)
    written["comparison.md"] = "\n".join(
        [f"# {grid.title}\n", *(f"{text}\n" for text in (grid.description.strip(), *notes) if text)]
        + [f"## {title}\n\n{' '.join(sentences)}\n\n{to_markdown(table)}" for title, sentences, table in sections]
    )
    written["comparison.tex"] = (
        "% Needs \\usepackage{booktabs}.\n"
        + "\n".join(to_latex(table, f"{grid.title}: {title}. {notes[0]}") for title, _, table in sections)
    )  # fmt: skip
    written["comparison.html"] = comparison_page(
        grid.title, grid.description, pages, comparison, seeds, notes,
        [name for name in written if "/" not in name],
    )  # fmt: skip

    for name, text in written.items():
        write_text(folder / name, text)
    _remove_stale(folder, set(written))


def _comparisons(grid: Grid) -> Path:
    """Where the study's comparisons are kept, so that tables of the same scores are made without them."""
    return Path("results/comparisons", f"{grid.study}.json")


def terminal_table(grid: Grid) -> str:
    """The comparison in at most 120 columns, for a terminal: one table per model, dataset and evaluation."""
    results = collect(grid)
    comparison = tables.comparison(results, gains(results, Cache(_comparisons(grid))))
    metric = results.headline
    parts = [grid.title + "\n"]
    for (model, dataset), rows in results.groups().items():
        for evaluation in dict.fromkeys(row.answers.evaluation for row in rows):
            ids = {row.answers.id for row in rows if row.answers.evaluation == evaluation}
            selected = [line for line, row in zip(comparison, results.rows, strict=True) if row.answers.id in ids]
            table = to_text(overview(selected, metric, compact=True), WIDTH)
            parts.append(f"{model} · {dataset} · {evaluation}\n{table}")
    return "\n".join([*parts, *(textwrap.fill(note, WIDTH) for note in _notes(metric))])


def _notes(metric: str) -> list[str]:
    title = METRICS[metric].title
    return [
        f"gain: improvement in {title} over the untrained model (above 0 is better), with its 95 % interval. "
        "Runs are tested against the untrained model, not against one another. "
        "* marks the lowest validation loss: the best run is chosen on validation data and tested on test data.",
        f"verdict: about {title}; gains.csv has the other metrics. Better or worse only if the interval excludes 0 and "
        "p < 0.05 after Holm's correction for all runs in the table; else chance may explain the difference. "
        "Paired bootstrap and permutation over dialogues.",
    ]


def _remove_stale(folder: Path, written: set[str]) -> None:
    """Remove what an earlier state of the study has left."""
    for kept in ("seeds.csv", "figures/*", "examples/*"):
        for file in folder.glob(kept):
            if file.relative_to(folder).as_posix() not in written:
                file.unlink()
