from collections import Counter

import pytest
import torch
from nano import MODEL, dialogue, never
from objects import OWN_CHAT
from transformers import TopKLogitsWarper, TopPLogitsWarper

from loragrid.errors import UserError
from loragrid.files import read_jsonl
from loragrid.generation.answer import answer_prompts
from loragrid.generation.ask import Subject
from loragrid.generation.ask import ask as ask_at_the_command_line
from loragrid.generation.backends import transformers as answering
from loragrid.generation.records import repeatable
from loragrid.generation.sampling import DrawByRow, processors
from loragrid.jobs.standing import Reporter
from loragrid.modeling import at_a_time
from loragrid.modeling.chat import Chat
from loragrid.modeling.load import load_base
from loragrid.modeling.tokenizer import load_tokenizer

PLAIN = {"max_new_tokens": 12, "temperature": 0.0, "top_p": 1.0, "top_k": 0, "repetition_penalty": 1.0}
WAYS = {
    "warm": {"temperature": 0.8},
    "hot": {"temperature": 1.5, "top_k": 20, "top_p": 0.9},
    "penalised": {"temperature": 1.0, "top_p": 0.7, "repetition_penalty": 1.3},
    "greedy-penalised": {"repetition_penalty": 1.3},
}


@pytest.fixture(params=["32bit", "nf4"])
def model(nano, request):
    return load_base(MODEL, request.param).eval()


@pytest.fixture
def prompts():
    made = (dialogue(number) for number in range(300, 317))
    return [{"id": d["id"], "messages": d["messages"][:-1]} for d in made]


@pytest.fixture
def ask(model, tmp_path):
    chat, number = Chat(load_tokenizer(MODEL)), iter(range(100))

    def ask(prompts, batch_size, seed=0, **decoding):
        out = tmp_path / f"{next(number)}" / "generations.jsonl"
        out.parent.mkdir()
        answer_prompts(
            model, chat, prompts, out,
            decoding=PLAIN | decoding, seed=seed, batch_size=batch_size, stop=never(), about={},
            reporter=Reporter(None),
        )  # fmt: skip
        return {row["id"]: repeatable(row) for row in read_jsonl(out)}

    return ask


@pytest.mark.parametrize("way", WAYS)
def test_an_answer_does_not_depend_on_its_batch(ask, prompts, way):
    answers = ask(prompts, 1, **WAYS[way])
    assert len({record["answer"] for record in answers.values()}) > 2
    assert len({record["answer_tokens"] for record in answers.values()}) > 1  # rows end at different times
    for batch_size in (3, 8):
        assert ask(prompts, batch_size, **WAYS[way]) == answers
    # Nor on which other prompts there are.
    assert ask(prompts[3:9], 4, **WAYS[way]) == {prompt["id"]: answers[prompt["id"]] for prompt in prompts[3:9]}


def test_an_answer_depends_on_the_seed_and_on_the_prompt(ask, prompts):
    answers = ask(prompts, 8, **WAYS["warm"])
    assert ask(prompts, 8, seed=1, **WAYS["warm"]) != answers
    same = [{"id": f"copy-{number}", "messages": prompts[0]["messages"]} for number in range(8)]
    assert len({record["answer"] for record in ask(same, 8, **WAYS["warm"]).values()}) > 1


@pytest.fixture
def at_the_command_line(nano, prompts, monkeypatch):
    """Answers of `loragrid ask`, so many at a time; and of how many rows its batches were."""
    rows, generate = [], answering.generate
    monkeypatch.setattr(at_a_time, "CPU_ROOM", 0)
    monkeypatch.setattr(answering, "generate", lambda *given: rows.append(len(given[2])) or generate(*given))

    def answers(micro_batch):
        rows.clear()
        subject = Subject("nano", MODEL, "32bit", OWN_CHAT, None, micro_batch)
        asked = [prompt["messages"] for prompt in prompts]
        (found,) = ask_at_the_command_line([subject], asked, PLAIN | WAYS["hot"], seed=3)
        if isinstance(found, UserError):
            raise found
        return found, rows.copy()

    return answers


def test_what_is_asked_at_the_command_line_does_not_depend_on_its_batch(at_the_command_line, prompts, monkeypatch):
    answers, rows = at_the_command_line(5)
    assert rows[0] == 5
    assert at_the_command_line(1) == (answers, [1] * len(prompts))
    monkeypatch.setattr(at_a_time, "CPU_ROOM", 2**30)
    assert at_the_command_line(5) == (answers, [len(prompts)])


def test_injected_out_of_memory_asks_fewer_at_a_time_at_the_command_line(at_the_command_line, monkeypatch):
    answers, _ = at_the_command_line(4)
    generate = answering.generate

    def too_small(*given):
        if len(given[2]) > room:
            raise torch.OutOfMemoryError
        return generate(*given)

    monkeypatch.setattr(answering, "generate", too_small)
    room = 1
    assert at_the_command_line(4)[0] == answers
    room = 0
    with pytest.raises(UserError, match="a single prompt does not fit"):
        at_the_command_line(4)


def test_tokens_are_drawn_as_often_as_they_are_likely():
    torch.manual_seed(0)
    scores, rows = 2 * torch.randn(12), 20_000
    settings = PLAIN | {"temperature": 0.7, "top_k": 8, "top_p": 0.9, "max_new_tokens": 1}
    ids = torch.zeros(rows, 1, dtype=torch.long)
    made = processors(settings, [0] * rows, 1, range(rows))(ids, scores.expand(rows, -1).clone())
    expected = TopPLogitsWarper(0.9)(ids, TopKLogitsWarper(8)(ids, scores[None] / 0.7))[0].softmax(-1)
    drawn = Counter(made.argmax(-1).tolist())
    for token, likely in enumerate(expected.tolist()):
        assert drawn[token] / rows == pytest.approx(likely, abs=4 * (likely * (1 - likely) / rows) ** 0.5)
    assert torch.isfinite(made).sum(dim=-1).eq(1).all()


def test_a_row_has_random_numbers_of_its_own_whatever_ends_beside_it():
    scores = torch.randn(1, 50, generator=torch.Generator().manual_seed(0))

    def draw(seeds, steps=6, width=4):
        sampler = DrawByRow(seeds, steps, width)
        ids = torch.zeros(len(seeds), width, dtype=torch.long)
        for _ in range(steps):
            tokens = sampler(ids, scores.expand(len(seeds), -1)).argmax(-1, keepdim=True)
            ids = torch.cat([ids, tokens], dim=1)
        return ids[:, width:].tolist()

    (alone,) = draw([7])
    assert draw([1, 7, 9])[1] == draw([7, 2], width=9)[0] == alone
    assert len(set(alone)) > 1


def test_padding_is_no_repetition():
    # Many models pad with the token that ends a text: a shorter row must be as free to end as a longer one.
    scores, pad = torch.tensor([[2.0, -1.0, 3.0, 0.5]]), 0
    settings = PLAIN | {"repetition_penalty": 2.0}
    padded = processors(settings, [3, 0], 5, [0, 1])(
        torch.tensor([[pad, pad, pad, 1, 2], [1, 1, 2, 2, 2]]), scores.repeat(2, 1)
    )
    assert padded.tolist() == [[2.0, -2.0, 1.5, 0.5]] * 2
    said = processors(settings, [0], 1, [0])(torch.tensor([[1, 2, pad]]), scores)  # one of its own counts
    assert said.tolist() == [[1.0, -2.0, 1.5, 0.5]]
