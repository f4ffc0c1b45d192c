"""Dialogues as a model sees them: text by its chat template, and which part of it is an answer.

What introduces an answer is found by asking the template for an answer that cannot occur (`MARK`), never by a search
for words: so the introduction is known exactly, is the same in training, in likelihoods and in the prompts that a model
is asked, and marks that a template adds to it (an empty block of thoughts, say) are no part of the answer.
"""

import functools
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any

from jinja2 import TemplateError
from transformers import AddedToken, PreTrainedTokenizerBase
from transformers.utils.chat_template_utils import _compile_jinja_template

from loragrid.errors import UserError
from loragrid.modeling.messages import Message

MARK = "\ue000An answer\ue001"
"""An answer that is in no dialogue: private-use characters, which templates do not strip."""

DATE = "2024-07-26"
"""The date for templates that write today's, unless a study says another: a result must not depend on the day."""

NEAR = 8
"""Tokens before an answer that may depend on how it begins: a run of line breaks is one word for most tokenizers."""

RECENT = 64
"""Renderings that are kept: those of a dialogue's beginnings come again for each of its answers."""

_USER: Message = {"role": "user", "content": "\ue000A question\ue001"}


@dataclass(frozen=True)
class Encoded:
    """A tokenised dialogue.

    Args:
        ids: token ids.
        is_answer: for each token, whether it belongs to an answer (its end-of-turn token included).
        split: answers before which the tokenizer would have made one token of what introduces them and their
            beginning (of a line break and the blanks of an indented line, say): the text is tokenised in two parts
            there, as it is when a model is asked.
    """

    ids: list[int]
    is_answer: list[bool]
    split: int = 0


@dataclass(frozen=True)
class EncodedPair:
    """Two tokenised answers to one dialogue. Blanks that a template writes after the end of a turn are left out.

    Args:
        prompt: token ids up to the answers: those with which a model is asked.
        chosen: token ids of the preferred answer, its end-of-turn token included.
        rejected: the same of the other.
        split: as of `Encoded`, of the answer with more.
    """

    prompt: list[int]
    chosen: list[int]
    rejected: list[int]
    split: int = 0


@dataclass(frozen=True, eq=False)
class Chat:
    """A tokenizer with its chat template, and what the template is given.

    Args:
        tokenizer: a fast tokenizer with a chat template.
        arguments: variables of the template, e.g. `enable_thinking`.
        date: what it takes for today, as `2024-07-26`.
        trains_end: whether what the template ends answers with is to be a token, trained if the tokenizer lacks it.
        added_token: the token that was added to the tokenizer for that; None if none was.
    """

    tokenizer: PreTrainedTokenizerBase
    arguments: Mapping[str, Any] = field(default_factory=dict)
    date: str = DATE
    trains_end: bool = False
    added_token: int | None = None

    def render(self, messages: Sequence[Message]) -> str:
        """The text of a dialogue.

        Where the template has no system role, the system message is put before the first user message instead.

        Args:
            messages: the dialogue.

        Raises:
            UserError: the template refuses the dialogue.
        """
        return self._rendered(tuple((message["role"], message["content"]) for message in messages))

    def before_answer(self, messages: Sequence[Message]) -> str:
        """The text with which a model is asked for its answer, blanks at its end included.

        Args:
            messages: the dialogue up to the answer.
        """
        return self._around(messages)[0]

    def prompt(self, messages: Sequence[Message]) -> list[int]:
        """The tokens with which a model is asked for its answer: those with which a row of training begins.

        Args:
            messages: the dialogue up to the answer.
        """
        before, _ = self._around(messages)
        text = before[: _border(before)]
        earlier = [
            self._span(messages[: i + 1]) for i, message in enumerate(messages) if message["role"] == "assistant"
        ]
        spans = [(start, len(text)) for known, (start, _) in earlier if text[:start] == known[:start]]
        return self._tokenise(text, spans).ids

    def encode(self, messages: Sequence[Message], *, last_only: bool = False) -> list[Encoded]:
        """Tokenise a dialogue and mark its answers.

        Args:
            messages: the dialogue, ending with an assistant message.
            last_only: mark the last answer only.

        Returns:
            One row with every answer marked, where the template is prefix-stable (the text of a dialogue begins with
            the text of its beginning); otherwise a row for each answer, with the dialogue up to it. One row with
            `last_only`.

        Raises:
            UserError: the template refuses the dialogue, or rewrites answers.
        """
        answers = [index for index, message in enumerate(messages) if message["role"] == "assistant"]
        if last_only:
            answers = answers[-1:]
        whole = self.render(messages)
        spans = [self._span(messages[: index + 1]) for index in answers]
        if all(whole.startswith(text) for text, _ in spans):
            return [self._tokenise(whole, [span for _, span in spans])]
        return [self._tokenise(text, [span]) for text, span in spans]

    def encode_pair(self, messages: Sequence[Message], rejected: str) -> EncodedPair:
        """Tokenise two answers to one dialogue, each as `encode` does.

        Args:
            messages: the dialogue, ending with the preferred answer.
            rejected: the other one.

        Raises:
            UserError: the template refuses the dialogue, or rewrites answers; or a prompt has other tokens before one
                answer than before the other.
        """
        prompt = self.prompt(messages[:-1])
        rows = [self.encode(messages)[-1]]
        rows += [self.encode([*messages[:-1], {"role": "assistant", "content": rejected}])[-1]]
        if any(row.ids[: len(prompt)] != prompt for row in rows):
            raise UserError("the tokenizer reads what stands before an answer in another way where one follows")
        ends = [max((end for end, marked in enumerate(row.is_answer, 1) if marked), default=0) for row in rows]
        chosen, other = (row.ids[len(prompt) : end] for row, end in zip(rows, ends, strict=True))
        return EncodedPair(prompt, chosen, other, max(row.split for row in rows))

    @functools.cached_property
    def end(self) -> str:
        """What the template writes after an answer, blanks aside: what models are trained to stop at."""
        _, after = self._around([_USER])
        return after.strip()

    @property
    def end_token(self) -> int | None:
        """The one special token that `end` is, or begins with; None if it is words or nothing."""
        ids = self._ids(self.end)
        return ids[0] if ids and ids[0] in self.tokenizer.added_tokens_decoder else None

    def with_end_token(self) -> "Chat":
        """The same chat, with a token for what the template ends answers with added to the tokenizer if it has none.

        Raises:
            UserError: it ends no answer, or with what cannot be a token.
        """
        if not self.end:
            raise UserError(
                "end_token: train: the chat template ends no answer, so that there is nothing to make a token of; use "
                "another template, or `end_token: text`"
            )
        mark = self._end_mark
        if self.end_token is not None or len(self._ids(mark)) == 1:
            return replace(self, trains_end=True)
        if mark.replace(" ", "").isalnum():
            raise UserError(
                f"end_token: train: the chat template ends an answer with {mark!r}; a token for that would be taken "
                "from within words, too. Use another template, or `end_token: text`"
            )
        # Where a user's turn ends like an answer, as in ChatML, what introduces the answer begins with it.
        if mark in self.introduction.strip().removeprefix(mark):
            raise UserError(
                f"end_token: train: the chat template ends an answer with {mark!r}, but also writes it where one "
                "begins, so that a token for it would not mean an end. Use another template, or `end_token: text`"
            )
        self.tokenizer.add_tokens([AddedToken(mark, special=True, normalized=False)], special_tokens=True)
        (added,) = self._ids(mark)
        return replace(self, trains_end=True, added_token=added)

    @property
    def _end_mark(self) -> str:
        """What would be one token of `end`: its first line, up to a token that the tokenizer has already."""
        mark = self.end.splitlines()[0]
        for other in self.marks:
            mark = mark.partition(other)[0]
        return mark.strip()

    @functools.cached_property
    def unknown_token(self) -> int | None:
        """The token for what the tokenizer does not know; None if it has none, or one that has another meaning."""
        tokenizer = self.tokenizer
        others = (tokenizer.eos_token_id, tokenizer.bos_token_id, self.end_token)
        return None if tokenizer.unk_token_id in others else tokenizer.unk_token_id

    @functools.cached_property
    def has_system_role(self) -> bool:
        """Whether the template shows a system message; some refuse one, others leave it out without a word."""
        system: Message = {"role": "system", "content": MARK}
        try:
            return MARK in self._apply([system, _USER])
        except TemplateError:
            return False

    @functools.cached_property
    def introduction(self) -> str:
        """What stands between a user's message and the answer."""
        before, _ = self._around([_USER])
        return before.rpartition(_USER["content"])[2]

    def describe(self) -> dict[str, Any]:
        """What one has to know of the template, for format.json."""
        return {
            "introduction": self.introduction,
            "end": self.end,
            "end_token": self._name(self.end_token),
            "added_token": self._name(self.added_token),
            "system": "a message of its own" if self.has_system_role else "before the first user message",
            "arguments": self._arguments,
            "date": self.date if "strftime_now" in self._template else None,
        }

    def _name(self, token: int | None) -> str | None:
        return None if token is None else str(self.tokenizer.convert_ids_to_tokens(token))

    def warnings(self) -> list[str]:
        """What will surprise those who do not know it, a sentence each."""
        found = []
        if self.trains_end and self.added_token is None:
            found.append(
                f"the chat template ends an answer with {self.end!r}, which is a token of this tokenizer already, so "
                "that `end_token: train` changes nothing"
            )
        if not self.end:
            found.append(
                "the chat template ends no answer: models cannot learn to stop, and answers run to their limit"
            )
        elif self.end_token is None and not self.trains_end:
            found.append(
                f"the chat template ends an answer with {self.end!r}, which is no token of this tokenizer: answers are "
                "cut where they come to this text (`end_token: train` would add a token)"
            )
        for name in self.arguments:
            if name not in self._template:
                found.append(f"the chat template knows no {name!r}, so that this template argument changes nothing")
        if self.date != DATE and "strftime_now" not in self._template:
            found.append(f"the chat template writes no date, so that {self.date} changes nothing")
        asked = self._apply([_USER], answer_next=True).rpartition(_USER["content"])[2]
        if asked.strip() and asked.rstrip() != self.introduction.rstrip():
            found.append(
                f"the chat template asks for an answer with {asked!r}, but writes {self.introduction!r} before one "
                "that it knows: models are trained and asked with the second"
            )
        return found

    @property
    def _template(self) -> str:
        template = self.tokenizer.chat_template
        return template if isinstance(template, str) else str(template)

    @property
    def _arguments(self) -> dict[str, Any]:
        """Those of the study; and where a template can do without thoughts, it does, since answers are compared."""
        thinking = {"enable_thinking": False} if "enable_thinking" in self._template else {}
        return {**thinking, **self.arguments}

    @functools.cached_property
    def _rendered(self) -> Callable[[tuple[tuple[str, str], ...]], str]:
        @functools.lru_cache(RECENT)
        def rendered(said: tuple[tuple[str, str], ...]) -> str:
            messages: list[Message] = [{"role": role, "content": content} for role, content in said]
            if messages and messages[0]["role"] == "system" and not self.has_system_role:
                messages = _folded(messages)
            try:
                return self._apply(messages)
            except TemplateError as error:
                raise UserError(f"the chat template refuses a dialogue: {error}") from None

        return rendered

    def _apply(self, messages: Sequence[Message], *, answer_next: bool = False) -> str:
        if "strftime_now" in self._template:
            # The library gives templates today's date and no way to give another; what it has compiled it keeps.
            _compile_jinja_template(self._template).globals["strftime_now"] = self._strftime
        text: Any = self.tokenizer.apply_chat_template(
            list(messages), tokenize=False, add_generation_prompt=answer_next, **self._arguments
        )
        return str(text)

    def _strftime(self, format_: str) -> str:
        return datetime.fromisoformat(self.date).strftime(format_)

    def _around(self, messages: Sequence[Message]) -> tuple[str, str]:
        """The text before and after an answer to come.

        Raises:
            UserError: the template refuses the dialogue, or does not show answers as they are.
        """
        text = self.render([*messages, {"role": "assistant", "content": MARK}])
        if text.count(MARK) != 1:
            raise UserError("the chat template rewrites answers, so they cannot be found in its text; use another one")
        before, _, after = text.partition(MARK)
        return before, after

    @functools.cached_property
    def marks(self) -> list[str]:
        """Texts that the tokenizer takes for tokens with a meaning of their own, such as the end of a turn."""
        tokens = self.tokenizer.added_tokens_decoder.values()
        return [str(token) for token in tokens if token.special and str(token).strip()]

    def _span(self, messages: Sequence[Message]) -> tuple[str, tuple[int, int]]:
        """The text up to and with the last message, an answer, and where it stands."""
        text = self.render(messages)
        before, after = self._around(messages[:-1])
        if not text.startswith(before) or not text.endswith(after):
            raise UserError("the chat template writes other things around some answers than around others; use another")
        # Blanks after the end of the turn belong to the template, not to what the model has to say.
        return text, (_border(before), len(text.rstrip()))

    def _ids(self, text: str) -> list[int]:
        # Of what is longer than a model's context, which is cut later on, it would warn.
        ids: list[int] = self.tokenizer(text, add_special_tokens=False, verbose=False)["input_ids"]
        return ids

    def _tokenise(self, text: str, spans: list[tuple[int, int]]) -> Encoded:
        pieces = self._offsets(text)
        cuts = [start for start, _ in spans if self._is_merged(text, pieces, start)]
        if cuts:
            ends = [*cuts, len(text)]
            pieces = [
                (id_, begin + first, begin + last)
                for begin, end in zip([0, *cuts], ends, strict=True)
                for id_, first, last in self._offsets(text[begin:end])
            ]
        is_answer = [any(first < end and last > start for start, end in spans) for _, first, last in pieces]
        return Encoded([id_ for id_, _, _ in pieces], is_answer, len(cuts))

    def _offsets(self, text: str) -> list[tuple[int, int, int]]:
        """Each token, where it begins and where it ends."""
        encoded: Any = self.tokenizer(text, add_special_tokens=False, return_offsets_mapping=True, verbose=False)
        pieces, end = [], 0
        for id_, (first, last) in zip(encoded["input_ids"], encoded["offset_mapping"], strict=True):
            # Some tokenizers leave the blanks at the beginning of a token out of its place, which may be all of it.
            if last <= end and text.startswith(said := str(self.tokenizer.decode([id_])), end):
                last = end + len(said)
            pieces.append((id_, min(first, end), last))
            end = max(end, last)
        return pieces

    def _is_merged(self, text: str, pieces: list[tuple[int, int, int]], start: int) -> bool:
        """Whether what stands before a place has other tokens where more text follows than where it ends."""
        index = next((n for n, (_, _, last) in enumerate(pieces) if last > start), len(pieces))
        if index < len(pieces) and pieces[index][1] < start:
            return True
        # What is further away cannot matter; the first tokens of a piece may differ for being the first.
        near = pieces[max(0, index - 2 * NEAR) : index]
        alone = self._ids(text[near[0][1] : start]) if near else []
        return alone[-NEAR:] != [id_ for id_, _, _ in near][-NEAR:]


def _border(before: str) -> int:
    """Where an answer begins for a tokenizer: most take a blank before a word for the word's first letter."""
    return len(before.rstrip(" \t"))


def _folded(messages: list[Message]) -> list[Message]:
    first, *rest = messages
    if not rest or rest[0]["role"] != "user":
        return [{"role": "user", "content": first["content"]}, *rest]
    return [{"role": "user", "content": f"{first['content']}\n\n{rest[0]['content']}"}, *rest[1:]]
