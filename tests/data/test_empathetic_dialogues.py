"""EmpatheticDialogues' own format: not CSV, and never quite whole."""

import shutil
from pathlib import Path

import pytest
from cleaning import cleaned, formatted, said

from loragrid.data.drops import Drops
from loragrid.data.sources import SOURCES
from loragrid.errors import UserError

SOURCE = SOURCES["empathetic_dialogues"]
HEADER = "conv_id,utterance_idx,context,prompt,speaker_idx,utterance,selfeval,tags"
SAMPLES = Path(__file__).parents[3] / "shared" / "data" / "empathetic_dialogues"


def line(conversation, number, text, tail=""):
    return f"{conversation},{number},sad,My dog died_comma_ sadly.,7,{text},5|5|5_2|2|5,{tail}"


def write(folder, lines, name="train.csv", header=HEADER):
    folder.mkdir(exist_ok=True)
    (folder / name).write_bytes(b"\n".join(x if isinstance(x, bytes) else x.encode() for x in [header, *lines]) + b"\n")
    return folder


def read(folder):
    drops = Drops()
    return list(SOURCE.read(folder, SOURCE.Options(), drops)), drops


def counts(drops, split="train"):
    return {reason: (entry.count, entry.rows) for reason, entry in drops.reasons.get(split, {}).items()}


def contents(record):
    return said(record.messages)


def test_speaker_is_user_and_listener_is_assistant_whatever_the_worker_numbers(tmp_path):
    records, _ = read(write(tmp_path, [line("c1", 1, "My dog died."), line("c1", 2, "I am sorry.")]))
    [(split, record)] = records
    assert split == "train"
    assert contents(record) == [("user", "My dog died."), ("assistant", "I am sorry.")]
    assert record.id == "c1"
    assert record.meta == {"emotion": "sad", "situation": "My dog died, sadly."}


def test_comma_marks_become_commas_and_raw_quotes_stay(tmp_path):
    records, drops = read(
        write(
            tmp_path, [line("c1", 1, 'He said "go_comma_ now'), line("c1", 2, 'Oh_comma_ "why"?'), line("c2", 1, '"')]
        )
    )
    assert contents(records[0][1]) == [("user", 'He said "go, now'), ("assistant", 'Oh, "why"?')]
    assert drops.rows_read["train"] == 3  # a CSV parser would have joined lines


def test_ninth_field_of_candidates_is_accepted(tmp_path):
    folder = write(tmp_path, [line("c1", 1, "Hi"), line("c1", 2, "Hello", tail=",one|two|three")], name="valid.csv")
    records, drops = read(folder)
    assert [split for split, _ in records] == ["validation"]
    assert contents(records[0][1])[1] == ("assistant", "Hello")
    assert counts(drops, "validation") == {}


def test_lines_in_any_order_and_between_other_conversations_are_put_in_order(tmp_path):
    lines = [line("c1", 2, "b"), line("c2", 1, "x"), line("c1", 1, "a"), line("c2", 2, "y")]
    records, _ = read(write(tmp_path, lines))
    assert [[text for _, text in contents(record)] for _, record in records] == [["a", "b"], ["x", "y"]]


def test_a_missing_turn_is_counted_and_a_missing_answer_is_for_the_steps(tmp_path):
    lines = [line("one", 1, "a")]
    lines += [line("odd", number, "abc"[number - 1]) for number in (1, 2, 3)]
    lines += [line("gap", number, "x") for number in (1, 2, 4)]
    records, drops = read(write(tmp_path, lines))
    assert counts(drops) == {"broken conversation: a turn is missing": (1, 3)}
    one, odd = (cleaned(record, *SOURCE.STEPS) for _, record in records)
    assert one == "no answer of the assistant to the user"
    assert contents(odd) == [("user", "a"), ("assistant", "b")]


def test_broken_lines_are_counted_with_file_and_line(tmp_path):
    lines = [
        "c1,1,sad",
        line("c2", "one", "a"),
        line("c3", 1, "caf\xe9").encode("latin-1"),
        line("c4", 1, "a"),
        line("c4", 2, "b"),
        line("c4", 2, "b"),
        line("c4", 2, "another"),
    ]
    records, drops = read(write(tmp_path, lines))
    assert [record.id for _, record in records] == ["c4"]
    assert {reason: entry.examples for reason, entry in drops.reasons["train"].items()} == {
        "wrong number of fields": ["train.csv:2"],
        "turn number is not a number": ["train.csv:3"],
        "not valid UTF-8": ["train.csv:4"],
        "row given twice": ["train.csv:7"],
        "another row for the same turn of the same conversation": ["train.csv:8"],
    }


def test_every_row_is_in_a_record_or_counted(tmp_path):
    lines = [line("a", 1, "x"), "bad", line("b", 1, "x"), line("b", 2, "y"), line("b", 3, "z"), line("c", 2, "x")]
    records, drops = read(write(tmp_path, lines))
    dropped = sum(rows for _, rows in counts(drops).values())
    assert sum(record.rows for _, record in records) + dropped == drops.rows_read["train"] == 6


def test_unusual_line_ends_inside_text_do_not_split_a_row(tmp_path):
    records, drops = read(write(tmp_path, [line("c", 1, "a\x0bb\u2028c"), line("c", 2, "d") + "\r"]))
    assert len(records) == 1
    assert counts(drops) == {}


def test_missing_column_is_told_with_what_was_found(tmp_path):
    write(tmp_path, ["x,y"], header="Situation,emotion,empathetic_dialogues,labels")
    with pytest.raises(UserError) as error:
        read(tmp_path)
    for words in ("train.csv", "utterance_idx", HEADER, "Situation,emotion"):
        assert words in str(error.value)


def test_folder_without_the_files_is_told(tmp_path):
    (tmp_path / "other.csv").touch()
    expected = r"expected train\.csv, valid\.csv, test\.csv or emotion-emotion_69k\.csv; found other\.csv"
    with pytest.raises(UserError, match=expected):
        read(tmp_path)


def test_unpacked_archive_folder_is_found(tmp_path):
    (tmp_path / "empatheticdialogues").mkdir()
    write(tmp_path / "empatheticdialogues", [line("c", 1, "a"), line("c", 2, "b")], name="test.csv")
    records, _ = read(tmp_path)
    assert [split for split, _ in records] == ["test"]


def test_a_format_gives_single_turns_with_the_emotion(tmp_path):
    [(_, record)], _ = read(write(tmp_path, [line("c1", 1, "Hi_comma_ you"), line("c1", 2, "Bye")]))
    frame = {"instruction": {"frame": "Instruction: {emotion}\nResponse:", "turns": "all"}}
    one, two = formatted(record, frame)
    assert said(one.messages) == [("user", "Instruction: sad\nResponse:"), ("assistant", "Hi, you")]
    assert (one.id, two.id, one.record, two.record) == ("c1:1", "c1:2", "c1", "c1")


def test_a_format_puts_the_emotion_into_a_system_message(tmp_path):
    [(_, record)], _ = read(write(tmp_path, [line("c1", 1, "a"), line("c1", 2, "b")]))
    (example,) = formatted(record, {"chat": {"system": "The user feels {emotion}."}})
    assert said(example.messages) == [("system", "The user feels sad."), ("user", "a"), ("assistant", "b")]
    with pytest.raises(UserError, match=r"there is no \{mood\}; the records have emotion, situation"):
        formatted(record, {"chat": {"system": "The user feels {mood}."}})


def test_real_rows_are_read_without_loss(tmp_path):
    if not SAMPLES.is_dir():
        pytest.skip(f"no sample of the real dataset at {SAMPLES}")
    shutil.copy(SAMPLES / "train.sample.csv", tmp_path / "train.csv")
    records, drops = read(tmp_path)
    assert drops.rows_read["train"] == 90
    dropped = sum(rows for _, rows in counts(drops).values())
    assert sum(record.rows for _, record in records) + dropped == 90
    assert not counts(drops)
    clean = [cleaned(record, *SOURCE.STEPS) for _, record in records]
    assert all(isinstance(record, str) or record.messages[-1]["role"] == "assistant" for record in clean)
    assert not any("_comma_" in text for _, record in records for _, text in contents(record))
    # The dialogue with a raw quote is there, quote and all.
    assert any('"' in text for _, record in records for _, text in contents(record))


def test_lines_that_a_spreadsheet_has_saved_again_are_counted_and_never_cut(tmp_path):
    lines = [
        line("c1", 1, '"Yes, the cat broke down"'), line("c1", 2, "Oh no"),
        line("c2", 1, "He said hi"), line("c2", 2, '"Oh, well, yes"'),
        line("c3", 1, "Fine"), line("c3", 2, "Good"),
    ]  # fmt: skip
    records, drops = read(write(tmp_path, lines))
    assert [record.id for _, record in records] == ["c2", "c3"]
    assert cleaned(records[0][1], *SOURCE.STEPS) == "no answer of the assistant to the user"
    assert counts(drops) == {
        "wrong number of fields (quoted, as a spreadsheet saves it)": (2, 2),
        "broken conversation: a turn is missing": (1, 1),
    }


def test_where_a_ninth_field_is_allowed_fields_out_of_place_are_counted(tmp_path):
    lines = [line("c1", 1, '"Yes, the cat broke down"'), line("c1", 2, "Oh no")]
    _, drops = read(write(tmp_path, lines, name="valid.csv"))
    reason = "selfeval is no rating: fields out of place (quoted, as a spreadsheet saves it)"
    assert counts(drops, "validation")[reason] == (1, 1)


def test_ratings_with_words_in_them_are_ratings(tmp_path):
    lines = [line("c1", 1, "Hi"), line("c1", 2, "Yo").replace("5|5|5_2|2|5", "1|5|5_I have clicked it!|4|5")]
    records, drops = read(write(tmp_path, lines))
    assert len(records) == 1
    assert not drops.reasons


@pytest.mark.parametrize("end", [b"\r\n", b"\r", b"\n"])
@pytest.mark.parametrize("mark", [b"", b"\xef\xbb\xbf"])
def test_any_line_ends_and_a_byte_order_mark_are_read(tmp_path, end, mark):
    lines = [HEADER, line("c1", 1, "Hi"), line("c1", 2, "Hello")]
    (tmp_path / "train.csv").write_bytes(mark + end.join(text.encode() for text in lines) + end)
    [(_, record)], drops = read(tmp_path)
    assert contents(record) == [("user", "Hi"), ("assistant", "Hello")]
    assert not drops.reasons


def test_another_encoding_is_named_and_no_file_is_quoted_in_full(tmp_path):
    lines = "\n".join([HEADER, line("c1", 1, "Hi")])
    (tmp_path / "train.csv").write_bytes(lines.encode("utf-16"))
    with pytest.raises(UserError, match="it seems to be UTF-16: save it as UTF-8"):
        read(tmp_path)
    (tmp_path / "train.csv").write_text("x" * 10_000)
    with pytest.raises(UserError) as told:
        read(tmp_path)
    assert len(str(told.value)) < 1000
