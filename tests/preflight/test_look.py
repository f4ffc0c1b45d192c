import json
import shutil
from pathlib import Path

import pytest
from nano import CLEAN, FORMATTED, MODEL, dialogue
from objects import CHAT, OWN_CHAT, make_run

from loragrid.data.prompts import write_prompts
from loragrid.files import read_json, write_json
from loragrid.preflight.look import look
from loragrid.study.preflights import training_of


def training(**recipe):
    precision = recipe.pop("precision", "nf4")
    return training_of(vars(make_run({"rank": 4, "batch_size": 8, "epochs": 3} | recipe, precision=precision)))


def answering(max_new_tokens=8, **changes):
    asked = {
        "precision": "nf4", "prompts": "test", "in_chat": True, "choices": False, "max_new_tokens": max_new_tokens,
        "likelihood": True,
    }  # fmt: skip
    return asked | changes


def report(tmp_path, *trainings, model=MODEL, formatted=FORMATTED, clean=CLEAN, max_new_tokens=8, chat=OWN_CHAT):
    prompts = tmp_path / "prompts.jsonl"
    write_prompts(
        Path(clean), prompts,
        format_=CHAT, split="test", turns="all", rows=None, system=None, default_system=None,
    )  # fmt: skip
    asked = [answering(max_new_tokens)]
    settings = {"trainings": trainings or [training()], "asked": asked, "prompts": {"test": prompts}}
    out = tmp_path / "report.json"
    look(out, key="p" * 64, model=Path(model), formatted=Path(formatted), chat=chat, **settings)
    return json.loads(out.read_text())


def changed(tmp_path, folder, file, **changes):
    target = tmp_path / "changed"
    if not target.exists():
        shutil.copytree(folder, target)
    write_json(target / file, read_json(target / file) | changes)
    return target


def test_nothing_is_said_of_what_is_in_order(nano, tmp_path):
    assert report(tmp_path) == {"key": "p" * 64, "unusable": {}, "refused": [], "warnings": []}


def test_each_training_is_refused_for_its_own_reason(nano, tmp_path):
    wrong = {
        "llama has no qkv_proj that can be adapted; there are down_proj, gate_proj,": training(
            target_modules=["qkv_proj"]
        ),
        "rank 65 is larger than model.layers.0.": training(rank=65),
        "the first step of a warm-up has a learning rate of 0": training(warmup=0.1, batch_size=32, epochs=1),
    }
    found = report(tmp_path, training(), *wrong.values())
    assert [refused["training"] for refused in found["refused"]] == list(wrong.values())
    for said, refused in zip(wrong, found["refused"], strict=True):
        assert said in refused["reason"]


@pytest.mark.parametrize(("file", "changes", "said"), [
    ("config.json", {"max_position_embeddings": 64}, "max_length 96 is more than this llama can read"),
    ("config.json", {"vocab_size": 50}, "makes tokens up to"),
    ("config.json", {"model_type": "perpetual"}, "no configuration of a model that transformers knows"),
    ("tokenizer_config.json", {"pad_token": "<pad>"}, "pads with '<pad>'"),
    ("adapter_config.json", {}, "this is an adapter and no model"),
])  # fmt: skip
def test_a_model_that_cannot_take_the_data_trains_nothing_of_it(nano, tmp_path, file, changes, said):
    (tmp_path / "changed").mkdir()
    shutil.copytree(MODEL, tmp_path / "changed", dirs_exist_ok=True)
    if not (tmp_path / "changed" / file).exists():
        write_json(tmp_path / "changed" / file, {})
    found = report(tmp_path, training(), training(rank=2), model=changed(tmp_path, MODEL, file, **changes))
    assert [refused["training"]["rank"] for refused in found["refused"]] == [4, 2]
    assert all(said in refused["reason"] for refused in found["refused"])


def test_what_is_doubtful_is_a_warning(nano, tmp_path):
    few = tmp_path / "clean" / "test.jsonl"
    few.parent.mkdir()
    few.write_text("".join(json.dumps(dialogue(number)) + "\n" for number in range(200, 205)))
    manifest = read_json(Path(FORMATTED, "format.json"))
    train = manifest["splits"]["train"] | {"shortened": 10, "too_long": 2}
    formatted = changed(tmp_path, FORMATTED, "format.json", warnings=["a token is unknown"],
                        splits=manifest["splits"] | {"train": train})  # fmt: skip
    found = report(tmp_path, formatted=formatted, clean=few.parent, max_new_tokens=125)
    assert not found["refused"]
    said = found["warnings"]
    assert said[0] == "a token is unknown"
    assert said[1].startswith(
        "38% of the training examples are longer than max_length 96 and lose their beginning (10)"
    )
    assert "5 dialogues are too few for any verdict" in said[2]
    assert "prompts do not fit the model's context of 128 tokens beside an answer of 125" in said[3]
    assert "leaves no room for a prompt" in report(tmp_path, max_new_tokens=128)["warnings"][-1]


def test_references_that_do_not_fit_are_counted(nano, tmp_path):
    long = tmp_path / "clean" / "test.jsonl"
    long.parent.mkdir()
    records = [dialogue(number) for number in range(200, 208)]
    records[0]["messages"][1]["content"] = "That must have been hard. " * 40
    long.write_text("".join(json.dumps(record) + "\n" for record in records))
    (warning,) = report(tmp_path, clean=long.parent)["warnings"][-1:]
    assert "1 of " in warning
    assert "references cannot be scored: longer than the model's context of 128 tokens" in warning


def test_a_report_is_written_whatever_goes_wrong(nano, tmp_path):
    formatted = changed(tmp_path, FORMATTED, "format.json", splits={})
    found = report(tmp_path, formatted=formatted)
    assert not found["refused"]
    assert found["warnings"] == ["the rows could not be looked at (KeyError: 'train')"]
