"""MT-Bench in Chinese (GeneZC/MiniMA): the 80 questions, translated, and answers of GPT-4 to them."""

from collections.abc import Iterator
from pathlib import Path

from loragrid.data.drops import Drops
from loragrid.data.mt_bench import FACETS, FORMAT, STEPS, read_questions
from loragrid.data.records import Dialogue
from loragrid.data.sources.base import HubDataset, NoOptions, Remote, Size

__all__ = ["FACETS", "FORMAT", "STEPS"]

VERSION = 1
LICENCE = "Apache-2.0"
HOMEPAGE = "https://github.com/GeneZC/MiniMA"
REMOTE = Remote(hub=HubDataset(id="GeneZC/MT-Bench-ZH", files=["*.jsonl"]))
SIZE = Size(rows={"test": 80}, tokens=120)
KIND = Dialogue

Options = NoOptions


def read(folder: Path, options: NoOptions, drops: Drops) -> Iterator[tuple[str, Dialogue]]:
    """See `loragrid.data.mt_bench.read_questions`."""
    return read_questions(folder, drops)
