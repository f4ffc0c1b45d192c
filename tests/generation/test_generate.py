import json
import os
import signal
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from architectures import write_model
from nano import base_model, batch_of, dialogue, train, train_member
from objects import make_answers

from loragrid.files import read_json, read_jsonl, write_jsonl
from loragrid.generation.backends import transformers as answering
from loragrid.generation.generate import generate_batch
from loragrid.generation.records import repeatable
from loragrid.jobs.attempts import read_attempts
from loragrid.modeling import at_a_time, lend
from loragrid.modeling.dimensions import dimensions_of
from loragrid.scoring.of_model import write_of_model
from loragrid.study.members import AnswerMember


@pytest.fixture
def member(nano, tmp_path):
    """One subject of a generate batch: an untrained model, or a run."""
    made = (dialogue(number) for number in range(300, 305))
    prompts = [
        {"id": d["id"], "dialogue": d["id"], "messages": d["messages"][:-1], "reference": d["messages"][-1]["content"]}
        for d in made
    ]
    write_jsonl(tmp_path / "prompts.jsonl", prompts)

    def member(name, run=None):
        folder = str(tmp_path / "eval" / name)
        decoding = {"max_new_tokens": 6, "temperature": 0, "top_p": 1, "top_k": 0, "repetition_penalty": 1}
        answers = make_answers(subject=name, decoding=decoding, folder=folder)
        parts = {"generations": answers.generations, "likelihood": answers.score_file("likelihood")}
        prompts, model = str(tmp_path / "prompts.jsonl"), base_model(micro_batch=2)
        return AnswerMember(answers, parts, model, prompts, run, preflight_file="data/preflight/none.json")

    return member


@pytest.fixture
def few_at_a_time(monkeypatch):
    """No room for more than a micro-batch."""
    monkeypatch.setattr(at_a_time, "CPU_ROOM", 0)


@pytest.fixture
def told_to_end(monkeypatch, few_at_a_time):
    """Sends SIGTERM with one of the batches to come; the list of all batches."""

    def told_to_end(at):
        generate, calls = answering.generate, []

        def interrupt(*arguments):
            calls.append(arguments)
            if len(calls) == at:
                os.kill(os.getpid(), signal.SIGTERM)
            return generate(*arguments)

        monkeypatch.setattr(answering, "generate", interrupt)
        return calls

    return told_to_end


def ask(*members):
    return generate_batch(batch_of(*members, stage="generate"), write_of_model)


def work(member):
    return member.work


def results(member):
    place = work(member)
    answers = [repeatable(row) for row in read_jsonl(place / "generations.jsonl")]
    return answers, json.loads((place / "likelihood-llllllllll.json").read_text())


def test_an_untrained_model_and_a_run_answer_differently(member, tmp_path):
    trained = train_member(tmp_path / "run", learning_rate=0.05).run
    train(tmp_path / "run", learning_rate=0.05)
    untrained, tuned = member("untrained"), member("tuned", trained)
    assert ask(untrained, tuned)
    (_, before), (_, after) = results(untrained), results(tuned)
    assert before["metrics"]["bits_per_byte"] != after["metrics"]["bits_per_byte"]
    assert [item["id"] for item in before["items"]] == [f"d{number}" for number in range(300, 305)]
    assert (before["score"], before["key"]) == ("likelihood", "l" * 64)
    assert before["made"]["counts"] == {"context": 128}


def test_what_is_there_is_not_made_again(member):
    untrained = member("untrained")
    assert ask(untrained)
    file = work(untrained) / "generations.jsonl"
    file.write_text('{"kept": 1}\n')
    (work(untrained) / "likelihood-llllllllll.json").unlink()
    assert ask(untrained)
    assert file.read_text() == '{"kept": 1}\n'
    assert results(untrained)[1]["metrics"]["bits_per_byte"] > 0


def test_a_score_that_cannot_be_made_does_not_hold_up_the_answers(member):
    untrained = member("untrained")
    prompts = list(read_jsonl(Path(untrained.prompts_file)))
    write_jsonl(Path(untrained.prompts_file), [prompt | {"reference": ""} for prompt in prompts])
    assert ask(untrained)
    assert len(list(read_jsonl(work(untrained) / "generations.jsonl"))) == 5
    failure = json.loads((work(untrained) / "likelihood-llllllllll.failed.json").read_text())
    assert "the reference has no text" in failure["reason"]
    assert Path(failure["log"]).exists()
    assert not (work(untrained) / "failed.json").exists()
    made = json.loads((work(untrained) / "generation.json").read_text())
    assert made["of"] == untrained.answers.id


def test_told_to_end_between_batches_it_goes_on_from_there(member, told_to_end):
    whole, cut = member("whole"), member("cut")
    assert ask(whole)
    calls = told_to_end(at=1)
    assert not ask(cut)
    (attempt,) = read_attempts(work(cut))
    assert attempt["ended"] == "terminated"
    assert "after 2 of 5 answers" in attempt["why"]
    assert ask(cut)
    assert len(calls) == 3
    assert results(cut)[0] == results(whole)[0]


def test_told_to_end_between_batches_that_fill_the_memory_the_rest_is_the_same(member, told_to_end, monkeypatch):
    nano = dimensions_of(read_json(Path(base_model().folder, "config.json")))
    monkeypatch.setattr(at_a_time, "CPU_ROOM", 3 * at_a_time.row_bytes(nano, 60, 4))
    whole, cut = member("whole"), member("cut")
    calls = told_to_end(at=0)

    def ask_it(member):
        calls.clear()
        done = ask(member)
        return done, [len(given[2]) for given in calls]

    done, batches = ask_it(whole)
    assert done
    assert 2 <= len(batches) < 5
    assert max(batches) > 2, "no more than a micro-batch"
    with monkeypatch.context() as patch:
        again = answering.generate
        patch.setattr(answering, "generate", lambda *given: os.kill(os.getpid(), signal.SIGTERM) or again(*given))
        first = ask_it(cut)
    rest = ask_it(cut)
    assert (first[0], rest[0]) == (False, True)
    assert first[1] + rest[1] == batches
    assert results(cut)[0] == results(whole)[0]


def test_prompts_share_a_batch_where_the_memory_has_room(member, request):
    def rows(member):
        return json.loads((work(member) / "generation.json").read_text())["rows_at_a_time"]

    roomy, tight = member("roomy"), member("tight")
    assert ask(roomy)
    request.getfixturevalue("few_at_a_time")
    assert ask(tight)
    assert (rows(roomy), rows(tight)) == (5, 2)
    assert results(roomy)[0] == results(tight)[0]


def test_a_run_that_failed_blocks_its_answers_until_that_is_mended(member, tmp_path):
    run = train_member(tmp_path / "run", max_steps=1, evaluations=1).run
    failed = tmp_path / "run" / "work" / "failed.json"
    failed.parent.mkdir(parents=True)
    failed.write_text(json.dumps({"reason": "the rate is too high"}))
    answers, other = member("tuned", run), member("untrained")
    assert ask(answers, other)
    failure = json.loads((work(answers) / "failed.json").read_text())
    assert failure["reason"] == "its training failed: the rate is too high"
    assert failure["blocked_by"] == str(failed)
    assert results(other)
    failed.unlink()
    train(tmp_path / "run", max_steps=1, evaluations=1)
    assert ask(answers)
    assert results(answers)


def test_an_adapter_of_other_settings_is_refused(member, tmp_path):
    run = train_member(tmp_path / "run", max_steps=1, evaluations=1).run
    train(tmp_path / "run", max_steps=1, evaluations=1)
    answers = member("tuned", replace(run, key="x" * 64))
    assert ask(answers)
    assert "was trained with other settings" in json.loads((work(answers) / "failed.json").read_text())["reason"]


def test_an_adapter_that_is_not_the_trained_one_is_asked_nothing(member, tmp_path):
    run = train_member(tmp_path / "run", max_steps=1, evaluations=1).run
    adapter = train(tmp_path / "run", max_steps=1, evaluations=1) / "adapter" / "adapter_model.safetensors"
    own = adapter.read_bytes()
    other = train(tmp_path / "other", max_steps=1, evaluations=1, seed=43) / "adapter" / "adapter_model.safetensors"
    adapter.write_bytes(other.read_bytes())
    answers = member("tuned", run)
    assert ask(answers)
    reason = json.loads((work(answers) / "failed.json").read_text())["reason"]
    assert reason.startswith(f"{adapter}: is not the adapter that was trained here")
    assert "delete" in reason
    assert not (work(answers) / "generations.jsonl").exists()
    adapter.write_bytes(own)
    (work(answers) / "failed.json").unlink()
    assert ask(answers)
    assert results(answers)


def test_a_model_without_a_limit_is_asked_and_one_without_rows_for_the_prompts_is_not(member, tmp_path):
    bloom, llama = (
        write_model(tmp_path / "bloom", "bloom"),
        write_model(tmp_path / "llama", "llama", vocab_size=64),
    )
    endless = replace(member("endless"), model=base_model(bloom))
    few = replace(member("few"), model=base_model(llama))
    assert ask(endless, few)
    assert results(endless)
    for part in ("generations.jsonl", "likelihood-llllllllll"):
        assert "embedding" in json.loads((work(few) / f"{part}.failed.json").read_text())["reason"]


def trained(folder, **recipe):
    train(folder, learning_rate=0.05, max_steps=2, evaluations=1, **recipe)
    return train_member(folder, learning_rate=0.05, max_steps=2, evaluations=1, **recipe).run


@pytest.fixture
def several(member, tmp_path):
    """Members of one job, by name: an untrained model, two plain runs, and one whose adapter shares no batch."""
    runs = {
        "low": trained(tmp_path / "low", rank=2, target_modules=["q_proj"]),
        "high": trained(tmp_path / "high", rank=8),
        "dora": trained(tmp_path / "dora", dora=True),
    }

    def several(which):
        return {name: member(f"{which}/{name}", run) for name, run in {"untrained": None, **runs}.items()}

    return several


def test_together_they_answer_as_each_alone_with_the_base_loaded_once(several, monkeypatch):
    alone, together = several("alone"), several("together")
    for one in alone.values():
        assert ask(one)
    loads, load_base = [], lend.load_base
    monkeypatch.setattr(lend, "load_base", lambda *which: loads.append(which) or load_base(*which))
    assert ask(*together.values())
    assert len(loads) == 1
    for name in alone:
        assert results(together[name]) == results(alone[name])
    assert len({json.dumps(results(each)[0]) for each in together.values()}) > 1
    # One attempt with one log, which each of them names.
    attempts = [read_attempts(work(each)) for each in together.values()]
    assert {len(each) for each in attempts} == {1}
    assert len({each[0]["log"] for each in attempts}) == 1
    assert {each[0]["together"] for each in attempts} == {4}
    said = {
        name: json.loads((work(each) / "generation.json").read_text())["together"] for name, each in together.items()
    }
    assert said == {"untrained": 3, "low": 3, "high": 3, "dora": 1}


def test_one_that_cannot_be_asked_does_not_hold_up_the_others(several, tmp_path):
    alone, members = several("alone"), several("together")
    (tmp_path / "low/work/adapter/adapter_model.safetensors").unlink()
    assert ask(*members.values())
    failure = json.loads((work(members["low"]) / "failed.json").read_text())
    assert "adapter_model.safetensors: is gone" in failure["reason"]
    assert [attempt["ended"] for attempt in read_attempts(work(members["low"]))] == ["failed"]
    for name in ("untrained", "high", "dora"):
        assert ask(alone[name])
        assert results(members[name]) == results(alone[name])
        assert [attempt["ended"] for attempt in read_attempts(work(members[name]))] == ["finished"]


def test_after_a_death_together_each_is_asked_alone(several, monkeypatch):
    members = several("together")
    with monkeypatch.context() as patch:
        patch.setattr(answering, "generate", lambda *_: 1 / 0)
        assert not ask(*members.values())
    assert {tuple(each["ended"] for each in read_attempts(work(one))) for one in members.values()} == {("failed",)}
    assert ask(*members.values())
    logs = {read_attempts(work(each))[1]["log"] for each in members.values()}
    assert len(logs) == 4


def test_injected_out_of_memory_of_one_holds_up_no_other(several, monkeypatch, tmp_path):
    alone, members = several("alone"), several("together")
    said = "a b c d e f g h " * 12
    long = [{"id": "long", "dialogue": "d", "messages": [{"role": "user", "content": said}], "reference": "a"}]
    write_jsonl(tmp_path / "long.jsonl", long)
    members = {name: members[name] for name in ("untrained", "low", "high")}
    members["low"] = replace(members["low"], prompts_file=str(tmp_path / "long.jsonl"))
    generate = answering.generate

    def too_small(model, chat, prompts, *rest):
        if max(map(len, prompts)) > 110:
            raise torch.OutOfMemoryError
        return generate(model, chat, prompts, *rest)

    monkeypatch.setattr(answering, "generate", too_small)
    ends = []
    while not ask(*members.values()):
        ends = [attempt["ended"] for attempt in read_attempts(work(members["low"]))]
        assert len(ends) < 6
    assert ends == ["out of memory"] * 3  # many rows, a micro-batch of two, one
    for name in ("untrained", "high"):
        assert ask(alone[name])
        (answers, likelihoods), (expected, exact) = results(members[name]), results(alone[name])
        assert answers == expected
        assert likelihoods["metrics"] == pytest.approx(exact["metrics"])  # one at a time, and not two
    # It is the answers that do not fit; likelihoods do.
    failures = {file.name for file in work(members["low"]).glob("*failed.json")}
    assert failures == {"generations.jsonl.failed.json"}
    reason = json.loads((work(members["low"]) / "generations.jsonl.failed.json").read_text())["reason"]
    assert reason.startswith("a single prompt does not fit the GPU's memory")
    assert (work(members["low"]) / "likelihood-llllllllll.json").exists()


def test_interrupted_together_they_go_on_where_they_were(several, told_to_end):
    whole, cut = several("whole"), several("cut")
    assert ask(*whole.values())
    told_to_end(at=3)
    assert not ask(*cut.values())
    kept = sum(len((work(each) / "generations.part.jsonl").read_bytes().splitlines()) for each in cut.values()
               if (work(each) / "generations.part.jsonl").exists())  # fmt: skip
    assert kept == 6
    assert ask(*cut.values())
    for name in whole:
        assert results(cut[name])[0] == results(whole[name])[0]
