"""No Robots in Turkish: instructions of ten kinds, translated.

Its columns are not documented: the layout is recognised by them, and if it is none that is known, they are told.
"""

from loragrid.data.own import HubRows
from loragrid.data.sources.base import Size

SOURCE = HubRows(
    id="beratcmn/no_robots_turkish",
    LICENCE="see its page",
    SIZE=Size(rows={"all": 9_500}, tokens=300),
)
