import json
import shutil
from pathlib import Path

import pytest
from nano import CLEAN, FORMATTED, MODEL, TURNS_CHAT, add_end_tokens, dialogue
from objects import CHAT, OWN_CHAT, make_run

from loragrid.data.choices import write_choices
from loragrid.data.prompts import write_prompts
from loragrid.files import read_json, write_json, write_jsonl
from loragrid.preflight.look import look
from loragrid.study.preflights import training_of


def training(**recipe):
    precision = recipe.pop("precision", "nf4")
    return training_of(make_run({"rank": 4, "batch_size": 8, "epochs": 3} | recipe, precision=precision))


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
        format_=CHAT, split="test", turns="all", rows=None, system=None, default_system=None, context={},
    )  # fmt: skip
    return found(
        tmp_path, trainings or [training()], [answering(max_new_tokens)], prompts, model, Path(formatted), chat
    )


def found(tmp_path, trainings, asked, prompts, model=MODEL, formatted=None, chat=OWN_CHAT, records=None):
    out = tmp_path / "report.json"
    settings = {"trainings": trainings, "asked": asked, "prompts": {"test": prompts}, "records": {"test": records}}
    look(out, key="p" * 64, model=Path(model), formatted=formatted, chat=chat, **settings)
    return json.loads(out.read_text())


def questions(tmp_path, number=8, shots=2):
    for split, first in (("validation", 100), ("test", 0)):
        records = [
            {"id": f"{split}{index}", "question": f"What is {index}?", "choices": ["one", "two"], "answer": 0,
             "meta": {"subject": "numbers"}}
            for index in range(first, first + number)
        ]  # fmt: skip
        write_jsonl(tmp_path / "choices" / f"{split}.jsonl", records)
    wording = {"about": "About {subject}.\n\n", "question": "", "answer": "="}
    write_choices(
        tmp_path / "choices", tmp_path / "questions.jsonl", wording=wording, split="test", shots=shots, rows=None
    )
    return tmp_path / "questions.jsonl"


def changed(tmp_path, folder, file, **changes):
    target = tmp_path / "changed"
    if not target.exists():
        shutil.copytree(folder, target)
    write_json(target / file, read_json(target / file) | changes)
    return target


def test_nothing_is_said_of_what_is_in_order(nano, tmp_path):
    assert report(tmp_path) == {"key": "p" * 64, "unusable": {}, "refused": [], "unasked": [], "warnings": []}


def test_each_training_is_refused_for_its_own_reason(nano, tmp_path):
    wrong = {
        "llama has no qkv_proj that can be adapted; there are down_proj, gate_proj,": training(
            target_modules=["qkv_proj"]
        ),
        "rank 65 is larger than model.layers.0.": training(rank=65),
        "the first step of a warm-up has a learning rate of 0": training(warmup=0.1, batch_size=32, epochs=1),
    }
    said = report(tmp_path, training(), *wrong.values())
    assert [refused["training"] for refused in said["refused"]] == list(wrong.values())
    for why, refused in zip(wrong, said["refused"], strict=True):
        assert why in refused["reason"]


@pytest.mark.parametrize(("file", "changes", "why"), [
    ("config.json", {"max_position_embeddings": 64}, "max_length 96 is more than this llama can read"),
    ("config.json", {"vocab_size": 50}, "makes tokens up to"),
    ("config.json", {"model_type": "perpetual"}, "no configuration of a model that transformers knows"),
    ("tokenizer_config.json", {"pad_token": "<pad>"}, "pads with '<pad>'"),
    ("adapter_config.json", {}, "this is an adapter and no model"),
])  # fmt: skip
def test_a_model_that_cannot_take_the_data_trains_nothing_of_it(nano, tmp_path, file, changes, why):
    (tmp_path / "changed").mkdir()
    shutil.copytree(MODEL, tmp_path / "changed", dirs_exist_ok=True)
    if not (tmp_path / "changed" / file).exists():
        write_json(tmp_path / "changed" / file, {})
    said = report(tmp_path, training(), training(rank=2), model=changed(tmp_path, MODEL, file, **changes))
    assert [refused["training"]["rank"] for refused in said["refused"]] == [4, 2]
    assert all(why in refused["reason"] for refused in said["refused"])


def test_what_is_doubtful_is_a_warning(nano, tmp_path):
    few = tmp_path / "clean" / "test.jsonl"
    few.parent.mkdir()
    few.write_text("".join(json.dumps(dialogue(number)) + "\n" for number in range(200, 205)))
    manifest = read_json(Path(FORMATTED, "format.json"))
    train = manifest["splits"]["train"] | {"shortened": 10, "too_long": 2}
    formatted = changed(tmp_path, FORMATTED, "format.json", warnings=["a token is unknown"],
                        splits=manifest["splits"] | {"train": train})  # fmt: skip
    said = report(tmp_path, formatted=formatted, clean=few.parent, max_new_tokens=125)
    assert not said["refused"]
    said = said["warnings"]
    assert said[0] == "a token is unknown"
    assert said[1].startswith(
        "38% of the training examples are longer than max_length 96 and lose their beginning (10)"
    )
    assert "5 dialogues are too few for any verdict" in said[2]
    assert "prompts do not fit the model's context of 128 tokens beside an answer of 125" in said[3]
    said = report(tmp_path, max_new_tokens=128)
    (unasked,) = said["unasked"]
    assert unasked["asked"] == answering(128)
    assert "leaves no room for a prompt" in unasked["reason"]
    assert (said["refused"], said["warnings"]) == ([], [])


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
    said = report(tmp_path, formatted=formatted)
    assert not said["refused"]
    assert said["warnings"] == ["the rows could not be looked at (KeyError: 'train')"]


def test_rows_that_are_damaged_keep_nobody_from_a_report(nano, tmp_path):
    formatted = changed(tmp_path, FORMATTED, "format.json")
    (formatted / "train.arrow").write_bytes(b"no arrow")
    said = report(tmp_path, formatted=formatted)
    assert not said["refused"]
    assert said["warnings"][0].startswith("the trainings could not be looked at (ArrowInvalid")


def test_a_damaged_tokenizer_keeps_nobody_from_a_report(nano, tmp_path):
    model = changed(tmp_path, MODEL, "config.json")
    (model / "tokenizer.json").write_text("{")
    said = report(tmp_path, model=model)
    assert (said["unusable"], said["refused"]) == ({}, [])
    assert f"{model} could not be looked at" in said["warnings"][0]


@pytest.mark.parametrize(("how", "precision", "why"), [
    ({"quant_method": "gptq", "bits": 4}, "nf4", "its weights are quantised already (gptq, 4 bits), which is not NF4"),
    ({"quant_method": "bitsandbytes", "load_in_4bit": True, "bnb_4bit_quant_type": "nf4"}, "16bit",
     "its weights are quantised to NF4 already, so it cannot be loaded in 16 bits"),
])  # fmt: skip
def test_weights_that_are_quantised_in_another_way_are_refused(nano, tmp_path, how, precision, why):
    model = changed(tmp_path, MODEL, "config.json", quantization_config=how)
    said = report(tmp_path, training(precision=precision), model=model)
    assert why in said["refused"][0]["reason"]
    assert why in said["unusable"][precision]


def test_what_is_no_causal_language_model_is_refused(nano, tmp_path):
    said = report(tmp_path, model=changed(tmp_path, MODEL, "config.json", model_type="t5", d_model=64, num_heads=2))
    assert "cannot be loaded as a causal language model" in said["unusable"]["nf4"]
    assert "cannot be loaded as a causal language model" in said["refused"][0]["reason"]


def test_a_head_beside_which_no_rows_can_be_trained_is_refused(nano, tmp_path):
    add_end_tokens()
    model = changed(tmp_path, MODEL, "config.json", model_type="phi", architectures=["PhiForCausalLM"])
    said = report(tmp_path, training(target_modules=["q_proj"]), model=model, chat=TURNS_CHAT)
    assert "end_token: train: the head of phi has a bias" in said["refused"][0]["reason"]
    assert said["unusable"] == {}


def test_ranks_of_some_layers_are_looked_at(nano, tmp_path):
    said = report(tmp_path, training(lora_config={"rank_pattern": {"up_proj": 65}}))
    assert "rank 65 is larger than model.layers.0.mlp.up_proj" in said["refused"][0]["reason"]


# -- what untrained models are asked, without data


def prompts_of_dialogues(tmp_path):
    write_prompts(
        Path(CLEAN), tmp_path / "prompts.jsonl",
        format_=CHAT, split="test", turns="all", rows=None, system=None, default_system=None, context={},
    )  # fmt: skip
    return tmp_path / "prompts.jsonl"


def test_a_model_that_is_only_asked_is_looked_at_with_its_prompts(nano, tmp_path):
    prompts = prompts_of_dialogues(tmp_path)
    assert found(tmp_path, [], [answering()], prompts) == {
        "key": "p" * 64, "unusable": {}, "refused": [], "unasked": [], "warnings": [],
    }  # fmt: skip
    (said,) = found(tmp_path, [], [answering(125)], prompts)["warnings"]
    assert "prompts do not fit the model's context of 128 tokens beside an answer of 125" in said
    bare = changed(tmp_path, MODEL, "tokenizer_config.json", pad_token="<pad>")
    assert "pads with '<pad>'" in found(tmp_path, [], [answering()], prompts, model=bare)["unusable"]["nf4"]


def test_an_empty_list_is_not_asked_and_what_is_left_out_of_one_is_told(nano, tmp_path):
    prompts = prompts_of_dialogues(tmp_path)
    number = len({json.loads(line)["dialogue"] for line in prompts.read_text().splitlines()})
    assert found(tmp_path, [], [answering()], prompts, records=number)["warnings"] == []
    (said,) = found(tmp_path, [], [answering()], prompts, records=number + 2)["warnings"]
    assert f"2 of {number + 2} records have nothing to ask; results/logs/prompts/test.log says why" in said
    prompts.write_text("")
    said = found(tmp_path, [], [answering()], prompts, records=2)
    assert "there is nothing to ask; results/logs/prompts/test.log says why" in said["unasked"][0]["reason"]
    assert said["warnings"] == []


def test_prompts_with_tokens_that_the_model_lacks_are_told(nano, tmp_path):
    small = changed(tmp_path, MODEL, "config.json", vocab_size=50)
    said = found(tmp_path, [], [answering(likelihood=False)], prompts_of_dialogues(tmp_path), model=small)
    assert "the embedding has 50 rows" in said["warnings"][-1]


def test_questions_that_do_not_fit_are_counted(nano, tmp_path):
    asked = [answering(0, choices=True, in_chat=False, likelihood=False)]
    assert found(tmp_path, [], asked, questions(tmp_path))["warnings"] == []
    few = found(tmp_path, [], asked, questions(tmp_path, number=5))["warnings"]
    assert "5 dialogues are too few for any verdict" in few[0]
    (said,) = found(tmp_path, [], asked, questions(tmp_path, shots=8))["warnings"]
    assert "8 of 8 questions are asked with fewer examples" in said
    tiny = changed(tmp_path, MODEL, "config.json", max_position_embeddings=8)
    (said,) = found(tmp_path, [], asked, questions(tmp_path), model=tiny)["warnings"]
    assert "8 of 8 questions are longer than the model's context of 8 tokens, even without examples" in said


def test_plain_text_needs_no_template(nano, tmp_path):
    bare = changed(tmp_path, MODEL, "tokenizer_config.json")
    for file in (bare / "chat_template.jinja", bare / "tokenizer_config.json"):
        if file.suffix == ".json":
            write_json(file, {name: value for name, value in read_json(file).items() if name != "chat_template"})
        else:
            file.unlink(missing_ok=True)
    plain = answering(0, choices=True, in_chat=False, likelihood=False)
    assert found(tmp_path, [], [plain], questions(tmp_path), model=bare)["unusable"] == {}
    in_chat = plain | {"in_chat": True}
    assert "has no chat template" in found(tmp_path, [], [in_chat], questions(tmp_path), model=bare)["unusable"]["nf4"]
