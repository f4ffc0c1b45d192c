"""The tables: comparison, gains, cost and seeds. How they are written is said in formats."""

from collections.abc import Mapping, Sequence
from dataclasses import fields, replace
from typing import Any

from loragrid.comparing.collect import Results, Row
from loragrid.comparing.compare import Comparison
from loragrid.comparing.effects import Effect
from loragrid.comparing.gains import WHOLE, Gains, gain_columns
from loragrid.comparing.seeds import over_seeds
from loragrid.metrics import METRICS
from loragrid.reporting import shares as cut_or_left_out
from loragrid.reporting.columns import Column, Table, TableRow, of_metric
from loragrid.reporting.overview import Overview
from loragrid.study.arguments import shown
from loragrid.study.grid import Clean, Decontaminated
from loragrid.study.recipe import Recipe

_MIB = 2**20

_GAIN = (
    Column("gain", "gain", "difference", higher_is_better=True),
    Column("low", "95 % interval from", "difference"),
    Column("high", "to", "difference"),
    Column("p", "p", "probability"),
    Column("p_holm", "p after Holm", "probability"),
    Column("verdict", "verdict", "verdict"),
    Column("dialogues", "dialogues", "count"),
    Column("reason", "reason"),
)
"""What all comparisons have."""

_STATE = (Column("status", "status", group="state"), Column("reason", "reason", group="state"))


def comparison(overview: Overview) -> Table:
    """The comparison table: one row per subject × evaluation, whether it is done or not. No timings."""
    results, main = overview.results, overview.headline
    titles = {name: column.title for name, column in results.columns.items()}
    published = [name for name in results.columns if any(item["metric"] == name for item in results.grid.published)]
    published += sorted({item["metric"] for item in results.grid.published} - set(published))
    columns = [
        *_subject_columns(overview),
        *_recipe_columns(overview),
        Column("trainable_parameters", "trainable parameters", "count", group="training"),
        Column("train_loss", "training loss", "number", higher_is_better=False, group="training"),
        Column("validation_loss", "validation loss", "number", higher_is_better=False, group="training"),
        *map(of_metric, overview.metrics.values()),
        # A gain is above 0 where things are better, whichever way its metric points.
        Column(f"{main.name}_gain", f"gain in {main.title}", "difference", main.places, True, "gain"),
        Column(f"{main.name}_gain_low", "95 % interval from", "difference", main.places, group="gain"),
        Column(f"{main.name}_gain_high", "to", "difference", main.places, group="gain"),
        Column(f"{main.name}_p", "p after Holm", "probability", group="gain"),
        Column("verdict", "verdict", "verdict", group="gain"),
        Column("best", "best on validation", group="gain"),
        Column("answers", "answers", "count", group="cut or left out"),
        *cut_or_left_out.columns(results),
        Column("excluded", "references left out, in number", "count", group="cut or left out"),
        # Of what is asked: records that training data has something in common with.
        Column("share_in_training", "also in training data", "share", group="seen before"),
        *(Column(f"{name}_published", titles.get(name, name), group="published") for name in published),
        *_STATE,
    ]
    rows = []
    for row in results.rows:
        gain = overview.gains.get((row.answers.id, main.name))
        compared = gain.comparison if gain else None
        trained = row.trained
        shares = {share.column: share.value for share in overview.shares[row.answers.id]}
        rows.append(
            {
                **_subject(overview, row),
                **_recipe(overview, row),
                "trainable_parameters": trained["parameters"]["trainable"] if trained else None,
                "train_loss": trained["loss"]["train"] if trained else None,
                "validation_loss": row.validation_loss,
                **{name: row.scores[name].value if name in row.scores else None for name in overview.metrics},
                f"{main.name}_gain": compared.gain if compared else None,
                f"{main.name}_gain_low": compared.low if compared else None,
                f"{main.name}_gain_high": compared.high if compared else None,
                f"{main.name}_p": gain.p_holm if gain else None,
                "verdict": gain.verdict if gain else None,
                "best": "yes" if row.run and row.run.folder in overview.best else None,
                "answers": _answers(row),
                **{column.key: shares.get(column.key) for column in cut_or_left_out.columns(results)},
                "excluded": row.excluded or None,
                "share_in_training": overview.overlaps.share(row),
                **{f"{name}_published": _published(results, row, name) for name in published},
                "status": row.status,
                "reason": row.reason or (gain.reason if gain else ""),
            }
        )
    return Table(columns, rows)


def _answers(row: Row) -> int | None:
    """How many answers are scored, or questions with choices; likelihoods of references alone are none."""
    of_references = {column.name for column in METRICS["likelihood"].COLUMNS} if row.answers.generations else set()
    return max((score.count for name, score in row.scores.items() if name not in of_references), default=None)


def gains_table(overview: Overview) -> Table:
    """Every run × metric against the untrained model, in long form; no rows until something is compared."""
    return _against(overview, overview.gains, Column("untrained", "untrained", "number"))


def over_best_table(overview: Overview, gains: Gains) -> Table:
    """Every run × metric against the best one of its model and dataset, in long form.

    Args:
        overview: the study.
        gains: over the best.
    """
    return _against(overview, gains, Column("best", "best on validation", "number"))


def _against(overview: Overview, gains: Gains, reference: Column) -> Table:
    columns = [
        *_subject_columns(overview),
        Column("seed", "seed", "setting"),
        Column("metric", "metric"),
        reference,
        Column("tuned", "tuned", "number"),
        *_GAIN,
    ]
    rows = [
        {
            **_subject(overview, row),
            "seed": row.run.seed,
            "metric": name,
            reference.key: gain.reference,
            "tuned": row.scores[name].value,
            **gain_columns(gain),
        }
        for row in overview.results.rows
        for name in overview.metrics
        if row.run and (gain := gains.get((row.answers.id, name)))
    ]
    return Table(columns, rows)


def values_table(overview: Overview, values: Mapping[tuple[str, str], Comparison]) -> Table:
    """Every value of the comparison with its own interval, in long form.

    Args:
        overview: the study.
        values: by id of the answers and metric.
    """
    columns = [
        *_subject_columns(overview),
        Column("metric", "metric"),
        Column("value", "value", "number"),
        Column("low", "95 % interval from", "number"),
        Column("high", "to", "number"),
        Column("answers", "answers", "count"),
        Column("dialogues", "dialogues", "count"),
        Column("reason", "reason"),
    ]
    rows = []
    for row in overview.results.rows:
        for name in (name for name in overview.metrics if name in row.scores):
            score = row.scores[name]
            interval = values.get((row.answers.id, name), Comparison(score.value, reason=WHOLE))
            rows.append(
                {
                    **_subject(overview, row),
                    "metric": name,
                    "value": score.value,
                    "low": interval.low,
                    "high": interval.high,
                    "answers": score.count,
                    "dialogues": len(score.dialogues),
                    "reason": interval.reason,
                }
            )
    return Table(columns, rows)


def effects_table(effects: Sequence[Effect]) -> Table:
    """What each axis of the grid does, in every metric; no rows where nothing varies."""
    columns = [
        Column("model", "model"),
        Column("dataset", "dataset"),
        Column("evaluation", "evaluation"),
        Column("axis", "axis", "name"),
        Column("level", "level", "setting"),
        Column("against", "against", "setting"),
        Column("pairs", "pairs of runs", "count"),
        Column("metric", "metric"),
        *_GAIN,
    ]
    rows = [
        {
            "model": effect.model,
            "dataset": effect.dataset,
            "evaluation": effect.evaluation,
            "axis": effect.axis,
            "level": effect.level,
            "against": effect.against,
            "pairs": effect.pairs,
            "metric": effect.metric,
            **gain_columns(effect.gain),
        }
        for effect in effects
    ]
    return Table(columns, rows)


def utterances_table(overview: Overview) -> Table:
    """Likelihoods and prompts by the number of utterances that the model reads, in long form."""
    columns = [
        *_subject_columns(overview),
        Column("utterances", "utterances", "count"),
        Column("answers", "answers", "count"),
        Column("perplexity", "perplexity", "number", higher_is_better=False),
        Column("prompt_tokens", "tokens of a prompt, mean", "number", 1),
        Column("prompt_room", "tokens that a prompt may have", "count"),
        Column("share_fitting", "prompts that fit", "share"),
        Column("utterances_fitting", "utterances that would fit", "count"),
    ]
    rows = [
        {
            **_subject(overview, row),
            "utterances": each.utterances,
            "answers": each.answers,
            "perplexity": each.perplexity,
            "prompt_tokens": each.prompt_tokens,
            "prompt_room": each.room,
            "share_fitting": each.share_fitting,
            "utterances_fitting": each.utterances_fitting,
        }
        for row in overview.results.rows
        for each in row.by_utterances
    ]
    return Table(columns, rows)


def cost(overview: Overview) -> Table:
    """What every row has cost: time, tokens and memory. Differs from one repetition to the next."""
    columns = [
        *_subject_columns(overview),
        Column("training_seconds", "training, s", "number", 1),
        Column("training_tokens", "training tokens", "count"),
        Column("training_tokens_per_second", "training tokens per second", "number", 0),
        Column("training_peak_mib", "training, MiB at most", "number", 0),
        Column("attempts", "attempts", "count"),
        # Rows at a time on one GPU, and how many attempts its memory was too small for: each halved them.
        Column("micro_batch", "rows at a time", "count"),
        Column("gpus", "GPUs", "count"),
        Column("out_of_memory", "out of memory", "count"),
        Column("answers", "answers", "count"),
        Column("answer_tokens", "answer tokens", "count"),
        Column("generation_seconds", "answering, s", "number", 1),
        Column("seconds_per_answer", "seconds per answer", "number", 2),
        Column("generation_peak_mib", "answering, MiB at most", "number", 0),
        Column("device", "device"),
        *_STATE,
    ]
    rows = []
    for row in overview.results.rows:
        training, generation = row.trained.get("cost", {}), row.generated
        rows.append(
            {
                **_subject(overview, row),
                "training_seconds": training.get("seconds"),
                "training_tokens": training.get("tokens"),
                "training_tokens_per_second": _quotient(training.get("tokens"), training.get("seconds")),
                "training_peak_mib": _quotient(training.get("peak_memory_bytes"), _MIB),
                "attempts": training.get("attempts") or row.attempts,
                "micro_batch": row.trained.get("micro_batch"),
                "gpus": row.trained.get("gpus"),
                "out_of_memory": row.trained.get("out_of_memory"),
                "answers": generation.get("answers"),
                "answer_tokens": generation.get("answer_tokens"),
                "generation_seconds": generation.get("seconds"),
                "seconds_per_answer": _quotient(generation.get("seconds"), generation.get("answers")),
                "generation_peak_mib": _quotient(generation.get("peak_memory_bytes"), _MIB),
                "device": generation.get("device"),
                "status": row.status,
                "reason": row.reason,
            }
        )
    return Table(columns, rows)


def seeds(overview: Overview) -> Table:
    """Mean and sample standard deviation over the seeds of each recipe; no rows if the study has one seed.

    The spread over seeds is that of repeated training. It is no part of the intervals in the other tables, which are
    about the choice of dialogues.
    """
    about = [*_subject_columns(overview, name="label"), *_recipe_columns(overview)]
    about = [column for column in about if column.key not in ("run", "seed")]
    loss = Column("validation_loss", "validation loss", "number", higher_is_better=False, group="training")
    columns = [
        *about,
        Column("seeds_done", "seeds done", "count", group="seeds"),
        Column("seeds_planned", "seeds planned", "count", group="seeds"),
        replace(loss, key="validation_loss_mean", title="validation loss, mean"),
        replace(loss, key="validation_loss_sd", title="standard deviation", higher_is_better=None),
    ]
    for metric in overview.metrics.values():
        mean = of_metric(metric, "mean")
        columns += [mean, replace(mean, key=f"{metric.name}_sd", title="standard deviation", higher_is_better=None)]
    table = []
    for spread in over_seeds(overview.results):
        known = {**_subject(overview, spread.rows[0]), **_recipe(overview, spread.rows[0])}
        line = {column.key: known[column.key] for column in about}
        done = sum(row.status == "done" for row in spread.rows)
        line |= {"seeds_done": done, "seeds_planned": len(spread.rows)}
        for name, (mean_, deviation) in spread.measured.items():
            line |= {f"{name}_mean": mean_, f"{name}_sd": deviation}
        table.append(line)
    return Table(columns, table)


def _data(results: Results, row: Row) -> str:
    """Which rows of the dataset a run was trained on, or an untrained model was asked about, in the study's words."""
    grid = results.grid
    data = grid.clean[row.run.clean if row.run else grid.prompts[row.answers.prompts].clean]
    base = grid.clean[data.base] if isinstance(data, Decontaminated) else data
    chosen = [f"{split} {number}" for split, number in {**base.rows, **data.rows}.items()]
    if isinstance(base, Clean):
        chosen += [f"{split} {share:g} of all" for split, share in base.splits.items()]
    return ", ".join(chosen) or "all"


def _subject_columns(overview: Overview, name: str = "run") -> list[Column]:
    """What a row is about; columns that say the same of every row of any study like this are not there."""
    keys = ["model", "dataset", *(["chat"] if overview.has_chats else []), "evaluation"]
    keys += [*(["backend"] if overview.has_backends else []), "run", "label"]
    keys += ["data"] if overview.has_data else []
    keys += ["parent"] if overview.has_parents else []
    return [Column(key, key, "name" if key == name else "text", group="subject") for key in keys]


def _subject(overview: Overview, row: Row) -> TableRow:
    results = overview.results
    return {
        "model": results.model(row),
        "dataset": results.dataset(row),
        **({"chat": row.answers.chat["name"] or "the model's own"} if overview.has_chats else {}),
        "evaluation": row.answers.evaluation,
        **({"backend": row.answers.backend} if overview.has_backends else {}),
        "run": row.run.name if row.run else "untrained",
        "label": row.run.label if row.run else None,
        **({"data": _data(results, row)} if overview.has_data else {}),
        **({"parent": _parent(results, row)} if overview.has_parents else {}),
    }


def _parent(results: Results, row: Row) -> str | None:
    """The run that a run goes on from, as the study calls it."""
    if row.run is None or row.run.parent is None:
        return None
    parent = results.grid.runs[row.run.parent]
    return parent.label or parent.name


def _recipe_columns(overview: Overview) -> list[Column]:
    columns = [
        Column("method", "method"),
        Column("precision", "precision"),
        *(Column(key, key, "setting") for key in ("rank", "alpha", "scale", "seed")),
        *(Column(name, name.replace("_", " "), "setting") for name in overview.varying),
    ]
    return [replace(column, group="recipe") for column in columns]


def _recipe(overview: Overview, row: Row) -> TableRow:
    run = row.run
    recipe = run.recipe if run else None
    values: TableRow = {
        "method": recipe.method if recipe else None,
        "precision": row.answers.precision,
        "rank": recipe.rank if recipe else None,
        "alpha": recipe.alpha if recipe else None,
        "scale": recipe.scale if recipe else None,
        "seed": run.seed if run else None,
    }
    for name in overview.varying:
        values[name] = shown(_number(recipe, name)) if recipe else None
    return values


def _number(recipe: Recipe, name: str) -> Any:
    """A field of a recipe, in which whole numbers are integers: a learning rate of 1e30 has no thirty digits."""
    value = getattr(recipe, name)
    is_float = {field.name: field.type for field in fields(recipe)}[name] is float
    return float(value) if is_float else value


def _published(results: Results, row: Row, metric: str) -> str | None:
    """Published values that belong to a row, each with its source."""
    texts = []
    for item in results.grid.published:
        subject = "tuned" if row.run else "untrained"
        place = item["model"], item["dataset"] or results.dataset(row)
        if item["metric"] != metric or item["subject"] != subject:
            continue
        if item.get("evaluation") not in (None, row.answers.evaluation):
            continue
        if metric in results.columns and metric not in results.columns_in(row.answers.evaluation):
            continue  # another evaluation's; one that the study does not measure stands beside all
        if place != (results.model(row), results.dataset(row)):
            continue
        fields = {**vars(row.run.recipe), "name": row.run.label} if row.run else {}
        if any(fields.get(name) != value for name, value in item["where"].items()):
            continue
        values = item["value"] if isinstance(item["value"], list) else [item["value"]]
        texts.append(f"{', '.join(f'{value:g}' for value in values)} ({item['source']})")
    return "; ".join(texts) or None


def _quotient(numerator: Any, denominator: Any) -> float | None:
    return numerator / denominator if numerator is not None and denominator else None
