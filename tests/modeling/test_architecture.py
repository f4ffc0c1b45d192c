import pytest
from architectures import CONTEXT, FAMILIES, ROWS, config_of, tokenizer

from loragrid.errors import UserError
from loragrid.files import write_json
from loragrid.modeling.architecture import Architecture, architecture_of


@pytest.mark.parametrize("family", FAMILIES)
def test_length_and_rows_are_found_by_whatever_name(family):
    found = Architecture.of(config_of(family))
    assert found.kind == family
    assert found.rows == ROWS
    # Distances without a table (ALiBi), and a recurrent state, have no end.
    assert found.context == (None if family in ("bloom", "mamba") else CONTEXT)


def test_falcon_with_distances_instead_of_positions_has_no_limit():
    assert Architecture.of(config_of("falcon", alibi=True)).context is None


def test_rows_longer_than_the_context_are_refused():
    Architecture.of(config_of("bloom")).check_length(10**6)
    found = Architecture.of(config_of("gpt2", n_positions=64))
    found.check_length(64)
    with pytest.raises(UserError, match=r"max_length 128 is more than this gpt2 can read, which has positions for 64"):
        found.check_length(128)


def test_tokens_without_a_row_are_refused():
    found = Architecture.of(config_of("llama"))
    found.check_ids(ROWS - 1)
    with pytest.raises(UserError, match=f"makes tokens up to {ROWS} .* has {ROWS} rows"):
        found.check_ids(ROWS)
    found.grown(ROWS).check_ids(ROWS)
    found.check_padding(tokenizer())
    with pytest.raises(UserError, match=r"pads with '<\|endoftext\|>', which is token 0"):
        Architecture("llama", None, 0).check_padding(tokenizer())


def test_folders_without_a_model(tmp_path):
    with pytest.raises(UserError, match="no configuration of a model that transformers knows"):
        architecture_of(tmp_path)
    write_json(tmp_path / "config.json", {"model_type": "perpetual"})
    with pytest.raises(UserError, match="no configuration of a model that transformers knows"):
        architecture_of(tmp_path)
    write_json(tmp_path / "adapter_config.json", {"base_model_name_or_path": "elsewhere"})
    with pytest.raises(UserError, match="this is an adapter and no model"):
        architecture_of(tmp_path)
