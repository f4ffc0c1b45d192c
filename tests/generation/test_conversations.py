"""Conversations that are played turn by turn, with a real model: each answer stands in what is asked after it."""

import json

import pytest
from nano import MODEL, dialogue, never, write_adapter

from loragrid.errors import UserError
from loragrid.files import read_jsonl
from loragrid.generation.answer import answer_together
from loragrid.generation.backends import transformers as answering
from loragrid.generation.backends.transformers import Transformers
from loragrid.generation.records import repeatable
from loragrid.generation.sheet import Request
from loragrid.jobs.standing import Reporter
from loragrid.jobs.stop import Interrupted
from loragrid.modeling.chat import Chat
from loragrid.modeling.load import load_base
from loragrid.modeling.mixed import read_updates
from loragrid.modeling.tokenizer import load_tokenizer

GREEDY = {"max_new_tokens": 8, "temperature": 0.0, "top_p": 1.0, "top_k": 0, "repetition_penalty": 1.0}
DRAWN = GREEDY | {"temperature": 1.0}


@pytest.fixture
def base(nano):
    return load_base(MODEL, "32bit").eval()


@pytest.fixture
def chat():
    return Chat(load_tokenizer(MODEL))


def turns(number, questions, **more):
    """A conversation of so many questions, as its turns are written."""
    said, made, after = [], [], None
    for turn in range(questions):
        asked = {"role": "user", "content": dialogue(number + turn)["messages"][0]["content"]}
        id_ = f"{number}#{len(said) + 1}"
        made.append({"id": id_, "dialogue": f"{number}", "messages": [*said, asked], "reference": "", "after": after,
                     "meta": {"turn": f"{turn + 1}"}, **more})  # fmt: skip
        said, after = [*said, asked, {"role": "assistant", "content": ""}], id_
    return made


PROMPTS = [*turns(300, 3), *turns(310, 1), *turns(320, 2), *turns(330, 3)]


@pytest.fixture
def play(base, chat, tmp_path):
    """Answers of subjects to conversations, by the name of a folder."""

    def play(place, prompts=PROMPTS, batch_size=8, adapters=(None,), decoding=GREEDY, stop=None, seed=0):
        requests = []
        for number, adapter in enumerate(adapters):
            out = tmp_path / place / f"{number}" / "generations.jsonl"
            out.parent.mkdir(parents=True, exist_ok=True)
            updates = read_updates(base, adapter) if adapter else None
            requests.append(Request(prompts, out, seed, {}, Reporter(None), updates))
        answer_together(Transformers(base, batch_size), chat, requests, decoding=decoding, stop=stop or never())
        return [[repeatable(row) for row in read_jsonl(request.out)] for request in requests]

    play.folder = tmp_path
    return play


def test_each_answer_stands_in_what_is_asked_next(play, base, chat):
    (rows,) = play("one")
    assert [row["id"] for row in rows] == [prompt["id"] for prompt in PROMPTS]
    by_id = {row["id"]: row for row in rows}
    third = by_id["300#5"]["messages"]
    assert [message["content"] for message in third[1::2]] == [by_id["300#1"]["answer"], by_id["300#3"]["answer"]]
    assert all(message["content"] for message in third)
    # As if somebody had said so before, and asked this by itself.
    (alone,) = play("alone", prompts=[{"id": "x", "messages": third}])
    assert alone[0]["answer"] == by_id["300#5"]["answer"]


@pytest.mark.parametrize("decoding", [GREEDY, DRAWN], ids=["greedy", "drawn"])
def test_alone_or_with_others_in_batches_of_any_size(play, nano, tmp_path, decoding):
    adapters = [None, *(tmp_path / f"adapter-{seed}" for seed in range(2))]
    for seed, adapter in enumerate(adapters[1:]):
        write_adapter(adapter, seed)
    expected = [
        play(f"alone-{number}", adapters=[adapter], batch_size=1, decoding=decoding)[0]
        for number, adapter in enumerate(adapters)
    ]
    assert expected[1] != expected[2]
    for batch_size in (1, 3, 8):
        assert play(f"by-{batch_size}", adapters=adapters, batch_size=batch_size, decoding=decoding) == expected


@pytest.mark.parametrize("batches", [1, 2, 3, 4])
def test_interrupted_between_turns_or_within_one_nothing_is_answered_twice(play, monkeypatch, batches):
    expected = play("whole", batch_size=2)
    generate, asked = answering.generate, []

    def counted(base, chat, prompts, *others):
        if len(asked) == batches:
            raise Interrupted("now")
        asked.append(len(prompts))
        return generate(base, chat, prompts, *others)

    monkeypatch.setattr(answering, "generate", counted)
    with pytest.raises(Interrupted):
        play("cut", batch_size=2)
    part = play.folder / "cut" / "0" / "generations.part.jsonl"
    part.write_bytes(part.read_bytes() + b'{"id": "330#5", "answ')  # a kill came within a line
    before, batches = sum(asked), -1
    asked.clear()
    assert play("cut", batch_size=2) == expected
    assert before + sum(asked) == len(PROMPTS)


def test_whole_turns_go_where_a_conversation_is_longer_than_the_context(play, chat):
    long = turns(300, 14)
    (rows,) = play("long", prompts=long)
    last = rows[-1]
    assert last["prompt_cut"]
    assert last["prompt_tokens"] == len(chat.prompt(last["asked"])) <= 128 - 8
    assert last["asked"] == last["messages"][-len(last["asked"]) :]
    assert last["asked"][0]["role"] == "user"
    assert len(last["messages"]) == 27
    about = json.loads((play.folder / "long/0/generation.json").read_text())
    assert about["prompts_cut"] == sum(row["prompt_cut"] for row in rows) > 0
    assert not rows[0]["prompt_cut"]


def test_what_is_read_of_a_conversation_is_not_what_was_said(play):
    (rows,) = play("context", prompts=turns(300, 3, context={"turns": 1}))
    assert rows[2]["asked"] == rows[2]["messages"][-1:]
    assert len(rows[2]["messages"]) == 5
    (alone,) = play("alone", prompts=[{"id": "x", "messages": rows[2]["asked"]}])
    assert alone[0]["answer"] == rows[2]["answer"]


def test_a_conversation_that_the_template_refuses_to_go_on_with_ends_and_is_counted(play, chat, capsys):
    chat.tokenizer.chat_template = (
        "{% if messages | length > 2 %}{{ raise_exception('one question only') }}{% endif %}"
        "{% for message in messages %}{{ message['role'] + ': ' + message['content'] + eos_token }}{% endfor %}"
    )
    (rows,) = play("refused")
    refused = [row for row in rows if row["ended"] == "refused"]
    assert {row["id"] for row in rows} - {row["id"] for row in refused} == {"300#1", "310#1", "320#1", "330#1"}
    assert [row["answer"] for row in refused] == [""] * 5
    assert json.loads((play.folder / "refused/0/generation.json").read_text())["refused"] == 5
    assert "300#3 is not asked: the chat template refuses a dialogue: one question only" in capsys.readouterr().out


def test_a_conversation_that_has_ended_does_not_go_on_in_a_shorter_context(play, chat):
    # The third turn alone could be asked.
    chat.tokenizer.chat_template = (
        "{% if messages | length in (4, 5) %}{{ raise_exception('no second question') }}{% endif %}"
        "{% for message in messages %}{{ message['role'] + ': ' + message['content'] + eos_token }}{% endfor %}"
    )
    prompts = turns(300, 3)
    prompts[2]["context"] = {"turns": 1}
    (rows,) = play("ended", prompts=prompts)
    assert [row["ended"] for row in rows[1:]] == ["refused", "refused"]


def test_a_first_turn_that_the_template_refuses_is_an_error(play, chat):
    chat.tokenizer.chat_template = "{{ raise_exception('no questions') }}"
    with pytest.raises(UserError, match="refuses a dialogue: no questions"):
        play("refused")


def test_after_an_interruption_batches_are_the_same(play, monkeypatch):
    generate, asked = answering.generate, []

    def seen(base, chat, prompts, *others):
        asked.append(sorted(map(len, prompts)))
        if len(asked) == 3:
            raise Interrupted("now")
        return generate(base, chat, prompts, *others)

    monkeypatch.setattr(answering, "generate", seen)
    with pytest.raises(Interrupted):
        play("cut", batch_size=2)
    play("cut", batch_size=2)
    cut = asked[:2] + asked[3:]
    asked[:] = [None] * 4
    play("whole", batch_size=2)
    assert cut == asked[4:]
