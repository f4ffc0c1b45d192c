"""Choices compared by their likelihood: lm-evaluation-harness on real tiny models, against plain torch."""

import json
import math
import os
import signal
from pathlib import Path

import pytest
import torch
import yaml
from datasets import Dataset
from nano import MODEL, base_model, batch_of, never, train, train_member
from objects import make_answers

from loragrid.data.choices import write_choices
from loragrid.files import read_json, read_jsonl, sha256_of, write_json, write_jsonl
from loragrid.generation.choice import ask_choices
from loragrid.generation.generate import generate_batch
from loragrid.jobs.attempts import read_attempts
from loragrid.jobs.standing import Reporter
from loragrid.metrics.accuracy import COLUMNS
from loragrid.modeling.chat import Chat
from loragrid.modeling.load import attach_adapter, load_base
from loragrid.modeling.tokenizer import load_plain_tokenizer, load_tokenizer
from loragrid.scoring.of_model import write_of_model
from loragrid.study.members import AnswerMember

ABOUT = {"of": "somebody", "key": "k" * 64}
WORDS = {"about": "About {subject}.\n\n", "question": "", "answer": "="}


def record(subject, number, choices=("one", "two", "three")):
    return {
        "id": f"{subject}:{number}", "question": f"{subject[0]}{number}?", "choices": list(choices),
        "answer": number % len(choices), "meta": {"subject": subject},
    }  # fmt: skip


def questions(folder, shots=2, subjects=("dogs", "cats"), number=4, **changes):
    for split, first in (("validation", 100), ("test", 0)):
        records = [record(subject, first + index) for subject in subjects for index in range(number)]
        write_jsonl(folder / f"{split}.jsonl", records)
    settings = {"wording": WORDS, "split": "test", "shots": shots, "rows": None} | changes
    write_choices(folder, folder / "prompts.jsonl", **settings)
    return list(read_jsonl(folder / "prompts.jsonl"))


@pytest.fixture(scope="module")
def model(nano_root):
    before = Path.cwd()
    os.chdir(nano_root)
    loaded = load_base(MODEL, "nf4").eval()
    os.chdir(before)
    return loaded


@pytest.fixture
def tokenizer(nano):
    return load_plain_tokenizer(MODEL)


def compare(model, tokenizer, prompts, kept, chat=None, batch_size=4, stop=None, **more):
    return ask_choices(
        model,
        tokenizer,
        chat,
        prompts,
        kept,
        batch_size=batch_size,
        stop=stop or never(),
        reporter=Reporter(None),
        about=ABOUT,
        **more,
    )


def by_hand(model, before, letters):
    """Log-likelihood of each continuation, one at a time, in plain torch."""
    found = []
    for letter in letters:
        with torch.no_grad():
            logits = model(input_ids=torch.tensor([before + letter])).logits[0].double().log_softmax(-1)
        found.append(sum(logits[len(before) - 1 + at, token].item() for at, token in enumerate(letter)))
    return found


@pytest.mark.parametrize("batch_size", [1, 8])
def test_likelihoods_are_those_of_the_plain_model(model, tokenizer, tmp_path, batch_size):
    prompts = questions(tmp_path)
    items, excluded, counts = compare(model, tokenizer, prompts, tmp_path / "kept.jsonl", batch_size=batch_size)
    assert (excluded, counts) == ([], {"fewer_examples": 0})
    for item, prompt in zip(items, prompts, strict=True):
        text = "".join(
            message["content"] + {"system": "", "user": " ", "assistant": "\n\n"}[message["role"]]
            for message in prompt["messages"]
        )
        before = tokenizer(text.rstrip(" ")).input_ids
        letters = [tokenizer(text + letter).input_ids[len(before) :] for letter in prompt["letters"]]
        wanted = by_hand(model, before, letters)
        assert item["log_likelihoods"] == pytest.approx(wanted, abs=1e-4)
        assert item["correct"] == (wanted.index(max(wanted)) == prompt["letters"].index(prompt["reference"]))
        assert (item["shots"], item["groups"]) == (2, {"subject": prompt["subject"]})
    assert [item["id"] for item in items] == [prompt["id"] for prompt in prompts]


def test_a_tokenizer_that_begins_texts_with_a_token_does_so_once(model, tokenizer, tmp_path, monkeypatch):
    """As Llama's: and a chat template that writes it gets no second one."""
    from tokenizers.processors import TemplateProcessing

    bos = tokenizer.eos_token
    tokenizer.bos_token = bos
    tokenizer.backend_tokenizer.post_processor = TemplateProcessing(
        single=f"{bos} $A", special_tokens=[(bos, tokenizer.eos_token_id)]
    )
    seen = []
    forward = model.forward
    monkeypatch.setattr(model, "forward", lambda ids, **more: seen.extend(ids.tolist()) or forward(ids, **more))
    (prompt, *_) = questions(tmp_path, shots=0)
    compare(model, tokenizer, [prompt], tmp_path / "plain.jsonl")
    tokenizer.chat_template = "{{ bos_token }}{% for m in messages %}{{ m.content }};{% endfor %}"
    compare(model, tokenizer, [prompt], tmp_path / "chat.jsonl", Chat(tokenizer))
    assert [(row[0], row.count(tokenizer.eos_token_id)) for row in seen] == [(tokenizer.eos_token_id, 1)] * 2


def test_through_the_chat_examples_are_earlier_turns(model, nano, tmp_path):
    chat = Chat(load_tokenizer(MODEL))
    (prompt, *_) = questions(tmp_path, shots=1)
    ((item,), _, _) = compare(model, chat.tokenizer, [prompt], tmp_path / "kept.jsonl", chat, system="Be brief.")
    system = {"role": "system", "content": "Be brief.\n\nAbout dogs.\n\n"}
    text = chat.before_answer([system, *prompt["messages"][1:]])
    assert text.endswith("=<|im_end|>\n<|im_start|>assistant\n")
    # lm-evaluation-harness counts the blanks at the end of a prompt to each of the choices.
    before = chat.tokenizer(text.rstrip(), add_special_tokens=False).input_ids
    whole = [chat.tokenizer(text + letter, add_special_tokens=False).input_ids for letter in prompt["letters"]]
    assert all(ids[: len(before)] == before for ids in whole)
    letters = [ids[len(before) :] for ids in whole]
    assert item["log_likelihoods"] == pytest.approx(by_hand(model, before, letters), abs=1e-4)


def test_what_is_too_long_loses_whole_examples_first_and_then_is_left_out(model, tokenizer, tmp_path, capsys):
    prompts = questions(tmp_path, subjects=("dogs",))
    long = " ".join(["and"] * 30)
    prompts[1]["messages"][1]["content"] += long * 2
    prompts[2]["messages"][-1]["content"] = long * 6 + "="
    (whole, _, *others), excluded, counts = compare(model, tokenizer, prompts, tmp_path / "kept.jsonl")
    items, _, _ = compare(model, tokenizer, questions(tmp_path, subjects=("dogs",)), tmp_path / "other.jsonl")
    assert (whole["shots"], counts) == (2, {"fewer_examples": 1})
    assert others[0]["log_likelihoods"] == pytest.approx(items[3]["log_likelihoods"], abs=1e-4)
    reason = "longer than the model's context of 128 tokens, even without examples"
    assert excluded == [{"id": prompts[2]["id"], "reason": reason}]
    told = capsys.readouterr().out
    assert f"warning: 1 of 4 questions are left out: {reason}" in told
    assert "warning: 1 of 4 questions were asked with fewer examples" in told


def test_adapters_over_one_base_are_asked_in_turn(tokenizer, tmp_path):
    folders = []
    for seed in (1, 2):
        train(tmp_path / f"run{seed}", learning_rate=0.05, seed=seed, max_steps=3, evaluations=1)
        folders.append(tmp_path / f"run{seed}/work/adapter")
    prompts = questions(tmp_path, number=2)

    def asked(model, name):
        items, _, _ = compare(model, tokenizer, prompts, tmp_path / f"{name}.jsonl")
        return [item["log_likelihoods"] for item in items]

    alone = [
        asked(attach_adapter(load_base(MODEL, "nf4"), folder).eval(), f"alone{n}") for n, folder in enumerate(folders)
    ]
    together = attach_adapter(load_base(MODEL, "nf4"), folders[0])
    together.load_adapter(str(folders[1]), "second")
    together.eval()
    for turn, (name, wanted) in enumerate([("default", 0), ("second", 1), ("default", 0), ("second", 1)]):
        together.set_adapter(name)
        assert asked(together, f"turn{turn}") == alone[wanted]
    assert alone[0] != alone[1]


# -- against lm-evaluation-harness' own tasks

SAMPLES = Path(__file__).parents[3] / "shared" / "data" / "cmmlu"


def official(folder, name, rows):
    """A task as lm-evaluation-harness has it, over rows of our own."""
    import lm_eval
    from lm_eval.api.task import ConfigurableTask

    place = Path(lm_eval.__file__).parent / "tasks" / folder
    config = yaml.safe_load((place / f"{name}.yaml").read_text(encoding="utf-8"))
    config = yaml.safe_load((place / config.pop("include")).read_text(encoding="utf-8")) | config
    for key in ("tag", "dataset_path", "dataset_name"):
        config.pop(key, None)
    data = {split: Dataset.from_list(part) for split, part in rows.items()}
    return ConfigurableTask(config=config | {"custom_dataset": lambda **_: data, "num_fewshot": 5})


@pytest.mark.skipif(not SAMPLES.is_dir(), reason=f"no samples of the real datasets in {SAMPLES}")
def test_cmmlu_is_asked_and_scored_as_lm_evaluation_harness_does(model, tokenizer, tmp_path):
    import csv
    from dataclasses import asdict

    from lm_eval.evaluator import evaluate
    from lm_eval.models.huggingface import HFLM

    from loragrid.data.clean import clean
    from loragrid.data.sources import cmmlu

    clean(SAMPLES, tmp_path / "clean", "cmmlu", {}, [], splits=None, rows=None, seed=0, needs=["validation", "test"])
    # A long context, which the positions of a Llama do not keep it from.
    model.config.max_position_embeddings = 4096
    write_choices(
        tmp_path / "clean", tmp_path / "prompts.jsonl", wording=asdict(cmmlu.WORDING), split="test", shots=5, rows=3
    )
    prompts = [each for each in read_jsonl(tmp_path / "prompts.jsonl") if each["subject"] == "agronomy"]
    try:
        items, excluded, _ = compare(model, tokenizer, prompts, tmp_path / "kept.jsonl")
        rows = {
            split: list(csv.DictReader((SAMPLES / split / "agronomy.csv").open(encoding="utf-8-sig", newline="")))
            for split in ("dev", "test")
        }
        rows["test"] = rows["test"][:3]
        task = official("cmmlu", "cmmlu_agronomy", rows)
        harness = HFLM(pretrained=model, tokenizer=tokenizer, batch_size=4, max_length=4096)
        results = evaluate(harness, {"tasks": {"cmmlu": task}, "groups": {}}, bootstrap_iters=0)
    finally:
        model.config.max_position_embeddings = 128
    assert not excluded
    for item, prompt, sample in zip(items, prompts, results["samples"]["cmmlu"], strict=True):
        assert sample["arguments"][0][0].startswith(prompt["messages"][0]["content"])
        assert item["log_likelihoods"] == pytest.approx([value for value, _ in sample["filtered_resps"]], abs=1e-4)
    assert COLUMNS[0].of(items) == pytest.approx(results["results"]["cmmlu"]["acc,none"])


# -- in the generate job


@pytest.fixture
def member(nano, tmp_path):
    questions(tmp_path)

    def member(name, run=None):
        folder = str(tmp_path / "eval" / name)
        score = {
            "name": "accuracy", "label": None, "version": 1, "options": {"categories": {"pets": ["cats", "birds"]}},
            "place": "model", "needs": [], "with_prompt": False, "key": "a" * 64,
        }  # fmt: skip
        answers = make_answers(subject=name, folder=folder, in_chat=False, scores={"accuracy": score})
        assert answers.generations is None
        parts, prompts = {"accuracy": answers.score_file("accuracy")}, str(tmp_path / "prompts.jsonl")
        return AnswerMember(
            answers, parts, base_model(micro_batch=2), prompts, run, preflight_file="data/preflight/none.json"
        )

    return member


def ask(member):
    return generate_batch(batch_of(member, stage="generate"), write_of_model)


def work(member):
    return member.work


def test_an_interrupted_job_goes_on_with_the_next_subject(member, monkeypatch):
    whole, cut = member("whole"), member("cut")
    assert ask(whole)
    from lm_eval import evaluator

    evaluate, calls = evaluator.evaluate, []

    def interrupt(*arguments, **more):
        calls.append(arguments)
        if len(calls) == 1:
            os.kill(os.getpid(), signal.SIGTERM)
        return evaluate(*arguments, **more)

    monkeypatch.setattr(evaluator, "evaluate", interrupt)
    assert not ask(cut)
    (attempt,) = read_attempts(work(cut))
    assert "after 4 of 8 questions" in attempt["why"]
    # A line that a kill has cut short is no answer.
    with (work(cut) / "choices.jsonl").open("a") as file:
        file.write('{"id": "cats:0", "dial')
    assert ask(cut)
    assert len(calls) == 2
    files = [work(each) / "accuracy-aaaaaaaaaa.json" for each in (whole, cut)]
    assert files[0].read_bytes() == files[1].read_bytes()
    found = read_json(files[0])
    assert found["made"]["counts"]["categories"] == {"pets": {"asked": 1, "known": 2}}
    assert found["metrics"].keys() == {"accuracy", "accuracy_by_subject", "accuracy_pets"}


def test_what_is_kept_of_other_questions_is_not_used(member):
    one = member("one")
    assert ask(one)
    file = work(one) / "accuracy-aaaaaaaaaa.json"
    made = file.read_bytes()
    file.unlink()
    lines = (work(one) / "choices.jsonl").read_text().splitlines()
    head = json.loads(lines[0]) | {"questions_sha256": "0" * 64}
    spoilt = [json.loads(line) | {"correct": 9} for line in lines[1:]]
    write_jsonl(work(one) / "choices.jsonl", [head, *spoilt])
    assert ask(one)
    assert file.read_bytes() == made


def test_a_model_without_likelihoods_has_no_accuracy(member, tmp_path):
    run = train_member(tmp_path / "run", max_steps=1, evaluations=1).run
    train(tmp_path / "run", max_steps=1, evaluations=1)
    from safetensors.torch import load_file, save_file

    file = tmp_path / "run/work/adapter/adapter_model.safetensors"
    save_file({name: torch.full_like(each, math.nan) for name, each in load_file(file).items()}, file)
    record = tmp_path / "run/work/run.json"
    write_json(record, read_json(record) | {"adapter_sha256": sha256_of(file)})
    broken = member("tuned", run)
    assert ask(broken)
    failure = read_json(work(broken) / "accuracy-aaaaaaaaaa.failed.json")
    assert "all 8 questions are left out: a choice has no finite log-likelihood" in failure["reason"]
    assert not (work(broken) / "accuracy-aaaaaaaaaa.json").exists()
