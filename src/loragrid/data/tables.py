"""Rows of the files in which people keep data: JSON Lines, JSON, CSV and Parquet, also compressed, each with its place.

What is wrong with one row is counted, and the others are read. What makes the rest of a file unreadable is an error.
"""

import codecs
import csv
import gzip
import io
import json
import re
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any, BinaryIO, cast

import zstandard

from loragrid.data.drops import Drops
from loragrid.errors import UserError, shortened
from loragrid.files import encoding_of, unreadable

Row = dict[str, Any]

SPLIT = re.compile(r"(?:^|[^a-z])(train|training|validation|valid|val|dev|eval|test|testing)(?:[^a-z]|$)")
SPLITS = {"train": "train", "training": "train", "test": "test", "testing": "test"}

NO_DATA = ("provenance.json", "dataset_infos.json", "dataset_dict.json", "dataset_info.json", "state.json")
"""What lies beside data and is none."""

WRAPPERS = ("data", "rows", "examples", "records")
"""What a JSON object may call the list of its rows."""

LONGEST_FIELD = 10_000_000
"""Characters of a CSV field. A quotation mark that nobody closes takes all that follows as one field."""

GZIP, ZSTANDARD = b"\x1f\x8b", b"\x28\xb5\x2f\xfd"


def data_files(folder: Path, suffixes: Sequence[str]) -> list[tuple[str, Path]]:
    """The files of a folder that hold data, in the order of splits and names.

    Args:
        folder: searched at any depth.
        suffixes: such as `.csv`; a compressed file has `.gz` or `.zst` after it.

    Returns:
        Split (train, validation, test, or `all` where no name tells one) and path of each.

    Raises:
        UserError: there are none, or some are named after splits and others are not.
    """
    ends = tuple(suffix + compressed for suffix in suffixes for compressed in ("", ".gz", ".zst"))
    paths = sorted(
        path
        for path in folder.rglob("*")
        if path.name.endswith(ends)
        and path.is_file()  # not a pipe, which would be waited for
        and path.name not in NO_DATA
        and not any(part.startswith(".") for part in path.relative_to(folder).parts)
    )
    found = [(_split(path.relative_to(folder)), path) for path in paths]
    # A text without a split in its name is a licence or a readme.
    found = [(split, path) for split, path in found if split != "all" or ".txt" not in path.suffixes]
    if not found:
        there = ", ".join(sorted(_named(path) for path in folder.rglob("*") if not path.is_dir())) or "nothing"
        raise UserError(f"{folder}: expected files that end in {', '.join(suffixes)}; found {shortened(there)}")
    unnamed = [path for split, path in found if split == "all"]
    if unnamed and len(unnamed) < len(found):
        raise UserError(
            f"{folder}: the name of {unnamed[0].name} does not say whether it is train, validation or test, as other "
            "names there do; rename it or move it elsewhere"
        )
    order = ("train", "validation", "test", "all")
    return sorted(found, key=lambda pair: (order.index(pair[0]), pair[1]))


def _named(path: Path) -> str:
    return path.name if path.exists() else f"{path.name} (a link to nothing)"


def _split(path: Path) -> str:
    for part in reversed(path.parts):
        if match := SPLIT.search(part.lower()):
            return SPLITS.get(match[1], "validation")
    return "all"


def rows(path: Path, name: str, split: str, drops: Drops, delimiter: str | None = None) -> Iterator[tuple[str, Row]]:
    """The rows of one file, one after the other.

    Args:
        path: the file; what it is shows in its name, and whether it is compressed in its first bytes.
        name: what it is called where rows are told.
        split: which its rows belong to.
        drops: counts rows, and those that cannot be read.
        delimiter: of a CSV file; by default a comma, in .tsv a tab.

    Yields:
        Place (`file:line`, or `file:number` where lines mean nothing) and row.

    Raises:
        UserError: the file cannot be read.
    """
    kind = path.name.removesuffix(".gz").removesuffix(".zst").rpartition(".")[2]
    try:
        for number, row in _readers(delimiter)[kind](path):
            drops.read(split)
            where = f"{name}:{number}"
            if isinstance(row, dict):
                yield where, row
            else:
                drops.add(str(row) if isinstance(row, _Bad) else "row is not an object", where=where, split=split)
    except OSError as error:
        raise UserError(unreadable(path, error) if error.strerror else f"{path}: {_broken(error)}") from None
    except (EOFError, zstandard.ZstdError) as error:
        raise UserError(f"{path}: {_broken(error)}") from None


class _Bad(str):
    """Why a row cannot be read: the same words each time, since they are counted."""

    __slots__ = ()


Reader = Callable[[Path], Iterator[tuple[int, Any]]]


def _readers(delimiter: str | None) -> dict[str, Reader]:
    return {
        "jsonl": _json_lines,
        "ndjson": _json_lines,
        "txt": _json_lines,
        "json": _json,
        "csv": lambda path: _csv(path, delimiter or ","),
        "tsv": lambda path: _csv(path, delimiter or "\t"),
        "parquet": _parquet,
    }


@contextmanager
def _opened(path: Path) -> Iterator[BinaryIO]:
    """The bytes of a file, decompressed; without a byte order mark."""
    with path.open("rb") as file:
        start = file.read(4)
        file.seek(0)
        stream: IO[bytes] = file
        if start.startswith(GZIP):
            stream = cast(IO[bytes], gzip.GzipFile(fileobj=file))
        elif start == ZSTANDARD:
            stream = cast(IO[bytes], _Zstandard(file))
        buffered = io.BufferedReader(cast(io.RawIOBase, stream))
        beginning = buffered.peek(4)[:4]
        if encoding := encoding_of(beginning):
            raise UserError(f"{path}: not valid UTF-8 ({encoding})")
        if beginning.startswith(codecs.BOM_UTF8):
            buffered.read(len(codecs.BOM_UTF8))
        yield cast(BinaryIO, buffered)


class _Zstandard(io.RawIOBase):
    """Decompresses a file; one that ends in the middle of a frame is an error, which the library passes over."""

    def __init__(self, file: BinaryIO):
        self._file = file
        self._frame = zstandard.ZstdDecompressor().decompressobj()
        self._rest = b""

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        while not self._rest:
            if self._frame.eof:
                left = self._frame.unused_data
                if not (left := left or self._file.read(io.DEFAULT_BUFFER_SIZE)):
                    return 0
                self._frame = zstandard.ZstdDecompressor().decompressobj()
            elif not (left := self._file.read(io.DEFAULT_BUFFER_SIZE)):
                raise EOFError("it ends in the middle")
            self._rest = self._frame.decompress(left)
        size = min(len(buffer), len(self._rest))
        buffer[:size], self._rest = self._rest[:size], self._rest[size:]
        return size


def _json_lines(path: Path) -> Iterator[tuple[int, Any]]:
    with _opened(path) as file:
        for number, line in enumerate(file, start=1):
            if line.strip():
                yield number, _value(line)


def _value(line: bytes) -> Any:
    try:
        return json.loads(line.decode("utf-8"))
    except UnicodeDecodeError:
        return _Bad("not valid UTF-8")
    except (ValueError, RecursionError):
        return _Bad("line is not JSON")


def _json(path: Path) -> Iterator[tuple[int, Any]]:
    """A list of rows, or JSON Lines in a file that is called otherwise, as hubs have them."""
    with _opened(path) as file:
        content = file.read()
    try:
        whole = json.loads(content.decode("utf-8"))
    except UnicodeDecodeError as error:
        raise UserError(f"{path}: not valid UTF-8 (byte {error.start})") from None
    except (ValueError, RecursionError) as error:
        first = content.lstrip().split(b"\n", 1)[0]
        if first.startswith(b"{") and isinstance(_value(first), dict):
            yield from _json_lines(path)
            return
        raise UserError(f"{path}: not valid JSON ({error})") from None
    if isinstance(whole, dict):
        # A single row, unless it says that it holds others.
        whole = next((whole[name] for name in WRAPPERS if isinstance(whole.get(name), list)), [whole])
    if not isinstance(whole, list):
        raise UserError(f"{path}: expected a list of rows")
    yield from enumerate(whole, start=1)


def _csv(path: Path, delimiter: str) -> Iterator[tuple[int, Any]]:
    csv.field_size_limit(LONGEST_FIELD)
    with _opened(path) as file:
        # What is not UTF-8 is told by its place, so that one bad row does not take the others with it.
        text = io.TextIOWrapper(file, encoding="utf-8", errors="surrogateescape", newline="")
        reader = csv.reader(text, delimiter=delimiter, strict=True)
        try:
            header = next(reader, [])
        except csv.Error as error:
            raise UserError(f"{path}: the header is not CSV ({error})") from None
        if len(header) == 1 and (other := next((sign for sign in ";\t|" if sign in header[0]), None)):
            raise UserError(f"{path}: one column {shortened(header[0])!r}; set `delimiter: {other!r}`")
        if len(set(header)) < len(header):
            twice = next(column for column in header if header.count(column) > 1)
            raise UserError(f"{path}: the column {twice!r} is there twice")
        while True:
            number = reader.line_num + 1
            try:
                fields = next(reader)
            except StopIteration:
                return
            except csv.Error as error:
                if "field larger" in str(error):
                    raise UserError(
                        f"{path}:{number}: a field of more than {LONGEST_FIELD:,} characters; perhaps a quotation mark "
                        "is opened and never closed"
                    ) from None
                if "unexpected end" in str(error):
                    raise UserError(f"{path}:{number}: a quotation mark is opened and never closed") from None
                # Where such a row ends, and so where the next begins, nobody can tell.
                raise UserError(
                    f"{path}:{number}: a quotation mark out of place; within a quoted field it is written twice"
                ) from None
            if not fields:
                continue
            if len(fields) != len(header):
                yield number, _Bad("wrong number of fields")
            elif any("\udc80" <= character <= "\udcff" for field in fields for character in field):
                yield number, _Bad("not valid UTF-8")
            else:
                yield number, dict(zip(header, fields, strict=True))


def _parquet(path: Path) -> Iterator[tuple[int, Any]]:
    import pyarrow
    from pyarrow import parquet

    try:
        with parquet.ParquetFile(path) as file:
            batches = (batch.to_pylist() for batch in file.iter_batches(batch_size=1000))
            yield from enumerate((row for batch in batches for row in batch), start=1)
    except (pyarrow.ArrowException, OSError) as error:
        raise UserError(f"{path}: not a whole Parquet file ({shortened(str(error).splitlines()[0])})") from None


def _broken(error: BaseException) -> str:
    return f"compressed, but not whole ({shortened(str(error))}); fetch it again"
