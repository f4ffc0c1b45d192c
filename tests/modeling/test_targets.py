import re

import pytest
from architectures import FAMILIES, config_of, without_weights
from peft import LoraConfig, get_peft_model
from transformers import AutoModelForCausalLM

from loragrid.errors import UserError
from loragrid.modeling.load import attach_new_adapter
from loragrid.modeling.targets import adaptable, targets
from loragrid.study.recipe import Recipe

OFTEN_NAMED = ["k_proj", "o_proj", "q_proj", "v_proj"]


def of(model, wanted, rank=2, **lora_config):
    return targets(model, wanted, rank, lora_config)


def ends(model):
    return {name.rpartition(".")[2] for name in adaptable(model)}


@pytest.mark.parametrize(("family", "names"), [
    ("llama", {*OFTEN_NAMED, "gate_proj", "up_proj", "down_proj"}),
    ("phi3", {"qkv_proj", "o_proj", "gate_up_proj", "down_proj"}),
    ("gpt2", {"c_attn", "c_proj", "c_fc"}),
    ("mixtral", set(OFTEN_NAMED)),  # the experts are no layers of their own
    ("mamba", {"in_proj"}),  # the others' weights are read past an adapter
])  # fmt: skip
def test_the_layers_that_can_be_adapted(family, names):
    assert ends(without_weights(family)) == names


def test_only_the_language_model_is_adapted_and_never_a_vision_tower():
    model = without_weights("gemma3")
    assert any("vision_tower" in name and name.endswith("q_proj") for name, _ in model.named_modules())
    for wanted in ("all-linear", ["q_proj"]):
        adapted = get_peft_model(model, LoraConfig(r=2, target_modules=of(model, wanted).names))
        names = [name for name, weight in adapted.named_parameters() if weight.requires_grad]
        assert names
        assert all("language_model" in name for name in names)
        model = adapted.unload()


@pytest.mark.parametrize("family", sorted(FAMILIES.keys() - {"gemma3", "mamba"}))
def test_what_peft_would_do_anyway_is_left_to_it(family):
    assert of(without_weights(family), "all-linear").names == "all-linear"


def test_q_k_v_and_o_are_refused_where_they_are_one_with_the_names_that_there_are():
    with pytest.raises(UserError, match="phi3 has no k_proj, q_proj, v_proj that can be adapted; there are down_proj, "
                                        "gate_up_proj, o_proj, qkv_proj"):  # fmt: skip
        of(without_weights("phi3"), OFTEN_NAMED)
    for family in ("gemma2", "gemma3", "qwen2", "qwen3"):
        of(without_weights(family), OFTEN_NAMED)


def test_a_name_must_be_in_every_layer():
    model = without_weights("llama", num_hidden_layers=3)
    model.model.layers[1].self_attn.o_proj = None
    with pytest.raises(UserError, match="o_proj is in 2 of the 3 layers of this llama only; in all of them are "
                                        "down_proj, gate_proj, k_proj, q_proj, up_proj, v_proj"):  # fmt: skip
        of(model, ["q_proj", "o_proj"])


def test_a_name_may_say_where_it_is():
    assert of(without_weights("llama"), ["self_attn.q_proj"]).names == ["self_attn.q_proj"]
    with pytest.raises(UserError, match=r"llama has no mlp\.q_proj"):
        of(without_weights("llama"), ["mlp.q_proj"])


def test_the_rank_is_no_larger_than_a_layer():
    model = without_weights("llama")  # two of four heads have keys: 64 inputs, 32 outputs
    of(model, "all-linear", 32)
    of(model, ["q_proj"], 64)
    with pytest.raises(UserError, match=r"rank 33 is larger than model\.layers\.0\.self_attn\.k_proj, which has 64 "
                                        "inputs and 32 outputs.*leave k_proj out of target_modules"):  # fmt: skip
        of(model, "all-linear", 33)


def test_ranks_of_some_layers_are_looked_at_too():
    with pytest.raises(UserError, match=r"rank 40 is larger than model\.layers\.0\.self_attn\.k_proj"):
        of(without_weights("llama"), ["q_proj", "k_proj"], rank_pattern={"k_proj": 40})
    of(without_weights("llama"), ["q_proj", "k_proj"], 40, rank_pattern={"k_proj": 2})


@pytest.mark.parametrize("family", ["llama", "gemma3"])
def test_layers_by_number_count_where_they_are_named_in_full_too(family, tmp_path):
    recipe = Recipe(rank=2, target_modules=["q_proj"], lora_config={"layers_to_transform": [1]})
    adapted = attach_new_adapter(AutoModelForCausalLM.from_config(config_of(family)), recipe, seed=1)
    names = [name for name, weight in adapted.named_parameters() if weight.requires_grad]
    assert len(names) == 2
    assert all(".layers.1." in name for name in names)


@pytest.mark.parametrize(("wanted", "lora_config", "why"), [
    (["q_proj"], {"rank_pattern": {"q_porj": 4}}, "lora_config.rank_pattern: 'q_porj' names no layer that is adapted"),
    (["q_proj"], {"alpha_pattern": {"up_proj": 4}}, "lora_config.alpha_pattern: 'up_proj' names no layer that is adap"),
    (["q_proj"], {"layers_to_transform": [1, 7]}, "layers_to_transform: there is no layer 7; there are 0 to 1"),
    (["q_proj"], {"exclude_modules": ["nonsense"]}, "exclude_modules: 'nonsense' names no layer; there are q_proj"),
    (["q_proj"], {"exclude_modules": ["q_proj"]}, "there is no layer to adapt, or `lora_config` leaves none"),
    ([], {}, "there is no layer to adapt"),
    (["q_proj"], {"target_parameters": ["foo"]}, "target_parameters: the model has no parameter 'foo'"),
])  # fmt: skip
def test_names_that_match_nothing_are_refused(wanted, lora_config, why):
    with pytest.raises(UserError, match=re.escape(why)):
        of(without_weights("llama"), wanted, **lora_config)
