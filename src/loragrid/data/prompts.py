"""The prompts of an evaluation: examples cut off before an answer, with that answer as the reference."""

from collections import Counter
from collections.abc import Iterator, Mapping
from itertools import islice
from pathlib import Path
from typing import Any

from loragrid.data.context import in_context
from loragrid.data.examples import examples_of
from loragrid.data.formats.base import Example
from loragrid.errors import UserError
from loragrid.files import read_jsonl, write_jsonl
from loragrid.modeling.messages import with_system


class NothingToAsk(UserError):
    """No record has anything to ask: that concerns one evaluation, and is for its models' preflights to tell."""


def write_prompts(
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
    """Write one prompt a line: `id`, `dialogue`, `messages`, `reference`, `meta`.

    In a context that is not all of a dialogue, `said` has all of it: who judges an answer reads what was said.

    Args:
        clean: folder of the cleaned dataset.
        out: the file.
        format_: resolved format.
        split: `validation` or `test`.
        turns: `all` to ask at every assistant turn, `last` at the last.
        rows: at most this many records.
        system: system prompt in place of a dialogue's own.
        default_system: system prompt for dialogues without one.
        context: settings of `in_context`; empty to have all of a dialogue read.

    Raises:
        NothingToAsk: no record has an answer to ask for.
    """
    file = clean / f"{split}.jsonl"
    dropped: dict[str, int] = {}
    prompts = [
        prompt
        for example in examples_of(islice(read_jsonl(file), rows), format_, dropped)
        for prompt in _prompts(example, turns, system, default_system)
    ]
    why = left_out(dropped)
    if not prompts:
        raise NothingToAsk(f"{file}: no record has an answer to ask for{why}{_or_else(file, dropped)}")
    if dropped:
        print(f"{file}: records that nothing is asked of{why}{_or_else(file, dropped)}", flush=True)
    if context:
        counts: Counter[str] = Counter()
        for prompt in prompts:
            prompt["said"] = prompt["messages"]
            prompt["messages"] = in_context(prompt["said"], **context, counts=counts)
        if counts:
            print(_in_words(counts), flush=True)
    write_jsonl(out, prompts)


def left_out(dropped: Mapping[str, int]) -> str:
    """Records that make no prompt by reason, a line each, for messages."""
    return "".join(f"\n  - {reason}: {number}" for reason, number in sorted(dropped.items()))


def _or_else(file: Path, dropped: Mapping[str, int]) -> str:
    """What to do about it."""
    if not dropped:
        return f"\nThe dataset has no {file.stem} split: give `splits`, or use `source: prompts`, of which all is test"
    return (
        "\nPrompts without a reference are asked by an evaluation of `kind: replay`, of a dataset with `format: replay`"
    )


def _prompts(example: Example, turns: str, system: str | None, default_system: str | None) -> Iterator[dict[str, Any]]:
    messages = with_system(example.messages, system, default_system)
    answers = [index for index, message in enumerate(messages) if message["role"] == "assistant" and index > 0]
    for index in answers if turns == "all" else answers[-1:]:
        yield {
            "id": f"{example.id}#{index}",
            "dialogue": example.record,
            "messages": messages[:index],
            "reference": messages[index]["content"],
            "meta": example.meta,
        }


def _in_words(counts: Counter[str]) -> str:
    """What became of the histories, for the log."""
    return (
        f"of {counts['words']} words in {counts['messages']} messages before what is asked, {counts['removed']} are "
        f"stopwords and left out; {counts['whole']} messages are nothing but stopwords, and stay"
    )
