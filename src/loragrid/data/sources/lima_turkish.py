"""LIMA (Zhou et al. 2023) in Turkish: a thousand chosen dialogues, translated.

Its columns are not documented: the layout is recognised by them, and if it is none that is known, they are told.
"""

from loragrid.data.own import HubRows
from loragrid.data.sources.base import Size

SOURCE = HubRows(
    id="beratcmn/lima-tr",
    LICENCE="see its page",
    SIZE=Size(rows={"all": 1_330}, tokens=300),
)
