"""In plain words: what won for each model and dataset, by how much, and whether chance explains it."""

from loragrid.comparing.collect import Row
from loragrid.metrics import Column as Metric
from loragrid.reporting.columns import of_metric
from loragrid.reporting.overview import Overview
from loragrid.reporting.shares import warnings
from loragrid.study.grid import Run


def summary(overview: Overview, rows: list[Row]) -> list[str]:
    """Sentences about one model × dataset.

    Args:
        overview: the study.
        rows: rows of one of its groups.
    """
    runs = {row.run.folder: row for row in rows if row.run}
    if not runs:
        return ["Only the untrained model is asked; there are no runs to compare with it."]
    trained = [row for row in runs.values() if row.validation_loss is not None]
    texts = [_progress(rows)]
    if not trained:
        return texts + cautions(overview, rows)
    texts += [
        _verdict(overview, row, row.run, len(trained)) for row in rows if row.run and row.run.folder in overview.best
    ]
    texts += cautions(overview, rows)
    if len({overview.results.validated_on(row) for row in runs.values()}) > 1:
        texts.append(
            "No run is marked as the best: the runs differ in validation rows, splits, mask or max_length, so their "
            "validation losses are not over the same tokens."
        )
    return texts


def cautions(overview: Overview, rows: list[Row]) -> list[str]:
    """Warnings about scores behind which much was cut or left out.

    Args:
        overview: the study.
        rows: any of its rows.
    """
    several = len({row.answers.evaluation for row in rows}) > 1
    return warnings(
        [
            (
                run_name(row.run) if row.run else "untrained",
                f" in {row.answers.evaluation!r}" if several else "",
                overview.shares[row.answers.id],
            )
            for row in rows
        ]
    )


def run_name(run: Run) -> str:
    """A run as people call it."""
    return f"{run.label} ({run.name})" if run.label else run.name


def _progress(rows: list[Row]) -> str:
    runs = [row for row in rows if row.run]
    counts = {status: sum(row.status == status for row in runs) for status in ("done", "missing", "failed")}
    if counts["done"] == len(runs):
        return f"All {len(runs)} results are there." if len(runs) > 1 else "The one result is there."
    others = " and ".join(f"{counts[status]} {status}" for status in ("missing", "failed") if counts[status])
    return f"{counts['done']} of {len(runs)} results are there ({others}): what follows may change."


def _headline_of(overview: Overview, row: Row) -> Metric:
    """What the verdict on a row is about: the headline, or of an evaluation without it a brief column, or any."""
    there = overview.results.columns_in(row.answers.evaluation)
    others = [metric for metric in overview.metrics.values() if metric.name in there]
    if overview.headline.name in there or not others:
        return overview.headline
    return next((metric for metric in others if metric.is_brief), others[0])


def _verdict(overview: Overview, row: Row, run: Run, trained: int) -> str:
    metric = _headline_of(overview, row)
    shown = of_metric(metric).shown
    recipe = f"rank {run.recipe.rank}, alpha {run.recipe.alpha:g}, seed {run.seed}"
    of = f"the lowest validation loss of {trained} trained runs" if trained > 1 else "the only trained run"
    start = f"In the evaluation {row.answers.evaluation!r}, {run_name(run)} ({recipe}; {of})"
    if metric.name not in row.scores:
        return f"{start} has no {metric.title} yet: {row.reason}." if row.reason else f"{start} has no {metric.title}."
    value = f"{shown(row.scores[metric.name].value)} {metric.title}"
    gain = overview.gains[row.answers.id, metric.name]
    if gain.verdict is None:
        return f"{start} has {value}. Whether that is a gain cannot be said: {gain.reason}."
    compared = gain.comparison
    numbers = (
        f"{value}, the untrained model {shown(gain.reference)}: a gain of {shown(compared.gain)} (95 % interval "
        f"{shown(compared.low)} to {shown(compared.high)} over {gain.dialogues} dialogues, p = {gain.p_holm:.2g} after "
        "Holm)"
    )
    meaning = {
        "better": "Better than the untrained model; chance does not explain it.",
        "worse": "Worse than the untrained model; chance does not explain it.",
        "higher": "Higher than the untrained model; chance does not explain it.",
        "lower": "Lower than the untrained model; chance does not explain it.",
        "too few": f"No claim either way: {gain.reason}.",
        "chance": "Chance can explain the difference: no claim either way.",
    }[gain.verdict]
    return f"{start} has {numbers}. {meaning}{_other_metrics(overview, row, metric)}"


def _other_metrics(overview: Overview, row: Row, shown: Metric) -> str:
    """What the other metrics say of the same run, so that no metric is picked for its answer."""
    by_verdict: dict[str, list[str]] = {}
    for name, metric in overview.metrics.items():
        gain = overview.gains.get((row.answers.id, name))
        if name != shown.name and gain is not None and gain.verdict is not None:
            by_verdict.setdefault(gain.verdict, []).append(metric.title)
    texts = [
        f"{verdict} in {', '.join(by_verdict[verdict])}"
        for verdict in ("better", "worse", "higher", "lower")
        if verdict in by_verdict
    ]
    if "chance" in by_verdict:
        texts.append(f"within chance in {', '.join(by_verdict['chance'])}")
    return f" By the other metrics it is {'; '.join(texts)}." if texts else ""
