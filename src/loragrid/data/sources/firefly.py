"""Firefly (YeungNLP): 1.65 million Chinese instructions of 23 kinds; 1.17 GB of JSON Lines, read row by row."""

from loragrid.data.own import HubRows, OwnOptions
from loragrid.data.sources.base import Size

SOURCE = HubRows(
    id="YeungNLP/firefly-train-1.1M",
    LICENCE="none stated",
    SIZE=Size(rows={"all": 1_650_000}, tokens=260),
    layout=OwnOptions(layout="completion", columns={"prompt": "input", "completion": "target"}, meta=["kind"]),
    files=("*.jsonl",),
    FACETS=("kind",),
)
