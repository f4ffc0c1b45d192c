"""The shipped studies on real samples in their original formats, read from beside the project where they are."""

import shutil

import pytest
import yaml
from workspace import NANO, REPO

SAMPLES = REPO.parent / "shared" / "data"

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not SAMPLES.is_dir(), reason=f"no samples of the real datasets in {SAMPLES}"),
]


def with_nano_model(workspace, study, context=None, **dataset):
    """The shipped study on a local copy of the data, with the nano model, so that it takes seconds."""
    content = yaml.safe_load((workspace.folder / f"config/studies/{study}.yaml").read_text())
    (spec,) = content["datasets"].values()
    spec.update(dataset)
    nano = yaml.safe_load(NANO.read_text())["models"]["nano"]
    if context:  # the dialogues are long, and what does not fit is left out
        nano["build"]["context"] = content["recipe"]["max_length"] = context
    (shipped,) = content["models"].values()
    own = {name: value for name, value in shipped.items() if name != "build"}
    workspace.study(study, yaml.safe_dump(content), models={"tiny": nano | own})


def test_empathetic_dialogues_in_its_original_format(with_model):
    raw = with_model.folder / "sample"
    raw.mkdir()
    shutil.copy(SAMPLES / "empathetic_dialogues/train.sample.csv", raw / "train.csv")
    splits = {"validation": 0.2, "test": 0.2}
    with_nano_model(with_model, "empathetic-dialogues", path="sample", rows={}, splits=splits)
    with_model.snakemake(study="empathetic-dialogues")
    untrained, tuned = with_model.table("empathetic-dialogues")
    assert untrained["status"] == tuned["status"] == "done"
    assert float(tuned["bits_per_byte"]) > 0
    (cleaning,) = with_model.folder.glob("data/clean/empathetic_dialogues-*/cleaning.json")
    counts = with_model.json(cleaning)
    assert sum(counts["kept"].values()) + sum(
        reason["count"] for reasons in counts["dropped"].values() for reason in reasons.values()
    ) >= 20  # fmt: skip
    (provenance,) = with_model.folder.glob("data/raw/empathetic_dialogues-*/provenance.json")
    assert with_model.json(provenance)["licence"] == "CC BY-NC 4.0"


def test_tweetsumm_in_the_format_of_dialogstudio(with_model):
    raw = with_model.folder / "sample"
    raw.mkdir()
    shutil.copy(SAMPLES / "tweetsumm/dialogstudio_converted_examples.json", raw / "TweetSumm.json")
    splits = {"validation": 0.3, "test": 0.3}
    with_nano_model(with_model, "tweetsumm-small", context=1024, path="sample", splits=splits, seed=4)
    # What comes after the rows is the same as for the study's own samples (test_studies.py).
    with_model.snakemake("--until", "format", "prompts", study="tweetsumm-small")
    (formatted,) = with_model.folder.glob("data/formatted/*/tweetsumm-*/format.json")
    assert with_model.json(formatted)["splits"]["train"]["rows"] >= 1
    (prompts,) = with_model.folder.glob("data/prompts/test-*.jsonl")
    assert with_model.json_lines(prompts)
    (train,) = with_model.folder.glob("data/clean/tweetsumm-*/train.jsonl")
    text = train.read_text()
    assert "https://t.co" not in text
    assert "@135060" not in text
