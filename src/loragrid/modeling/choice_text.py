"""A question with choices as a model reads it: in plain text as lm-evaluation-harness has it, or in a chat."""

from loragrid.modeling.chat import Chat
from loragrid.modeling.messages import Message

BEFORE_ANSWER, AFTER_ANSWER = " ", "\n\n"
"""What stands around an answer in plain text: the defaults of lm-evaluation-harness (TaskConfig.target_delimiter and
fewshot_delimiter)."""

Asked = tuple[str, str]
"""The text of a prompt, and what stands between it and the letter of an answer."""


def choice_text(messages: list[Message], chat: Chat | None, system: str | None) -> Asked:
    """A question as text.

    Args:
        messages: examples with their answers, and the question.
        chat: of the model; None for plain text.
        system: system prompt of the chat.
    """
    if chat is None:
        after = {"system": "", "user": BEFORE_ANSWER, "assistant": AFTER_ANSWER}
        text = "".join(message["content"] + after[message["role"]] for message in messages)
        return text.removesuffix(BEFORE_ANSWER), BEFORE_ANSWER
    if system:
        told = [system]
        if messages[0]["role"] == "system":
            told.append(messages[0]["content"])
            messages = messages[1:]
        messages = [{"role": "system", "content": "\n\n".join(told)}, *messages]
    return chat.before_answer(messages), ""


def examples_in(messages: list[Message]) -> int:
    """How many examples stand before a question."""
    return sum(message["role"] == "assistant" for message in messages)


def without_first_example(messages: list[Message]) -> list[Message]:
    """The messages of a question with an example less."""
    first = 1 if messages[0]["role"] == "system" else 0
    return messages[:first] + messages[first + 2 :]
