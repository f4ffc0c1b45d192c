"""One subject's answers while they are made, kept in a growing file, so that nothing is answered twice."""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from loragrid.data.context import in_context
from loragrid.errors import UserError
from loragrid.files import write_json, write_jsonl, write_text
from loragrid.generation.backends import Adapter, Backend
from loragrid.generation.records import COLUMNS, REFUSED, digest_of, line_of
from loragrid.jobs.standing import Reporter
from loragrid.modeling.chat import Chat
from loragrid.modeling.messages import Message

_OF_EACH = {"id", "answer", "ended", "prompt_tokens", "answer_tokens", "seconds"}
"""What a line of the growing file has at least."""


@dataclass(frozen=True)
class Request:
    """What one subject is asked, and where its answers go.

    Args:
        prompts: `id` and `messages` each, and perhaps `reference`. Those with `after` are turns of conversations, as
            `loragrid.data.conversations` writes them: one goes on after the answer to the prompt of that id.
        out: generations.jsonl, with the columns of `loragrid.generation.records`.
        seed: of sampling.
        about: whose answers these are, for generation.json.
        reporter: is told how many are answered.
        adapter: the subject's, as the backend takes it; None for the model as it is.
    """

    prompts: Sequence[Mapping[str, Any]]
    out: Path
    seed: int
    about: Mapping[str, Any]
    reporter: Reporter
    adapter: Adapter = None


@dataclass(frozen=True)
class _Asked:
    """A prompt as its subject is asked it.

    Args:
        messages: what was said before.
        shown: what of it the subject reads.
        ids: token ids of that, with room for the longest answer.
        cut: whether that took some of the beginning.
    """

    messages: list[Message]
    shown: list[Message]
    ids: list[int]
    cut: bool


class Sheet:
    """A subject's answers while they are made.

    Args:
        request: what it is asked.
        chat: tokenizer and template of its base.
        backend: who answers.
        room: tokens that a prompt may have; None for no limit.
    """

    def __init__(self, request: Request, chat: Chat, backend: Backend, room: int | None):
        self.request = request
        self._prompts = {str(prompt["id"]): prompt for prompt in request.prompts}
        self._chat = chat
        self._backend = backend
        self._room = room
        self._turn = _turns(self._prompts)
        self._asked: dict[str, _Asked] = {}
        self._growing = request.out.with_suffix(".part.jsonl")
        self._records: dict[str, dict[str, Any]] = {}

    @property
    def number(self) -> int:
        """Of prompts."""
        return len(self._prompts)

    @property
    def answered(self) -> int:
        """Prompts that have an answer."""
        return len(self._records)

    def begin(self) -> None:
        """Go on after what an earlier attempt has answered."""
        for record in _whole_lines(self._growing):
            if record["id"] in self._prompts:
                self._records[record["id"]] = record
        write_jsonl(self._growing, self._records.values())
        self.request.reporter.begin("answers", self.answered, self.number)
        self._publish_if_whole()  # the end may have come just before that

    @property
    def turns(self) -> int:
        """Of the longest conversation; 1 for prompts by themselves."""
        return max(self._turn.values(), default=0) + 1

    def begin_turn(self, turn: int) -> dict[str, list[int]]:
        """Token ids of the prompts of a turn that have no answer; those of the turns before have one.

        Where a subject has said something that its own template refuses, its conversation ends: what is left of it
        counts as answered by nothing, and is recorded as `refused`.

        Args:
            turn: from 0.

        Raises:
            UserError: the template refuses a dialogue of others, or the model has no row for a token.
        """
        self._asked = {}
        refused: dict[str, dict[str, Any]] = {}
        for id_, prompt in self._prompts.items():
            if self._turn[id_] != turn or id_ in self._records:
                continue
            try:
                if turn and self._records[prompt["after"]]["ended"] == REFUSED:
                    raise UserError("its conversation has ended")
                self._asked[id_] = self._as_asked(prompt)
            except UserError as error:
                if not turn:
                    raise
                print(f"{self.request.out.parent}: {id_} is not asked: {error}", flush=True)
                self._asked[id_] = _Asked(self._as_said(prompt), self._as_said(prompt), [], cut=False)
                refused[id_] = {"answer": "", "answer_tokens": 0, "ended": REFUSED, "seconds": 0.0}
        self._backend.architecture.check_ids(
            max((token for each in self._asked.values() for token in each.ids), default=0)
        )
        self.add(refused)
        return {id_: each.ids for id_, each in self._asked.items()}

    def _as_asked(self, prompt: Mapping[str, Any]) -> _Asked:
        messages = self._as_said(prompt)
        shown = in_context(messages, **prompt.get("context", {}))
        ids = self._chat.prompt(shown)
        if self._room is None or len(ids) <= self._room:
            return _Asked(messages, shown, ids, cut=False)
        # What a subject has said itself may be long: whole turns go, the newest stay.
        for fewer in _without_first_turns(shown) if "after" in prompt else ():
            shown, ids = fewer, self._chat.prompt(fewer)
            if len(ids) <= self._room:
                break
        return _Asked(messages, shown, ids[-self._room :], cut=True)

    def _as_said(self, prompt: Mapping[str, Any]) -> list[Message]:
        """The messages of a prompt, with the subject's own answers in a conversation."""
        own: list[str] = []
        before = prompt.get("after")
        while before is not None:
            own.append(self._records[before]["answer"])
            before = self._prompts[before].get("after")
        messages: list[Message] = [dict(message) for message in prompt["messages"]]
        if "after" in prompt:
            answers = [message for message in messages if message["role"] == "assistant"]
            for message, answer in zip(answers, reversed(own), strict=True):
                message["content"] = answer
        return messages

    def add(self, answers: Mapping[str, Mapping[str, Any]]) -> None:
        """Keep some answers, by the prompt's id."""
        if not answers:
            return
        for id_, answer in answers.items():
            asked = self._asked.pop(id_)
            about: dict[str, Any] = {"id": id_, "messages": asked.messages}
            if asked.shown != asked.messages:
                about["asked"] = asked.shown
            about |= {"prompt_tokens": len(asked.ids), "prompt_cut": asked.cut}
            self._records[id_] = {**about, "reference": self._prompts[id_].get("reference"), **answer}
        with self._growing.open("a", encoding="utf-8") as file:
            file.write("".join(line_of(self._records[id_]) for id_ in answers))
        self.request.reporter.reach(self.answered)
        self._publish_if_whole()

    def _publish_if_whole(self) -> None:
        if self.answered < self.number:
            return
        out = self.request.out
        in_order = [self._records[id_] for id_ in self._prompts]
        rows = [{name: record[name] for name in COLUMNS if name in record} for record in in_order]
        write_json(
            out.with_name("generation.json"),
            {
                **self.request.about,
                "answers_sha256": digest_of(rows),
                "answers": len(in_order),
                "ended_by_length": sum(record["ended"] == "length" for record in in_order),
                "seconds": round(sum(record["seconds"] for record in in_order), 3),
                # Those of an earlier version had their batches to themselves.
                "together": max(record.get("together", 1) for record in in_order),
                "rows_at_a_time": max((record.get("rows", 0) for record in in_order), default=0) or None,
                "prompt_tokens": sum(record["prompt_tokens"] for record in in_order),
                "answer_tokens": sum(record["answer_tokens"] for record in in_order),
                "refused": sum(record["ended"] == REFUSED for record in in_order),
                "prompts_cut": sum(record.get("prompt_cut", False) for record in in_order),
                **self._backend.describe(),
            },
        )
        write_text(out, "".join(map(line_of, rows)))
        self._growing.unlink()


def _turns(prompts: Mapping[str, Mapping[str, Any]]) -> dict[str, int]:
    """Of each prompt, how many come before it in its conversation."""
    turns: dict[str, int] = {}
    for id_, prompt in prompts.items():  # a turn stands after the one before
        after = prompt.get("after")
        turns[id_] = 0 if after is None else turns[after] + 1
    return turns


def _without_first_turns(messages: Sequence[Message]) -> Iterator[list[Message]]:
    """A conversation without its first turn, without its first two …; the system prompt and the last turn stay."""
    system = [message for message in messages[:1] if message["role"] == "system"]
    rest = list(messages[len(system) :])
    starts = [
        place
        for place in range(1, len(rest))
        if rest[place]["role"] == "user" and rest[place - 1]["role"] == "assistant"
    ]
    for start in starts:
        yield [*system, *rest[start:]]


def _whole_lines(file: Path) -> Iterator[dict[str, Any]]:
    if not file.exists():
        return
    # Not splitlines(), which also divides at characters that an answer may have inside, e.g. U+2028.
    for line in file.read_bytes().split(b"\n"):
        try:
            record = json.loads(line)
        except ValueError:
            return  # cut short by a kill
        if not isinstance(record, dict) or not record.keys() >= _OF_EACH:
            return  # damaged: answered again
        yield record
