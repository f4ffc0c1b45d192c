"""Effects of the axes of a grid, and the bias of picking the best."""

import numpy as np
import pytest

from loragrid.comparing.compare import Comparison
from loragrid.comparing.effects import effects
from loragrid.comparing.repeats import with_repeats
from loragrid.comparing.selection import selection, selection_sentences


def grid(study, *, seeds=(1, 2), effect=0.3, points=((4, 8), (4, 16), (16, 8), (16, 16))):
    """Runs at rank × alpha × seed; rank 16 is better by `effect` bits per byte, alpha does nothing."""
    random = np.random.default_rng(0)
    hard = random.normal(3, 1, 30)
    study.untrained(hard)
    for rank, alpha in points:
        for seed in seeds:
            study.run(hard - 1 - effect * (rank == 16) + random.normal(0, 0.2, 30), seed=seed, rank=rank, alpha=alpha)
    return study.results


def test_an_axis_is_judged_over_all_matched_pairs(study):
    found = {effect.axis: effect for effect in effects(grid(study))}
    rank, alpha = found["rank"], found["alpha"]
    assert (rank.level, rank.against, rank.pairs, rank.gain.verdict) == (16, 4, 4, "better")
    assert rank.gain.comparison.gain == pytest.approx(0.3, abs=0.06)
    assert rank.gain.comparison.low < 0.3 < rank.gain.comparison.high
    assert (alpha.level, alpha.against, alpha.pairs, alpha.gain.verdict) == (16, 8, 4, "chance")
    assert "seed" not in found


def test_pairs_agree_in_everything_else_seeds_included(study):
    results = grid(study)
    results.rows.pop()  # rank 16, alpha 16, seed 2
    found = {effect.axis: effect.pairs for effect in effects(results)}
    assert (found["rank"], found["alpha"]) == (3, 3)


def test_rank_with_alpha_in_proportion_is_an_axis_of_its_own(study):
    found = effects(grid(study, points=((4, 8), (16, 32))))
    assert [(effect.axis, effect.level, effect.pairs) for effect in found] == [("rank at equal scale", 16, 2)]


def test_an_effect_is_the_mean_of_the_pairs_differences(study):
    results = grid(study)
    by_rank = {}
    for row in results.rows:
        if row.run:
            by_rank.setdefault(row.run.recipe.rank, []).append(row.scores["bits_per_byte"].value)
    (rank,) = (effect for effect in effects(results) if effect.axis == "rank")
    assert rank.gain.comparison.gain == pytest.approx(np.mean(by_rank[4]) - np.mean(by_rank[16]))


def test_nothing_varies_nothing_is_said(study):
    assert effects(grid(study, points=((4, 8),))) == []


def pick(study, skills, dialogues=40):
    random = np.random.default_rng(1)
    hard = random.normal(3, 1, dialogues)
    study.untrained(hard)
    for number, skill in enumerate(skills):
        study.run(hard - skill + random.normal(0, 0.5, dialogues), loss=2 - skill + 0.001 * number)
    (found,) = selection(study.results)
    return found


def test_the_best_of_many_equal_runs_owes_its_lead_to_the_dialogues(study):
    found = pick(study, [1.0] * 30)
    # All are 1 better in truth. The best of 30 leads by about two standard errors.
    assert found.gain > 1.1
    assert found.optimism > 0.1
    assert found.held_out == pytest.approx(1.0, abs=0.08)
    assert found.runs == 30


def test_a_run_that_is_far_better_is_no_biased_pick(study):
    found = pick(study, [1.0, 1.0, 2.0])
    assert found.optimism == pytest.approx(0, abs=0.02)
    assert found.winner == found.chosen
    assert found.held_out == pytest.approx(found.gain, abs=0.02)
    texts = selection_sentences(found, {found.winner: "r2"})
    assert texts[0] == "The run that validation chooses, r2, has the best bits per byte on test data, too."


def test_another_winner_than_validation_chooses_is_told(study):
    found = pick(study, [1.0] * 10)
    assert found.chosen.startswith("results/runs/r0")
    texts = selection_sentences(found, {found.chosen: "r0", found.winner: "other"})
    assert "other instead of r0" in texts[0]
    assert "flatters it" in texts[1]


def test_three_dialogues_cannot_be_divided(study):
    found = pick(study, [1.0, 1.2], dialogues=3)
    assert found.reason == "too few dialogues to divide: 3, at least 4 are needed"
    assert found.optimism is None


def test_what_training_varies_by_itself_is_no_effect(study):
    """Runs that differ in nothing but chance, on all dialogues alike, which dialogues alone would call certain."""
    random = np.random.default_rng(5)
    hard = random.normal(3, 1, 60)
    study.untrained(hard)
    for seed in (1, 2, 3):
        for rank in (4, 8):
            study.run(hard - 1 + random.normal(0, 0.3) + random.normal(0, 0.01, 60), seed=seed, rank=rank)
    (effect,) = [each for each in effects(study.results) if each.metric == "bits_per_byte"]
    assert effect.gain.verdict == "chance"
    assert effect.gain.comparison.low < 0 < effect.gain.comparison.high


def test_tables_without_any_effect_claim_one_in_twenty_times_at_most():
    random = np.random.default_rng(6)
    claims = 0
    for _ in range(200):
        repeats = random.normal(0, 0.3, 6)
        over_dialogues = Comparison(float(repeats.mean()), repeats.mean() - 1e-3, repeats.mean() + 1e-3, 1e-4, 1e-4)
        claims += with_repeats(over_dialogues, list(repeats), [1, 2, 3, 4, 5, 6]).p < 0.05
    assert claims / 200 < 0.05 + 3 * (0.05 * 0.95 / 200) ** 0.5


def test_one_pair_of_runs_cannot_tell_an_axis_from_chance(study):
    random = np.random.default_rng(0)
    hard = random.normal(3, 1, 30)
    study.untrained(hard)
    for rank in (4, 16):
        study.run(hard - rank / 4 + random.normal(0, 0.1, 30), rank=rank)
    (effect,) = [each for each in effects(study.results) if each.metric == "bits_per_byte"]
    assert effect.gain.verdict is None
    assert "give the study several seeds" in effect.gain.reason
    assert effect.gain.comparison.gain > 2
