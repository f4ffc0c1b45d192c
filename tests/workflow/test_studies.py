"""The five studies: all can be planned, and their small variants run from raw samples to tables."""

import csv
import json
import math
import shutil
import subprocess
import sys

import pytest
import yaml
from encoders import LAYER, minilm
from judge_server import TOKEN, Judge, serving
from with_wordnet import need_wordnet
from workspace import REPO

from loragrid.plugins import REGISTRY
from loragrid.study.open import open_study

STUDIES = ("emotional-support", "empathetic-llama-gemma", "language-adaptation", "tinyllama-sft-dpo", "tweetsumm")
SAMPLES = REPO / "data/samples"


@pytest.fixture(params=STUDIES)
def study(request):
    return request.param


@pytest.mark.parametrize("small", ["", "-small"])
def test_it_is_valid(study, small, monkeypatch):
    monkeypatch.chdir(REPO)
    monkeypatch.setenv("EXTES", str(SAMPLES / "extes/ExTES.json"))
    grid = open_study(study + small, REGISTRY)
    assert grid.runs
    assert grid.untrained
    assert bool(grid.published) == (not small)
    assert bool(grid.encoders) == (not small and study != "language-adaptation")


def test_samples_come_out_the_same(tmp_path):
    """`python data/samples/generate.py` makes what is in the project."""
    subprocess.run([sys.executable, SAMPLES / "generate.py", tmp_path], check=True)
    made = sorted(path.relative_to(tmp_path) for path in tmp_path.rglob("*") if path.is_file())
    assert len(made) == 14
    for path in made:
        assert (tmp_path / path).read_bytes() == (SAMPLES / path).read_bytes(), path


# -- the small ones, run


@pytest.fixture
def run(fresh):
    """Run the small variant of a study from nothing, and see that its table is whole.

    It is scored by all that the whole study is. BERTScore computes with a small real encoder in the place of those that
    have to be downloaded, and the judge is an HTTP server on this machine.
    """
    built = REPO / "data/models"  # the demo's model, if the demo has been run here
    for model in built.iterdir() if built.is_dir() else ():
        shutil.copytree(model, fresh.folder / "data/models" / model.name)

    def run(name):
        study, whole = (fresh.yaml(f"config/studies/{name}{end}.yaml") for end in ("-small", ""))
        score_like_the_whole(study["evaluations"], whole["evaluations"])
        fresh.study(f"{name}-small", yaml.safe_dump(study))
        with serving(Judge()) as judge:
            own = {"LORAGRID_JUDGE_URL": judge.url, "LORAGRID_JUDGE_TOKEN": TOKEN}
            fresh.snakemake(study=f"{name}-small", network=bool(judges(study)), own=own)
        rows = fresh.table(f"{name}-small")
        assert {row["status"] for row in rows} == {"done"}, [(row["run"], row["reason"]) for row in rows]
        for row in rows:
            kind = study["evaluations"][row["evaluation"]].get("kind", "dialogue")
            if kind == "replay":
                assert float(row["answer_words"]) >= 0
                assert any(row[name] for name in row if name.startswith("judge_"))
            elif kind != "choice":
                assert float(row["bits_per_byte"]) > 0
                assert float(row["rougeL"]) >= 0
        assert any(row["run"] != "untrained" for row in rows)
        for metric in {figure["metric"] for figure in whole["published"]} - NOT_IN_SAMPLES:
            assert any(row[metric] for row in rows), metric
        assert bool(judge.requests) == bool(judges(whole))
        assert (fresh.folder / f"results/studies/{name}-small/comparison.html").exists()
        return fresh

    return run


NOT_IN_SAMPLES = {"accuracy_stem", "accuracy_humanities", "accuracy_china"} | {
    f"judge_{category}" for category in ("coding", "extraction", "humanities", "stem")
}
"""Means over subjects that the sample of CMMLU has none of, and categories that the sample of MT-Bench has none of."""


def score_like_the_whole(small, whole):
    """Let evaluations have the scores of those with the same name, and the first one what a judge says of others."""
    here = {"bertscore": {"encoder": minilm(), "layer": LAYER}, "judge": {"requests_per_minute": 6000}}
    for name, evaluation in small.items():
        wanted = list(whole[name].get("scores", []))
        if name == next(iter(small)):
            wanted += [score for each in whole.values() for score in each.get("scores", []) if "judge" in score]
        for entry in wanted:
            if isinstance(entry, dict):
                ((metric, settings),) = entry.items()
                entry = {metric: settings | here.get(metric, {})}
            scores = evaluation.get("scores", ["rouge", "sacrebleu", "likelihood"])
            evaluation["scores"] = scores if entry in scores else [*scores, entry]


def judges(study):
    """The scores by a judge."""
    return [score for each in study["evaluations"].values() for score in each.get("scores", []) if "judge" in score]


def records(place, pattern):
    (file,) = place.folder.glob(pattern)
    return [json.loads(line) for line in file.read_text().splitlines()]


def formatted(place, pattern):
    (file,) = place.folder.glob(f"data/formatted/*/{pattern}-*/format.json")
    return place.json(file)


@pytest.mark.slow
def test_empathetic_llama_gemma(run):
    need_wordnet()  # its METEOR; the workflow has no network here
    place = run("empathetic-llama-gemma")
    prompts = records(place, "data/prompts/test-*.jsonl")
    assert all(prompt["messages"][0]["content"].startswith("The user feels ") for prompt in prompts)
    (cleaning,) = place.folder.glob("data/clean/empathetic_dialogues-*/cleaning.json")
    assert place.json(cleaning)["dropped"]["all"]["fields out of place"]["count"] == 1
    assert formatted(place, "empathetic_dialogues")["chat"]["end"] == "<|im_end|>"


@pytest.mark.slow
def test_tinyllama_sft_dpo(run):
    place = run("tinyllama-sft-dpo")
    assert formatted(place, "empathetic_dialogues")["format"]["name"] == "instruction"
    prompts = records(place, "data/prompts/ten-*.jsonl")
    assert len(prompts) == 10
    rows = place.table("tinyllama-sft-dpo-small")
    labels = [*(f"SFT{number}" for number in (4, 5, 6, 7, 8)), *(f"DPO{number}" for number in (1, 2, 3, 4, 5))]
    assert sorted(row["label"] for row in rows if row["run"] != "untrained") == sorted(labels)
    # What the five are compared with is computed once.
    assert len(list(place.folder.glob("results/log_probabilities/**/log_probabilities.safetensors"))) == 1
    for file in place.folder.glob("results/runs/*/human_like*/*/training.jsonl"):
        steps = [json.loads(line) for line in file.read_text().splitlines()]
        assert steps[0]["loss"] == pytest.approx(math.log(2), abs=1e-4)
        assert steps[-1]["reward_margin"] > 0


@pytest.mark.slow
def test_emotional_support(run):
    place = run("emotional-support")
    rows = place.table("emotional-support-small")
    assert sorted((row["run"] == "untrained", row["evaluation"]) for row in rows) == [
        (is_untrained, name) for is_untrained in (False, True) for name in ("esconv", "extes", "extes-bare", "judged")
    ]
    assert {row["dataset"] for row in rows if row["run"] != "untrained"} == {"extes"}
    statistics = [place.json(file) for file in place.folder.glob("data/clean/es*/statistics.json")]
    assert all(split["meta"]["strategies"] for each in statistics for split in each.values() if split["records"])
    with (place.folder / "results/studies/emotional-support-small/utterances.csv").open(newline="") as file:
        lengths = {(row["evaluation"], row["run"], row["utterances"]): row for row in csv.DictReader(file)}
    for (evaluation, run, utterances), bare in lengths.items():
        if evaluation == "extes-bare":
            whole = lengths["extes", run, utterances]
            assert bare["answers"] == whole["answers"]
            if utterances == "1":  # no history
                assert bare["prompt_tokens"] == whole["prompt_tokens"]
                assert float(bare["perplexity"]) == pytest.approx(float(whole["perplexity"]), rel=1e-4)
            else:
                assert float(bare["prompt_tokens"]) < float(whole["prompt_tokens"])
    assert (place.folder / "results/studies/emotional-support-small/figures/utterances-tiny.extes.svg").exists()


@pytest.mark.slow
def test_language_adaptation(run):
    place = run("language-adaptation")
    (mixture,) = place.folder.glob("data/clean/turkish-*/cleaning.json")
    assert place.json(mixture)["shares"]["train"] == {"aya": 0.666667, "instructions": 0.333333}
    cleanings = [place.json(file) for file in place.folder.glob("data/clean/firefly-*/cleaning.json")]
    (removed,) = (cleaning for cleaning in cleanings if "base" in cleaning)
    # Four instructions ask what CMMLU's sample asks; some of them are to be trained on.
    assert removed["dropped"]["train"]["also in an evaluation"]["count"] >= 1
    with (place.folder / "results/studies/language-adaptation-small/contamination.csv").open(newline="") as file:
        found = [(row["trained_on"], row["evaluation"], row["overlapping"]) for row in csv.DictReader(file)]
    assert ("chinese", "cmmlu", "0") in found
    assert {trained for trained, _, _ in found} == {"chinese", "turkish"}
    asked = [row for row in place.table("language-adaptation-small") if row["evaluation"] == "cmmlu"]
    assert sorted(row["label"] for row in asked) == ["", "16-48", "8-32"]
    for row in asked:
        # Four questions of each of two subjects, so that means over questions and over subjects are the same.
        assert float(row["accuracy"]) * 8 == int(float(row["accuracy"]) * 8)
        assert row["accuracy"] == row["accuracy_by_subject"]
        assert float(row["accuracy_other"]) + float(row["accuracy_social_science"]) == 2 * float(row["accuracy"])
        assert row["accuracy_stem"] == ""
        assert row["bits_per_byte"] == ""


@pytest.mark.slow
def test_tweetsumm(run):
    place = run("tweetsumm")
    prompts = records(place, "data/prompts/test-*.jsonl")
    for prompt in prompts:
        text = prompt["messages"][-1]["content"]
        assert "https://" not in text
        assert "@" not in text
        assert "^" not in text
        assert "\nCustomer: Hi, " in text
        assert prompt["reference"].startswith(("The ", "A "))
    assert formatted(place, "tweetsumm")["chat"]["introduction"].strip() == "[/INST]"
