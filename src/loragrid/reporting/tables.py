"""The tables, as lists of rows: comparison, gains, cost and seeds. Plain values; how they look is said in formats."""

from collections.abc import Iterable
from typing import Any

from loragrid.comparing.collect import Results, Row
from loragrid.comparing.gains import Gains, gain_columns
from loragrid.comparing.seeds import over_seeds
from loragrid.files import canonical
from loragrid.metrics import METRICS
from loragrid.reporting.contamination import Overlaps
from loragrid.study.grid import Clean, Decontaminated
from loragrid.study.schema import Recipe

TableRow = dict[str, Any]
"""Column → text, number or None; all rows of a table have the same columns in the same order."""

GAIN_COLUMNS = (
    "model", "dataset", "evaluation", "run", "label", "seed", "metric", "untrained", "tuned", "gain", "low", "high",
    "p", "p_holm", "verdict", "dialogues", "reason",
)  # fmt: skip
"""Columns of the table of gains, which has no rows until something is compared."""

_MIB = 2**20


def comparison(results: Results, gains: Gains) -> list[TableRow]:
    """The comparison table: one row per subject × evaluation, whether it is done or not. No timings."""
    varying = varying_fields(results)
    best = results.best_runs
    overlaps = Overlaps(results)
    metric = results.headline
    published = [name for name in METRICS if any(item["metric"] == name for item in results.grid.published)]
    published += sorted({item["metric"] for item in results.grid.published} - set(published))
    rows = []
    for row in results.rows:
        gain = gains.get((row.answers.id, metric))
        compared = gain.comparison if gain else None
        trained = row.trained
        rows.append(
            {
                **_about(results, row),
                **_recipe(row, varying),
                "trainable_parameters": trained["parameters"]["trainable"] if trained else None,
                "train_loss": trained["loss"]["train"] if trained else None,
                "validation_loss": row.validation_loss,
                **{name: row.scores[name].value if name in row.scores else None for name in METRICS},
                f"{metric}_gain": compared.gain if compared else None,
                f"{metric}_gain_low": compared.low if compared else None,
                f"{metric}_gain_high": compared.high if compared else None,
                f"{metric}_p": gain.p_holm if gain else None,
                "verdict": gain.verdict if gain else None,
                "best": "yes" if row.run and row.run.folder in best else None,
                "answers": max((score.count for score in row.scores.values()), default=None),
                # Answers that ran to max_new_tokens: if most do, the model never learnt to stop.
                "share_at_limit": _quotient(row.generated.get("ended_by_length"), row.generated.get("answers")),
                "excluded": row.excluded or None,
                # Of what is asked: records that training data has something in common with.
                "share_in_training": overlaps.share(row),
                **{f"{name}_published": _published(results, row, name) for name in published},
                "status": row.status,
                "reason": row.reason or (gain.reason if gain else ""),
            }
        )
    return rows


def gains_table(results: Results, gains: Gains) -> list[TableRow]:
    """Every run × metric, in long form."""
    return [
        {
            **_about(results, row),
            "seed": row.run.seed,
            "metric": name,
            "untrained": gain.reference,
            "tuned": row.scores[name].value,
            **gain_columns(gain),
        }
        for row in results.rows
        for name in METRICS
        if row.run and (gain := gains.get((row.answers.id, name)))
    ]


def cost(results: Results) -> list[TableRow]:
    """What every row has cost: time, tokens and memory. Differs from one repetition to the next."""
    rows = []
    for row in results.rows:
        training, generation = row.trained.get("cost", {}), row.generated
        rows.append(
            {
                **_about(results, row),
                "training_seconds": training.get("seconds"),
                "training_tokens": training.get("tokens"),
                "training_tokens_per_second": _quotient(training.get("tokens"), training.get("seconds")),
                "training_peak_mib": _quotient(training.get("peak_memory_bytes"), _MIB),
                "attempts": training.get("attempts") or row.attempts,
                # Rows at a time on one GPU, and how many attempts its memory was too small for: each halved them.
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
    return rows


def seeds(results: Results) -> list[TableRow]:
    """Mean and sample standard deviation over the seeds of each recipe; no rows if the study has one seed."""
    varying = varying_fields(results)
    table = []
    for spread in over_seeds(results):
        first = spread.rows[0]
        columns = {
            name: value
            for name, value in {**_about(results, first), **_recipe(first, varying)}.items()
            if name not in ("run", "seed")
        }
        done = sum(row.status == "done" for row in spread.rows)
        columns |= {"seeds_done": done, "seeds_planned": len(spread.rows)}
        for name, (mean, deviation) in spread.measured.items():
            columns |= {f"{name}_mean": mean, f"{name}_sd": deviation}
        table.append(columns)
    return table


def varying_fields(results: Results) -> list[str]:
    """Recipe fields that differ between runs of the study, other than those that have a column anyway."""
    recipes = [run.recipe for run in results.grid.runs.values()]
    names = [name for name in Recipe.model_fields if name not in ("method", "rank", "alpha")]
    return [name for name in names if len({canonical(recipe.get(name)) for recipe in recipes}) > 1]


def _data(results: Results, row: Row) -> str:
    """Which rows of the dataset a run was trained on, or an untrained model was asked about, in the study's words."""
    grid = results.grid
    data = grid.clean[row.run.clean if row.run else grid.prompts[row.answers.prompts].clean]
    base = grid.clean[data.base] if isinstance(data, Decontaminated) else data
    chosen = [f"{split} {number}" for split, number in {**base.rows, **data.rows}.items()]
    if isinstance(base, Clean):
        chosen += [f"{split} {share:g} of all" for split, share in base.splits.items()]
    return ", ".join(chosen) or "all"


def _about(results: Results, row: Row) -> TableRow:
    # Points may choose their own rows and splits; the column is there only where they do.
    varies = len({(run.dataset, run.clean) for run in results.grid.runs.values()}) > len(
        {run.dataset for run in results.grid.runs.values()}
    )
    chats = {answers.chat["name"] for answers in results.grid.answers.values()}
    return {
        "model": results.model(row),
        "dataset": results.dataset(row),
        **({"chat": row.answers.chat["name"] or "the model's own"} if chats != {None} else {}),
        "evaluation": row.answers.evaluation,
        "run": row.run.name if row.run else "untrained",
        "label": row.run.label if row.run else None,
        **({"data": _data(results, row)} if varies else {}),
    }


def _recipe(row: Row, varying: Iterable[str]) -> TableRow:
    run = row.run
    recipe = Recipe.model_validate(run.recipe) if run else None
    columns: TableRow = {
        "method": recipe.method if recipe else None,
        "precision": row.answers.precision,
        "rank": recipe.rank if recipe else None,
        "alpha": recipe.alpha if recipe else None,
        "scale": recipe.scale if recipe else None,
        "seed": run.seed if run else None,
    }
    for name in varying:
        value = getattr(recipe, name) if recipe else None
        columns[name] = " ".join(value) if isinstance(value, list) else value
    return columns


def _published(results: Results, row: Row, metric: str) -> str | None:
    """Published values that belong to a row, each with its source."""
    texts = []
    for item in results.grid.published:
        subject = "tuned" if row.run else "untrained"
        place = item["model"], item["dataset"] or results.dataset(row)
        if item["metric"] != metric or item["subject"] != subject:
            continue
        if place != (results.model(row), results.dataset(row)):
            continue
        fields = {**row.run.recipe, "name": row.run.label} if row.run else {}
        if any(fields.get(name) != value for name, value in item["where"].items()):
            continue
        values = item["value"] if isinstance(item["value"], list) else [item["value"]]
        texts.append(f"{', '.join(f'{value:g}' for value in values)} ({item['source']})")
    return "; ".join(texts) or None


def _quotient(numerator: Any, denominator: Any) -> float | None:
    return numerator / denominator if numerator is not None and denominator else None
