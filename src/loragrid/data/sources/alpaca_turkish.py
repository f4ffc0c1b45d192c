"""The 9,000 longest of Alpaca, in Turkish.

Its columns are not documented: the layout is recognised by them, and if it is none that is known, they are told.
"""

from loragrid.data.own import HubRows
from loragrid.data.sources.base import Size

SOURCE = HubRows(
    id="parsak/alpaca-tr-9k-longest",
    LICENCE="see its page",
    SIZE=Size(rows={"all": 9_000}, tokens=300),
)
