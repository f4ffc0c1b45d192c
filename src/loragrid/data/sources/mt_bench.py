"""MT-Bench (Zheng et al. 2023): 80 questions of two turns in English; with `path`, the same in any other language."""

from collections.abc import Iterator
from pathlib import Path

from loragrid.data.drops import Drops
from loragrid.data.mt_bench import FACETS, FORMAT, STEPS, read_questions
from loragrid.data.records import Dialogue
from loragrid.data.sources.base import NoOptions, Remote, RemoteFile, Size

__all__ = ["FACETS", "FORMAT", "STEPS"]

VERSION = 1
LICENCE = "Apache-2.0"
HOMEPAGE = "https://github.com/lm-sys/FastChat"
ADDRESS = (
    "https://raw.githubusercontent.com/lm-sys/FastChat/0e6d3e4beaab66f4d3f93db72541a4abab8af28d/fastchat/llm_judge/data/"
    "mt_bench/"
)
REMOTE = Remote(
    files=[
        RemoteFile(
            url=f"{ADDRESS}question.jsonl",
            sha256="119565adbab82227089cefdb44c8d7e2cf04dc0a0ec233634c82e7d4e2a944f7",
            bytes=48_929,
            name="question.jsonl",
        ),
        RemoteFile(
            url=f"{ADDRESS}reference_answer/gpt-4.jsonl",
            sha256="f957a5bc977badb66885ec970e6cd08527845780313f0995764260e5777b9b3f",
            bytes=51_109,
            name="gpt-4.jsonl",
        ),
    ]
)
SIZE = Size(rows={"test": 80}, tokens=120)
KIND = Dialogue

Options = NoOptions


def read(folder: Path, options: NoOptions, drops: Drops) -> Iterator[tuple[str, Dialogue]]:
    """See `loragrid.data.mt_bench.read_questions`."""
    return read_questions(folder, drops)
