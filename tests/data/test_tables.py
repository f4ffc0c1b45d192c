"""Files of rows as people have them: every encoding, line end and compression, and what may be wrong with them."""

import contextlib
import gzip
import json
import os
import random

import pyarrow
import pytest
import zstandard
from hypothesis import given, settings
from hypothesis import strategies as st
from pyarrow import parquet

from loragrid.data.drops import Drops
from loragrid.data.tables import data_files, rows
from loragrid.errors import UserError

TWO = [{"prompt": 'a, "b"\nc', "n": "1"}, {"prompt": "é 🌊", "n": "2"}]
AS_CSV = 'prompt,n\r\n"a, ""b""\nc",1\r\né 🌊,2\r\n'


def write(folder, name, content):
    data = content.encode() if isinstance(content, str) else content
    if name.endswith(".gz"):
        data = gzip.compress(data)
    elif name.endswith(".zst"):
        data = zstandard.compress(data)
    (folder / name).write_bytes(data)
    return folder / name


def read(path, **options):
    drops = Drops()
    found = list(rows(path, path.name, "train", drops, **options))
    return found, {reason: entry.examples for reason, entry in drops.reasons.get("train", {}).items()}, drops


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("a.jsonl", "\n".join(map(json.dumps, TWO)) + "\n\n"),
        ("a.jsonl", "\r\n".join(map(json.dumps, TWO))),
        ("a.jsonl.gz", "\n".join(map(json.dumps, TWO))),
        ("a.ndjson.zst", "\n".join(map(json.dumps, TWO))),
        ("a.json", json.dumps(TWO, indent=1)),
        ("a.json", "\n".join(map(json.dumps, TWO))),  # JSON Lines that are called otherwise
        ("a.json", json.dumps({"version": 1, "data": TWO})),
        ("a.json", json.dumps(TWO[0]) + "\n" + json.dumps({**TWO[1]})),
        ("a.csv", AS_CSV),
        ("a.csv.gz", AS_CSV),
        ("a.tsv", AS_CSV.replace(",1", "\t1").replace(",2", "\t2").replace("prompt,", "prompt\t")),
    ],
)
@pytest.mark.parametrize("mark", ["", "\ufeff"])
def test_the_same_rows_in_every_form(tmp_path, name, content, mark):
    found, dropped, drops = read(write(tmp_path, name, mark + content))
    assert [row for _, row in found] == TWO
    assert not dropped
    assert drops.rows_read == {"train": 2}


def test_rows_of_parquet(tmp_path):
    parquet.write_table(pyarrow.Table.from_pylist(TWO), tmp_path / "a.parquet")
    found, _, _ = read(tmp_path / "a.parquet")
    assert found == [("a.parquet:1", TWO[0]), ("a.parquet:2", TWO[1])]


def test_what_is_compressed_shows_in_its_bytes_and_not_in_its_name(tmp_path):
    (tmp_path / "a.jsonl").write_bytes(gzip.compress(json.dumps(TWO[0]).encode()))
    assert [row for _, row in read(tmp_path / "a.jsonl")[0]] == TWO[:1]


def test_places_are_lines_also_after_a_quoted_line_break(tmp_path):
    found, _, _ = read(write(tmp_path, "a.csv", AS_CSV))
    assert [where for where, _ in found] == ["a.csv:2", "a.csv:4"]


def test_lines_may_end_in_cr(tmp_path):
    found, dropped, _ = read(write(tmp_path, "a.csv", "a,b\r1,2\r3,4\r"))
    assert [row for _, row in found] == [{"a": "1", "b": "2"}, {"a": "3", "b": "4"}]
    assert not dropped


def test_one_bad_row_is_counted_and_takes_no_other_with_it(tmp_path):
    lines = [b'{"a": 1}', b"{", b"[1]", b'{"a": "\xff"}', b"NaN", b'{"a": 2}']
    found, dropped, drops = read(write(tmp_path, "a.jsonl", b"\n".join(lines)))
    assert [row for _, row in found] == [{"a": 1}, {"a": 2}]
    assert dropped == {
        "line is not JSON": ["a.jsonl:2"], "row is not an object": ["a.jsonl:3", "a.jsonl:5"],
        "not valid UTF-8": ["a.jsonl:4"],
    }  # fmt: skip
    assert drops.rows_read["train"] == 6
    csv = b"a,b\n1,2\n1\n1,2,3\n\xff,1\n3,\x00\n"
    found, dropped, _ = read(write(tmp_path, "a.csv", csv))
    assert [row for _, row in found] == [{"a": "1", "b": "2"}, {"a": "3", "b": "\x00"}]
    assert dropped == {
        "wrong number of fields": ["a.csv:3", "a.csv:4"], "not valid UTF-8": ["a.csv:5"],
    }  # fmt: skip


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.jsonl", json.dumps(TWO[0]).encode("utf-16"), "it seems to be UTF-16: save it as UTF-8"),
        ("a.csv", AS_CSV.encode("utf-16"), "it seems to be UTF-16: save it as UTF-8"),
        ("a.json", b"<html>", "not valid JSON"),
        ("a.json", b"7", "expected a list of rows"),
        ("a.csv", b'a,b\n1,"2\n3,4\n', r"a\.csv:2: a quotation mark is opened and never closed"),
        (
            "a.csv",
            b'a,b\nx,"y"z\n',
            r"a\.csv:2: a quotation mark out of place; within a quoted field it is written twice",
        ),
        ("a.csv", b"a;b\n1;2\n", "one column 'a;b'; set `delimiter: ';'`"),
        ("a.csv", b"a,b,a\n1,2,3\n", "the column 'a' is there twice"),
        ("a.jsonl", gzip.compress(random.Random(1).randbytes(999))[:-20], "compressed, but not whole"),
        ("a.jsonl", zstandard.compress(random.Random(1).randbytes(999))[:-20], "compressed, but not whole"),
        ("a.parquet", b"PAR1 and no more", "not a whole Parquet file"),
    ],
)
def test_what_makes_a_file_unreadable_is_told(tmp_path, name, content, message):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(UserError, match=message) as told:
        read(tmp_path / name)
    assert str(tmp_path / name) in str(told.value)
    assert len(str(told.value)) < 500


def test_a_quotation_mark_that_nobody_closes_does_not_swallow_a_large_file(tmp_path):
    path = write(tmp_path, "a.csv", 'a,b\n1,"2\n' + "3,4\n" * 3_000_000)
    with pytest.raises(UserError, match="is opened and never closed"):
        read(path)


def test_another_delimiter(tmp_path):
    assert read(write(tmp_path, "a.csv", "a;b\n1;2\n"), delimiter=";")[0][0][1] == {"a": "1", "b": "2"}


def test_files_are_told_by_the_splits_in_their_names(tmp_path):
    names = [
        "data/train-00000-of-00002.parquet", "data/train-00001-of-00002.parquet", "data/val.parquet",
        "dev/a.parquet", "my_test.parquet", "README.md", "provenance.json", ".hidden/train.parquet",
    ]  # fmt: skip
    for name in names:
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    found = [(split, path.relative_to(tmp_path).as_posix()) for split, path in data_files(tmp_path, [".parquet"])]
    assert found == [
        ("train", names[0]), ("train", names[1]), ("validation", names[2]), ("validation", names[3]),
        ("test", names[4]),
    ]  # fmt: skip


def test_a_name_that_says_no_split_beside_others_is_told(tmp_path):
    for name in ("train.csv", "contest.csv"):
        (tmp_path / name).touch()
    with pytest.raises(UserError, match=r"name of contest\.csv does not say whether"):
        data_files(tmp_path, [".csv"])
    (tmp_path / "train.csv").unlink()
    assert [split for split, _ in data_files(tmp_path, [".csv"])] == ["all"]
    with pytest.raises(UserError, match=r"expected files that end in \.jsonl; found contest\.csv"):
        data_files(tmp_path, [".jsonl"])


@given(content=st.binary(max_size=200), name=st.sampled_from(["a.jsonl", "a.json", "a.csv", "a.tsv", "a.parquet"]))
@settings(max_examples=200, deadline=None)
def test_any_bytes_are_read_or_told(tmp_path_factory, content, name):
    path = tmp_path_factory.mktemp("any") / name
    path.write_bytes(content)
    with contextlib.suppress(UserError):  # anything else would end the test
        found, _, drops = read(path)
        dropped = sum(entry.rows for entry in drops.reasons.get("train", {}).values())
        assert len(found) + dropped == drops.rows_read["train"]


def test_a_long_field_without_a_quotation_mark_is_told_as_what_it_is(tmp_path):
    with pytest.raises(UserError, match="a field of more than 10,000,000 characters"):
        read(write(tmp_path, "a.csv", "a,b\n1," + "x" * 10_000_001 + "\n"))


def test_links_to_nothing_and_pipes_are_no_data_and_nobody_waits_for_them(tmp_path):
    (tmp_path / "train.csv").symlink_to("nowhere")
    os.mkfifo(tmp_path / "test.csv")
    with pytest.raises(UserError, match=r"found test\.csv, train\.csv \(a link to nothing\)"):
        data_files(tmp_path, (".csv",))
