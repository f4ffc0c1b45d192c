"""A user's own Parquet files."""

from loragrid.data.own import OwnFiles

SOURCE = OwnFiles((".parquet",))
