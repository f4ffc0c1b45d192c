"""The prompts of a choice evaluation: each question after examples of its own subject, with letters to choose from."""

from collections import defaultdict
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from loragrid.data.prompts import NothingToAsk
from loragrid.data.records import ChoiceQuestion, from_json
from loragrid.data.wording import LETTERS, Wording
from loragrid.errors import UserError
from loragrid.files import read_jsonl, write_jsonl

EXAMPLES = "validation"
"""The split that examples are taken from: CMMLU and TurkishMMLU call it dev."""

_BySubject = dict[str | None, list[ChoiceQuestion]]


def write_choices(
    clean: Path, out: Path, *, wording: Mapping[str, Any], split: str, shots: int, rows: int | None
) -> None:
    """Write one question a line: `id`, `dialogue`, `subject`, `messages`, `letters`, `reference`, `meta`.

    The messages are an introduction as `system`, examples as pairs of `user` and `assistant`, and the question. The
    examples are the first of the subject, in the order of the data; the reference is the letter of the right choice.

    Args:
        clean: folder of the cleaned dataset.
        out: the file.
        wording: what differs from the usual `Wording`.
        split: that questions come from.
        shots: examples before each question. A subject that has a few less is asked with those it has, which is told.
        rows: at most this many questions of each subject, the first ones; None for all.

    Raises:
        NothingToAsk: there is no question.
        UserError: a subject has no example, or none has so many; or a question has more choices than there are letters.
    """
    file = clean / f"{split}.jsonl"
    asked = {subject: questions[:rows] for subject, questions in _by_subject(file).items()}
    if not asked:
        raise NothingToAsk(f"{file}: there is no question to ask")
    examples: _BySubject = _by_subject(clean / f"{EXAMPLES}.jsonl") if shots else {}
    _check(asked, examples, shots)
    words = Wording(**wording)
    write_jsonl(out, _prompts(asked, examples, words, shots))


def _by_subject(file: Path) -> _BySubject:
    found: _BySubject = defaultdict(list)
    for line in read_jsonl(file):
        record = from_json(line)
        if not isinstance(record, ChoiceQuestion):
            raise UserError(f"{file}: {record.id} is no question with choices")
        if len(record.choices) > len(LETTERS):
            raise UserError(f"{file}: {record.id} has {len(record.choices)} choices, more than there are letters")
        subject = record.meta.get("subject")
        found[None if subject is None else str(subject)].append(record)
    return dict(found)


def _check(asked: _BySubject, examples: _BySubject, shots: int) -> None:
    numbers = {subject: len(examples.get(subject, ())) for subject in asked}
    fewer = {subject: number for subject, number in numbers.items() if number < shots}
    if not fewer:
        return
    named = ", ".join(f"{subject or 'questions without a subject'}: {number}" for subject, number in fewer.items())
    if len(fewer) == len(asked) or not all(fewer.values()):
        raise UserError(
            f"shots: {shots} examples are asked for, and the {EXAMPLES} split has fewer of {len(fewer)} of "
            f"{len(asked)} subjects ({named}): ask for fewer, or add examples. cleaning.json says what was dropped, "
            "such as examples that are asked, too"
        )
    print(f"warning: fewer than {shots} examples of {len(fewer)} of {len(asked)} subjects ({named})", flush=True)


def _prompts(asked: _BySubject, examples: _BySubject, words: Wording, shots: int) -> Iterable[dict[str, Any]]:
    for subject, questions in asked.items():
        introduction = words.introduction(subject)
        before = [{"role": "system", "content": introduction}] if introduction else []
        for example in examples.get(subject, [])[:shots]:
            before += [
                {"role": "user", "content": words.asked(example.question, example.choices)},
                {"role": "assistant", "content": LETTERS[example.answer]},
            ]
        for record in questions:
            yield {
                "id": record.id,
                "dialogue": record.id,
                "subject": subject,
                "messages": [*before, {"role": "user", "content": words.asked(record.question, record.choices)}],
                "letters": list(LETTERS[: len(record.choices)]),
                "reference": LETTERS[record.answer],
                "meta": record.meta,
            }
