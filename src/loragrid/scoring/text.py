"""The text family: metrics that compare an answer's words with the reference's; needs no model and no GPU."""

from importlib.metadata import version
from pathlib import Path

from loragrid.errors import UserError
from loragrid.files import read_jsonl, write_json
from loragrid.metrics import METRICS
from loragrid.scoring import bleu, rouge

FAMILY = "text"


def score_text(prompts: Path, generations: Path, out: Path, key: str) -> None:
    """Score the answers to an evaluation's prompts.

    Args:
        prompts: JSON Lines with `id`, `dialogue` and `reference`.
        generations: JSON Lines with `id` and `answer`, in any order; an empty answer scores 0.
        out: score file to write.
        key: key of the score file, written into it.

    Raises:
        UserError: prompts and answers do not pair up one to one by id, or there are none.
    """
    asked = _by_id(prompts, ("dialogue", "reference"))
    answered = _by_id(generations, ("answer",))
    if not asked:
        raise UserError(f"{prompts}: no prompts, so there is nothing to score")
    for id_ in asked:
        if id_ not in answered:
            raise UserError(f"{generations}: no answer to prompt {id_!r} of {prompts}; delete it to ask again")
    for id_ in answered:
        if id_ not in asked:
            raise UserError(f"{generations}: the answer {id_!r} has no prompt in {prompts}; delete it to ask again")

    answers = [answered[id_]["answer"] for id_ in asked]
    references = [prompt["reference"] for prompt in asked.values()]
    items = [
        {"id": id_, "dialogue": prompt["dialogue"], **rouge_item, **bleu_item}
        for (id_, prompt), rouge_item, bleu_item in zip(
            asked.items(), rouge.items(answers, references), bleu.items(answers, references), strict=True
        )
    ]
    write_json(
        out,
        {
            "family": FAMILY,
            "key": key,
            "metrics": {name: METRICS[name].of(items) for name in (*rouge.NAMES, *bleu.NAMES)},
            "items": items,
            "versions": {
                **{module.LIBRARY: version(module.LIBRARY) for module in (rouge, bleu)},
                "bleu_signature": bleu.signature(references),
            },
        },
    )


def _by_id(file: Path, texts: tuple[str, ...]) -> dict[str, dict]:
    """The records of a file by id, each with the given text fields."""
    records: dict[str, dict] = {}
    for number, record in enumerate(read_jsonl(file), start=1):
        for name in ("id", *texts):
            if not isinstance(record, dict) or not isinstance(record.get(name), str):
                raise UserError(f"{file}:{number}: needs {name!r} with a text")
        if record["id"] in records:
            raise UserError(f"{file}:{number}: the id {record['id']!r} is there twice")
        records[record["id"]] = record
    return records
