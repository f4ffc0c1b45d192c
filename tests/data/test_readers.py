"""Every reader on files that are damaged anywhere: a clear error or counted drops, never anything else."""

import copy
import csv
import io
import json
import random
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from loragrid.data.drops import Drops
from loragrid.data.records import fault, texts, to_json
from loragrid.data.sources import SOURCES
from loragrid.errors import UserError

SAMPLES = Path(__file__).parents[2] / "data/samples"
HEADER = "conv_id,utterance_idx,context,prompt,speaker_idx,utterance,selfeval,tags"


def lines(*rows):
    return "\n".join(json.dumps(row, ensure_ascii=False) for row in rows).encode()


def start(file, number):
    """The first records of a sample, in its own form."""
    value = json.loads((SAMPLES / file).read_text())
    few = dict(list(value.items())[:number]) if isinstance(value, dict) else value[:number]
    return json.dumps(few, ensure_ascii=False).encode()


INSTRUCTION = lines({"instruction": "Say hi.", "input": "", "output": "Hi."}, {"instruction": "Bye.", "output": "Bye."})
CHAT = lines({"messages": [{"role": "user", "content": "Hi?"}, {"role": "assistant", "content": "Hello."}]})

FILES: dict[str, tuple[str, bytes, dict]] = {
    "aya_turkish": ("train.jsonl", b"\n".join((SAMPLES / "aya_turkish/train.jsonl").read_bytes().split(b"\n")[:3]), {}),
    "alpaca_turkish": ("train.jsonl", INSTRUCTION, {}),
    "cmmlu": ("test/agronomy.csv", (SAMPLES / "cmmlu/test/agronomy.csv").read_bytes(), {}),
    "csv": ("own.csv", b'prompt,completion\nHi?,"Hello,\nyou"\nBye,Bye\n', {}),
    "empathetic_dialogues": (
        "train.csv",
        f"{HEADER}\nc1,1,sad,I lost it,1,Oh_comma_ no,5|5|5_5|5|5,\nc1,2,sad,I lost it,2,Why?,5|5|5_5|5|5,\n".encode(),
        {},
    ),
    "esconv": ("ESConv.json", start("esconv/ESConv.json", 2), {}),
    "extes": ("ExTES.json", start("extes/ExTES.json", 6), {}),
    "firefly": ("train.jsonl", lines({"kind": "Cot", "input": "问", "target": "答"}), {}),
    "hub": ("own.jsonl", CHAT, {"id": "a/b", "files": ["*"]}),
    "human_like_dpo": ("data.json", start("human_like_dpo/data.json", 2), {}),
    "jsonl": ("own.jsonl", CHAT, {}),
    "lima_turkish": ("train.jsonl", CHAT, {}),
    "mt_bench": ("question.jsonl", lines({"question_id": 81, "category": "writing", "turns": ["One?", "Two?"]}), {}),
    "mt_bench_zh": ("question.jsonl", lines({"question_id": 81, "category": "writing", "turns": ["一？", "二？"]}), {}),
    "no_robots_turkish": ("train.jsonl", CHAT, {}),
    "parquet": ("own.parquet", b"PAR1", {}),
    "prompts": ("ten.jsonl", lines({"prompt": "Hi?", "reference": "Hello."}), {}),
    "turkish_instructions": ("all.csv", "﻿,talimat, giriş, çıktı\n0,Selam ver.,,Selam.\n".encode(), {}),
    "turkishmmlu": (
        "test/history.jsonl",
        lines({"question": "Kim?", "choices": ["a", "b", "c", "d", "e"], "answer": "B"}),
        {},
    ),
    "tweetsumm": ("TweetSumm.json", start("tweetsumm/TweetSumm.json", 2), {}),
}


def test_all_readers_are_here():
    assert FILES.keys() == SOURCES.keys()


@pytest.fixture(params=FILES)
def reader(request, tmp_path):
    """Reads a file of a source with other bytes in it: the records and what was counted, or what is wrong."""
    name, _, options = FILES[request.param]
    file = tmp_path / "raw" / name
    file.parent.mkdir(parents=True)
    source = SOURCES[request.param]

    def read(content):
        file.write_bytes(content)
        drops = Drops()
        try:
            records = list(source.read(tmp_path / "raw", source.Options.model_validate(options), drops))
        except UserError as error:
            said = str(error)
            records = None
        if records is None:
            assert len(said) < 2000  # no message quotes a file
            return None, said
        for split, record in records:
            assert split in ("train", "validation", "test", "all")
            assert record.id
            assert record.where.startswith(Path(name).parts[0]) or "/" in record.where
            assert all(isinstance(text, str) for text in texts(record)) or fault(record)
            json.dumps(to_json(record))
        return records, drops

    read.name = request.param
    return read


DEEP = "[" * 5000


@pytest.mark.parametrize(
    ("reader", "content"),
    [
        ("esconv", lines({"text": DEEP})),
        ("jsonl", lines({"messages": DEEP})),
        ("jsonl", lines({"question": "Q?", "choices": DEEP, "answer": "A"})),
        ("tweetsumm", json.dumps([{"log": [], "original dialog info": DEEP}]).encode()),
        ("mt_bench", lines({"question_id": [1], "turns": ["a"]})),
    ],
    indirect=["reader"],
    ids=range(5),
)
def test_values_that_hold_json_of_endless_depth_or_of_another_kind(reader, content):
    records, _ = reader(content)
    assert not records


def test_whole_files_are_read(reader):
    _, content, _ = FILES[reader.name]
    records, said = reader(content)
    if reader.name == "parquet":  # only the beginning of one; tests/data/test_tables.py reads whole ones
        assert "parquet" in said.lower()
    else:
        assert records, said


ANY = settings(
    max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow]
)


@ANY
@given(data=st.data())
def test_bytes_put_in_or_left_out_anywhere(reader, data):
    content = FILES[reader.name][1]
    place = data.draw(st.integers(0, len(content)))
    left_out = data.draw(st.sampled_from([0, 1, 7, len(content)]))
    put_in = data.draw(
        st.sampled_from([b"", b"\0", b"\xff", b'"', b",", b"\r", b"\n\n", b"{", "\u2028".encode(), b"\\ud800"])
    )
    reader(content[:place] + put_in + content[place + left_out :])


NOTHING = [b"", b"\n", b"null", b"[]", b"{}", b"[[]]", b"[null]", b'"text"', b"\xff\xfe{\0}\0", b"x" * 300_000,
           b"[" * 5000, b'{"a":' * 5000]  # fmt: skip


@pytest.mark.parametrize("content", NOTHING, ids=range(len(NOTHING)))
def test_files_that_hold_nothing_of_the_kind(reader, content):
    records, _ = reader(content)
    assert not records


VALUES = st.sampled_from(
    [
        None,
        True,
        0,
        -1,
        1e400,
        "",
        " ",
        "\0",
        "\ud800",
        [],
        {},
        [None],
        {"a": None},
        "x" * 100_000,
        ["a", "a"],
        [{"a": {}}],
    ]
)


def places(value, path=()):
    """Every place in a JSON value."""
    yield path
    inner = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, item in inner:
        yield from places(item, (*path, key))


def with_change(value, path, new):
    changed = copy.deepcopy(value)
    if not path:
        return new
    *before, last = path
    place = changed
    for key in before:
        place = place[key]
    place[last] = new
    return changed


@ANY
@given(data=st.data())
def test_any_value_in_the_place_of_another(reader, data):
    name, content, _ = FILES[reader.name]
    new = data.draw(VALUES)
    if name.endswith(".csv"):
        table = list(csv.reader(io.StringIO(content.decode("utf-8-sig"))))
        row = data.draw(st.integers(0, len(table) - 1))
        table[row][data.draw(st.integers(0, len(table[row]) - 1))] = str(new)
        out = io.StringIO()
        csv.writer(out).writerows(table)
        reader(out.getvalue().encode("utf-8", "surrogatepass"))
        return
    if name.endswith(".parquet"):
        return
    one = name.endswith(".json")
    whole = json.loads(content) if one else [json.loads(line) for line in content.splitlines()]
    path = data.draw(st.sampled_from(sorted(places(whole), key=str)))
    changed = with_change(whole, path, new)
    values = [changed] if one else changed if isinstance(changed, list) else [changed]
    reader("\n".join(json.dumps(value) for value in values).encode())


@pytest.mark.parametrize("reader", [name for name, file in FILES.items() if file[0].endswith(".jsonl")], indirect=True)
def test_columns_in_another_order_are_the_same_records(reader):
    rows = [json.loads(line) for line in FILES[reader.name][1].splitlines()]
    shuffled = []
    for row in rows:
        items = list(row.items())
        random.Random(1).shuffle(items)
        shuffled.append(dict(items))
    assert reader(lines(*rows))[0] == reader(lines(*shuffled))[0]


@pytest.mark.parametrize("reader", ["jsonl"], indirect=True)
def test_the_subject_of_a_question_is_kept(reader):
    records, _ = reader(lines({"question": "Q?", "choices": ["a", "b"], "answer": "B", "subject": "law"}))
    ((_, record),) = records
    assert record.meta == {"subject": "law"}
