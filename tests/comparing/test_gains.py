"""Gains of whole studies: against the untrained model, against the best run, with too few dialogues, from the cache."""

import json

import numpy as np
import pytest
from comparing_study import make_score, means, names

from loragrid.comparing import cache as caching
from loragrid.comparing.cache import Cache
from loragrid.comparing.gains import gains, gains_over_best
from loragrid.comparing.values import intervals

BITS = "bits_per_byte"


def test_five_dialogues_are_too_few_for_a_verdict(study):
    study.untrained([3.0, 3.1, 2.9, 3.3, 3.2])
    run = study.run([1.0, 1.2, 1.1, 1.2, 1.3])
    gain = gains(study.results)[run.answers.id, BITS]
    assert gain.verdict == "too few"
    assert gain.reason == "too few dialogues for a verdict: 5, at least 6 are needed"
    assert gain.comparison.low > 0  # the interval is shown all the same


def test_how_many_are_needed_depends_on_the_number_of_comparisons(study):
    study.untrained([3.0, 3.1, 2.9, 3.3, 3.2, 3.0])
    runs = [study.run([1.0, 1.2, 1.1, 1.2, 1.3, 1.0])]
    assert gains(study.results)[runs[0].answers.id, BITS].verdict == "better"
    runs += [study.run([1.0, 1.3, 1.1, 1.2, 1.3, 1.0]) for _ in range(4)]
    found = gains(study.results)
    assert {found[run.answers.id, BITS].reason for run in runs} == {
        "too few dialogues for a verdict: 6, at least 8 are needed"
    }


def test_runs_are_compared_with_the_best_on_validation_data_too(study):
    random = np.random.default_rng(0)
    hard = random.normal(3, 1, 30)
    study.untrained(hard)
    best = study.run(hard - 1 + random.normal(0, 0.1, 30), loss=1.0)
    equal = study.run(hard - 1 + random.normal(0, 0.1, 30), loss=1.1)
    poor = study.run(hard - 0.5 + random.normal(0, 0.1, 30), loss=1.2)
    found = gains_over_best(study.results)
    assert set(found) == {(equal.answers.id, BITS), (poor.answers.id, BITS)}
    assert found[equal.answers.id, BITS].verdict == "chance"
    assert found[poor.answers.id, BITS].verdict == "worse"
    assert found[poor.answers.id, BITS].reference == best.scores[BITS].value


def test_without_a_best_run_it_is_said(study):
    run = study.run([1.0, 2.0, 3.0])
    assert gains_over_best(study.results)[run.answers.id, BITS].reason == "no run is the best on validation data"


def test_missing_dialogues_are_counted(study):
    study.untrained(np.arange(10.0))
    run = study.run(np.arange(7.0))
    other = study.run(np.arange(10.0))
    other.scores[BITS] = make_score(means(np.arange(10.0)), dialogues=[f"e{index}" for index in range(10)])
    more = study.run(np.arange(12.0))
    found = gains(study.results)
    assert found[run.answers.id, BITS].reason == "3 of the 10 dialogues of the untrained model are missing"
    assert found[other.answers.id, BITS].reason == "scored on other prompts than the untrained model"
    assert found[more.answers.id, BITS].reason == "the untrained model lacks 2 of the 12 dialogues"


def test_answers_of_two_backends_are_not_compared(study):
    hard = np.arange(30.0)
    study.untrained(hard)
    by_vllm = study.run(hard - 1, asked={"backend": "vllm"})
    found = gains(study.results)[by_vllm.answers.id, BITS]
    assert found.reason == "no untrained model in the study to compare with"
    study.untrained(hard + 1, asked={"backend": "vllm"})
    del study.results.__dict__["_untrained_by_what_they_are_asked"], study.results.__dict__["_untrained_rows"]
    assert gains(study.results)[by_vllm.answers.id, BITS].comparison.gain == 2


def test_each_value_has_an_interval(study):
    base = study.untrained(np.random.default_rng(1).normal(2, 0.3, 20))
    found = intervals(study.results)[base.answers.id, BITS]
    assert found.low < base.scores[BITS].value < found.high
    study.results.rows[0].scores[BITS] = make_score(means([1.0]))
    assert intervals(study.results)[base.answers.id, BITS].reason == "one dialogue only: no interval"


@pytest.fixture
def compared(study, tmp_path, monkeypatch):
    """A study that was compared before, and a count of what is compared since."""
    random = np.random.default_rng(2)
    study.untrained(random.normal(3, 1, 20))
    for _ in range(3):
        study.run(random.normal(2, 1, 20), loss=1.0)
    file = tmp_path / "results/comparisons/demo.json"
    cache = Cache(file)
    study.fresh = gains(study.results, cache)
    cache.save()
    study.file, study.made = file, []
    compare = caching.compare

    def counting(measure, differences, draws):
        study.made += differences
        return compare(measure, differences, draws)

    monkeypatch.setattr(caching, "compare", counting)
    return study


def test_what_was_compared_before_is_not_compared_again_and_has_the_same_digits(compared):
    assert gains(compared.results, Cache(compared.file)) == compared.fresh
    assert compared.made == []


def test_only_what_changed_is_compared_again(compared):
    row = compared.results.rows[2]
    row.scores[BITS] = make_score(row.scores[BITS].sums * [1.01, 1])
    again = gains(compared.results, Cache(compared.file))
    assert len(compared.made) == 1
    assert again == gains(compared.results)


@pytest.mark.parametrize("damage", ["", "7", "{", '{"digest": "", "entries": {}}', "one digit"])
def test_a_damaged_cache_is_not_believed(compared, damage):
    text = compared.file.read_text()
    content = json.loads(text)
    if damage == "one digit":
        next(iter(content["entries"].values()))[0] += 1.0
        damage = json.dumps(content)
    compared.file.write_text(damage)
    cache = Cache(compared.file)
    assert gains(compared.results, cache) == compared.fresh
    assert len(compared.made) == 3
    cache.save()
    assert compared.file.read_text() == text


def test_an_undefined_value_survives_the_cache(study, tmp_path):
    study.untrained([1.0, 2.0])
    run = study.run([1.0, 2.0])
    for row in study.results.rows:
        row.scores[BITS] = make_score(np.zeros((2, 2)), dialogues=names(2))
    cache = Cache(tmp_path / "x.json")
    first = gains(study.results, cache)
    cache.save()
    again = gains(study.results, Cache(tmp_path / "x.json"))
    assert "undefined" in again[run.answers.id, BITS].reason
    assert repr(again) == repr(first)


def test_a_perplexity_without_bound_is_no_number(study, tmp_path):
    sums = [np.array([[nats, 1.0]] * 3) for nats in (2.0, 1000.0)]
    study.untrained([1.0] * 3, perplexity=make_score(sums[0], "perplexity"))
    run = study.run([1.0] * 3, others={"perplexity": make_score(sums[1], "perplexity")})
    cache = Cache(tmp_path / "x.json")
    assert "undefined" in gains(study.results, cache)[run.answers.id, "perplexity"].reason
    assert "undefined" in intervals(study.results, cache)[run.answers.id, "perplexity"].reason
    cache.save()
    assert repr(gains(study.results, Cache(tmp_path / "x.json"))) == repr(gains(study.results))
