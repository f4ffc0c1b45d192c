"""Ask runs and untrained models a few prompts, as an evaluation would: a look, of which nothing is kept."""

import contextlib
import itertools
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from safetensors import SafetensorError

from loragrid.errors import UserError
from loragrid.generation.backends import Row
from loragrid.generation.backends.transformers import Transformers
from loragrid.generation.sampling import row_seed
from loragrid.jobs.adapter import adapter_of
from loragrid.jobs.environment import release_memory
from loragrid.modeling.architecture import architecture_of
from loragrid.modeling.chat import Chat
from loragrid.modeling.load import attach_adapter, load_base
from loragrid.modeling.messages import Message, with_system
from loragrid.modeling.tokenizer import load_chat
from loragrid.study.grid import Run
from loragrid.study.micro_batch import answers_at_a_time


@dataclass(frozen=True)
class Subject:
    """Who is asked.

    Args:
        name: for people.
        model: folder of the base model.
        precision: of its weights.
        chat: template, system prompt and end of answers, as answers hold them.
        run: whose adapter is over it; None for the base as it is.
        micro_batch: prompts at a time, at least.
        sharded: whether the model is too big for one GPU.
    """

    name: str
    model: str
    precision: str
    chat: Mapping[str, Any]
    run: Run | None
    micro_batch: int
    sharded: bool = False


def ask(
    subjects: Sequence[Subject], prompts: Sequence[Sequence[Message]], decoding: Mapping[str, Any], seed: int = 0
) -> Iterator[list[dict[str, Any]] | UserError]:
    """Ask each subject each prompt. A base model is loaded once for all that follow each other on it.

    Args:
        subjects: in turn.
        prompts: conversations that end with what the user says.
        decoding: as in `loragrid.generation.answer`.
        seed: of sampling.

    Yields:
        For each subject, in their order, of each prompt: `answer`, `answer_tokens`, `ended`, and whether the prompt was
        `cut` at its beginning to fit the model's context. Of one that cannot be asked, why: a model or an adapter
        cannot be loaded, or is not the one that was trained; or the longest answer leaves no room for a prompt.
    """
    asker = _Asker(prompts, decoding, seed)
    for subject in subjects:
        found: list[dict[str, Any]] | UserError
        try:
            found = asker.ask(subject)
        except UserError as error:
            found = UserError(str(error))  # anew: that one would keep the model of its frames in memory
        if isinstance(found, UserError):
            asker.unload()
        yield found


class _Asker:
    """Asks one after the other, and keeps the base as long as it is the same.

    Args:
        prompts: conversations that end with what the user says.
        decoding: as in `loragrid.generation.answer`.
        seed: of sampling.
    """

    def __init__(self, prompts: Sequence[Sequence[Message]], decoding: Mapping[str, Any], seed: int):
        self._prompts, self._decoding, self._seed = prompts, decoding, seed
        self._loaded: tuple[str, str] | None = None
        self._base: Any = None

    def unload(self) -> None:
        """Forget the base."""
        self._loaded = self._base = None
        release_memory()

    def ask(self, subject: Subject) -> list[dict[str, Any]]:
        """The subject's answers.

        Args:
            subject: who is asked.

        Raises:
            UserError: the subject cannot be asked.
        """
        # First, since it tells best what is wrong with a model's folder.
        architecture = architecture_of(subject.model)
        with _told(subject):
            chat = load_chat(subject.model, subject.chat)
        architecture = architecture.grown(chat.added_token)
        architecture.check_padding(chat.tokenizer)
        room = architecture.prompt_room(self._decoding["max_new_tokens"])
        whole = [chat.prompt(with_system(prompt, None, subject.chat["system"])) for prompt in self._prompts]
        encoded = [ids if room is None else ids[-room:] for ids in whole]
        architecture.check_ids(max(id_ for ids in encoded for id_ in ids))
        model = self._load(subject)
        if subject.run is not None:
            adapter = adapter_of(subject.run.folder, subject.run.key, "its training")
            with _told(subject):
                model = attach_adapter(self._base, adapter)
        model.eval()
        answers = _answers(model, chat, encoded, self._decoding, self._seed, subject.micro_batch)
        if subject.run is not None:
            if chat.added_token is not None or model.peft_config["default"].bias != "none":
                self._loaded = None  # the base has grown by a token, or has the run's own biases
            else:
                self._base = model.unload()
        cut = [len(ids) < len(all_) for ids, all_ in zip(encoded, whole, strict=True)]
        return [{**answer, "cut": is_cut} for answer, is_cut in zip(answers, cut, strict=True)]

    def _load(self, subject: Subject) -> Any:
        if self._loaded != (subject.model, subject.precision):
            self.unload()
            # As in the evaluation: the layers of a model that is too big for one GPU are divided among them.
            divided = subject.sharded and torch.cuda.device_count() > 1
            with _told(subject):
                self._base = load_base(subject.model, subject.precision, "divided" if divided else "here")
            self._loaded = (subject.model, subject.precision)
        return self._base


def _answers(
    model: Any, chat: Chat, prompts: Sequence[list[int]], decoding: Mapping[str, Any], seed: int, micro_batch: int
) -> list[dict[str, Any]]:
    """Answers to all prompts; fewer at a time where the GPU's memory is too small."""
    rows = [Row(0, prompt, row_seed(seed, f"{number}")) for number, prompt in enumerate(prompts)]
    for attempts in itertools.count():
        least, most = answers_at_a_time(micro_batch, attempts)
        if least == 0:
            break
        answers: dict[int, dict[str, Any]] = {}
        try:
            for some in Transformers(model, least, most).answers(rows, [None], chat, decoding):
                answers |= some
        except torch.OutOfMemoryError:
            release_memory()
        else:
            kept = ("answer", "answer_tokens", "ended")
            return [{name: answers[number][name] for name in kept} for number in range(len(rows))]
    raise UserError("a single prompt does not fit the GPU's memory: use a GPU with more")


@contextlib.contextmanager
def _told(subject: Subject) -> Iterator[None]:
    """Say what is wrong with a file of a model or of an adapter."""
    try:
        yield
    except (OSError, ValueError, SafetensorError) as error:
        raise UserError(f"{subject.name} cannot be asked: {error}") from error
