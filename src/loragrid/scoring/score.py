"""Compute the scores of answers from their texts, some by an encoder; one that fails does not hold up the others."""

import traceback
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from loragrid.errors import UserError
from loragrid.jobs.failures import record_failure
from loragrid.jobs.publish import publish_finished
from loragrid.jobs.work import is_out_of_memory
from loragrid.metrics import METRICS
from loragrid.metrics.base import TextMetric, Texts
from loragrid.modeling.messages import Message
from loragrid.scoring.file import write_score
from loragrid.scoring.judge import score_judgements
from loragrid.scoring.rows import Rows, check_whose, read_rows
from loragrid.study.batches import Batch
from loragrid.study.members import ScoreMember, failure_of, made_file
from loragrid.study.score_files import judgements_of

if TYPE_CHECKING:
    from loragrid.modeling.encoder import Encoded, Encoder


def score_batch(batch: Batch[ScoreMember], log: str) -> None:
    """Make what each member of a batch still misses, in its work folder; what fails for good is put on record there.

    Args:
        batch: the recorded batch.
        log: where this job's output goes, for the record of a failure.

    Raises:
        MemoryError: it was too small for some, which are left; all others are made.
    """
    encoders, left = _Encoders(), list[str]()
    for member in batch.members:
        work = member.work
        missing = {
            id_: out for id_, file in sorted(member.parts.items()) if not (out := work / Path(file).name).exists()
        }
        generations = made_file(member.folder, "generations.jsonl")
        if generations is None:  # they failed; whoever publishes them says why
            print(f"{member.folder}: no answers to score", flush=True)
            continue
        rows: Rows | None = None
        for id_, out in missing.items():
            failure_of(work, out).unlink(missing_ok=True)
            score = member.answers.scores[id_]
            try:
                if score["place"] == "judge":
                    judgements = Path(judgements_of(member.answers.folder, score))
                    found = made_file(member.folder, f"judgements/{judgements.name}")
                    if found is None:  # whoever publishes them says why
                        print(f"{judgements}: no judgements to score", flush=True)
                        continue
                    score_judgements(member, score, found, out)
                    print(f"{out}: scored", flush=True)
                    continue
                if rows is None:
                    check_whose(generations, member.answers)
                    rows = read_rows(Path(member.prompts_file), generations, _seen_by_model(member))
                by = encoders.of(member, id_) if batch.stage == "score_by_encoder" else None
                score_texts(rows, score, out, by)
            except UserError as error:
                record_failure(failure_of(work, out), "score", str(error), log)
                print(f"{out}: failed for good: {error}", flush=True)
            except (MemoryError, RuntimeError) as error:
                if not is_out_of_memory(error):
                    _unexpected(error, failure_of(work, out), log)
                    continue
                traceback.print_exc()  # the next job may have more
                left.append(f"{out}: {error}")
            except Exception as error:
                _unexpected(error, failure_of(work, out), log)
            else:
                print(f"{out}: scored", flush=True)
        publish_finished(member)
    if left:
        raise MemoryError("; ".join(left))


def _unexpected(error: Exception, record: Path, log: str) -> None:
    """Put on record that a score cannot be made, for a reason that nobody foresaw: it would come again."""
    traceback.print_exc()
    record_failure(record, "score", f"{type(error).__name__}: {error}", log)
    print(f"{record.with_suffix('')}: failed for good: {error}", flush=True)


def score_texts(
    rows: Rows, score: Mapping[str, Any], out: Path, encoded: "tuple[Encoder, Encoded] | None" = None
) -> None:
    """Score answers by one metric.

    Args:
        rows: what is scored.
        score: as answers hold it.
        out: score file to write.
        encoded: what encodes them, and the references as it has done that; only of a score by an encoder.

    Raises:
        UserError: the metric cannot be computed.
    """
    metric = cast(TextMetric, METRICS[score["name"]])
    options = metric.Options.model_validate(score["options"])
    texts = replace(_with_prompts(rows.texts) if score["with_prompt"] else rows.texts, encoded=encoded)
    items = [{**about, **item} for about, item in zip(rows.about, metric.items(texts, options), strict=True)]
    whole = metric.whole(texts, options) if any(not column.is_sum for column in metric.COLUMNS) else None
    write_score(out, score, items, whole=whole, made={**rows.made, **metric.about(texts, options)})


class _Encoders:
    """Encoders and references as they see them, each loaded once for all that one after the other need the same."""

    def __init__(self) -> None:
        self._encoder: tuple[Any, Encoder] | None = None
        self._encoded: tuple[Any, Encoded] | None = None

    def of(self, member: ScoreMember, id_: str) -> "tuple[Encoder, Encoded]":
        """The encoder of a member's score, and the references."""
        from loragrid.modeling.encoder import load_encoder
        from loragrid.scoring.references import encoded_references

        references = member.references[id_]
        which = (member.encoder_folder, references.layer)
        if self._encoder is None or self._encoder[0] != which:
            self._encoder = self._encoded = None  # so that no two are in memory
            self._encoder = which, load_encoder(str(member.encoder_folder), references.layer)
        encoder = self._encoder[1]
        if self._encoded is None or self._encoded[0] != references:
            file, prompts = Path(references.file), Path(member.prompts_file)
            self._encoded = references, encoded_references(file, references.key, prompts, encoder)
        return encoder, self._encoded[1]


def _seen_by_model(member: ScoreMember) -> Callable[[list[Message]], str] | None:
    """How a prompt's text looks as the model saw it; None if no score of the member asks for that."""
    if not any(member.answers.scores[id_]["with_prompt"] for id_ in member.parts):
        return None
    from loragrid.modeling.tokenizer import load_chat

    chat = load_chat(member.model.folder, member.answers.chat)
    return lambda messages: str(chat.tokenizer.decode(chat.prompt(messages), skip_special_tokens=True))


def _with_prompts(texts: Texts) -> Texts:
    """Answers with what they are answers to before them."""
    if texts.prompts is None:
        raise UserError("with_prompt: how the model saw the prompts is known in a study only")
    answers = [prompt + answer for prompt, answer in zip(texts.prompts, texts.answers, strict=True)]
    return replace(texts, answers=answers)
