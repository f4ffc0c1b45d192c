"""Perplexity and bits per byte."""

import math
import subprocess
import sys

import pytest

from loragrid.errors import UserError
from loragrid.metrics import METRICS
from loragrid.metrics.likelihood import sound

PERPLEXITY, BITS_PER_BYTE = METRICS["likelihood"].COLUMNS


def item(nats, tokens, size, id_="x"):
    return {"id": id_, "dialogue": "d", "nats": nats, "tokens": tokens, "bytes": size}


def test_a_uniform_model_has_the_perplexity_of_its_vocabulary():
    items = [item(n * math.log(50_000), n, 4 * n) for n in (1, 7, 20)]
    assert PERPLEXITY.of(items) == pytest.approx(50_000)


def test_a_model_of_uniform_bytes_needs_eight_bits_per_byte():
    assert BITS_PER_BYTE.of([item(10 * math.log(256), 4, 10)]) == pytest.approx(8)


def test_values_are_of_the_corpus_and_not_means_of_texts():
    items = [item(1.0, 1, 2), item(9.0, 4, 10)]
    assert PERPLEXITY.of(items) == pytest.approx(math.exp(10 / 5))
    assert BITS_PER_BYTE.of(items) == pytest.approx(10 / (12 * math.log(2)))


def test_one_reference_without_a_likelihood_does_not_take_the_others_with_it():
    kept, excluded = sound([item(1.0, 1, 2, "a"), item(math.nan, 3, 9, "b"), item(0.0, 1, 0, "c")])
    assert [each["id"] for each in kept] == ["a"]
    assert {each["id"]: each["reason"] for each in excluded} == {
        "b": "its log-likelihood is nan: a diverged training, or overflow in fp16",
        "c": "the reference has no text",
    }


@pytest.mark.parametrize(
    ("items", "reason"),
    [([], "there are none"), ([item(0.0, 0, 0)], "no text"), ([item(math.nan, 3, 9)], "diverged training")],
)
def test_without_any_likelihood_there_is_no_score(items, reason):
    with pytest.raises(UserError, match=reason):
        sound(items)


def test_importing_the_package_loads_no_heavy_library():
    script = "import sys, loragrid.metrics; print({'numpy', 'torch', 'rouge_score', 'sacrebleu'} & set(sys.modules))"
    assert (
        subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True).stdout == "set()\n"
    )
