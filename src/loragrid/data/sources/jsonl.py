"""A user's own JSON Lines or JSON: one object a row, also compressed (.gz, .zst)."""

from loragrid.data.own import OwnFiles

SOURCE = OwnFiles((".jsonl", ".ndjson", ".json"))
