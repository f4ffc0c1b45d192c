"""The last stage: all tables, figures and pages of a study from whatever results exist."""

import textwrap
from pathlib import Path

from loragrid.comparing.cache import Cache
from loragrid.comparing.collect import Row, collect
from loragrid.comparing.effects import Effect, effects
from loragrid.comparing.gains import gains_over_best
from loragrid.comparing.selection import Selection, selection, selection_sentences
from loragrid.comparing.values import intervals
from loragrid.files import write_text
from loragrid.metrics import Column as Metric
from loragrid.reporting import contamination, data, tables
from loragrid.reporting.columns import Table, TableRow
from loragrid.reporting.examples import examples_page
from loragrid.reporting.formats import to_csv, to_latex, to_markdown, to_text
from loragrid.reporting.lengths import lengths_figure
from loragrid.reporting.loss import loss_figure
from loragrid.reporting.overview import Overview, overview
from loragrid.reporting.page import Section, comparison_page
from loragrid.reporting.rewards import rewards_figure
from loragrid.reporting.sentences import cautions, run_name, summary
from loragrid.reporting.short import short
from loragrid.reporting.usage import usage_figure
from loragrid.reporting.utterances import utterances_figure
from loragrid.study.grid import Grid
from loragrid.study.preflights import findings

WIDTH = 120


def tabulate(grid: Grid) -> None:
    """Write all tables, pages and figures of a study.

    These are comparison.{csv,md,tex,html}, values.csv, gains.csv, over_best.csv, effects.csv, contamination.csv,
    utterances.csv, cost.csv, seeds.csv, figures/ and examples/. Comparisons are kept in results/comparisons for the
    next time.

    Whatever is missing or damaged becomes a row with its reason. seeds.csv is there only if the study has several
    seeds, a figure of token lengths only as long as the formatted data is. Figures and pages of models and datasets
    that are no longer in the study are removed.

    Args:
        grid: the study; its paths are relative to the working directory.
    """
    folder = Path(grid.folder)
    cache = Cache(_comparisons(grid))
    study = overview(collect(grid), cache)
    all_effects = effects(study.results, cache)
    over_best, values = gains_over_best(study.results, cache), intervals(study.results, cache)
    cache.save()
    selections = selection(study.results)
    comparison = tables.comparison(study)
    seeds = tables.seeds(study)

    written = {
        "comparison.csv": to_csv(comparison),
        "values.csv": to_csv(tables.values_table(study, values)),
        "gains.csv": to_csv(tables.gains_table(study)),
        "over_best.csv": to_csv(tables.over_best_table(study, over_best)),
        "effects.csv": to_csv(tables.effects_table(all_effects)),
        "contamination.csv": to_csv(contamination.table(study.results, study.overlaps)),
        "utterances.csv": to_csv(tables.utterances_table(study)),
        "cost.csv": to_csv(tables.cost(study)),
    }
    if seeds.rows:
        written["seeds.csv"] = to_csv(seeds)

    sections, found_before = [], findings(grid)
    for (model, dataset), rows in study.groups.items():
        title = f"{model} · {dataset}"
        figure, examples = f"figures/loss-{model}.{dataset}.svg", f"examples/{model}.{dataset}.html"
        sentences = summary(study, rows) + _picks(study, selections, model, dataset)
        sentences += data.sentences(study.results, rows) + contamination.sentences(study.overlaps, rows)
        sentences += [
            f"Before training: {each.text}."
            for each in found_before
            if each.model == model and dataset in each.datasets
        ]
        written[figure] = loss_figure(title, rows)
        written[examples] = examples_page(study.results, f"{grid.title}: {title}", rows)
        lengths = f"figures/lengths-{model}.{dataset}.svg"
        if (drawn := lengths_figure(title, rows, grid)) is not None:
            written[lengths] = drawn
        rewards, usage, utterances = (
            f"figures/{kind}-{model}.{dataset}.svg" for kind in ("rewards", "usage", "utterances")
        )
        for file, drawn in (
            (rewards, rewards_figure(title, rows)),
            (usage, usage_figure(title, rows)),
            (utterances, utterances_figure(title, rows)),
        ):
            if drawn is not None:
                written[file] = drawn
        links = {
            "Loss curves": figure,
            "Rewards": rewards,
            "Memory and speed": usage,
            "Token lengths": lengths,
            "Over the course of dialogues": utterances,
            "Example answers": examples,
        }
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
    shown = tables.effects_table(_of(all_effects, study))
    written["comparison.html"] = comparison_page(
        grid, [each for each, _ in sections], comparison, shown, seeds, notes, files
    )

    for name, text in written.items():
        write_text(folder / name, text)
    _remove_stale(folder, set(written))


def terminal_table(grid: Grid) -> str:
    """The comparison in at most 120 columns, for a terminal: one table per model, dataset and evaluation."""
    study = overview(collect(grid), Cache(_comparisons(grid)))
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


def _comparisons(grid: Grid) -> Path:
    """Where the study's comparisons are kept, so that tables of the same scores are made without them."""
    return Path("results/comparisons", f"{grid.study}.json")


def _of(all_effects: list[Effect], study: Overview) -> list[Effect]:
    """The effects in the headline, which the page shows; effects.csv has the others."""
    return [effect for effect in all_effects if effect.metric == study.headline.name]


def _picks(study: Overview, selections: list[Selection], model: str, dataset: str) -> list[str]:
    """What picking the best run of one model × dataset by its test score is worth."""
    names = {row.answers.id: run_name(row.run) for row in study.results.rows if row.run}
    found = [each for each in selections if (each.model, each.dataset) == (model, dataset)]
    texts = []
    for each in found:
        where = f"In the evaluation {each.evaluation!r}: " if len(found) > 1 else ""
        first, *others = selection_sentences(each, names)
        texts += [where + first, *others]
    return texts


def _lines(study: Overview, comparison: Table, rows: list[Row]) -> list[TableRow]:
    """The lines of the comparison that are about some rows, in its order."""
    ids = {row.answers.id for row in rows}
    return [line for line, row in zip(comparison.rows, study.results.rows, strict=True) if row.answers.id in ids]


def _notes(metric: Metric) -> list[str]:
    if metric.higher_is_better is None:
        gain, verdict = f"gain: by how much {metric.title} is above the untrained model's", "Higher or lower"
    else:
        gain = f"gain: improvement in {metric.title} over the untrained model (above 0 is better)"
        verdict = "Better or worse"
    return [
        f"{gain}, with its 95 % interval. "
        "Runs are tested against the untrained model, not against one another (over_best.csv has that). "
        "* marks the lowest validation loss: the best run is chosen on validation data and tested on test data.",
        f"verdict: about {metric.title}; gains.csv has the other metrics. {verdict} only if the interval "
        "excludes 0 and p < 0.05 after Holm's correction for all runs in the table; else chance may explain the "
        "difference, or the dialogues are too few to say. Paired bootstrap and permutation over dialogues.",
    ]


def _remove_stale(folder: Path, written: set[str]) -> None:
    """Remove what an earlier state of the study has left."""
    for kept in ("seeds.csv", "figures/*", "examples/*"):
        for file in folder.glob(kept):
            if file.relative_to(folder).as_posix() not in written:
                file.unlink()
