"""Answers side by side in a terminal."""

import shutil
import sys
import textwrap
from collections.abc import Mapping, Sequence
from typing import Any

from loragrid.terminal import printable

WIDTH = 120
"""Columns of what is no terminal."""

MOST = 12
"""Lines of a prompt that are shown."""

GAP = "  "


def side_by_side(prompt: str, names: Sequence[str], answers: Sequence[Mapping[str, Any]]) -> str:
    """A prompt, and below it what each has answered.

    Args:
        prompt: what the user said last.
        names: of those who were asked.
        answers: `answer`, `answer_tokens`, `ended` and whether the prompt was `cut`, in the same order.
    """
    columns = max(map(len, names))
    asked = _lines(prompt, 2)
    if len(asked) > MOST:
        asked[MOST - 1 :] = [f"(… and {len(asked) - MOST + 1} more lines)"]
    lines = ["\n".join(f"> {line}" for line in asked), ""]
    for name, answer in zip(names, answers, strict=True):
        said = _lines(answer["answer"], columns + len(GAP)) or ["(nothing)"]
        if answer["ended"] == "length":
            said.append(f"(cut after {answer['answer_tokens']} tokens)")
        if answer["cut"]:
            said.append("(the prompt is longer than the model's context, and was asked without its beginning)")
        lines += [f"{first:{columns}}{GAP}{line}" for first, line in zip([name] + [""] * len(said), said)]  # noqa: B905
    return "\n".join(lines) + "\n"


def _lines(text: str, taken: int) -> list[str]:
    """Lines of a text that fit beside what takes some columns; nothing in it steers the terminal."""
    width = shutil.get_terminal_size((WIDTH, 24)).columns if sys.stdout.isatty() else WIDTH
    room = max(20, width - taken)
    return (
        [piece for line in text.split("\n") for piece in textwrap.wrap(printable(line), room) or [""]] if text else []
    )
