"""In plain words: what won for each model and dataset, by how much, and whether chance explains it."""

from loragrid.comparing.collect import Results, Row
from loragrid.comparing.gains import Gains
from loragrid.metrics import METRICS
from loragrid.study.grid import Run


def summary(results: Results, rows: list[Row], gains: Gains) -> list[str]:
    """Sentences about one model × dataset.

    Args:
        results: the study.
        rows: rows of one group of `Results.groups`.
        gains: all gains.
    """
    runs = {row.run.folder: row for row in rows if row.run}
    if not runs:
        return ["Only the untrained model is asked; there are no runs to compare with it."]
    trained = [row for row in runs.values() if row.validation_loss is not None]
    texts = [_progress(rows)]
    if not trained:
        return texts
    texts += [
        _verdict(results, row, row.run, gains, len(trained))
        for row in rows
        if row.run and row.run.folder in results.best_runs
    ]
    texts += _running_on(rows)
    if len({results.validated_on(row) for row in runs.values()}) > 1:
        texts.append(
            "No run is marked as the best: the runs differ in validation rows, splits, mask or max_length, so their "
            "validation losses are not over the same tokens."
        )
    return texts


def _running_on(rows: list[Row]) -> list[str]:
    """A warning about those most of whose answers were cut off: their scores are of beginnings."""
    names = []
    for row in rows:
        answers, cut = row.generated.get("answers"), row.generated.get("ended_by_length")
        if row.run and answers and cut and cut > answers / 2:
            names.append(f"{row.run.label or row.run.name} ({cut} of {answers} in {row.answers.evaluation!r})")
    if not names:
        return []
    some = ", ".join(names[:3]) + (f" and {len(names) - 3} more" if len(names) > 3 else "")
    return [
        f"Most answers ran to max_new_tokens without an end: {some}. Either they need more, or the model has not "
        "learnt to stop; format.json says with what its template ends an answer."
    ]


def _progress(rows: list[Row]) -> str:
    runs = [row for row in rows if row.run]
    counts = {status: sum(row.status == status for row in runs) for status in ("done", "missing", "failed")}
    if counts["done"] == len(runs):
        return f"All {len(runs)} results are there." if len(runs) > 1 else "The one result is there."
    others = " and ".join(f"{counts[status]} {status}" for status in ("missing", "failed") if counts[status])
    return f"{counts['done']} of {len(runs)} results are there ({others}): what follows may change."


def _verdict(results: Results, row: Row, run: Run, gains: Gains, trained: int) -> str:
    metric = results.headline
    name = f"{run.label} ({run.name})" if run.label else run.name
    recipe = f"rank {run.recipe['rank']}, alpha {run.recipe['alpha']:g}, seed {run.seed}"
    of = f"the lowest validation loss of {trained} trained runs" if trained > 1 else "the only trained run"
    start = f"In the evaluation {row.answers.evaluation!r}, {name} ({recipe}; {of})"
    if metric not in row.scores:
        return f"{start} has no {METRICS[metric].title} yet: {row.reason}."
    value = f"{row.scores[metric].value:.3f} {METRICS[metric].title}"
    gain = gains[row.answers.id, metric]
    if gain.verdict is None:
        return f"{start} has {value}. Whether that is a gain cannot be said: {gain.reason}."
    low, high = gain.comparison.low, gain.comparison.high
    numbers = (
        f"{value}, the untrained model {gain.reference:.3f}: a gain of {gain.comparison.gain:.3f} "
        f"(95 % interval {low:.3f} to {high:.3f} over {gain.dialogues} dialogues, p = {gain.p_holm:.2g} after Holm)"
    )
    meaning = {
        "better": "Better than the untrained model; chance does not explain it.",
        "worse": "Worse than the untrained model; chance does not explain it.",
        "higher": "Higher than the untrained model; chance does not explain it.",
        "lower": "Lower than the untrained model; chance does not explain it.",
        "chance": "Chance can explain the difference: no claim either way.",
        "too few": f"No claim either way: {gain.reason}.",
    }[gain.verdict]
    return f"{start} has {numbers}. {meaning}{_other_metrics(row, gains, metric)}"


def _other_metrics(row: Row, gains: Gains, metric: str) -> str:
    """What the other metrics say of the same run, so that no metric is picked for its answer."""
    by_verdict: dict[str, list[str]] = {}
    for name in METRICS:
        gain = gains.get((row.answers.id, name))
        if name != metric and gain is not None and gain.verdict is not None:
            by_verdict.setdefault(gain.verdict, []).append(METRICS[name].title)
    texts = [
        f"{verdict} in {', '.join(by_verdict[verdict])}"
        for verdict in ("better", "worse", "higher", "lower")
        if verdict in by_verdict
    ]
    if "chance" in by_verdict:
        texts.append(f"within chance in {', '.join(by_verdict['chance'])}")
    return f" By the other metrics it is {'; '.join(texts)}." if texts else ""
