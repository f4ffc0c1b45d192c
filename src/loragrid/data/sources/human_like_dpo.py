"""Human-Like-DPO: questions with a human-like answer, preferred, and a formal one."""

from loragrid.data.own import HubRows, OwnOptions
from loragrid.data.records import PreferencePair
from loragrid.data.sources.base import Size

SOURCE = HubRows(
    id="HumanLLMs/Human-Like-DPO-Dataset",
    LICENCE="Llama 3 licence",
    SIZE=Size(rows={"all": 10_884}, tokens=230),
    layout=OwnOptions(layout="preference"),
    KIND=PreferencePair,
    files=("data.json",),
)
