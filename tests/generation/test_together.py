import json

import pytest
from nano import GREEDY, MODEL, SAMPLING, dialogue, interrupted, never, write_six

from loragrid.files import read_jsonl
from loragrid.generation.answer import answer_prompts, answer_together
from loragrid.generation.backends import transformers as answering
from loragrid.generation.backends.transformers import Transformers
from loragrid.generation.records import repeatable
from loragrid.generation.sheet import Request
from loragrid.jobs.standing import Reporter
from loragrid.jobs.stop import Interrupted
from loragrid.modeling.chat import Chat
from loragrid.modeling.load import attach_adapter, load_base
from loragrid.modeling.mixed import read_updates
from loragrid.modeling.tokenizer import load_tokenizer


@pytest.fixture(scope="module")
def folders(nano_root, tmp_path_factory):
    return write_six(tmp_path_factory.mktemp("adapters"), nano_root / MODEL)


@pytest.fixture
def precision():
    return "nf4"


@pytest.fixture
def chat(nano):
    return Chat(load_tokenizer(MODEL))


@pytest.fixture
def base(nano, precision):
    return load_base(MODEL, precision).eval()


@pytest.fixture
def prompts():
    made = (dialogue(number) for number in range(300, 309))
    return [{"id": d["id"], "messages": d["messages"][:-1]} for d in made]


@pytest.fixture
def requests(base, folders, prompts, tmp_path):
    """What six adapters and the base are asked, in a folder each; the fourth has fewer prompts, the fifth its seed."""

    def requests(place, without=()):
        made = []
        for number, folder in enumerate([*folders, None]):
            out = tmp_path / place / f"{number}" / "generations.jsonl"
            out.parent.mkdir(parents=True, exist_ok=True)
            asked, seed = prompts[:4] if number == 3 else prompts, 9 if number == 4 else 0
            adapter = folder and read_updates(base, folder)
            if number not in without:
                made.append(Request(asked, out, seed, {"of": f"{number}"}, Reporter(out.parent), adapter))
        return made

    return requests


def answers(requests):
    return [[repeatable(row) for row in read_jsonl(request.out)] for request in requests]


def took(request):
    return json.loads(request.out.with_name("generation.json").read_text())


def alone(requests, folders, chat, precision, decoding):
    """Each subject by itself, one prompt at a time, with PEFT's adapter."""
    for request, folder in zip(requests, [*folders, None], strict=True):
        model = load_base(MODEL, precision).eval()
        model = attach_adapter(model, folder).eval() if folder else model
        answer_prompts(
            model, chat, request.prompts, request.out, decoding=decoding, seed=request.seed, batch_size=1,
            stop=never(), reporter=Reporter(None), about=request.about,
        )  # fmt: skip
    return answers(requests)


@pytest.mark.parametrize(("precision", "decoding"), [("nf4", GREEDY), ("nf4", SAMPLING), ("32bit", GREEDY)])
def test_six_adapters_and_their_base_answer_together_as_each_alone(base, precision, chat, folders, requests, decoding):
    expected = alone(requests("alone"), folders, chat, precision, decoding)
    assert len(set(map(str, expected))) == len(expected)
    for batch_size in (1, 3, 8):
        asked = requests(f"by-{batch_size}")
        answer_together(Transformers(base, batch_size), chat, asked, decoding=decoding, stop=never())
        assert answers(asked) == expected
        assert {took(request)["together"] for request in asked} == {7}
    assert [took(request)["of"] for request in asked] == [f"{number}" for number in range(7)]
    assert [took(request)["answers"] for request in asked] == [9, 9, 9, 4, 9, 9, 9]
    for request in asked:
        records = [json.loads(line) for line in request.out.read_bytes().splitlines()]
        assert took(request)["answer_tokens"] == sum(record["answer_tokens"] for record in records)
        assert took(request)["seconds"] > 0
        assert took(request)["peak_memory_bytes"] > 0


@pytest.mark.parametrize("decoding", [GREEDY, SAMPLING])
def test_after_a_kill_it_goes_on_with_the_next_row(base, chat, requests, monkeypatch, decoding):
    whole, cut = requests("whole"), requests("cut")
    answer_together(Transformers(base, 8), chat, whole, decoding=decoding, stop=never())
    generate, rows = answering.generate, []

    def killed(*arguments):
        if len(rows) >= 32:
            raise KeyboardInterrupt
        made = generate(*arguments)
        rows.extend(made)
        return made

    monkeypatch.setattr(answering, "generate", killed)
    with pytest.raises(KeyboardInterrupt):
        answer_together(Transformers(base, 8), chat, cut, decoding=decoding, stop=never())
    parts = [request.out.with_suffix(".part.jsonl") for request in cut]
    kept = sum(len(part.read_bytes().splitlines()) for part in parts)
    assert kept == len(rows) == 32
    parts[2].write_bytes(parts[2].read_bytes()[:-9])  # the kill came within a line
    rows.clear()
    monkeypatch.setattr(
        answering, "generate", lambda *arguments: rows.append(len(arguments[2])) or generate(*arguments)
    )
    answer_together(Transformers(base, 8), chat, cut, decoding=decoding, stop=never())
    assert sum(rows) == 6 * 9 + 4 - (kept - 1)
    assert answers(cut) == answers(whole)
    assert not any(part.exists() for part in parts)
    assert {took(request)["together"] for request in cut} == {7}


def test_a_subject_is_finished_when_its_own_rows_are(base, chat, prompts, requests):
    few, many = requests("each")[3:5]
    short = sorted(prompts, key=lambda prompt: len(chat.prompt(prompt["messages"])))
    few, stop = Request(short[:2], few.out, 0, {}, few.reporter, few.adapter), never()
    check = stop.check

    def until_the_first_is_there(where, *, progress=True):
        stop.signalled = few.out.exists()
        check(where, progress=progress)

    stop.check = until_the_first_is_there
    with pytest.raises(Interrupted, match="of 11 answers"):
        answer_together(Transformers(base, 2), chat, [few, many], decoding=GREEDY, stop=stop)
    assert took(few)["answers"] == 2
    assert not many.out.exists()
    assert json.loads((many.out.parent / "standing.json").read_text())["total"] == 9


def test_a_finished_subject_is_asked_nothing(base, chat, requests, monkeypatch):
    done, others = requests("some")[:1], requests("some", without=[0])
    answer_together(Transformers(base, 8), chat, done, decoding=GREEDY, stop=never())
    before, rows, generate = answers(done), [], answering.generate
    monkeypatch.setattr(
        answering, "generate", lambda *arguments: rows.append(len(arguments[2])) or generate(*arguments)
    )
    answer_together(Transformers(base, 8), chat, [*done, *others], decoding=GREEDY, stop=never())
    assert sum(rows) == 5 * 9 + 4
    assert answers(done) == before
    assert took(done[0])["together"] == 1
    assert {took(request)["together"] for request in others} == {6}
    answer_together(
        Transformers(base, 8), chat, [*done, *others], decoding=GREEDY, stop=interrupted()
    )  # nothing is left


def test_answers_end_at_the_words_that_end_a_turn(base, precision, chat, folders, requests):
    # The template's end of turn is no token of this tokenizer.
    tokenizer = chat.tokenizer
    tokenizer.chat_template = (
        "{% for m in messages %}{{ m.role + ': ' + m.content + ' e' }}{% endfor %}"
        "{% if add_generation_prompt %}{{ 'assistant: ' }}{% endif %}"
    )
    words = Chat(tokenizer)
    assert words.end_token is None
    longer = GREEDY | {"max_new_tokens": 20}
    expected = alone(requests("alone"), folders, words, precision, longer)
    ended = [row for each in expected for row in each]
    assert {record["ended"] for record in ended} == {"stop", "length"}
    assert not any(words.end in record["answer"] for record in ended)
    for batch_size in (3, 8):
        asked = requests(f"by-{batch_size}")
        answer_together(Transformers(base, batch_size), words, asked, decoding=longer, stop=never())
        assert answers(asked) == expected


def test_what_a_base_says_of_ends_is_heard_each_time(base, chat, folders, prompts, tmp_path):
    own = base.generation_config
    settings = {"decoding": GREEDY, "seed": 0, "batch_size": 8, "stop": never(), "reporter": Reporter(None)}
    adapted = attach_adapter(base, folders[0]).eval()
    answer_prompts(adapted, chat, prompts, tmp_path / "adapted.jsonl", about={}, **settings)
    assert adapted.unload().generation_config is own
    answer_prompts(base, chat, prompts, tmp_path / "base.jsonl", about={}, **settings)
    assert base.generation_config is own
