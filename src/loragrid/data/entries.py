"""What is kept of each record while a dataset is cleaned."""

import hashlib
from dataclasses import dataclass


@dataclass(slots=True)
class Entry:
    """A record that passed, without its text: datasets may be larger than memory.

    Args:
        split: train, validation, test, or all before splits are made.
        offset: where its line begins in the spool file.
        group: records of one group, such as a conversation, stay in one split.
        where: its place in the raw files.
        rows: raw rows that it was made of.
        order: decides whether it is kept where fewer records are wanted.
        content: digest of its messages.
        dialogue: digest of its messages without the system's: the same dialogue under another system message still
            gives the answers of a test away.
    """

    split: str
    offset: int
    group: str
    where: str
    rows: int
    order: bytes
    content: bytes
    dialogue: bytes


def drawn(seed: int, purpose: str, name: str) -> bytes:
    """A number drawn for one record: it depends on nothing else, so that adding records moves no other.

    Args:
        seed: of the study's dataset.
        purpose: what for; draws for different purposes have nothing to do with each other.
        name: the record's.
    """
    return hashlib.sha256(f"{seed}\n{purpose}\n{name}".encode()).digest()[:16]
