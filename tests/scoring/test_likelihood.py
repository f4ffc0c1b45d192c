"""Perplexity and bits per byte."""

import math
import subprocess
import sys

import pytest

from loragrid.errors import UserError
from loragrid.scoring.likelihood import summarise


def item(nats, tokens, size):
    return {"id": "x", "dialogue": "d", "nats": nats, "tokens": tokens, "bytes": size}


def test_a_uniform_model_has_the_perplexity_of_its_vocabulary():
    items = [item(n * math.log(50_000), n, 4 * n) for n in (1, 7, 20)]
    assert summarise(items)["perplexity"] == pytest.approx(50_000)


def test_a_model_of_uniform_bytes_needs_eight_bits_per_byte():
    assert summarise([item(10 * math.log(256), 4, 10)])["bits_per_byte"] == pytest.approx(8)


def test_values_are_of_the_corpus_and_not_means_of_texts():
    values = summarise([item(1.0, 1, 2), item(9.0, 4, 10)])
    assert values["perplexity"] == pytest.approx(math.exp(10 / 5))
    assert values["bits_per_byte"] == pytest.approx(10 / (12 * math.log(2)))


@pytest.mark.parametrize("items", [[], [item(0.0, 0, 0)], [item(math.nan, 3, 9)], [item(1e9, 1, 9)]])
def test_what_is_not_a_number_is_an_error(items):
    with pytest.raises(UserError, match="either they have no text"):
        summarise(items)


def test_importing_the_package_loads_no_heavy_library():
    script = "import sys, loragrid.scoring; print({'numpy', 'torch', 'rouge_score', 'sacrebleu'} & set(sys.modules))"
    assert (
        subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True).stdout == "set()\n"
    )
