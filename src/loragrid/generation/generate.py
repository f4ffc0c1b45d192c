"""Ask the subjects of a batch: answers to the prompts, and the scores that need base and adapter."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch

from loragrid.errors import UserError
from loragrid.files import canonical, read_jsonl
from loragrid.generation.answer import answer_prompts, answer_together
from loragrid.generation.backends import Backend
from loragrid.generation.backends.transformers import Transformers
from loragrid.generation.choice import ask_choices
from loragrid.generation.likelihood import reference_likelihoods
from loragrid.generation.sheet import Request
from loragrid.jobs import slurm
from loragrid.jobs.adapter import adapter_of
from loragrid.jobs.attempts import out_of_memory_attempts, read_attempts
from loragrid.jobs.failures import record_failure
from loragrid.jobs.standing import Reporter
from loragrid.jobs.stop import Stop
from loragrid.jobs.work import attempt_groups
from loragrid.modeling.architecture import Architecture, architecture_of
from loragrid.modeling.lend import Lender
from loragrid.modeling.load import attach_adapter, empty_base
from loragrid.modeling.mixed import read_updates, why_alone
from loragrid.modeling.tokenizer import load_chat, load_plain_tokenizer
from loragrid.study.batches import Batch
from loragrid.study.members import MOST_TOGETHER, AnswerMember, failure_of
from loragrid.study.micro_batch import answers_at_a_time

WriteScore = Callable[
    [Path, Mapping[str, Any], Sequence[dict[str, Any]], Sequence[dict[str, str]], Mapping[str, Any]], None
]


def generate_batch(batch: Batch[AnswerMember], write_score: WriteScore) -> bool:
    """Make what each member of a batch still misses: answers together, everything else one after the other.

    Args:
        batch: the recorded batch.
        write_score: writes a score that needs the model, from its items and what is left out.

    Returns:
        Whether every member finished or failed for good.
    """
    lender = Lender()
    return attempt_groups(
        batch.members,
        "generate",
        lambda members, stop, fail: _generate(members, stop, fail, lender, write_score),
        slurm.seconds_left,
        _grouped,
    )


def _grouped(members: Sequence[AnswerMember]) -> list[list[AnswerMember]]:
    """Those that can be asked in one batch: of one base, one chat and one way of decoding."""
    groups: dict[str, list[AnswerMember]] = {}
    for member in members:
        answers = member.answers
        how = [
            member.model.folder,
            answers.precision,
            answers.chat,
            answers.in_chat,
            answers.decoding,
            answers.backend,
            member.model.sharded,
        ]
        groups.setdefault(canonical(how), []).append(member)
    found = []
    for group in groups.values():
        # A server takes minutes to start, and keeps adapters that wait in the host's memory.
        most = len(group) if group[0].answers.backend == "vllm" else MOST_TOGETHER
        found += [group[start : start + most] for start in range(0, len(group), most)]
    return found


def _generate(
    members: Sequence[AnswerMember],
    stop: Stop,
    fail: Callable[[AnswerMember, UserError], None],
    lender: Lender,
    write_score: WriteScore,
) -> None:
    asking = _Asking(members, stop, lender, write_score)
    adapters: dict[str, Path | None] = {}
    for member in members:
        try:
            adapters[member.folder] = _adapter_of(member)
        except UserError as error:
            fail(member, error)
    able = [member for member in members if member.folder in adapters]
    if not able:
        return
    asking.answer({member.folder: adapters[member.folder] for member in able})
    for member in able:
        try:
            asking.rest(member, adapters[member.folder])
        except UserError as error:
            fail(member, error)


def _adapter_of(member: AnswerMember) -> Path | None:
    run = member.run
    return adapter_of(run.folder, run.key, "its training") if run else None


class _Asking:
    """What a group of members misses is made.

    Args:
        members: of one base, one chat and one way of decoding.
        stop: tells when to end.
        lender: lends their base.
        write_score: writes a score that needs the model.
    """

    def __init__(self, members: Sequence[AnswerMember], stop: Stop, lender: Lender, write_score: WriteScore):
        self._members = members
        self._stop = stop
        self._lender = lender
        self._write_score = write_score
        self._attempts = max(out_of_memory_attempts(member.work) for member in members)
        micro_batch = min(member.model.micro_batch for member in members)
        self._least, self._most = answers_at_a_time(micro_batch, self._attempts)
        self._micro = max(1, micro_batch >> self._attempts)
        self._made = False
        """Whether anything was made in this attempt."""
        self._reporters = {member.folder: Reporter(member.work) for member in members}
        model, answers = members[0].model, members[0].answers
        self._chat = load_chat(model.folder, answers.chat) if answers.in_chat else None
        self._tokenizer = self._chat.tokenizer if self._chat else load_plain_tokenizer(model.folder)
        added = self._chat.added_token if self._chat else None
        architecture_of(model.folder).grown(added).check_padding(self._tokenizer)

    def answer(self, adapters: Mapping[str, Path | None]) -> None:
        """Make answers, in batches that are shared by all whose adapters can share one.

        Args:
            adapters: of the members that are to be asked, by folder; None for the model as it is.
        """
        if self._least == 0:
            self._give_up()
        asked = [
            member
            for member in self._members
            if member.folder in adapters and self._is_left(member, "generations") and self._chat is not None
        ]
        if not asked:
            return
        if self._by_vllm:
            self._answer_by_vllm(asked, adapters)
            return
        base = self._base()
        requests = {}
        for member in asked:
            try:
                if (request := self._request(base, member, adapters[member.folder])) is not None:
                    requests[member.folder] = request
            except UserError as error:
                self._fail(member, "generations", error)
        together = [member for member in asked if member.folder in requests]
        self._answer_some(Transformers(base, self._least, self._most), together, requests)

    def _answer_by_vllm(self, asked: Sequence[AnswerMember], adapters: Mapping[str, Path | None]) -> None:
        from loragrid.generation.backends import vllm  # with requests, which nobody else needs

        model, served = asked[0].model, []
        base = empty_base(Path(model.folder))
        for member in asked:
            try:
                if (adapter := adapters[member.folder]) is not None:
                    vllm.check_adapter(base, adapter)
                served.append(member)
            except UserError as error:
                self._fail(member, "generations", error)
        if not served:
            return
        self._lender.release()  # the server takes what memory there is, and what comes after it loads the base anew
        paths = [adapter for member in served if (adapter := adapters[member.folder]) is not None]
        log = Path(read_attempts(served[0].work)[-1]["log"])
        log = log.with_name(f"{log.stem}-vllm.log")
        with vllm.serving(
            model.folder, served[0].answers.precision, paths, log, self._stop, gpus=model.gpus_to_answer
        ) as backend:
            requests = {
                member.folder: Request(
                    list(read_jsonl(Path(member.prompts_file))),
                    member.work / "generations.jsonl",
                    member.answers.seed,
                    self._about(member),
                    self._reporters[member.folder],
                    adapters[member.folder],
                )
                for member in served
            }
            self._answer_some(backend, served, requests)

    def _answer_some(self, backend: Backend, members: Sequence[AnswerMember], requests: Mapping[str, Request]) -> None:
        if not members:
            return
        assert self._chat is not None  # noqa: S101 - asked above
        try:
            answer_together(
                backend,
                self._chat,
                [requests[member.folder] for member in members],
                decoding=members[0].answers.decoding,
                stop=self._stop,
            )
        except UserError as error:
            # One that cannot be asked does not hold up the others.
            if len(members) > 1:
                for member in members:
                    self._answer_some(backend, [member], requests)
                return
            self._fail(members[0], "generations", error)
        self._made = True

    def _request(self, base: Any, member: AnswerMember, adapter: Path | None) -> Request | None:
        """What a member is asked; None if its adapter cannot share a batch with others, nor be put beside a base."""
        if adapter is not None and (why := why_alone(base, adapter)):
            print(f"{member.folder}: asked by itself: {why}", flush=True)
            return None
        return Request(
            list(read_jsonl(Path(member.prompts_file))),
            member.work / "generations.jsonl",
            member.answers.seed,
            self._about(member),
            self._reporters[member.folder],
            read_updates(base, adapter) if adapter is not None else None,
        )

    def rest(self, member: AnswerMember, adapter: Path | None) -> None:
        """Make the other parts of a member, and answers that were not made together with others'.

        Args:
            member: of the group.
            adapter: its adapter; None for the model as it is.
        """
        parts = self._parts_left(member)
        if self._by_vllm and "generations" in parts:
            raise RuntimeError(f"{member.folder}: vLLM has not answered, and nobody else may")
        if not parts:
            return
        model: Any = self._base()
        if adapter is not None:
            model = attach_adapter(model, adapter)
        model.eval()
        prompts = list(read_jsonl(Path(member.prompts_file)))
        for part in parts:
            self._stop.check(f"before {part}", progress=self._made)
            try:
                self._make(member, part, model, prompts)
            except UserError as error:
                # One that cannot be made does not hold up the others.
                self._fail(member, part, error)
            self._made = True

    def _make(self, member: AnswerMember, part: str, model: Any, prompts: list[dict[str, Any]]) -> None:
        answers, work, chat = member.answers, member.work, self._chat
        out, reporter = work / Path(member.parts[part]).name, self._reporters[member.folder]
        if part != "generations" and answers.scores[part]["name"] == "accuracy":
            items, excluded, counts = ask_choices(
                model, self._tokenizer, chat, prompts, work / "choices.jsonl",
                batch_size=self._micro, stop=self._stop, reporter=reporter, about=self._about(member),
                system=answers.chat["system"], progress=self._made,
            )  # fmt: skip
            self._write_score(out, answers.scores[part], items, excluded, counts)
        elif chat is None:
            raise UserError(f"{part}: needs the chat of the model, and was asked in plain text")
        elif part == "generations":
            answer_prompts(
                model, chat, prompts, out,
                decoding=answers.decoding, seed=answers.seed, batch_size=self._least, most=self._most,
                stop=self._stop, reporter=reporter, about=self._about(member),
            )  # fmt: skip
        else:
            items, excluded = reference_likelihoods(
                model, chat, prompts, self._micro, self._stop, reporter, progress=self._made
            )
            # With it tables tell how much of a dialogue the model can read.
            context = Architecture.of(model.config).context
            self._write_score(out, answers.scores[part], items, excluded, {"context": context})

    @property
    def _by_vllm(self) -> bool:
        return self._members[0].answers.backend == "vllm"

    def _base(self) -> Any:
        model, precision = self._members[0].model, self._members[0].answers.precision
        # One process has all GPUs of this job: the layers of a model that is too big for one are divided among them.
        divided = model.sharded and torch.cuda.device_count() > 1
        return self._lender.base(model.folder, precision, "divided" if divided else "here").eval()

    def _give_up(self) -> None:
        """Record that what the last attempt broke off at does not fit the GPU's memory; what is left is tried yet.

        A member for which the memory was too small is alone.
        """
        member = self._members[0]
        parts, too_large = self._parts_left(member), self._attempts - member.model.micro_batch.bit_length()
        failed = sum(failure_of(member.work, out).exists() for out in member.parts.values())
        if parts and failed < too_large:
            error = UserError(
                "a single prompt does not fit the GPU's memory: use `precision: nf4`, a smaller max_new_tokens or a "
                f"GPU with more memory. It was tried {self._attempts} times"
            )
            self._fail(member, parts[0], error)

    def _parts_left(self, member: AnswerMember) -> list[str]:
        """In the order in which they are made."""
        left = [part for part in member.parts if self._is_left(member, part)]
        return sorted(left, key=lambda part: (part != "generations", part))

    def _is_left(self, member: AnswerMember, part: str) -> bool:
        if part not in member.parts:
            return False
        out = member.work / Path(member.parts[part]).name
        return not out.exists() and not failure_of(member.work, out).exists()

    def _fail(self, member: AnswerMember, part: str, error: UserError) -> None:
        log = read_attempts(member.work)[-1]["log"]
        record_failure(failure_of(member.work, member.parts[part]), "generate", str(error), log)
        print(f"{member.folder}: {part}: failed for good: {error}", flush=True)

    @staticmethod
    def _about(member: AnswerMember) -> dict[str, str]:
        return {"of": member.answers.id, "key": member.answers.key}
