"""The turns of a replayed conversation: the user's are recorded, the model's own answers come between them."""

from collections.abc import Iterator, Mapping
from itertools import islice
from pathlib import Path
from typing import Any

from loragrid.data.examples import examples_of
from loragrid.data.formats import FORMATS
from loragrid.data.formats.base import Example
from loragrid.data.prompts import NothingToAsk, left_out
from loragrid.files import read_jsonl, write_jsonl
from loragrid.modeling.messages import Message, with_system


def write_conversations(
    clean: Path,
    out: Path,
    *,
    format_: Mapping[str, Any],
    split: str,
    turns: str,
    rows: int | None,
    system: str | None,
    default_system: str | None,
    context: Mapping[str, Any],
) -> None:
    """Write one turn a line: `id`, `dialogue`, `messages`, `reference`, `meta`, `turn`, `after`.

    `after` is the id of the turn before, whose answer is needed first; of the first turn it is null. The assistant's
    `messages` are as recorded, or empty: in their place come the model's own answers. `reference` is what was recorded
    as the answer, or empty. Turns whose answers are only there for later ones have `scored: false`, and all of them the
    `context` in which they are asked, if that is not all that was said. A `turn` is counted from 1, and in `meta` it is
    `turn_1`, `turn_2` …, by which rubrics can have means.

    Args:
        clean: folder of the cleaned dataset.
        out: the file.
        format_: resolved format.
        split: `validation` or `test`.
        turns: `all` if each answer is scored, `last` if the last one of a conversation is.
        rows: at most this many records.
        system: system prompt in place of a conversation's own.
        default_system: system prompt for conversations without one.
        context: settings of `loragrid.data.context.in_context`; empty to have all of a conversation read.

    Raises:
        NothingToAsk: no record has anything to ask.
    """
    file = clean / f"{split}.jsonl"
    dropped: dict[str, int] = {}
    has_answers = FORMATS[format_["name"]].HAS_ANSWERS
    prompts = [
        prompt | ({"context": dict(context)} if context else {})
        for example in examples_of(islice(read_jsonl(file), rows), format_, dropped)
        for prompt in _turns(example, has_answers, turns == "all", system, default_system)
    ]
    if not prompts:
        raise NothingToAsk(f"{file}: no record has anything to ask{left_out(dropped)}")
    if dropped:
        print(f"{file}: records that nothing is asked of{left_out(dropped)}", flush=True)
    write_jsonl(out, prompts)


def _turns(
    example: Example, has_answers: bool, scores_all: bool, system: str | None, default_system: str | None
) -> Iterator[dict[str, Any]]:
    messages = with_system(example.messages if has_answers else _with_places(example), system, default_system)
    places = [place for place, message in enumerate(messages) if message["role"] == "assistant" and place > 0]
    after = None
    for number, place in enumerate(places, start=1):
        id_ = f"{example.id}#{place}"
        is_scored = scores_all or place == places[-1]
        yield {
            "id": id_,
            "dialogue": example.record,
            "messages": messages[:place],
            "reference": messages[place]["content"],
            "meta": {**example.meta, "turn": f"turn_{number}"},
            "turn": number,
            "after": after,
            **({} if is_scored else {"scored": False}),
        }
        after = id_


def _with_places(example: Example) -> list[Message]:
    """The user's turns with a place for an answer after each; in it, the reference if there is one."""
    references = example.meta.get("references")
    answers = iter(references if isinstance(references, list) else [])
    messages: list[Message] = []
    for message in example.messages:
        messages.append(message)
        if message["role"] == "user":
            messages.append({"role": "assistant", "content": str(next(answers, ""))})
    return messages
