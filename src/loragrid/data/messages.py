"""The messages of a dialogue in one form: their text, their order, who speaks."""

import re
import unicodedata

ROLES = ("system", "user", "assistant")


def normalise(text: str) -> str:
    """Bring text into one form: Unicode NFC, single blanks, no blanks at the ends of lines or around the text.

    Args:
        text: any text.

    Returns:
        The text; its line breaks are kept.
    """
    text = unicodedata.normalize("NFC", text).replace("\r\n", "\n").replace("\r", "\n")
    return "\n".join(re.sub(r"\s+", " ", line).strip() for line in text.split("\n")).strip()


def alternating(messages: list[dict[str, str]]) -> list[dict[str, str]]:
    """Join neighbouring messages of one role, with a line break: chat templates want the roles to alternate.

    Args:
        messages: of a dialogue.
    """
    joined: list[dict[str, str]] = []
    for message in messages:
        if joined and joined[-1]["role"] == message["role"]:
            joined[-1] = {**message, "content": f"{joined[-1]['content']}\n{message['content']}"}
        else:
            joined.append(message)
    return joined


def fault(messages: list[dict[str, str]]) -> str | None:
    """Why single messages cannot be used.

    Args:
        messages: of a dialogue, their text in one form.

    Returns:
        The reason, the same words each time; None if they can.
    """
    if not messages:
        return "no messages"
    for message in messages:
        if message["role"] not in ROLES:
            return "unknown role"
        if not message["content"]:
            return "empty message"
    return None


def disorder(messages: list[dict[str, str]]) -> str | None:
    """Why the order of roles cannot be trained on.

    Args:
        messages: of a dialogue; at least one.

    Returns:
        The reason, the same words each time; None if it can.
    """
    roles = [message["role"] for message in messages]
    if roles[0] == "system":
        roles = roles[1:]
    if "system" in roles:
        return "system message in the middle"
    if not roles or roles[-1] != "assistant":
        return "does not end with an answer of the assistant"
    if roles[0] != "user":
        return "does not begin with the user"
    return None
