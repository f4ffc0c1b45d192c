"""The studies' datasets in their original layouts: real samples where they lie beside the project, else like them."""

import json
import shutil
from collections import Counter
from pathlib import Path

import pyarrow
import pytest
from cleaning import cleaned, formatted, said
from pyarrow import parquet

from loragrid.data.clean import clean
from loragrid.data.drops import Drops
from loragrid.data.formats import FORMATS
from loragrid.data.records import PreferencePair
from loragrid.data.sources import SOURCES
from loragrid.data.steps import STEPS
from loragrid.errors import UserError
from loragrid.study import choices

SAMPLES = Path(__file__).parents[3] / "shared" / "data"


def read(name, folder, **options):
    source = SOURCES[name]
    drops = Drops()
    return list(source.read(folder, source.Options(**options), drops)), drops


def counted(drops, split="all"):
    return {reason: entry.count for reason, entry in drops.reasons.get(split, {}).items()}


def sample(*names):
    path = SAMPLES.joinpath(*names)
    if not path.exists():
        pytest.skip(f"no sample of the real dataset at {path}")
    return path


@pytest.mark.parametrize("name", SOURCES)
def test_every_source_is_whole(name):
    source = SOURCES[name]
    assert source.__doc__
    assert source.VERSION >= 1
    assert source.SIZE.rows
    if source.KIND is None:
        assert source.kind
        assert source.remote
    else:
        format_ = choices.resolved(source.FORMAT or source.KIND.FORMAT, FORMATS)
        assert FORMATS[format_["name"]].KIND is source.KIND
    for step in source.STEPS:
        assert choices.resolved(step, STEPS)["version"] >= 1


# -- ESConv

TURNS = [
    {"speaker": "supporter", "annotation": {"strategy": "Question "}, "content": "Hello!"},
    {"speaker": "seeker", "annotation": {}, "content": "I lost my job.\n"},
    {"speaker": "seeker", "annotation": {"feedback": "4"}, "content": "Yesterday."},
    {"speaker": "supporter", "annotation": {"strategy": "Reflection of feelings"}, "content": "That is hard."},
    {"speaker": "seeker", "annotation": {}, "content": "Bye"},
]
ESCONV = {
    "experience_type": "Previous Experience", "emotion_type": "anxiety", "problem_type": "job crisis",
    "situation": "I was let go.", "survey_score": {"seeker": {}, "supporter": {}}, "dialog": TURNS,
    "seeker_question1": "", "seeker_question2": "", "supporter_question1": "", "supporter_question2": "",
}  # fmt: skip
ON_THE_HUB = {
    **{name: ESCONV[name] for name in ("experience_type", "emotion_type", "problem_type", "situation")},
    "dialog": [
        {
            "text": turn["content"], "speaker": {"seeker": "usr", "supporter": "sys"}[turn["speaker"]],
            **({"strategy": turn["annotation"]["strategy"]} if "strategy" in turn["annotation"] else {}),
        }
        for turn in TURNS
    ],
}  # fmt: skip


@pytest.mark.parametrize("form", ["the original's list", "the hub's column of JSON", "one a line"])
def test_esconv_in_each_layout_is_the_same(tmp_path, form):
    if form == "the original's list":
        (tmp_path / "ESConv.json").write_text(json.dumps([ESCONV]))
    elif form == "one a line":
        (tmp_path / "train.txt").write_text(json.dumps(ON_THE_HUB) + "\n")
        (tmp_path / "LICENSE.txt").write_text("as it is")
    else:
        rows = [{"text": json.dumps(ON_THE_HUB)}]
        parquet.write_table(pyarrow.Table.from_pylist(rows), tmp_path / "train.parquet")
    [(split, record)], drops = read("esconv", tmp_path)
    assert split == ("all" if form.startswith("the original") else "train")
    assert record.meta == {
        "emotion": "anxiety", "problem": "job crisis", "experience": "Previous Experience",
        "situation": "I was let go.", "strategies": ["Question", "Reflection of feelings"],
    }  # fmt: skip
    assert not drops.reasons
    clean = cleaned(record, *SOURCES["esconv"].STEPS)
    assert said(clean.messages) == [("user", "I lost my job. Yesterday."), ("assistant", "That is hard.")]


def test_real_conversations_of_esconv_that_failed(tmp_path):
    shutil.copy(sample("esconv", "FailedESConv.sample.json"), tmp_path)
    records, drops = read("esconv", tmp_path)
    assert len(records) == drops.rows_read["all"] == 18
    assert not drops.reasons
    assert {role for _, record in records for role, _ in said(record.messages)} == {"user", "assistant"}
    assert all(record.meta["emotion"] and record.meta["strategies"] for _, record in records)
    clean = [cleaned(record, *SOURCES["esconv"].STEPS) for _, record in records]
    assert all(isinstance(record, str) or formatted(record, "chat") for record in clean)


def test_real_conversations_of_esconv_one_a_line(tmp_path):
    shutil.copy(sample("esconv", "derived_ppdpp_esc-test.sample.txt"), tmp_path / "test.txt")
    records, drops = read("esconv", tmp_path)
    assert [split for split, _ in records] == ["test"] * 15
    assert not drops.reasons


def test_esconv_of_another_layout_or_with_broken_rows(tmp_path):
    rows = [
        ESCONV,
        {**ESCONV, "dialog": [{"speaker": "nobody", "content": "x"}]},
        {**ESCONV, "dialog": ["x"]},
        {"a": 1},
    ]
    (tmp_path / "ESConv.json").write_text(json.dumps(rows))
    records, drops = read("esconv", tmp_path)
    assert len(records) == 1
    assert counted(drops) == {"an unknown speaker": 1, "a turn is not an object": 1, "row of an unknown layout": 1}
    (tmp_path / "ESConv.json").write_text(json.dumps(rows[::-1]))
    with pytest.raises(UserError, match=r'expected rows with `dialog`, or with `text`; found \{"a": 1\}'):
        read("esconv", tmp_path)


# -- ExTES

EXTES = {
    "scene": "Breakups ",
    "description": "They parted.",
    "content": [
        {"AI Strategy": "", "AI": "Hello."},
        {"User": "We broke up."},
        {"User": "Last week."},
        {"AI Strategy": "Reflective Statements", "AI": {"Response": "That hurts."}},
        {"User": "It does.", "AI": "I am here.", "AI Strategy": "Affirmation"},
        {"User": "Thanks."},
    ],
}


def test_extes(tmp_path):
    rows = [EXTES, {**EXTES, "content": [{"User": 7}]}, {**EXTES, "content": "x"}]
    (tmp_path / "ExTES.json").write_text(json.dumps(rows))
    [(split, record)], drops = read("extes", tmp_path)
    assert split == "all"
    assert record.meta == {
        "scene": "Breakups", "description": "They parted.", "strategies": ["Reflective Statements", "Affirmation"],
    }  # fmt: skip
    clean = cleaned(record, *SOURCES["extes"].STEPS)
    assert said(clean.messages) == [
        ("user", "We broke up. Last week."), ("assistant", "That hurts."), ("user", "It does."),
        ("assistant", "I am here."),
    ]  # fmt: skip
    assert counted(drops) == {"what is said is not text": 1, "`content` is not a list": 1}
    (tmp_path / "ExTES.json").write_text(json.dumps([{"text": "x"}]))
    with pytest.raises(UserError, match="expected rows with `scene`, `description`, `content`"):
        read("extes", tmp_path)


# -- EmpatheticDialogues, as others have or read it

KAGGLE = """,Situation,emotion,empathetic_dialogues,labels,Unnamed: 5,Unnamed: 6
0,My dog died_comma_ sadly.,sad,"Customer :He was old.
Agent :","I am, sorry.",,
1,My dog died_comma_ sadly.,sad,"Customer :I know_comma_ yes.
Agent :",Oh no.,,
2,We won!,joyful,"Customer :We won!
Agent :",Great!,,
3,misplaced,"Customer :x
Agent :",sad,y,,
"""


def test_empathetic_dialogues_as_kaggle_has_them(tmp_path):
    (tmp_path / "emotion-emotion_69k.csv").write_text(KAGGLE)
    [(split, one), (_, two)], drops = read("empathetic_dialogues", tmp_path)
    assert (split, one.rows, one.meta) == ("all", 2, {"emotion": "sad", "situation": "My dog died, sadly."})
    assert said(one.messages) == [
        ("user", "He was old."), ("assistant", "I am, sorry."), ("user", "I know, yes."), ("assistant", "Oh no."),
    ]  # fmt: skip
    assert said(two.messages) == [("user", "We won!"), ("assistant", "Great!")]
    assert counted(drops) == {"fields out of place": 1}


HEADER = "conv_id,utterance_idx,context,prompt,speaker_idx,utterance,selfeval,tags\n"


def test_a_study_that_read_them_as_quoted_csv_lost_rows_and_kept_the_comma_marks(tmp_path):
    lines = [
        "c1,1,sad,p,1,Hi_comma_ you,5|5|5_5|5|5,",
        'c1,2,sad,p,2,"Oh,5|5|5_5|5|5,',
        "c1,3,sad,p,1,lost,5|5|5_5|5|5,",
    ]
    lines += ['c2,1,joyful,p,1,so" long,5|5|5_5|5|5,', "c2,2,joyful,p,2,Yes,5|5|5_5|5|5,"]
    (tmp_path / "train.csv").write_text(HEADER + "\n".join(lines) + "\n")
    records, drops = read("empathetic_dialogues", tmp_path, reader="pandas")
    texts = [record.messages[0]["content"] for _, record in records]
    assert texts[0] == "Hi_comma_ you"
    assert texts[-1] == "Yes"
    assert len(texts) < 5
    assert len(records) + sum(entry.rows for entry in drops.reasons["train"].values()) == drops.rows_read["train"] == 5
    frame = {"instruction": {"frame": "Instruction: {emotion}\nResponse:", "turns": "all"}}
    (example,) = formatted(records[0][1], frame)
    assert said(example.messages) == [("user", "Instruction: sad\nResponse:"), ("assistant", "Hi_comma_ you")]
    assert len(read("empathetic_dialogues", tmp_path)[0]) == 2  # the official way loses none


def test_a_byte_that_is_no_text_costs_its_row_in_that_way_of_reading_too(tmp_path):
    rows = [b"c1,1,sad,p,1,Hi,5|5|5_5|5|5,", b"c1,2,sad,p,2,caf\xe9,5|5|5_5|5|5,", b"c2,1,sad,p,1,Ho,5|5|5_5|5|5,"]
    (tmp_path / "raw").mkdir()
    (tmp_path / "raw/train.csv").write_bytes(HEADER.encode() + b"\n".join(rows) + b"\n")
    clean(
        tmp_path / "raw", tmp_path / "out", "empathetic_dialogues", {"reader": "pandas"}, [], splits=None, rows=None,
        seed=0, needs=["train"],
    )  # fmt: skip
    dropped = json.loads((tmp_path / "out/cleaning.json").read_text())["dropped"]["train"]
    assert dropped["text is not valid Unicode"]["examples"] == ["train.csv:row 2"]


def test_single_rows_are_the_same_only_where_they_say_the_same(tmp_path):
    (tmp_path / "raw").mkdir()
    for name, said_ in {"train.csv": ("Hi", "Ho", "Hey"), "valid.csv": ("Ho", "Ha"), "test.csv": ("Yes", "No")}.items():
        rows = [f"{name}{text},1,sad,p,1,{text},5|5|5_5|5|5," for text in said_]
        (tmp_path / "raw" / name).write_text(HEADER + "\n".join(rows) + "\n")
    clean(
        tmp_path / "raw", tmp_path / "out", "empathetic_dialogues", {"reader": "pandas"}, [], splits=None, rows=None,
        seed=0,
    )  # fmt: skip
    assert json.loads((tmp_path / "out/cleaning.json").read_text())["kept"] == {"train": 2, "validation": 2, "test": 2}


# -- questions with choices

CMMLU = ",Question,A,B,C,D,Answer\n0,下列“是”,甲,乙,丙,丁,B\n1,字母,D,C,B,A,A\n2,x,a,b,c,d,E\n"


def test_cmmlu(tmp_path):
    for place in ("dev/astronomy.csv", "test/law.csv"):
        (tmp_path / place).parent.mkdir()
        (tmp_path / place).write_text("\ufeff" + CMMLU if place.startswith("dev") else CMMLU)
    records, drops = read("cmmlu", tmp_path)
    assert [split for split, _ in records] == ["validation"] * 2 + ["test"] * 2
    one, two = (record for _, record in records[:2])
    assert (one.question, one.choices, one.answer, one.meta) == (
        "下列“是”",
        ["甲", "乙", "丙", "丁"],
        1,
        {"subject": "astronomy"},
    )
    assert (two.choices, two.answer) == (
        ["D", "C", "B", "A"],
        0,
    )  # the letter's place, not the choice that is called so
    assert (one.id, records[2][1].id) == ("astronomy:0", "law:0")
    assert counted(drops, "test") == {"the answer is none of the choices": 1}
    (tmp_path / "dev/astronomy.csv").write_text("Question,Answer\nx,A\n")
    with pytest.raises(UserError, match="no column A, B, C, D; expected Question"):
        read("cmmlu", tmp_path)


def test_real_questions_of_cmmlu():
    records, drops = read("cmmlu", sample("cmmlu"))
    assert Counter(split for split, _ in records) == {"validation": 35, "test": 140}
    assert not drops.reasons
    assert len({record.meta["subject"] for _, record in records}) == 7
    assert all(len(record.choices) == 4 for _, record in records)


@pytest.mark.parametrize(
    ("file", "rows", "subject"),
    [
        ("test.json", [{"subject": "Tarih", "question": "Ne?", "choices": list("vwxyz"), "answer": "E"}], "Tarih"),
        ("Tarih/test-00000-of-00001.json", [{"question": "Ne?", "choices": list("vwxyz"), "answer": 4}], "Tarih"),
        ("test/Tarih.jsonl", [{"question": "Ne?", "choices": list("vwxyz"), "answer": "E"}], "Tarih"),
    ],
)
def test_turkishmmlu(tmp_path, file, rows, subject):
    (tmp_path / file).parent.mkdir(exist_ok=True)
    (tmp_path / file).write_text("\n".join(map(json.dumps, rows)))
    [(split, record)], _ = read("turkishmmlu", tmp_path)
    assert (split, record.answer, record.meta) == ("test", 4, {"subject": subject})
    (tmp_path / file).write_text(json.dumps({"soru": "Ne?"}))
    with pytest.raises(UserError, match=r'expected rows with question, choices or A, answer; found \{"soru"'):
        read("turkishmmlu", tmp_path)


# -- questions without answers


@pytest.mark.parametrize(
    ("name", "folder", "references"), [("mt_bench", "mt_bench/mt_bench", 30), ("mt_bench_zh", "mt_bench_zh", 30)]
)
def test_real_questions_of_mt_bench(name, folder, references):
    records, drops = read(name, sample(folder))
    assert len(records) == 80
    assert not drops.reasons
    assert Counter(record.meta["category"] for _, record in records) == dict.fromkeys(
        ("writing", "roleplay", "reasoning", "math", "coding", "extraction", "stem", "humanities"), 10
    )
    assert all([role for role, _ in said(record.messages)] == ["user", "user"] for _, record in records)
    assert sum("references" in record.meta for _, record in records) >= references
    assert records[0][1].id == "81"
    (example,) = formatted(records[0][1], SOURCES[name].FORMAT)
    assert len(example.messages) == 2


def test_mt_bench_in_a_users_own_language(tmp_path):
    rows = [{"question_id": 1, "category": "yazma", "turns": ["Bir şiir yaz.", "Kısalt."], "reference": ["a", "b"]}]
    rows += [{"question_id": 2, "category": "yazma", "turns": ["x", 7]}]
    (tmp_path / "question.jsonl").write_text("\n".join(map(json.dumps, rows)))
    [(split, record)], drops = read("mt_bench", tmp_path)
    assert (split, record.meta) == ("test", {"category": "yazma", "references": ["a", "b"]})
    assert counted(drops, "test") == {"a turn is not text": 1}
    (tmp_path / "question.jsonl").write_text('{"prompt": "x"}')
    with pytest.raises(UserError, match="expected rows with `question_id`, `category`, `turns`"):
        read("mt_bench", tmp_path)


def test_prompts_with_and_without_a_reference(tmp_path):
    (tmp_path / "ten.csv").write_text("prompt,reference,emotion\nI am sad.,Oh no.,sad\nHi,,\n")
    [(split, one), (_, two)], _ = read("prompts", tmp_path)
    assert (split, said(one.messages), one.meta["emotion"]) == (
        "test",
        [("user", "I am sad."), ("assistant", "Oh no.")],
        "sad",
    )
    assert said(two.messages) == [("user", "Hi")]
    (tmp_path / "ten.csv").write_text("question\nHi\n")
    with pytest.raises(UserError, match="expected rows with `prompt` and `reference`"):
        read("prompts", tmp_path)


# -- instructions and preferences from the hub

OPENAI = '{"messages": [{"role": "user", "content": "a"}, {"role": "assistant", "content": "b"}]}'
SHAREGPT = '[{"conversations": [{"from": "human", "value": "a"}, {"from": "gpt", "value": "b"}]}]'


@pytest.mark.parametrize(
    ("name", "file", "content", "expected"),
    [
        ("firefly", "firefly.jsonl", '{"kind": "NLI", "input": "问", "target": "答"}\n', ("问", "答", {"kind": "NLI"})),
        (
            "aya_turkish", "train.csv",
            "inputs,targets,language,language_code,annotation_type,user_id\nNe?,Bu.,Turkish,tur,original-annotations,x\n",
            ("Ne?", "Bu.", {"annotation_type": "original-annotations"}),
        ),
        (
            "turkish_instructions", "instructions.csv", "Unnamed: 0,talimat, giriş, çıktı\n0,Topla,1 2,3\n",
            ("Topla\n\n1 2", "3", {}),
        ),
        ("no_robots_turkish", "train.jsonl", OPENAI, ("a", "b", {})),
        ("lima_turkish", "train.json", SHAREGPT, ("a", "b", {})),
        ("alpaca_turkish", "data.json", '[{"instruction": "a", "input": "", "output": "b"}]', ("a", "b", {})),
    ],
)  # fmt: skip
def test_instructions(tmp_path, name, file, content, expected):
    (tmp_path / file).write_text(content)
    [(_, record)], drops = read(name, tmp_path)
    asked, answer, meta = expected
    assert (said(record.messages), record.meta) == ([("user", asked), ("assistant", answer)], meta)
    assert not drops.reasons


@pytest.mark.parametrize("name", ["no_robots_turkish", "lima_turkish", "alpaca_turkish"])
def test_columns_that_nobody_has_documented_are_told_if_they_are_unknown(tmp_path, name):
    (tmp_path / "train.jsonl").write_text('{"soru": "a", "cevap": "b"}\n')
    with pytest.raises(UserError, match="found:    soru, cevap"):
        read(name, tmp_path)


def test_human_like_dpo(tmp_path):
    row = {"prompt": "Hi?", "chosen": "Hey! 😊", "rejected": "Good day."}
    (tmp_path / "data.json").write_text(json.dumps([row]))
    [(split, record)], _ = read("human_like_dpo", tmp_path)
    assert split == "all"
    assert record == PreferencePair(
        "data.json:1", [{"role": "user", "content": "Hi?"}], "Hey! 😊", "Good day.", where="data.json:1"
    )
    (example,) = formatted(cleaned(record, *SOURCES["human_like_dpo"].STEPS), "preference")
    assert (example.messages[-1]["content"], example.rejected) == ("Hey! 😊", "Good day.")
