"""Ask subjects the prompts of an evaluation, in batches that rows of several subjects share.

An answer depends on its subject, its prompt and the seed alone: neither on the rows beside it, nor on how many these
are, nor on where a job was interrupted. What is left is rounding, which in 16 bits may tip the scale between two tokens
that are nearly as likely; so rows that were not answered yet make the same batches as they would have without an
interruption, on the same kind of device.
"""

import contextlib
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from loragrid.generation.backends import Backend, Row
from loragrid.generation.backends.transformers import Transformers
from loragrid.generation.sampling import row_seed
from loragrid.generation.sheet import Request, Sheet
from loragrid.jobs.standing import Reporter
from loragrid.jobs.stop import Stop
from loragrid.modeling.chat import Chat


def answer_prompts(
    model: Any,
    chat: Chat,
    prompts: list[dict[str, Any]],
    out: Path,
    *,
    decoding: dict[str, Any],
    seed: int,
    batch_size: int,
    most: int | None = None,
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
        batch_size: prompts at a time, whatever the memory.
        most: prompts at a time where it has room. Default: no more.
        stop: tells when to end.
        reporter: as of `Request`.
        about: as of `Request`.

    Raises:
        Interrupted: told to end.
        UserError: as of `answer_together`.
    """
    request = Request(prompts, out, seed, about, reporter)
    answer_together(Transformers(model, batch_size, most), chat, [request], decoding=decoding, stop=stop)


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
        UserError: the longest answer leaves no room for a prompt, the model has no row for a token of one, or the
            template refuses a conversation.
    """
    room = backend.architecture.prompt_room(decoding["max_new_tokens"])
    sheets = [Sheet(request, chat, backend, room) for request in requests if not request.out.exists()]
    for sheet in sheets:
        sheet.begin()
    progress = _Progress(sum(sheet.number for sheet in sheets), sum(sheet.answered for sheet in sheets), stop)
    # A round for each turn of conversations, one for all else.
    for turn in range(max((sheet.turns for sheet in sheets), default=0)):
        # Prompts of like length share a batch: less padding. The order is a function of the prompts alone.
        ready = sorted(
            (len(ids), id_, number, ids)
            for number, sheet in enumerate(sheets)
            for id_, ids in sheet.begin_turn(turn).items()
        )
        if not ready:
            continue
        rows = [Row(number, ids, row_seed(sheets[number].request.seed, id_)) for _, id_, number, ids in ready]
        adapters = [sheet.request.adapter for sheet in sheets]
        with contextlib.closing(backend.answers(rows, adapters, chat, decoding)) as answers:
            done, seconds = 0, 0.0
            while done < len(rows):
                made, waited = progress.next_of(answers)
                seconds += waited
                if not made:
                    continue
                took = {"seconds": round(seconds / len(made), 4), "together": len(sheets)}
                seconds = 0.0
                for number, sheet in enumerate(sheets):
                    sheet.add({ready[row][1]: made[row] | took for row in made if rows[row].subject == number})
                done += len(made)
                progress.add(len(made))


class _Progress:
    """How far answering is, and whether there is time to go on.

    Args:
        total: prompts.
        answered: of these by earlier attempts.
        stop: tells when to end.
    """

    def __init__(self, total: int, answered: int, stop: Stop):
        self._total = total
        self._before = self._answered = answered
        self._stop = stop
        self._longest = 0.0

    def next_of(self, answers: Iterator[dict[int, dict[str, Any]]]) -> tuple[dict[int, dict[str, Any]], float]:
        """What comes next, and the seconds that it took.

        Raises:
            Interrupted: told to end, or there is no time for it.
        """
        self._stop.unless_time_for(2 * self._longest)
        self._stop.check(f"after {self._answered} of {self._total} answers", progress=self._answered > self._before)
        began = time.monotonic()
        made = next(answers)
        seconds = time.monotonic() - began
        self._longest = max(self._longest, seconds)
        return made, seconds

    def add(self, number: int) -> None:
        """Count answers."""
        self._answered += number
        print(f"answered {self._answered} of {self._total}", flush=True)
