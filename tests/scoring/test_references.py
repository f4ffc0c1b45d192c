"""References that are encoded once for all answers to an evaluation."""

import json

import pytest
import torch
from encoders import LAYER, minilm
from safetensors.torch import load_file, save_file

from loragrid.errors import UserError
from loragrid.modeling.encoder import load_encoder
from loragrid.scoring.references import encoded_references

TEXTS = ["a cat", "two dogs bark", "a cat", "", "猫"]


@pytest.fixture
def prompts(tmp_path):
    file = tmp_path / "prompts.jsonl"
    write(file, TEXTS)
    return file


def write(file, texts):
    records = [{"id": str(number), "dialogue": "d", "reference": text} for number, text in enumerate(texts)]
    file.write_text("".join(json.dumps(record) + "\n" for record in records))


@pytest.fixture
def encode(tmp_path, prompts):
    encoder = load_encoder(minilm(), LAYER)

    def encode(key="k"):
        return encoded_references(tmp_path / "references/test.safetensors", key, prompts, encoder)

    return encode


def test_each_different_text_is_encoded_once_and_found_by_its_place(encode):
    found = encode()
    assert len(found) == 5
    assert len(found.ends) == 4
    assert found.rows.tolist() == [0, 1, 0, 2, 3]
    encoder = load_encoder(minilm(), LAYER)
    for index, text in enumerate(TEXTS):
        ids, vectors = found.of(index)
        assert ids == list(encoder.tokens(text).ids)
        assert torch.allclose(vectors, encoder.encode([encoder.tokens(text)])[0], atol=1e-5)


def test_what_is_there_is_read(encode, tmp_path, capsys):
    encode()
    (file,) = (tmp_path / "references").glob("*.safetensors")
    before = file.stat().st_mtime_ns
    assert "4 different references of 5 encoded" in capsys.readouterr().out
    assert encode().vectors.dtype == torch.float32
    assert capsys.readouterr().out == ""
    assert file.stat().st_mtime_ns == before


def cut_off(file):
    file.write_bytes(file.read_bytes()[:-7])


def other_numbers(file):
    parts = load_file(file)
    parts["vectors"][0] += 1e-3
    from safetensors import safe_open

    with safe_open(file, "pt") as opened:
        save_file(parts, file, metadata=opened.metadata())


def no_file_of_this_kind(file):
    file.write_bytes(b"no safetensors at all")


@pytest.mark.parametrize("damage", [cut_off, other_numbers, no_file_of_this_kind])
def test_a_damaged_file_is_made_again(encode, tmp_path, damage, capsys):
    first = encode()
    (file,) = (tmp_path / "references").glob("*.safetensors")
    damage(file)
    assert torch.equal(encode().vectors, first.vectors)
    assert "made again" in capsys.readouterr().out
    assert torch.equal(encode().vectors, first.vectors)
    assert capsys.readouterr().out == ""


def test_a_stale_file_is_made_again(encode, prompts, capsys):
    encode()
    write(prompts, ["other", *TEXTS[1:]])
    assert encode().of(0)[0] == list(load_encoder(minilm(), LAYER).tokens("other").ids)
    assert "stale" in capsys.readouterr().out
    encode(key="another")
    assert "stale" in capsys.readouterr().out


def test_nothing_to_encode_is_told(encode, prompts):
    prompts.write_text("")
    with pytest.raises(UserError, match="no prompts, so there is nothing to encode"):
        encode()
