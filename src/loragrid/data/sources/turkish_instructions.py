"""Turkish instructions (merve/turkish_instructions): a CSV file, of whose columns two begin with a blank."""

from loragrid.data.own import HubRows, OwnOptions
from loragrid.data.sources.base import Size

SOURCE = HubRows(
    id="merve/turkish_instructions",
    LICENCE="Apache-2.0",
    SIZE=Size(rows={"all": 51_563}, tokens=160),
    layout=OwnOptions(layout="alpaca", columns={"instruction": "talimat", "input": " giriş", "output": " çıktı"}),
    files=("*.csv",),
)
