"""What is kept of each record while a dataset is cleaned."""

import hashlib
from dataclasses import dataclass
from typing import Any, TypeVar

from loragrid.files import canonical


@dataclass(slots=True)
class Entry:
    """A record that passed, without its text: datasets may be larger than memory.

    Args:
        split: train, validation, test, or all before splits are made.
        offset: where its line begins in the spool file.
        origin: digest of what a model is asked, as it was read: decides the split, so that the same dialogue comes to
            the same one under any name, in any file and after any steps.
        where: its place in the raw files.
        rows: raw rows that it was made of.
        order: decides whether it is kept where fewer records are wanted.
        content: digest of what it says.
        asked: digest of what a model is asked, without the system message: the same under another one still gives the
            answers of a test away.
    """

    split: str
    offset: int
    origin: bytes
    where: str
    rows: int
    order: bytes
    content: bytes
    asked: bytes


AnyEntry = TypeVar("AnyEntry", bound=Entry)
"""An entry, or one that has more fields."""


def fingerprint(value: Any) -> bytes:
    """A digest by which equal values are known without keeping them."""
    return hashlib.sha256(canonical(value).encode()).digest()


def drawn(seed: int, purpose: str, name: str) -> bytes:
    """A number drawn for one record: it depends on nothing else, so that adding records moves no other.

    Args:
        seed: of the study's dataset.
        purpose: what for; draws for different purposes have nothing to do with each other.
        name: the record's.
    """
    return hashlib.sha256(f"{seed}\n{purpose}\n{name}".encode()).digest()[:16]
