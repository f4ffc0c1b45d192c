"""Cleaning: one format, nothing lost silently, nothing of the test in the training."""

import json

import pytest

from loragrid.data import clean as module
from loragrid.data import sources
from loragrid.data.clean import clean
from loragrid.data.sources.base import Drops
from loragrid.errors import UserError


def dialogue(*texts, system=None):
    messages = [{"role": ("user", "assistant")[n % 2], "content": text} for n, text in enumerate(texts)]
    return [{"role": "system", "content": system}, *messages] if system else messages


class ListedSource:
    """A source whose raw file lists [split, id, messages] as JSON."""

    NAME = "listed"
    LICENCE = HOMEPAGE = ""
    Options = sources.get("tweetsumm").Options

    def read(self, folder, options, drops: Drops):
        for number, (split, name, messages) in enumerate(json.loads((folder / "raw.json").read_text()), start=1):
            drops.read(split)
            yield split, {"id": name, "messages": messages, "meta": {}, "where": f"raw.json:{number}"}


@pytest.fixture
def run(tmp_path, monkeypatch):
    monkeypatch.setitem(sources.SOURCES, "listed", ListedSource())

    def run_clean(raw, *, out="out", options=None, splits=None, rows=None, seed=0):
        folder = tmp_path / "raw"
        folder.mkdir(exist_ok=True)
        (folder / "raw.json").write_text(json.dumps(raw))
        clean(folder, tmp_path / out, "listed", options or {}, splits=splits, rows=rows, seed=seed)
        written = {
            split: [json.loads(text) for text in (tmp_path / out / f"{split}.jsonl").read_text().splitlines()]
            for split in ("train", "validation", "test")
        }
        return written, json.loads((tmp_path / out / "cleaning.json").read_text())

    return run_clean


OTHERS = [["validation", "v", dialogue("valid q", "valid a")], ["test", "t", dialogue("test q", "test a")]]


def many(count, split="all"):
    return [[split, f"d{n}", dialogue(f"question {n}", f"answer {n}")] for n in range(count)]


def ids(records):
    return [record["id"] for record in records]


def test_text_is_brought_into_one_form(run):
    raw = [["train", "a", dialogue("  cafe\u0301 \t\u00a0 now \r\n second  line \n", "ok\u2028 then")], *OTHERS]
    written, _ = run(raw)
    assert [message["content"] for message in written["train"][0]["messages"]] == ["café now\nsecond line", "ok then"]
    assert list(written["train"][0]) == ["id", "messages", "meta"]


def test_same_role_messages_are_merged_and_counted_as_merged(run):
    messages = dialogue("one", "answer")
    messages.insert(1, {"role": "user", "content": "two"})
    written, cleaning = run([["train", "a", messages], *OTHERS])
    assert written["train"][0]["messages"][0] == {"role": "user", "content": "one\ntwo"}
    assert cleaning["merged"] == {"train": 1}
    assert cleaning["dropped"] == {}


@pytest.mark.parametrize(
    ("messages", "reason"),
    [
        (dialogue("a", " \n "), "empty message"),
        ([], "no messages"),
        (dialogue("a", "b", "c"), "does not end with an answer of the assistant"),
        (dialogue("a", "b")[1:], "does not begin with the user"),
        (
            [*dialogue("a", "b"), {"role": "system", "content": "s"}, *dialogue("c", "d")],
            "system message in the middle",
        ),
        ([{"role": "tool", "content": "x"}], "unknown role"),
        (dialogue("a", "half a pair \ud83d"), "text is not valid Unicode"),
    ],
)
def test_unusable_records_are_dropped_and_told(run, messages, reason):
    written, cleaning = run([["train", "bad", messages], ["train", "good", dialogue("q", "a")], *OTHERS])
    assert ids(written["train"]) == ["good"]
    assert cleaning["dropped"] == {"train": {reason: {"count": 1, "rows": 1, "examples": ["raw.json:1"]}}}


def test_exact_duplicates_within_a_split_are_dropped_with_at_most_five_examples(run):
    raw = [["train", f"same{n}", dialogue("q", "a")] for n in range(8)]
    written, cleaning = run([*raw, *OTHERS])
    assert ids(written["train"]) == ["same0"]
    dropped = cleaning["dropped"]["train"]["exact duplicate"]
    assert dropped["count"] == 7
    assert dropped["examples"] == [f"raw.json:{n}" for n in range(2, 7)]


def test_what_the_test_asks_is_in_no_earlier_split_whatever_the_system_prompt(run):
    leaked = dialogue("test q", "test a", system="Be kind.")
    raw = [
        ["train", "leak-test", leaked],
        ["train", "leak-valid", dialogue("valid q", "valid a")],
        ["train", "good", dialogue("q", "a")],
        ["validation", "leak-test", dialogue("test  q", "test a")],
        *OTHERS,
    ]
    written, cleaning = run(raw)
    assert {split: ids(records) for split, records in written.items()} == {
        "train": ["good"],
        "validation": ["v"],
        "test": ["t"],
    }
    reasons = {split: {r: e["count"] for r, e in each.items()} for split, each in cleaning["dropped"].items()}
    assert reasons == {"train": {"also in test": 1, "also in validation": 1}, "validation": {"also in test": 1}}


def test_data_without_splits_asks_for_them(run):
    with pytest.raises(UserError, match="set `splits`"):
        run(many(5))


def test_made_splits_are_disjoint_repeatable_and_differ_by_seed(run):
    shares = {"validation": 0.1, "test": 0.2}
    written, _ = run(many(400), splits=shares)
    again, _ = run(many(400), splits=shares, out="again")
    other, _ = run(many(400), splits=shares, out="other", seed=1)
    assert written == again
    assert ids(written["test"]) != ids(other["test"])
    assert sorted(name for records in written.values() for name in ids(records)) == sorted(f"d{n}" for n in range(400))
    assert 25 <= len(written["validation"]) <= 60
    assert 60 <= len(written["test"]) <= 100


def test_adding_rows_moves_no_other_row(run):
    shares = {"validation": 0.2, "test": 0.2}
    before, _ = run(many(100), splits=shares)
    after, _ = run(many(150), splits=shares, out="after")
    old = {f"d{n}" for n in range(100)}
    for split in before:
        assert [name for name in ids(after[split]) if name in old] == ids(before[split])


def test_own_splits_are_kept_unless_named(run):
    raw = [*many(60, "train"), *OTHERS]
    written, _ = run(raw, splits={"validation": 0.3})
    assert ids(written["test"]) == ["t"]
    assert len(written["validation"]) > 5
    assert "t" not in ids(written["train"]) + ids(written["validation"])


def test_rows_of_one_conversation_stay_in_one_split(tmp_path):
    header = "conv_id,utterance_idx,context,prompt,speaker_idx,utterance,selfeval,tags"
    lines = [f"c{c},{n},sad,p,1,text {c} {n},5|5|5_5|5|5," for c in range(40) for n in (1, 2, 3)]
    (tmp_path / "train.csv").write_text("\n".join([header, *lines]) + "\n")
    shares = {"validation": 0.3, "test": 0.3}
    clean(tmp_path, tmp_path / "out", "empathetic_dialogues", {"form": "row"}, splits=shares, rows=None, seed=0)
    homes = {}
    for split in ("train", "validation", "test"):
        for text in (tmp_path / "out" / f"{split}.jsonl").read_text().splitlines():
            homes.setdefault(json.loads(text)["meta"]["conversation"], set()).add(split)
    assert all(len(splits) == 1 for splits in homes.values())


def test_rows_are_chosen_by_seed_and_keep_their_order(run):
    raw = [*many(100, "train"), *OTHERS]
    ten, cleaning = run(raw, rows={"train": 10, "test": 5})
    twenty, _ = run(raw, rows={"train": 20}, out="twenty")
    other, _ = run(raw, rows={"train": 10}, out="other", seed=3)
    numbers = [int(name[1:]) for name in ids(ten["train"])]
    assert len(numbers) == 10
    assert numbers == sorted(numbers)
    assert set(ids(ten["train"])) <= set(ids(twenty["train"]))
    assert ids(ten["train"]) != ids(other["train"])
    assert cleaning["short"] == {"test": {"wanted": 5, "kept": 1}}
    assert cleaning["available"]["train"] == 100
    assert cleaning["kept"] == {"train": 10, "validation": 1, "test": 1}


def test_an_id_used_twice_is_told_apart(run):
    raw = [["train", "x", dialogue("a", "b")], ["train", "x", dialogue("c", "d")], *OTHERS]
    written, _ = run(raw)
    assert ids(written["train"]) == ["x", "x#2"]


def test_empty_split_tells_what_became_of_its_rows_and_leaves_nothing(run, tmp_path):
    raw = [["train", "a", dialogue("q", "")], ["train", "b", dialogue("q")], *OTHERS]
    with pytest.raises(UserError) as error:
        run(raw)
    message = str(error.value)
    assert "nothing is left of the train split; 2 rows were read" in message
    assert "empty message: 1 (first: raw.json:1)" in message
    assert "does not end with an answer of the assistant: 1" in message
    assert [entry.name for entry in tmp_path.iterdir()] == ["raw"]


def test_missing_split_says_how_to_make_it(run):
    with pytest.raises(UserError, match=r"no validation split \(it has: train, test\); set `splits`"):
        run([*many(3, "train"), OTHERS[1]])


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"splits": {"train": 0.5}}, r"splits\.train"),
        ({"splits": {"test": 1.5}}, r"splits\.test: 1.5"),
        ({"splits": {"test": 0.6, "validation": 0.5}}, "nothing for train"),
        ({"rows": {"dev": 5}}, r"rows\.dev"),
        ({"rows": {"train": 0}}, r"rows\.train"),
        ({"options": {"remove": ["emoji"], "wrong": 1}}, r"(?s)instruction, remove.*steps\.remove\.0.*steps\.wrong"),
    ],
)
def test_wrong_settings_are_told_with_their_key(run, settings, message):
    with pytest.raises(UserError, match=message):
        run([*many(3, "train"), *OTHERS], **settings)


def test_same_input_gives_the_same_bytes(run, tmp_path):
    raw = [*many(50, "train"), *OTHERS]
    run(raw, rows={"train": 20})
    run(raw, rows={"train": 20}, out="again")
    for path in (tmp_path / "out").iterdir():
        assert path.read_bytes() == (tmp_path / "again" / path.name).read_bytes()


def test_a_stop_while_publishing_leaves_no_finished_looking_folder(run, tmp_path, monkeypatch):
    raw = [*many(5, "train"), *OTHERS]
    run(raw)
    moved = []

    def stop(path, target):
        moved.append(target.name)
        if len(moved) == 2:
            raise KeyboardInterrupt
        return replace(path, target)

    replace = module.Path.replace
    monkeypatch.setattr(module, "write_json", lambda path, value: path.write_text(json.dumps(value)))
    monkeypatch.setattr(module, "write_jsonl", lambda path, rows: path.write_text("".join(f"{r}\n" for r in rows)))
    monkeypatch.setattr(module.Path, "replace", stop)
    with pytest.raises(KeyboardInterrupt):
        run(raw, rows={"train": 2})
    assert not (tmp_path / "out" / "cleaning.json").exists()
    assert sorted(entry.name for entry in tmp_path.iterdir()) == ["out", "raw"]


def test_statistics_count_what_is_written(run, tmp_path):
    raw = [["train", "a", dialogue("one two", "café", system="s")], ["train", "b", dialogue("q", "a", "q2", "a2")]]
    run([*raw, *OTHERS])
    train = json.loads((tmp_path / "out" / "statistics.json").read_text())["train"]
    assert train == {
        "dialogues": 2,
        "messages": 7,
        "assistant_messages": 3,
        "characters": 18,
        "words": 8,
        "bytes": 19,
        "words_per_dialogue": {"median": 4.0, "p95": 4},
        "turns": {"2": 1, "4": 1},
    }
