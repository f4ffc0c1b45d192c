"""Have answers judged: what was not asked before is asked, and all replies become one file of judgements."""

import hashlib
import threading
import traceback
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from loragrid.errors import UserError
from loragrid.files import read_jsonl, write_json, write_jsonl
from loragrid.generation.records import is_scored, said_of
from loragrid.jobs.failures import record_failure
from loragrid.jobs.publish import publish_finished
from loragrid.judging.cache import Cache, Reply, cache_of, request_key
from loragrid.judging.client import Client, ServerError
from loragrid.judging.endpoint import endpoint_of
from loragrid.judging.pace import Pace
from loragrid.judging.prompt import PROMPT_VERSION, Messages, messages_for
from loragrid.judging.reply import Values, points, values_in
from loragrid.metrics.judge import Options
from loragrid.metrics.rubric import BETTER
from loragrid.progress import bar
from loragrid.study.batches import Batch
from loragrid.study.members import ScoreMember, failure_of, made_file
from loragrid.study.score_files import about_of

ASKED = 3
"""Times that a judge is asked for a reply that can be read; after that, it counts as unreadable."""

EQUAL = "equal answers"
"""In place of a judge, where two answers are the same."""


@dataclass(frozen=True)
class Question:
    """What a judge is asked once.

    Args:
        item: id of the prompt.
        repeat: from 0.
        swapped: whether the answer that is judged is shown after its opponent.
        messages: as they are sent; none for two equal answers, about which nobody is asked.
        about: hashes of the answers.
    """

    item: str
    repeat: int
    swapped: bool
    messages: Messages
    about: dict[str, str]


@dataclass(frozen=True)
class Said:
    """All replies to one question, the last of which counts.

    Args:
        replies: in their order.
        values: of the last; None if it could not be read, either.
    """

    replies: list[Reply]
    values: Values | None


def judge_batch(batch: Batch[ScoreMember], log: str) -> None:
    """Make what each member of a batch misses, in its work folder.

    A failure is put on record there, and is no lasting one: the next start asks again.

    Args:
        batch: the recorded batch.
        log: where this job's output goes, for the record of a failure.
    """
    silent: dict[str, list[ServerError]] = defaultdict(list)
    for member in batch.members:
        work = member.work
        for id_, file in sorted(member.parts.items()):
            out = work / Path(file).name
            if out.exists():
                continue
            failure = failure_of(work, out)
            failure.unlink(missing_ok=True)
            score = member.answers.scores[id_]
            model = score["options"]["model"]
            try:
                # Each member would wait for it as long as the first two, of which the first may have had an answer
                # that the server cannot read.
                if len(silent[model]) > 1:
                    raise silent[model][-1]
                if _is_answered(member, score) and judge_answers(member, score, out):
                    silent[model] = []
            except UserError as error:
                if isinstance(error, ServerError):
                    silent[model].append(error)
                _record(failure, str(error), log)
            except Exception as error:
                traceback.print_exc()
                _record(failure, f"{type(error).__name__}: {error}", log)
        publish_finished(member)


def _record(failure: Path, reason: str, log: str) -> None:
    record_failure(failure, "judge", f"{reason} (The next start tries again.)", log)
    print(f"{failure}: {reason}", flush=True)


def _is_answered(member: ScoreMember, score: Mapping[str, Any]) -> bool:
    """Whether there is anything to judge; if not, whoever publishes the answers says why."""
    folders = member.answers.compared(score["opponent"])
    missing = [folder for folder in folders if made_file(folder, "generations.jsonl") is None]
    for folder in missing:
        print(f"{folder}: no answers to judge", flush=True)
    return not missing


def judge_answers(member: ScoreMember, score: Mapping[str, Any], out: Path) -> int:
    """Judge one set of answers by one rubric, and write what was said of each.

    Args:
        member: of a batch: `answers` and `prompts_file`.
        score: as answers hold it.
        out: JSON Lines to write: a judgement for each item, criterion, repeat and order. What it took lies beside it.

    Returns:
        How often somebody was asked.

    Raises:
        UserError: answers are missing, there is no endpoint, it fails, or it would take too many requests.
    """
    options = Options.model_validate(score["options"])
    asked = list(_questions(member, score, options))
    with cache_of(options.model) as cache:
        judge = _Judge(options, cache)
        said = judge.ask_all(asked)
    folder = member.answers.folder
    write_json(about_of(out), _about(options, said, judge))
    pairs = zip(asked, said, strict=True)
    write_jsonl(out, (record for one, reply in pairs for record in _records(folder, one, reply, options)))
    print(f"{out}: judged, {judge.requests} requests to {judge.endpoint or 'nobody'}", flush=True)
    return judge.requests


def _questions(member: ScoreMember, score: Mapping[str, Any], options: Options) -> Iterator[Question]:
    prompts = filter(is_scored, read_jsonl(Path(member.prompts_file)))
    folders = [member.answers.folder, *([score["opponent"]] if options.rubric.is_pairwise else [])]
    answered = [_answers(folder) for folder in folders]
    for prompt in prompts:
        try:
            rows = [each[prompt["id"]] for each in answered]
        except KeyError:
            raise UserError(
                f"{folders[-1]}: no answer to prompt {prompt['id']!r}; delete generations.jsonl there, and in its work "
                "folder, to ask again"
            ) from None
        answers = [str(row["answer"]) for row in rows]
        names = ("answer_sha256", "opponent_sha256")
        about = {name: answer_sha256(answer) for name, answer in zip(names, answers, strict=False)}
        if len(answers) == 2 and answers[0] == answers[1]:
            yield Question(prompt["id"], 0, False, [], about)
            continue
        for repeat in range(options.repeats):
            for order in [answers, answers[::-1]] if len(answers) == 2 else [answers]:
                messages = messages_for(options.rubric, said_of(rows[0], prompt), order)
                yield Question(prompt["id"], repeat, order is not answers, messages, about)


def _answers(folder: str) -> dict[str, dict[str, Any]]:
    file = made_file(folder, "generations.jsonl")
    if file is None:
        raise UserError(f"{folder}: no answers to judge")
    return {row["id"]: row for row in read_jsonl(file)}


def answer_sha256(answer: str) -> str:
    """By what a judgement is known to be of this answer."""
    return hashlib.sha256(answer.encode("utf-8", "surrogatepass")).hexdigest()


class _Judge:
    """Asks questions, each once, several at a time."""

    def __init__(self, options: Options, cache: Cache):
        self._options = options
        self._cache = cache
        self._lock = threading.Lock()
        self._stopped = threading.Event()
        self.requests = 0
        self.endpoint = ""

    def ask_all(self, questions: Sequence[Question]) -> list[Said | None]:
        """What is said to each question; None where nobody is asked."""
        keys = [self._key(question, 0) if question.messages else "" for question in questions]
        different = {key: question for key, question in zip(keys, questions, strict=True) if key}
        if missing := [question for question in different.values() if not self._is_answered(question)]:
            self._ask(missing, self._client_for(len(missing)))
        said = {key: self._settled(question, self._cached) for key, question in different.items()}
        return [said.get(key) for key in keys]

    def _client_for(self, number: int) -> Client:
        most = self._options.max_requests
        if most is not None and number > most:
            raise UserError(
                f"judging these answers would take {number} requests or more, and the study allows {most} "
                "(`max_requests`); nothing was asked. Allow more, or ask about fewer `rows`."
            )
        endpoint = endpoint_of()
        self.endpoint = endpoint.name
        return Client(endpoint, Pace(self._options.requests_per_minute, self._options.tokens_per_minute))

    def _ask(self, questions: Sequence[Question], client: Client) -> None:
        def asked(question: Question, attempt: int) -> Reply:
            return self._cached(question, attempt) or self._request(client, question, attempt)

        with ThreadPoolExecutor(self._options.concurrency) as threads, bar("judging", len(questions)) as advance:
            futures = [threads.submit(self._settled, question, asked) for question in questions]
            try:
                for future in as_completed(futures):
                    future.result()
                    advance(1)
            except BaseException:
                self._stopped.set()
                threads.shutdown(wait=False, cancel_futures=True)
                raise

    def _settled(self, question: Question, reply_to: Callable[[Question, int], Reply | None]) -> Said:
        """Replies to a question until one can be read."""
        replies: list[Reply] = []
        for attempt in range(ASKED):
            reply = reply_to(question, attempt)
            if reply is None:
                break
            replies.append(reply)
            values = values_in(reply.text, self._options.rubric)
            if values is not None:
                return Said(replies, values)
        return Said(replies, None)

    def _is_answered(self, question: Question) -> bool:
        said = self._settled(question, self._cached)
        return said.values is not None or len(said.replies) == ASKED

    def _cached(self, question: Question, attempt: int) -> Reply | None:
        return self._cache.get(self._key(question, attempt))

    def _request(self, client: Client, question: Question, attempt: int) -> Reply:
        reply = client.ask(
            question.messages,
            schema=self._options.rubric.schema_of_reply(),
            before=self._count,
            **self._settings(question, attempt),
        )
        with self._lock:
            self._cache.add(self._key(question, attempt), reply)
        return reply

    def _count(self) -> None:
        with self._lock:
            if self._stopped.is_set():
                raise UserError("stopped, since another request has failed")
            most = self._options.max_requests
            if most is not None and self.requests >= most:
                raise UserError(
                    f"{most} requests were made, which is what the study allows (`max_requests`); some replies could "
                    "not be read, or failed, and were asked for again. What was answered is kept: start again to go on."
                )
            self.requests += 1

    def _settings(self, question: Question, attempt: int) -> dict[str, Any]:
        options = self._options
        return {
            "model": options.model,
            "temperature": options.temperature,
            "seed": options.seed + question.repeat * ASKED + attempt,
            "max_tokens": options.max_tokens,
        }

    def _key(self, question: Question, attempt: int) -> str:
        asked = {
            "messages": question.messages,
            "schema": self._options.rubric.schema_of_reply(),
            "repeat": question.repeat,
            "attempt": attempt,
            "version": PROMPT_VERSION,
        }
        return request_key(self._settings(question, attempt) | asked)


def _records(answers: str, question: Question, said: Said | None, options: Options) -> Iterator[dict[str, Any]]:
    """The judgements of one question, one for each criterion."""
    if said is None:
        values: Mapping[str, float | None] = {BETTER: 0.5}
        how: dict[str, Any] = {"by": EQUAL, "raw": "", "form": "", "tries": 0}
    else:
        read = said.values
        values = points(read, question.swapped) if read else dict.fromkeys(options.rubric.names)
        last = said.replies[-1]
        how = {"by": options.model, "raw": last.text, "form": last.form, "tries": len(said.replies)}
    place = {"repeat": question.repeat, "swapped": question.swapped}
    for criterion, value in values.items():
        judgement = {"answers": answers, "item": question.item, "criterion": criterion, "value": value}
        yield judgement | how | place | question.about


def _about(options: Options, said: Sequence[Said | None], judge: _Judge) -> dict[str, Any]:
    """What judgements took, and how they were made."""
    # Equal questions have one reply, which is the same object.
    replies = list({id(reply): reply for one in said if one for reply in one.replies}.values())
    return {
        "judge": options.model,
        "models": sorted({reply.model for reply in replies if reply.model}),
        "rubric": options.rubric.title,
        "endpoint": judge.endpoint,
        "replies": len(replies),
        "forms": dict(Counter(reply.form for reply in replies)),
        "unreadable": sum(one is not None and one.values is None for one in said),
        "tokens_in": sum(reply.tokens_in for reply in replies),
        "tokens_out": sum(reply.tokens_out for reply in replies),
        "requests_now": judge.requests,
    }
