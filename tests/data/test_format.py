import json

import pytest
from datasets import Dataset
from objects import CHAT, OWN_CHAT
from transformers import AutoTokenizer

from loragrid.data import chunks
from loragrid.data import format as formatting
from loragrid.data.format import format_dataset
from loragrid.data.supervised import IGNORED
from loragrid.errors import UserError
from loragrid.files import write_jsonl
from loragrid.modeling.build import train_tokenizer

UNSTABLE = (
    "{% for m in messages %}{{ '<|im_start|>' + m['role'] + '\n' }}"
    "{% if m['role'] == 'assistant' and loop.last %}{{ '<think></think>' }}{% endif %}"
    "{{ m['content'] + '<|im_end|>\n' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"
)


def record(name, *contents):
    roles = ("user", "assistant") * len(contents)
    return {
        "id": name,
        "messages": [{"role": r, "content": c} for r, c in zip(roles, contents, strict=False)],
        "meta": {},
    }


DATA = {
    "train": [record("a", "Good morning.", "How are you?", "Well.", "Fine."), record("b", "Hello.", "Hello to you.")],
    "validation": [record("c", "Good night.", "Sleep well.")],
}


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    folder = tmp_path_factory.mktemp("model")
    texts = [message["content"] for records in DATA.values() for r in records for message in r["messages"]]
    train_tokenizer(texts, 300, 256).save_pretrained(folder)
    return folder


@pytest.fixture
def form(tmp_path, model):
    def form(data=DATA, chat=None, **changes):
        for split, records in data.items():
            write_jsonl(tmp_path / "clean" / f"{split}.jsonl", records)
        settings = {
            "key": "k",
            "format_": CHAT,
            "chat": OWN_CHAT | (chat or {}),
            "mask": "answers",
            "max_length": 200,
        } | changes
        format_dataset(tmp_path / "clean", model, tmp_path / "out", **settings)
        rows = {split: list(Dataset.from_file(str(tmp_path / "out" / f"{split}.arrow"))) for split in data}
        return rows, json.loads((tmp_path / "out" / "format.json").read_text())

    form.out = tmp_path / "out"
    form.tokenizer = AutoTokenizer.from_pretrained(model)
    return form


def learned(form, row):
    return form.tokenizer.decode([label for label in row["labels"] if label != IGNORED])


def test_labels_are_the_answers_and_the_tokens_that_end_them(form):
    rows, manifest = form()
    assert [learned(form, row) for row in rows["train"]] == [
        "How are you?<|im_end|>Fine.<|im_end|>",
        "Hello to you.<|im_end|>",
    ]
    for row in rows["train"]:
        assert len(row["input_ids"]) == len(row["labels"]) == row["length"]
        for token, label in zip(row["input_ids"], row["labels"], strict=True):
            assert label in (token, IGNORED)
    assert (manifest["key"], manifest["mask"], manifest["max_length"]) == ("k", "answers", 200)
    counted = manifest["splits"]["train"]
    assert (counted["examples"], counted["rows"], counted["shortened"], counted["too_long"]) == (2, 2, 0, 0)
    assert counted["tokens"] == sum(row["length"] for row in rows["train"])
    assert counted["longest"] == max(row["length"] for row in rows["train"])
    assert counted["answer_tokens"] == sum(label != IGNORED for row in rows["train"] for label in row["labels"])


def test_a_loss_on_every_token(form):
    rows, _ = form(mask="all")
    for row in rows["train"]:
        assert row["labels"] == row["input_ids"]


def test_a_loss_on_every_token_counts_each_dialogue_once(form, tmp_path):
    (tmp_path / "unstable.jinja").write_text(UNSTABLE)
    template = str(tmp_path / "unstable.jinja")
    assert form(chat={"template": template})[1]["splits"]["train"]["rows"] == 3
    rows, manifest = form(chat={"template": template}, mask="all")
    assert manifest["splits"]["train"]["rows"] == 2
    assert "Good morning" in form.tokenizer.decode(rows["train"][0]["input_ids"])


def test_a_system_prompt_for_dialogues_without_one(form):
    own = {"id": "d", "messages": [{"role": "system", "content": "Well."}, *DATA["train"][1]["messages"]], "meta": {}}
    rows, _ = form({"train": [own, DATA["train"][1]], "validation": DATA["validation"]}, chat={"system": "Hello."})
    texts = [form.tokenizer.decode(row["input_ids"]) for row in rows["train"]]
    assert [text.split("<|im_end|>")[0] for text in texts] == [
        "<|im_start|>system\nWell.",
        "<|im_start|>system\nHello.",
    ]


def test_of_long_dialogues_the_oldest_turns_go_and_no_answer_is_cut(form):
    system = {"role": "system", "content": "Well."}
    talk = record("talk", *["Good morning.", "How are you?"] * 4, "Hello.", "Fine.")
    talk["messages"].insert(0, system)
    too_long = record("long", "Good morning. " * 60, "Fine.")
    rows, manifest = form({"train": [talk, too_long, *DATA["train"]], "validation": DATA["validation"]}, max_length=110)
    shown = form.tokenizer.decode(rows["train"][0]["input_ids"])
    assert shown.startswith("<|im_start|>system\nWell.<|im_end|>\n<|im_start|>user\nGood morning.<|im_end|>")
    assert shown.endswith("Hello.<|im_end|>\n<|im_start|>assistant\nFine.<|im_end|>\n")
    assert learned(form, rows["train"][0]).endswith("Fine.<|im_end|>")
    assert 1 < shown.count("<|im_start|>user") < 5
    assert all(row["length"] <= 110 for row in rows["train"])
    counted = manifest["splits"]["train"]
    assert (counted["examples"], counted["rows"], counted["shortened"], counted["too_long"]) == (4, 3, 1, 1)
    assert counted["longest"] == counted["lengths"]["100%"] > 110
    assert counted["lengths"]["5%"] < counted["lengths"]["95%"]


def test_one_dialogue_that_the_template_refuses_takes_no_other_with_it(form, tmp_path):
    (tmp_path / "strict.jinja").write_text(
        "{% for m in messages %}{% if 'bad' in m.content %}{{ raise_exception('no such words') }}{% endif %}"
        "{{ '<|im_start|>' + m.role + '\n' + m.content + '<|im_end|>\n' }}{% endfor %}"
    )
    data = {"train": [record("x", "bad", "Fine."), *DATA["train"]], "validation": DATA["validation"]}
    rows, manifest = form(data, chat={"template": str(tmp_path / "strict.jinja")})
    assert len(rows["train"]) == 2
    assert manifest["splits"]["train"]["unusable"] == {"the chat template refuses a dialogue: no such words": 1}
    with pytest.raises(UserError, match=r"(?s)nothing to learn from .*refuses a dialogue: no such words: 1"):
        form({**data, "train": data["train"][:1]}, chat={"template": str(tmp_path / "strict.jinja")})


@pytest.mark.parametrize("split", ["train", "validation"])
def test_nothing_left_of_a_split(form, split):
    form()
    before = {file.name: file.read_bytes() for file in form.out.iterdir()}
    with pytest.raises(UserError, match=f"{split}.jsonl: of 1 examples none fits max_length=40 tokens"):
        form({**DATA, split: [record("long", "Good morning. " * 30, "Fine.")]}, max_length=40)
    # What was there is still whole, and nothing half-written lies beside it.
    assert {file.name: file.read_bytes() for file in form.out.iterdir()} == before
    assert sorted(file.name for file in form.out.parent.iterdir()) == ["clean", "out"]


def test_nothing_half_written_after_an_interruption(form, monkeypatch):
    def interrupt(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(formatting, "write_json", interrupt)
    with pytest.raises(KeyboardInterrupt):
        form()
    assert [file.name for file in form.out.parent.iterdir()] == ["clean"]


def test_the_same_rows_are_the_same_bytes(form):
    form()
    before = {file.name: file.read_bytes() for file in form.out.iterdir()}
    form()
    assert {file.name: file.read_bytes() for file in form.out.iterdir()} == before


def test_what_is_written_does_not_depend_on_the_number_of_workers(form, monkeypatch):
    monkeypatch.setattr(chunks, "LINES", 3)
    train = [record(f"r{n}", "Good morning." * (n % 5), "How are you?", "Well.", "Fine.") for n in range(40)]
    written = []
    for workers in (1, 2):
        form({**DATA, "train": train}, workers=workers, max_length=60)
        written.append({file.name: file.read_bytes() for file in form.out.iterdir()})
    assert written[0] == written[1]
    choice = {"id": "q", "question": "2 + 2?", "choices": ["3", "4"], "answer": 1, "meta": {}}
    train[35:35] = [choice, {**choice, "id": "another"}]
    for workers in (1, 2):
        with pytest.raises(UserError, match="format 'chat' is not for records such as 'q'"):
            form({**DATA, "train": train}, workers=workers)
    assert {file.name: file.read_bytes() for file in form.out.iterdir()} == written[0]
