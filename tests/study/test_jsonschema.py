from pathlib import Path

import jsonschema
import pytest
import yaml

from loragrid.plugins import REGISTRY
from loragrid.study.jsonschema import schema_text
from loragrid.study.load import load_study, read_yaml

ROOT = Path(__file__).parents[2]
SCHEMA = ROOT / "workflow/schemas/study.schema.yaml"
STUDIES = sorted((ROOT / "config/studies").glob("*.yaml"))


@pytest.fixture(scope="module")
def validator():
    schema = yaml.safe_load(schema_text(REGISTRY))
    jsonschema.Draft202012Validator.check_schema(schema)
    return jsonschema.Draft202012Validator(schema)


def test_the_file_is_in_step_with_the_code():
    assert SCHEMA.read_text(encoding="utf-8") == schema_text(REGISTRY), "run: make schema"


@pytest.mark.parametrize("file", STUDIES, ids=lambda file: file.stem)
def test_shipped_studies_are_valid(file, validator):
    content, repeated = read_yaml(file)
    assert repeated == []
    validator.validate(content)


@pytest.mark.parametrize("file", STUDIES, ids=lambda file: file.stem)
def test_shipped_studies_name_the_schema(file):
    first = file.read_text(encoding="utf-8").splitlines()[0]
    assert first == "# yaml-language-server: $schema=../../workflow/schemas/study.schema.yaml"


def test_the_demo_loads(monkeypatch):
    monkeypatch.chdir(ROOT)
    load_study(ROOT / "config/studies/demo.yaml", REGISTRY)


@pytest.mark.parametrize(
    "wrong",
    [
        {"tilte": "x"},
        {"title": 5},
        {"models": {}},
        {"models": {"a name": {"id": "a/b"}}},
        {"models": {"m": {"id": "a/b", "precision": "8bit"}}},
        {"models": {"m": {"build": {}}}},
        {"datasets": {"d": {"source": "unknown"}}},
        {"datasets": {"d": {"source": "tweetsumm", "form": "row"}}},
        {"datasets": {"d": {"source": "tweetsumm", "columns": {"prompt": "question"}}}},
        {"datasets": {"d": {"source": "hub", "files": ["*.csv"]}}},
        {"datasets": {"d": {"source": "csv", "layout": "alpacca"}}},
        {"datasets": {"d": {"source": "tweetsumm", "steps": ["url"]}}},
        {"datasets": {"d": {"source": "tweetsumm", "steps": [{"whitespace": {"within": "none"}}]}}},
        {"datasets": {"d": {"source": "tweetsumm", "steps": [{"urls": {}, "emoji": {}}]}}},
        {"datasets": {"d": {"source": "tweetsumm", "format": "sumary"}}},
        {"datasets": {"d": {"source": "tweetsumm", "splits": {"test": 1}}}},
        {"chats": {"c": {"end_token": "word"}}},
        {"datasets": {"d": {}}},
        {"datasets": {"d": {"source": "tweetsumm", "mixture": {"weights": {"e": 1}}}}},
        {"datasets": {"d": {"mixture": {"weights": {"e": 0}}}}},
        {"datasets": {"d": {"source": "tweetsumm", "contamination": "ignore"}}},
        {"recipe": {"rnk": 8}},
        {"recipe": {"rank": [8]}},
        {"grid": {"rnk": [8]}},
        {"grid": {"rank": 8}},
        {"grid": {"rank": []}},
        {"grid": {"rank": [0]}},
        {"points": [{"rank": "many"}]},
        {"points": [{"alpah": 8}]},
        {"seeds": []},
        {"evaluations": {"test": {"scores": ["unknown"]}}},
        {"evaluations": {"test": {"decoding": {"temprature": 1}}}},
        {"evaluations": {"test": {"context": {"stopwords": "drop"}}}},
        {"evaluations": {"test": {"kind": "dialog"}}},
        {"evaluations": {"test": {"kind": "replay", "scores": ["rouge"]}}},
        {"evaluations": {"test": {"kind": "prompts"}}},
        {"evaluations": {"test": {"kind": "prompts", "dataset": "d", "turns": "all"}}},
        {"published": [{"source": "T1"}]},
    ],
    ids=str,
)
def test_what_the_code_refuses_the_schema_refuses(wrong, validator):
    good = {
        "title": "x",
        "models": {"m": {"id": "a/b"}},
        "datasets": {
            "d": {"source": "tweetsumm", "steps": ["urls", {"length": {"max_words": 9}}], "format": "summary"}
        },
        "chats": {"c": {"end_token": "train"}},
        "recipe": {"target_modules": ["q_proj"], "max_steps": None},
        "grid": {"rank": [4, 8], "learning_rate": [1e-4]},
        "points": [{"name": "a", "rank": 16, "rows": {"train": 5}}],
        "evaluations": {"test": {"turns": "all", "context": {"turns": 8}}, "ten": {"kind": "prompts", "dataset": "d"}},
    }
    validator.validate(good)
    assert not validator.is_valid(good | wrong)
