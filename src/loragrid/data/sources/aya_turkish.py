"""The Turkish part of Aya (Singh et al. 2024): instructions and answers written by volunteers."""

from loragrid.data.own import HubRows, OwnOptions
from loragrid.data.sources.base import Size

SOURCE = HubRows(
    id="sayhan/aya_dataset_tur",
    LICENCE="Apache-2.0",
    SIZE=Size(rows={"train": 4_046, "test": 250}, tokens=180),
    layout=OwnOptions(
        layout="completion", columns={"prompt": "inputs", "completion": "targets"}, meta=["annotation_type"]
    ),
    FACETS=("annotation_type",),
)
