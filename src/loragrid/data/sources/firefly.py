"""Firefly (YeungNLP): 1.65 million Chinese instructions of 23 kinds; 1.17 GB of JSON Lines, read row by row."""

from collections.abc import Iterator
from pathlib import Path

from loragrid.data.drops import Drops
from loragrid.data.own import STEPS, OwnOptions, read_rows
from loragrid.data.records import Dialogue, Record
from loragrid.data.sources.base import HubDataset, NoOptions, Remote, Size

__all__ = ["STEPS"]

VERSION = 1
LICENCE = "none stated"
HOMEPAGE = "https://huggingface.co/datasets/YeungNLP/firefly-train-1.1M"
REMOTE = Remote(hub=HubDataset(id="YeungNLP/firefly-train-1.1M", files=["*.jsonl"]))
SIZE = Size(rows={"all": 1_650_000}, tokens=260)
KIND = Dialogue
FORMAT = None
FACETS = ("kind",)
SUFFIXES = (".parquet", ".jsonl", ".json", ".csv")
LAYOUT = OwnOptions(layout="completion", columns={"prompt": "input", "completion": "target"}, meta=["kind"])

Options = NoOptions


def read(folder: Path, options: NoOptions, drops: Drops) -> Iterator[tuple[str, Record]]:
    """See `loragrid.data.sources.base.Source.read`."""
    return read_rows(folder, LAYOUT, drops, SUFFIXES)
