"""Cleaning: one format, nothing lost silently, nothing of the test in the training."""

import json

import pytest
from cleaning import resolved

from loragrid.data import clean as module
from loragrid.data import cleaned
from loragrid.data.clean import clean
from loragrid.data.drops import Drops
from loragrid.data.records import ChoiceQuestion, Dialogue, PreferencePair
from loragrid.data.sources import SOURCES
from loragrid.data.steps.base import NoOptions
from loragrid.errors import UserError


def dialogue(*texts, system=None):
    messages = [{"role": ("user", "assistant")[n % 2], "content": text} for n, text in enumerate(texts)]
    return [{"role": "system", "content": system}, *messages] if system else messages


class ListedSource:
    """A source whose raw file lists [split, id, messages] as JSON."""

    VERSION = 3
    Options = NoOptions
    FACETS = ()

    def read(self, folder, options, drops: Drops):
        for number, (split, name, messages) in enumerate(json.loads((folder / "raw.json").read_text()), start=1):
            drops.read(split)
            yield split, Dialogue(name, messages, where=f"raw.json:{number}")


STEPS = ("unicode", {"whitespace": {"within": "single"}}, "merge_turns", {"answered": {"last": "drop"}})


@pytest.fixture
def run(tmp_path, monkeypatch):
    monkeypatch.setitem(SOURCES, "listed", ListedSource())

    def run_clean(raw, *, out="out", steps=STEPS, splits=None, rows=None, seed=0, **more):
        folder = tmp_path / "raw"
        folder.mkdir(exist_ok=True)
        (folder / "raw.json").write_text(json.dumps(raw))
        chosen = resolved(*steps)
        clean(folder, tmp_path / out, "listed", {}, chosen, splits=splits, rows=rows, seed=seed, **more)
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


def test_same_role_messages_are_merged_and_counted_as_changed(run):
    messages = dialogue("one", "answer")
    messages.insert(1, {"role": "user", "content": "two"})
    written, cleaning = run([["train", "a", messages], *OTHERS])
    assert written["train"][0]["messages"][0] == {"role": "user", "content": "one\ntwo"}
    merged = cleaning["steps"][2]
    assert (merged["step"], merged["changed"], merged["dropped"]) == ("merge_turns", {"train": 1}, {})
    assert merged["examples"] == [{"where": "raw.json:1", "before": "one", "after": "one\ntwo"}]
    assert cleaning["dropped"] == {}


@pytest.mark.parametrize(
    ("messages", "reason"),
    [
        (dialogue("a", " \n "), "empty message"),
        ([], "no answer of the assistant to the user"),
        (dialogue("a", "b", "c"), "does not end with an answer of the assistant"),
        (dialogue("a", "b", "c", "d")[1:], "does not begin with the user"),
        (dialogue("a"), "no answer of the assistant to the user"),
        ([*dialogue("a", "b"), {"role": "tool", "content": "x"}, *dialogue("c", "d")], "unknown role"),
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


def test_the_same_question_in_the_test_is_a_leak_whatever_the_answer(run):
    raw = [["train", "leak", dialogue("test q", "another answer")], ["train", "good", dialogue("q", "a")], *OTHERS]
    written, cleaning = run(raw)
    assert ids(written["train"]) == ["good"]
    assert cleaning["dropped"]["train"]["also in test"]["count"] == 1


def test_a_record_comes_to_the_same_split_under_any_name_and_after_any_steps(run):
    shares = {"validation": 0.3, "test": 0.3}
    raw = [["all", f"d{n}", dialogue(f"question {n} @you", f"answer {n}")] for n in range(60)]
    renamed = [["all", f"other{n}", messages] for n, (_, _, messages) in enumerate(raw)]
    one, _ = run(raw, splits=shares)
    other, _ = run(renamed, splits=shares, steps=["mentions"], out="other")
    for split, records in one.items():
        assert [record["id"].replace("d", "other") for record in records] == ids(other[split])


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
    clean(tmp_path, tmp_path / "out", "empathetic_dialogues", {}, [], splits=shares, rows=None, seed=0)
    homes = {
        split: {json.loads(text)["id"] for text in (tmp_path / "out" / f"{split}.jsonl").read_text().splitlines()}
        for split in ("train", "validation", "test")
    }
    assert all(homes.values())
    assert sum(map(len, homes.values())) == len(set().union(*homes.values())) == 40


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


def test_no_two_records_of_a_dataset_have_one_id(run):
    raw = [["train", "x#2", dialogue("a", "b")], ["train", "x", dialogue("c", "d")], ["train", "x", dialogue("e", "f")]]
    raw += [["validation", "x", dialogue("g", "h")], ["test", "x#2", dialogue("i", "j")]]
    written, _ = run(raw)
    assert {split: ids(records) for split, records in written.items()} == {
        "train": ["x#2", "x", "x#3"], "validation": ["x#4"], "test": ["x#2#2"],
    }  # fmt: skip


def test_empty_split_tells_what_became_of_its_rows_and_leaves_nothing(run, tmp_path):
    raw = [["train", "a", dialogue("q", "")], ["train", "b", dialogue("q", "a", "b")], *OTHERS]
    with pytest.raises(UserError) as error:
        run(raw)
    message = str(error.value)
    assert "nothing is left of the train split; 2 rows were read" in message
    assert "empty message: 1 (first: raw.json:1)" in message
    assert "does not end with an answer of the assistant: 1" in message
    assert [entry.name for entry in tmp_path.iterdir()] == ["raw"]


def test_data_without_a_row_is_told_with_its_files(tmp_path):
    (tmp_path / "raw").mkdir()
    (tmp_path / "raw/prompts.jsonl").touch()
    given = {"splits": None, "rows": None, "seed": 0, "needs": ["test"]}
    with pytest.raises(UserError, match=r"prompts: there is not one row in the data \(.*raw: prompts\.jsonl\)"):
        clean(tmp_path / "raw", tmp_path / "clean", "prompts", {}, [], **given)


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
    monkeypatch.setattr(cleaned, "write_json", lambda path, value: path.write_text(json.dumps(value)))
    monkeypatch.setattr(cleaned, "write_jsonl", lambda path, rows: path.write_text("".join(f"{r}\n" for r in rows)))
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
        "records": 2,
        "messages": 7,
        "assistant_messages": 3,
        "characters": 18,
        "words": 8,
        "bytes": 19,
        "words_per_record": {"median": 4.0, "p95": 4},
        "turns": {"2": 1, "4": 1},
        "meta": {},
    }


class MixedSource(ListedSource):
    """A source of records that are no dialogues."""

    RECORDS = (
        PreferencePair("p1", dialogue("Hi"), "Hey &amp; hello!", "I am a program."),
        PreferencePair("p2", dialogue("Hi there"), "Same.", "Same."),
        PreferencePair("p3", dialogue("Hi"), "Hello.", "Go away."),
        ChoiceQuestion("q1", "2 + 2?", ["3", "4"], 1),
        ChoiceQuestion("q2", "2 + 3?", ["3", "4"], 5),
        ChoiceQuestion("q3", "2 + 4?", ["6", "6"], 0),
        ChoiceQuestion("q4", "2 + 5?", ["7"], 0),
        Dialogue("n1", dialogue("a", "b"), {"score": float("nan")}),
    )

    def read(self, folder, options, drops):
        for record in self.RECORDS:
            drops.read("train")
            yield "train", record


def test_pairs_and_questions_pass_and_those_that_say_nothing_are_counted(tmp_path, monkeypatch):
    monkeypatch.setitem(SOURCES, "mixed", MixedSource())
    steps = resolved("unescape", "merge_turns", "answered")
    clean(tmp_path, tmp_path / "out", "mixed", {}, steps, splits=None, rows=None, seed=0, needs=["train"])
    lines = [json.loads(line) for line in (tmp_path / "out" / "train.jsonl").read_text().splitlines()]
    assert lines == [
        {
            "id": "p1", "messages": dialogue("Hi"), "chosen": "Hey & hello!", "rejected": "I am a program.", "meta": {},
        },
        {"id": "p3", "messages": dialogue("Hi"), "chosen": "Hello.", "rejected": "Go away.", "meta": {}},
        {"id": "q1", "question": "2 + 2?", "choices": ["3", "4"], "answer": 1, "meta": {}},
    ]  # fmt: skip
    cleaning = json.loads((tmp_path / "out" / "cleaning.json").read_text())
    assert {reason: entry["count"] for reason, entry in cleaning["dropped"]["train"].items()} == {
        "chosen and rejected are the same": 1, "the answer is none of the choices": 1, "two choices are the same": 1,
        "fewer than two choices": 1, "meta has a number that is none (NaN or infinite)": 1,
    }  # fmt: skip
    assert (tmp_path / "out" / "test.jsonl").read_text() == ""


def test_steps_are_counted_with_three_examples_from_around_the_change(run):
    words = ["word " * number for number in (30, 30, 30, 30, 60)]
    raw = [["train", f"d{n}", dialogue(f"{text}{n} https://t.co/{n} end", "a")] for n, text in enumerate(words)]
    _, cleaning = run([*raw, *OTHERS], steps=["urls", {"length": {"max_words": 50}}])
    urls, length = cleaning["steps"]
    assert (urls["step"], urls["version"], urls["options"]) == ("urls", 1, {})
    assert (urls["changed"], urls["dropped"]) == ({"train": 5}, {})
    assert [example["where"] for example in urls["examples"]] == ["raw.json:1", "raw.json:2", "raw.json:3"]
    assert urls["examples"][0] == {
        "where": "raw.json:1", "before": "… rd word word word 0 https://t.co/0 end",
        "after": "… rd word word word 0 end",
    }  # fmt: skip
    assert (length["options"], length["dropped"]) == ({"max_words": 50}, {"train": 1})
    assert length["examples"][0]["dropped"] == "more than 50 words"


def test_the_same_question_in_another_spelling_never_stands_on_both_sides(run):
    raw = []
    for number in range(60):
        raw.append(["all", f"a{number}", dialogue(f"What is item {number}?", "A thing.")])
        raw.append(["all", f"b{number}", dialogue(f"WHAT is  item {number}", "Something.")])
    splits, _ = run(raw, splits={"validation": 0.3, "test": 0.3})
    asked_in = {}
    for split, records in splits.items():
        for record in records:
            asked_in.setdefault(record["id"][1:], set()).add(split)
    assert all(len(places) == 1 for places in asked_in.values())
    assert sum(map(len, splits.values())) == 120


def test_files_that_are_all_of_one_split_by_their_names_are_told(run):
    with pytest.raises(UserError, match="all of them validation by the names of their files: rename these"):
        run(many(5, "validation"), splits={"test": 0.2})
