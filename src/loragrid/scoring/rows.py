"""What is scored: prompts and answers, paired by their ids; nothing is averaged that does not belong together."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from loragrid.errors import UserError
from loragrid.files import read_json, read_jsonl, sha256_of
from loragrid.generation.records import REFUSED, answers_sha256, is_scored, shown_of
from loragrid.metrics.base import Texts
from loragrid.modeling.messages import Message
from loragrid.study.grid import Answers


@dataclass(frozen=True)
class Rows:
    """Answers with what they belong to.

    Args:
        about: `id`, `dialogue` and perhaps `groups` of each, which its items begin with.
        texts: answers, references and prompts, in the same order.
        made: hashes of the files, for the score file.
    """

    about: list[dict[str, Any]]
    texts: Texts
    made: dict[str, str]


def read_rows(prompts: Path, generations: Path, seen: Callable[[list[Message]], str] | None = None) -> Rows:
    """The answers to an evaluation's prompts.

    Args:
        prompts: JSON Lines with `id`, `dialogue`, `reference` and `messages`.
        generations: JSON Lines with `id` and `answer`, in any order.
        seen: the text of a prompt's messages as the model saw it, where a score asks for that.

    Raises:
        UserError: prompts and answers do not pair up one to one by id, or there are none.
    """
    asked = by_id(prompts, ("dialogue", "reference"))
    answered = by_id(generations, ("answer",))
    if not asked:
        raise UserError(f"{prompts}: no prompts, so there is nothing to score")
    for id_ in asked:
        if id_ not in answered:
            raise UserError(f"{generations}: no answer to prompt {id_!r} of {prompts}; {_again(generations)}")
    for id_ in answered:
        if id_ not in asked:
            raise UserError(f"{generations}: the answer {id_!r} has no prompt in {prompts}; {_again(generations)}")
    asked = {id_: prompt for id_, prompt in asked.items() if is_scored(prompt)}
    texts = Texts(
        [answered[id_]["answer"] for id_ in asked],
        # What was recorded as the next turn of a conversation answers other words than the subject's own.
        ["" if "after" in prompt else prompt["reference"] for prompt in asked.values()],
        [_seen(answered[id_], prompt, seen) for id_, prompt in asked.items()] if seen else None,
    )
    about = [{"id": id_, "dialogue": prompt["dialogue"]} for id_, prompt in asked.items()]
    return Rows(about, texts, {"prompts_sha256": sha256_of(prompts), "answers_sha256": answers_sha256(generations)})


def _seen(row: dict[str, Any], prompt: dict[str, Any], seen: Callable[[list[Message]], str]) -> str:
    """The text of a prompt as the model saw it; nothing where the template refuses it, so that it was not asked."""
    return "" if row.get("ended") == REFUSED else seen(shown_of(row, prompt))


def check_whose(generations: Path, answers: Answers) -> None:
    """Refuse answers that are not those that were made there.

    Args:
        generations: the file; beside it generation.json tells whose answers they are.
        answers: what they should be.

    Raises:
        UserError: they belong to another run or evaluation, or were changed since.
    """
    told = generations.with_name("generation.json")
    if not told.exists():
        return  # made by an earlier version, or brought by the user
    made = read_json(told)
    again = _again(generations)
    if made.get("of", answers.id) != answers.id or made.get("key", answers.key) != answers.key:
        raise UserError(f"{generations}: are answers of {made.get('of')}, by {told}; {again}")
    if made.get("answers_sha256") not in (None, answers_sha256(generations)):
        raise UserError(f"{generations}: is not the file that was made together with {told}; {again}")


def _again(generations: Path) -> str:
    """What to do about answers that cannot be used: the file itself would be published again from the work folder."""
    folder = generations.parent.parent if generations.parent.name == "work" else generations.parent
    return f"delete {folder} to ask again"


def by_id(file: Path, texts: tuple[str, ...]) -> dict[str, dict[str, Any]]:
    """The records of a file by id, each with the given text fields.

    Raises:
        UserError: a record lacks one, or an id is there twice; the message names file and line.
    """
    records: dict[str, dict[str, Any]] = {}
    for number, record in enumerate(read_jsonl(file), start=1):
        for name in ("id", *texts):
            if not isinstance(record, dict) or not isinstance(record.get(name), str):
                raise UserError(f"{file}:{number}: needs {name!r} with a text")
        if record["id"] in records:
            raise UserError(f"{file}:{number}: the id {record['id']!r} is there twice")
        records[record["id"]] = record
    return records
