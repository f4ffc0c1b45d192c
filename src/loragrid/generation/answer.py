"""Ask subjects the prompts of an evaluation, in batches that rows of several subjects share.

An answer depends on its subject, its prompt and the seed alone: neither on the rows beside it, nor on how many these
are, nor on where a job was interrupted. What is left is rounding, which in 16 bits may tip the scale between two tokens
that are nearly as likely; so rows that were not answered yet make the same batches as they would have without an
interruption.
"""

import contextlib
import hashlib
import json
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from loragrid.files import write_json, write_jsonl, write_text
from loragrid.generation.backends import Adapter, Backend, Row
from loragrid.generation.backends.transformers import Transformers
from loragrid.generation.sampling import row_seed
from loragrid.jobs.standing import Reporter
from loragrid.jobs.stop import Stop
from loragrid.modeling.chat import Chat


@dataclass(frozen=True)
class Request:
    """What one subject is asked, and where its answers go.

    Args:
        prompts: `id` and `messages` each.
        out: generations.jsonl: `id`, `answer`, `prompt_tokens`, `answer_tokens`, `ended` (`stop` or `length`).
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


def answer_prompts(
    model: Any,
    chat: Chat,
    prompts: list[dict[str, Any]],
    out: Path,
    *,
    decoding: dict[str, Any],
    seed: int,
    batch_size: int,
    stop: Stop,
    reporter: Reporter,
    about: Mapping[str, Any],
) -> None:
    """Generate one subject's answer to each prompt by transformers: `answer_together` of one request.

    Args:
        model: base model, perhaps with an adapter of PEFT's.
        chat: its tokenizer and template.
        prompts: as of `Request`.
        out: as of `Request`.
        decoding: as of `answer_together`.
        seed: as of `Request`.
        batch_size: prompts at a time.
        stop: tells when to end.
        reporter: as of `Request`.
        about: as of `Request`.

    Raises:
        Interrupted: told to end.
        UserError: as of `answer_together`.
    """
    request = Request(prompts, out, seed, about, reporter)
    answer_together(Transformers(model, batch_size), chat, [request], decoding=decoding, stop=stop)


def answer_together(
    backend: Backend,
    chat: Chat,
    requests: Sequence[Request],
    *,
    decoding: Mapping[str, Any],
    stop: Stop,
) -> None:
    """Generate the answers of several subjects of one base at once.

    Each subject's answers are kept in a growing file of its own as they come, so that an interrupted job goes on where
    it was. Once all of a subject are there, generations.jsonl is written and, beside it, generation.json with what they
    took. A subject whose generations.jsonl is there is asked nothing.

    Args:
        backend: who answers.
        chat: tokenizer and template of the base.
        requests: what each subject is asked.
        decoding: max_new_tokens, temperature, top_p, top_k, repetition_penalty.
        stop: tells when to end.

    Raises:
        Interrupted: told to end.
        UserError: the longest answer leaves no room for a prompt, or the model has no row for a token of one.
    """
    room = backend.architecture.prompt_room(decoding["max_new_tokens"])
    sheets = [_Sheet(request, chat, room, backend) for request in requests if not request.out.exists()]
    backend.architecture.check_ids(max((sheet.largest_id for sheet in sheets), default=0))
    for sheet in sheets:
        sheet.begin()
    # Prompts of like length share a batch: less padding. The order is a function of the prompts alone.
    left = sorted((len(sheet.encoded[id_]), id_, number) for number, sheet in enumerate(sheets) for id_ in sheet.left)
    total = sum(len(sheet.encoded) for sheet in sheets)
    before, done = total - len(left), 0
    longest = 0.0
    rows = [
        Row(number, sheets[number].encoded[id_], row_seed(sheets[number].request.seed, id_)) for _, id_, number in left
    ]
    with contextlib.closing(
        backend.answers(rows, [sheet.request.adapter for sheet in sheets], chat, decoding)
    ) as answers:
        while done < len(rows):
            stop.unless_time_for(2 * longest)
            stop.check(f"after {before + done} of {total} answers", progress=done > 0)
            began = time.monotonic()
            made = next(answers)
            seconds = time.monotonic() - began
            longest = max(longest, seconds)
            if not made:
                continue
            took = {"seconds": round(seconds / len(made), 4), "together": len(sheets)}
            for number, sheet in enumerate(sheets):
                sheet.add({left[row][1]: made[row] | took for row in made if rows[row].subject == number})
            done += len(made)
            print(f"answered {before + done} of {total}", flush=True)


class _Sheet:
    """A subject's answers while they are made."""

    def __init__(self, request: Request, chat: Chat, room: int | None, backend: Backend):
        self.request = request
        self._backend = backend
        self._whole = {prompt["id"]: chat.prompt(prompt["messages"]) for prompt in request.prompts}
        self.encoded = {id_: ids if room is None else ids[-room:] for id_, ids in self._whole.items()}
        self._growing = request.out.with_suffix(".part.jsonl")
        self._records: dict[str, dict[str, Any]] = {}

    @property
    def largest_id(self) -> int:
        return max(id_ for ids in self.encoded.values() for id_ in ids)

    @property
    def left(self) -> list[str]:
        """Prompts without an answer."""
        return [id_ for id_ in self.encoded if id_ not in self._records]

    def begin(self) -> None:
        """Go on after what an earlier attempt has answered."""
        for record in _whole_lines(self._growing):
            if record["id"] in self.encoded:
                self._records[record["id"]] = record
        write_jsonl(self._growing, self._records.values())
        self.request.reporter.begin("answers", len(self._records), len(self.encoded))
        self._publish_if_whole()  # the end may have come just before that

    def add(self, answers: Mapping[str, Mapping[str, Any]]) -> None:
        """Keep some answers, by the prompt's id."""
        if not answers:
            return
        new = {id_: {"id": id_, "prompt_tokens": len(self.encoded[id_]), **answer} for id_, answer in answers.items()}
        with self._growing.open("a", encoding="utf-8") as file:
            file.write("".join(json.dumps(record, ensure_ascii=False) + "\n" for record in new.values()))
        self._records |= new
        self.request.reporter.reach(len(self._records))
        self._publish_if_whole()

    def _publish_if_whole(self) -> None:
        if self.left:
            return
        out = self.request.out
        in_order = [self._records[prompt["id"]] for prompt in self.request.prompts]
        columns = ("id", "answer", "prompt_tokens", "answer_tokens", "ended")
        text = "".join(
            json.dumps({name: record[name] for name in columns}, ensure_ascii=False) + "\n" for record in in_order
        )
        write_json(
            out.with_name("generation.json"),
            {
                **self.request.about,
                "answers_sha256": hashlib.sha256(text.encode()).hexdigest(),
                "answers": len(in_order),
                "ended_by_length": sum(record["ended"] == "length" for record in in_order),
                "seconds": round(sum(record["seconds"] for record in in_order), 3),
                # Those of an earlier version had their batches to themselves.
                "together": max(record.get("together", 1) for record in in_order),
                "prompt_tokens": sum(record["prompt_tokens"] for record in in_order),
                "answer_tokens": sum(record["answer_tokens"] for record in in_order),
                "prompts_cut": sum(len(ids) > len(self.encoded[id_]) for id_, ids in self._whole.items()),
                **self._backend.describe(),
            },
        )
        write_text(out, text)
        self._growing.unlink()


def _whole_lines(file: Path) -> Iterator[dict[str, Any]]:
    if not file.exists():
        return
    # Not splitlines(), which also divides at characters that an answer may have inside, e.g. U+2028.
    for line in file.read_bytes().split(b"\n"):
        try:
            yield json.loads(line)
        except ValueError:
            return  # cut short by a kill
