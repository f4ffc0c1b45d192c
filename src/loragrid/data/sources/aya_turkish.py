"""The Turkish part of Aya (Singh et al. 2024): instructions and answers written by volunteers."""

from collections.abc import Iterator
from pathlib import Path

from loragrid.data.drops import Drops
from loragrid.data.own import STEPS, OwnOptions, read_rows
from loragrid.data.records import Dialogue, Record
from loragrid.data.sources.base import HubDataset, NoOptions, Remote, Size

__all__ = ["STEPS"]

VERSION = 1
LICENCE = "Apache-2.0"
HOMEPAGE = "https://huggingface.co/datasets/sayhan/aya_dataset_tur"
REMOTE = Remote(hub=HubDataset(id="sayhan/aya_dataset_tur", files=["*.parquet", "*.jsonl", "*.json", "*.csv"]))
SIZE = Size(rows={"train": 4_046, "test": 250}, tokens=180)
KIND = Dialogue
FORMAT = None
FACETS = ("annotation_type",)
SUFFIXES = (".parquet", ".jsonl", ".json", ".csv")
LAYOUT = OwnOptions(
    layout="completion", columns={"prompt": "inputs", "completion": "targets"}, meta=["annotation_type"]
)

Options = NoOptions


def read(folder: Path, options: NoOptions, drops: Drops) -> Iterator[tuple[str, Record]]:
    """See `loragrid.data.sources.base.Source.read`."""
    return read_rows(folder, LAYOUT, drops, SUFFIXES)
