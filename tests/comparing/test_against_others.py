"""The same questions asked of scipy and sacrebleu."""

import numpy as np
import pytest
from comparing_study import means, names
from sacrebleu.metrics import BLEU
from sacrebleu.significance import PairedTest
from scipy import stats

from loragrid.comparing.compare import compare
from loragrid.comparing.draws import Draws
from loragrid.comparing.interval import bootstrap
from loragrid.metrics import COLUMNS, METRICS
from loragrid.metrics.base import Texts

ROUGE = COLUMNS["rougeL"]


@pytest.mark.parametrize("size", [6, 9, 13])
def test_p_values_of_few_dialogues_are_exactly_those_of_scipy(size):
    random = np.random.default_rng(size)
    one, other = random.normal(0.5, 1, size), random.normal(0, 1, size)
    (ours,) = compare(ROUGE, [[(means(one), means(other))]], Draws(names(size)))
    theirs = stats.permutation_test(
        (one, other), lambda a, b: np.mean(a - b), permutation_type="samples", n_resamples=np.inf
    )
    assert ours.p == pytest.approx(theirs.pvalue)


def test_p_values_of_more_dialogues_are_nearly_those_of_scipy():
    random = np.random.default_rng(0)
    one, other = random.normal(0.3, 1, 40), random.normal(0, 1, 40)
    (ours,) = compare(ROUGE, [[(means(one), means(other))]], Draws(names(40)))
    theirs = stats.permutation_test(
        (one, other), lambda a, b: np.mean(a - b), permutation_type="samples", n_resamples=20_000, rng=random
    )
    assert ours.p == pytest.approx(theirs.pvalue, abs=0.02)


def test_an_interval_of_many_normal_items_is_that_of_every_method_in_scipy():
    values = np.random.default_rng(1).normal(2, 1, 400)
    (ours,) = bootstrap(ROUGE, [means(values)], [{0: 1.0}], Draws(names(400)))
    student = stats.ttest_1samp(values, 0).confidence_interval()
    bca = stats.bootstrap((values,), np.mean, method="BCa", n_resamples=4000, rng=np.random.default_rng(2))
    width = student.high - student.low
    for theirs in (student, bca.confidence_interval):
        assert [ours.low, ours.high] == pytest.approx([theirs.low, theirs.high], abs=0.06 * width)


def test_few_normal_items_have_an_interval_like_students():
    random = np.random.default_rng(3)
    ratios = []
    for _ in range(30):
        values = random.normal(0, 1, 10)
        (ours,) = bootstrap(ROUGE, [means(values)], [{0: 1.0}], Draws(names(10)))
        student = stats.ttest_1samp(values, 0).confidence_interval()
        ratios.append((ours.high - ours.low) / (student.high - student.low))
    assert 0.95 < np.median(ratios) < 1.2


@pytest.fixture(scope="module")
def texts():
    """References, and answers of two systems of which the second one has fewer words right."""
    random = np.random.default_rng(4)
    words = [f"w{index}" for index in range(40)]
    references = [[words[index] for index in random.integers(40, size=random.integers(8, 20))] for _ in range(60)]

    def answers(right):
        return [
            " ".join(word if random.random() < right else words[random.integers(40)] for word in reference)
            for reference in references
        ]

    return [" ".join(reference) for reference in references], answers(0.75), answers(0.71)


def sums(answers, references):
    return COLUMNS["sacrebleu"].statistics(
        METRICS["sacrebleu"].items(Texts(answers, references), METRICS["sacrebleu"].Options())
    )


def test_bleu_is_tested_as_sacrebleu_tests_it(texts, monkeypatch):
    references, one, other = texts
    monkeypatch.setenv("SACREBLEU_SEED", "1")
    (ours,) = compare(COLUMNS["sacrebleu"], [[(sums(one, references), sums(other, references))]], Draws(names(60)))
    systems = [("other", other), ("one", one)]
    _, theirs = PairedTest(systems, {"BLEU": BLEU()}, [references], test_type="ar", n_samples=5000)()
    base, system = theirs["BLEU"]
    assert ours.gain == pytest.approx(system.score - base.score)
    assert ours.p == pytest.approx(system.p_value, abs=0.025)
    assert 0.01 < ours.p < 0.99  # else the agreement would say little


def test_the_interval_of_bleu_is_somewhat_wider_than_sacrebleus(texts, monkeypatch):
    references, one, other = texts
    monkeypatch.setenv("SACREBLEU_SEED", "1")
    (ours,) = bootstrap(COLUMNS["sacrebleu"], [sums(one, references)], [{0: 1.0}], Draws(names(60)))
    systems = [("other", other), ("one", one)]
    _, theirs = PairedTest(systems, {"BLEU": BLEU()}, [references], test_type="bs", n_samples=1000)()
    percentile = theirs["BLEU"][1]
    assert 0.97 < (ours.high - ours.low) / (2 * percentile.ci) < 1.2
    assert (ours.low + ours.high) / 2 == pytest.approx(percentile.mean, abs=0.3 * percentile.ci)
