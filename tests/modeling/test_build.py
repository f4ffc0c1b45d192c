import json
from pathlib import Path

import pytest
from nano import MODEL, build_settings, dialogue

from loragrid.errors import UserError
from loragrid.files import sha256_of, write_jsonl
from loragrid.modeling import build
from loragrid.modeling.build import build_model

DEMO = Path(__file__).parents[2] / "data" / "demo" / "corpus.jsonl"


def test_the_same_settings_are_the_same_bytes_and_others_are_not(tmp_path):
    write_jsonl(tmp_path / "corpus.jsonl", map(dialogue, range(40)))
    for name, seed in {"one": 1, "two": 1, "other": 2}.items():
        build_model(tmp_path / name, "key", tmp_path / "corpus.jsonl", build_settings(steps=3, seed=seed))
    for file in (file.name for file in (tmp_path / "one").iterdir()):
        assert (tmp_path / "one" / file).read_bytes() == (tmp_path / "two" / file).read_bytes(), file
    weights = [(tmp_path / name / "model.safetensors").read_bytes() for name in ("one", "other")]
    assert weights[0] != weights[1]


def test_model_json_describes_every_file(nano):
    manifest = json.loads(Path(MODEL, "model.json").read_text())
    assert manifest["files"] == {
        file.name: sha256_of(file) for file in Path(MODEL).iterdir() if file.name != "model.json"
    }
    assert manifest["build"]["hidden"] == 64


def test_model_json_comes_last(tmp_path, monkeypatch):
    write_jsonl(tmp_path / "corpus.jsonl", map(dialogue, range(40)))

    def fail(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(build, "model_bits_per_byte", fail)
    with pytest.raises(KeyboardInterrupt):
        build_model(tmp_path / "out", "key", tmp_path / "corpus.jsonl", build_settings(steps=1))
    assert not (tmp_path / "out" / "model.json").exists()


def test_it_learns_more_than_how_frequent_tokens_are(tmp_path):
    corpus = tmp_path / "corpus.jsonl"
    corpus.write_text("".join(DEMO.read_text().splitlines(keepends=True)[:200]))
    build_model(tmp_path / "out", "key", corpus, build_settings(steps=80, vocabulary=500))
    held_out = json.loads((tmp_path / "out" / "model.json").read_text())["held_out"]
    assert held_out["documents"] == 10
    assert held_out["bits_per_byte"] < held_out["unigram_bits_per_byte"]


@pytest.mark.parametrize("documents", [[], [{"text": "one"}], [{"text": "one"}, {"text": "two"}], [{"text": ""}] * 30])
def test_a_corpus_that_is_too_short(tmp_path, documents):
    write_jsonl(tmp_path / "corpus.jsonl", documents)
    with pytest.raises(UserError, match="are too few to train a model"):
        build_model(tmp_path / "out", "key", tmp_path / "corpus.jsonl", build_settings())
    assert not (tmp_path / "out").exists()


def test_a_record_without_text(tmp_path):
    write_jsonl(tmp_path / "corpus.jsonl", [{"text": "one"}, {"txt": "two"}])
    with pytest.raises(UserError, match=r"corpus.jsonl:2: the record has neither"):
        build_model(tmp_path / "out", "key", tmp_path / "corpus.jsonl", build_settings())
