"""Compute the scores of answers from their texts; one that fails does not hold up the others."""

from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

from loragrid.errors import UserError
from loragrid.jobs.failures import record_failure
from loragrid.metrics import METRICS
from loragrid.metrics.base import TextMetric, Texts
from loragrid.scoring.file import write_score
from loragrid.scoring.judge import score_judgements
from loragrid.scoring.rows import Rows, read_rows
from loragrid.study.batches import Batch, failure_of, work_folder
from loragrid.study.scores import judgements_of


def score_batch(batch: Batch, log: str) -> None:
    """Make what each member of a batch still misses, in its work folder; what fails for good is put on record there.

    Args:
        batch: the recorded batch.
        log: where this job's output goes, for the record of a failure.
    """
    for member in batch.members:
        work = work_folder(member)
        missing = {
            id_: out for id_, file in sorted(member["parts"].items()) if not (out := work / Path(file).name).exists()
        }
        generations = Path(member["answers"]["folder"], "generations.jsonl")
        rows: Rows | None = None
        for id_, out in missing.items():
            failure_of(work, out).unlink(missing_ok=True)
            score = member["answers"]["scores"][id_]
            try:
                if score["place"] == "judge":
                    judgements = judgements_of(member["answers"]["folder"], score)
                    score_judgements(member, score, Path(judgements), out)
                else:
                    rows = rows or read_rows(Path(member["prompts_file"]), generations, _seen_by_model(member))
                    score_texts(rows, score, out)
            except UserError as error:
                record_failure(failure_of(work, out), "score", str(error), log)
                print(f"{out}: failed for good: {error}", flush=True)
            else:
                print(f"{out}: scored", flush=True)


def score_texts(rows: Rows, score: Mapping[str, Any], out: Path) -> None:
    """Score answers by one metric.

    Args:
        rows: what is scored.
        score: as answers hold it.
        out: score file to write.

    Raises:
        UserError: the metric cannot be computed.
    """
    metric = cast(TextMetric, METRICS[score["name"]])
    options = metric.Options.model_validate(score["options"])
    texts = _with_prompts(rows.texts) if score["with_prompt"] else rows.texts
    items = [{**about, **item} for about, item in zip(rows.about, metric.items(texts, options), strict=True)]
    whole = metric.whole(texts, options) if any(not column.is_sum for column in metric.COLUMNS) else None
    write_score(out, score, items, whole=whole, made={**rows.made, **metric.about(texts, options)})


def _seen_by_model(member: dict[str, Any]) -> Callable[[dict[str, Any]], str] | None:
    """How a prompt's text looks as the model saw it; None if no score of the member asks for that."""
    if not any(member["answers"]["scores"][id_]["with_prompt"] for id_ in member["parts"]):
        return None
    from loragrid.modeling.tokenizer import load_chat

    chat = load_chat(member["model_folder"], member["answers"]["chat"])
    return lambda prompt: str(chat.tokenizer.decode(chat.prompt(prompt["messages"]), skip_special_tokens=True))


def _with_prompts(texts: Texts) -> Texts:
    """Answers with what they are answers to before them."""
    if texts.prompts is None:
        raise UserError("with_prompt: how the model saw the prompts is known in a study only")
    answers = [prompt + answer for prompt, answer in zip(texts.prompts, texts.answers, strict=True)]
    return replace(texts, answers=answers)
