"""Ask runs and untrained models a few prompts, as an evaluation would: a look, of which nothing is kept."""

from collections.abc import Iterator, Mapping, Sequence
from copy import deepcopy
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from transformers import GenerationConfig

from loragrid.generation.answer import generate, stop_tokens
from loragrid.modeling.architecture import architecture_of
from loragrid.modeling.environment import release_memory, stream
from loragrid.modeling.load import attach_adapter, load_base
from loragrid.modeling.messages import Message, with_system
from loragrid.modeling.tokenizer import load_chat


@dataclass(frozen=True)
class Subject:
    """Who is asked.

    Args:
        name: for people.
        model: folder of the base model.
        precision: of its weights.
        chat: template, system prompt and end of answers, as answers hold them.
        adapter: folder of the adapter over it, if it is a run.
        prompts_at_a_time: as many as fit.
    """

    name: str
    model: str
    precision: str
    chat: Mapping[str, Any]
    adapter: Path | None
    prompts_at_a_time: int


def ask(
    subjects: Sequence[Subject], prompts: Sequence[Sequence[Message]], decoding: Mapping[str, Any], seed: int = 0
) -> Iterator[list[dict[str, Any]]]:
    """Ask each subject each prompt. A base model is loaded once for all that follow each other on it.

    Args:
        subjects: in turn.
        prompts: conversations that end with what the user says.
        decoding: as in `loragrid.generation.answer`.
        seed: of sampling.

    Yields:
        For each subject, in their order: `answer`, `answer_tokens` and `ended` of each prompt.

    Raises:
        UserError: a model or an adapter cannot be loaded, or the longest answer leaves no room for a prompt.
    """
    loaded: tuple[str, str] | None = None
    base: Any = None
    own: Any = None
    for subject in subjects:
        chat = load_chat(subject.model, subject.chat)
        architecture = architecture_of(subject.model).grown(chat.added_token)
        architecture.check_padding(chat.tokenizer)
        room = architecture.prompt_room(decoding["max_new_tokens"])
        encoded = [chat.prompt(with_system(prompt, None, subject.chat["system"])) for prompt in prompts]
        encoded = [ids if room is None else ids[-room:] for ids in encoded]
        architecture.check_ids(max(id_ for ids in encoded for id_ in ids))
        if loaded != (subject.model, subject.precision):
            base = None
            release_memory()
            base = load_base(subject.model, subject.precision)
            own = deepcopy(base.generation_config)
            loaded = (subject.model, subject.precision)
        model: Any = base
        model.generation_config = deepcopy(own)
        if subject.adapter is not None:
            model = attach_adapter(base, subject.adapter)
        model.eval()
        ends = stop_tokens(model, chat)
        model.generation_config = GenerationConfig()
        answers = []
        for start in range(0, len(encoded), subject.prompts_at_a_time):
            torch.manual_seed(stream(seed, f"sampling:{start}"))
            some = encoded[start : start + subject.prompts_at_a_time]
            answers += generate(model, chat, some, decoding, ends)
        yield answers
        if chat.added_token is not None:
            loaded = None  # the base has grown by a token
        elif subject.adapter is not None:
            base = model.unload()
