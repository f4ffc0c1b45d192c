"""Human-Like-DPO: questions with a human-like answer, preferred, and a formal one."""

from collections.abc import Iterator
from pathlib import Path

from loragrid.data.drops import Drops
from loragrid.data.own import STEPS, OwnOptions, read_rows
from loragrid.data.records import PreferencePair, Record
from loragrid.data.sources.base import HubDataset, NoOptions, Remote, Size

__all__ = ["STEPS"]

VERSION = 1
LICENCE = "Llama 3 licence"
HOMEPAGE = "https://huggingface.co/datasets/HumanLLMs/Human-Like-DPO-Dataset"
REMOTE = Remote(hub=HubDataset(id="HumanLLMs/Human-Like-DPO-Dataset", files=["data.json"]))
SIZE = Size(rows={"all": 10_884}, tokens=230)
KIND = PreferencePair
FORMAT = None
FACETS = ()
SUFFIXES = (".parquet", ".jsonl", ".json", ".csv")
LAYOUT = OwnOptions(layout="preference")

Options = NoOptions


def read(folder: Path, options: NoOptions, drops: Drops) -> Iterator[tuple[str, Record]]:
    """See `loragrid.data.sources.base.Source.read`."""
    return read_rows(folder, LAYOUT, drops, SUFFIXES)
