"""From answers to score files, one score each."""

import contextlib
import json
from pathlib import Path

import pytest
from objects import SCORES, make_answers, make_batch, make_model

from loragrid.errors import UserError
from loragrid.files import read_json, sha256_of, write_json
from loragrid.scoring.file import read_score
from loragrid.scoring.rows import read_rows
from loragrid.scoring.score import score_batch
from loragrid.study.members import ScoreMember


def write(folder, prompts, answers):
    """The two input files, from (id, dialogue, reference) and (id, answer)."""
    names = ("id", "dialogue", "reference"), ("id", "answer")
    files = folder / "prompts.jsonl", folder / "generations.jsonl"
    for file, keys, records in zip(files, names, (prompts, answers), strict=True):
        file.write_text("".join(json.dumps(dict(zip(keys, record, strict=True))) + "\n" for record in records))
    return files


@pytest.fixture
def member(tmp_path):
    """Answers to two prompts, to be scored by ROUGE and BLEU."""
    answers = make_answers(folder=str(tmp_path / "eval/test"))
    Path(answers.folder).mkdir(parents=True)
    prompts = [("a", "d1", "The cat sat on the mat."), ("b", "d2", "Not empty.")]
    prompts_file, generations = write(tmp_path, prompts, [("b", ""), ("a", "The cat sat on a mat.")])
    generations.rename(f"{answers.folder}/generations.jsonl")
    return ScoreMember(answers, answers.score_files("cpu"), make_model(), str(prompts_file), run=None, stage="score")


def score(member):
    score_batch(make_batch(member, stage="score"), "score.log")
    return member.work


def test_each_score_is_a_file_that_says_how_it_was_made(member):
    work = score(member)
    rouge = read_score(work / "rouge-rrrrrrrrrr.json", SCORES["rouge"])
    assert [(item["id"], item["dialogue"]) for item in rouge.items] == [("a", "d1"), ("b", "d2")]
    assert rouge.items[1]["rouge1"] == 0
    assert set(rouge.metrics) == {"rouge1", "rouge2", "rougeL", "rougeLsum"}
    assert rouge.made["libraries"]["rouge-score"]
    assert len(rouge.made["answers_sha256"]) == len(rouge.made["prompts_sha256"]) == 64
    bleu = read_score(work / "sacrebleu-ssssssssss.json", SCORES["sacrebleu"])
    assert "tok:13a" in bleu.made["signature"]
    assert member.is_settled()


def test_a_score_that_fails_does_not_hold_up_the_others(member, monkeypatch):
    from loragrid.metrics import sacrebleu

    def refuse(*_):
        raise UserError("no tokenizer for this")

    monkeypatch.setattr(sacrebleu, "items", refuse)
    work = score(member)
    assert (work / "rouge-rrrrrrrrrr.json").exists()
    assert read_json(work / "sacrebleu-ssssssssss.failed.json") == {
        "reason": "no tokenizer for this", "stage": "score", "log": "score.log", "blocked_by": None,
    }  # fmt: skip
    assert member.is_settled()
    monkeypatch.undo()
    score(member)
    assert not (work / "sacrebleu-ssssssssss.failed.json").exists()
    assert (work / "sacrebleu-ssssssssss.json").exists()


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"of": "results/runs/other/eval/test"}, "are answers of results/runs/other/eval/test"),
        ({"key": "k" * 64}, "are answers of"),
        ({"answers_sha256": "0" * 64}, "is not the file that was made together with"),
    ],
)
def test_answers_of_another_run_are_refused(member, change, reason):
    folder = Path(member.answers.folder)
    made = {"of": member.answers.id, "key": member.answers.key}
    made["answers_sha256"] = sha256_of(folder / "generations.jsonl")
    write_json(folder / "generation.json", made)
    work = score(member)
    assert (work / "rouge-rrrrrrrrrr.json").exists()
    (work / "rouge-rrrrrrrrrr.json").unlink()
    write_json(folder / "generation.json", made | change)
    score(member)
    assert reason in read_json(work / "rouge-rrrrrrrrrr.failed.json")["reason"]
    assert not (work / "rouge-rrrrrrrrrr.json").exists()


@pytest.mark.parametrize(
    ("prompts", "answers", "message"),
    [
        ([("a", "d", "x"), ("b", "d", "x")], [("a", "y")], r"generations.jsonl: no answer to prompt 'b'"),
        ([("a", "d", "x")], [("a", "y"), ("c", "y")], r"generations.jsonl: the answer 'c' has no prompt"),
        ([("a", "d", "x")], [("a", "y"), ("a", "y")], r"generations.jsonl:2: the id 'a' is there twice"),
        ([("a", "d", "x"), ("a", "d", "x")], [("a", "y")], r"prompts.jsonl:2: the id 'a' is there twice"),
        ([], [], r"prompts.jsonl: no prompts"),
        ([("a", "d", "x")], [("a", None)], r"generations.jsonl:1: needs 'answer' with a text"),
    ],
)
def test_prompts_and_answers_must_pair_up(tmp_path, prompts, answers, message):
    with pytest.raises(UserError, match=message):
        read_rows(*write(tmp_path, prompts, answers))


def test_an_error_that_nobody_foresaw_holds_up_no_other_score(member, monkeypatch):
    from loragrid.metrics import rouge

    monkeypatch.setattr(rouge, "items", lambda *_: [][1])
    work = score(member)
    assert "IndexError: list index out of range" in read_json(work / "rouge-rrrrrrrrrr.failed.json")["reason"]
    assert (work / "sacrebleu-ssssssssss.json").exists()
    assert member.is_settled()


def test_a_memory_that_is_too_small_leaves_what_it_was_for_to_the_next_job(member, monkeypatch):
    from loragrid.metrics import rouge

    def starve(*_):
        raise MemoryError("8 GiB")

    monkeypatch.setattr(rouge, "items", starve)
    with pytest.raises(MemoryError, match="8 GiB"):
        score(member)
    assert (member.work / "sacrebleu-ssssssssss.json").exists()
    assert not list(member.work.glob("*.failed.json"))


def test_answers_that_are_not_published_yet_are_scored_and_missing_ones_are_left(member):
    published = Path(member.answers.folder, "generations.jsonl")
    text = published.read_text()
    published.unlink()
    score(member)
    assert not list(member.work.glob("*.json"))
    member.work.mkdir(parents=True, exist_ok=True)
    (member.work / "generations.jsonl").write_text(text)
    assert (score(member) / "rouge-rrrrrrrrrr.json").exists()


def test_a_turn_that_was_not_asked_has_no_text_before_it(tmp_path):
    prompts, generations = tmp_path / "prompts.jsonl", tmp_path / "generations.jsonl"
    asked = {"id": "a", "dialogue": "a", "messages": [{"role": "user", "content": "Hi"}], "reference": "", "after": "b"}
    prompts.write_text(json.dumps(asked) + "\n")

    def seen(messages):
        raise UserError("the chat template refuses a dialogue")

    for ended, fails in (("refused", False), ("stop", True)):
        generations.write_text(json.dumps({"id": "a", "answer": "", "ended": ended}) + "\n")
        with pytest.raises(UserError) if fails else contextlib.nullcontext():
            assert read_rows(prompts, generations, seen).texts.prompts == [""]
