"""The model card beside an adapter."""

import json
import re

import pytest
from huggingface_hub import ModelCard
from nano import train

from loragrid.training.card import card

ONE = {"max_steps": 2, "evaluations": 1}


@pytest.fixture(scope="module")
def trained(nano_root, tmp_path_factory):
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(nano_root)
        yield train(tmp_path_factory.mktemp("card") / "run", **ONE)


def record(work):
    return json.loads((work / "run.json").read_text())


def test_the_hub_reads_it_and_it_tells_base_data_and_recipe(trained):
    found = ModelCard.load(trained / "adapter" / "README.md")
    assert found.data.to_dict() == {
        "library_name": "peft", "pipeline_tag": "text-generation", "tags": ["lora", "loragrid"],
    }  # fmt: skip
    run = record(trained)
    for line in (
        "| base | nano, made by loragrid |",
        "| data | inline: 30 rows, 7 for validation |",
        "| precision of the base | nf4 |",
        "| steps | 2 |",
        f"| validation loss, last | {run['loss']['validation']:.4f} |",
        "| rank | 4 |",
        "| learning_rate | 0.005 |",
    ):
        assert line in found.text.splitlines()


def test_a_base_of_the_hub_is_named_as_the_hub_wants_it(trained):
    run = record(trained)
    run["model"] |= {"id": "org/Base-7B", "revision": "abc123"}
    text = card(run | {"parent": "results/runs/base/data/r4-a8-s42-0123456789", "stopped_early": True})
    assert ModelCard(text).data.base_model == "org/Base-7B"
    assert "| base | `org/Base-7B`, revision `abc123` |" in text
    assert "| goes on from | r4-a8-s42-0123456789 |" in text
    assert "| steps | 2 of 2 (early stopping) |" in text


def test_equal_runs_have_equal_cards_that_name_no_place(nano, trained, tmp_path):
    again = train(tmp_path / "run", **ONE)
    text = (again / "adapter" / "README.md").read_text()
    assert text == (trained / "adapter" / "README.md").read_text()
    assert not re.search(r"[ `]/|\\|tmp|data/", text)
