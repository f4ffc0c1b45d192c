"""Dialogues as lists of messages, before any model sees them. Light to import."""

from collections.abc import Sequence

Message = dict[str, str]
"""`role` (system, user, assistant) and `content`."""


def with_system(messages: Sequence[Message], system: str | None, default: str | None = None) -> list[Message]:
    """Put a system prompt before a dialogue.

    Args:
        messages: the dialogue, perhaps with a system message of its own.
        system: replaces the dialogue's own.
        default: used where the dialogue has none.
    """
    own = messages[0]["content"] if messages and messages[0]["role"] == "system" else None
    rest = list(messages[1:] if own is not None else messages)
    chosen = system if system is not None else own if own is not None else default
    return [{"role": "system", "content": chosen}, *rest] if chosen else rest
