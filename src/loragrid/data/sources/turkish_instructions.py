"""Turkish instructions (merve/turkish_instructions): a CSV file, of whose columns two begin with a blank."""

from collections.abc import Iterator
from pathlib import Path

from loragrid.data.drops import Drops
from loragrid.data.own import STEPS, OwnOptions, read_rows
from loragrid.data.records import Dialogue, Record
from loragrid.data.sources.base import HubDataset, NoOptions, Remote, Size

__all__ = ["STEPS"]

VERSION = 1
LICENCE = "Apache-2.0"
HOMEPAGE = "https://huggingface.co/datasets/merve/turkish_instructions"
REMOTE = Remote(hub=HubDataset(id="merve/turkish_instructions", files=["*.csv"]))
SIZE = Size(rows={"all": 51_563}, tokens=160)
KIND = Dialogue
FORMAT = None
FACETS = ()
SUFFIXES = (".csv",)
LAYOUT = OwnOptions(layout="alpaca", columns={"instruction": "talimat", "input": " giriş", "output": " çıktı"})

Options = NoOptions


def read(folder: Path, options: NoOptions, drops: Drops) -> Iterator[tuple[str, Record]]:
    """See `loragrid.data.sources.base.Source.read`."""
    return read_rows(folder, LAYOUT, drops, SUFFIXES)
