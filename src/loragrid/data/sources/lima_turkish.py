"""LIMA (Zhou et al. 2023) in Turkish: a thousand chosen dialogues, translated.

Its columns are not documented: the layout is recognised by them, and if it is none that is known, they are told.
"""

from collections.abc import Iterator
from pathlib import Path

from loragrid.data.drops import Drops
from loragrid.data.own import STEPS, OwnOptions, read_rows
from loragrid.data.records import Dialogue, Record
from loragrid.data.sources.base import HubDataset, NoOptions, Remote, Size

__all__ = ["STEPS"]

VERSION = 1
LICENCE = "see its page"
HOMEPAGE = "https://huggingface.co/datasets/beratcmn/lima-tr"
REMOTE = Remote(hub=HubDataset(id="beratcmn/lima-tr", files=["*.parquet", "*.jsonl", "*.json", "*.csv"]))
SIZE = Size(rows={"all": 1_330}, tokens=300)
KIND = Dialogue
FORMAT = None
FACETS = ()
SUFFIXES = (".parquet", ".jsonl", ".json", ".csv")
LAYOUT = OwnOptions()

Options = NoOptions


def read(folder: Path, options: NoOptions, drops: Drops) -> Iterator[tuple[str, Record]]:
    """See `loragrid.data.sources.base.Source.read`."""
    return read_rows(folder, LAYOUT, drops, SUFFIXES)
