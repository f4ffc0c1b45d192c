"""What the tests of metrics share: texts, and reference values."""

import json
from pathlib import Path

import pytest

from loragrid.metrics import METRICS
from loragrid.metrics.base import Texts

_FACTS = Path(__file__).parents[2] / "shared" / "facts" / "metric_cases.json"


def cases(*metrics):
    """Input and value pairs from the reference implementations' own tests, kept beside the repository."""
    if not _FACTS.exists():
        pytest.skip(f"no {_FACTS}: reference values are not on this machine")
    return [case for case in json.loads(_FACTS.read_text())["cases"] if case["metric"] in metrics]


def texts(answers, references, prompts=None):
    return Texts(answers, references, prompts or [""] * len(answers))


def items_of(name, answers, references, **options):
    """The items of answers by a metric."""
    metric = METRICS[name]
    return metric.items(texts(answers, references), metric.Options(**options))


def values_of(name, answers, references, **options):
    """The columns' values of answers by a metric."""
    items = items_of(name, answers, references, **options)
    return {column.name: column.of(items) for column in METRICS[name].COLUMNS}
