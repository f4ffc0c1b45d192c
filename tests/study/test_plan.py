import json
from pathlib import Path

import pytest

from loragrid.study.batches import plan
from loragrid.study.plan import summary


def told(place, grid) -> str:
    return summary(grid, plan(grid), place.registry)


def write(file: str, content: dict) -> None:
    Path(file).parent.mkdir(parents=True, exist_ok=True)
    Path(file).write_text(json.dumps(content))


def test_summary(place):
    grid = place.open(
        """
        title: Two models
        models:
          base: {id: org/base, parameters: 7e9, precision: 16bit}
          secret: {id: org/secret}
        datasets:
          letters: {source: letters}
        recipe: {method: lora, epochs: 2}
        grid: {rank: [4, 8]}
        untrained: [secret]
        """
    )
    # 2 runs × 2 epochs × 1,000 rows × 50 tokens × 7e9 parameters × 6 operations / 9e12 a second / 3,600
    assert told(place, grid) == (
        "study small: Two models\n"
        "  model   dataset  runs  trained  to train  GPU hours\n"
        "  base    letters     2        0         2       0.26\n"
        "  secret  letters     2        0         2          ?\n"
        "  untrained models: 1 (0 asked already); answers to make: 5 of 5\n"
        "  estimated training: 0.26 GPU hours (a rough guess for one T4)\n"
        "  no estimate for secret: give `parameters` to the model"
    )


def hours(text: str) -> float:
    return float(text.split("estimated training: ")[1].split(" ")[0])


@pytest.mark.parametrize(
    ("one", "other", "factor"),
    [
        ("recipe: {epochs: 1}", "recipe: {epochs: 4}", 4),
        ("recipe: {method: lora}", "", 1.6),  # QLoRA is slower
        ("recipe: {max_steps: 10, batch_size: 16}", "recipe: {max_steps: 20, batch_size: 16}", 2),
        ("recipe: {epochs: 1}", "recipe: {epochs: 1, max_steps: 100000}", 1),
        ("points: [{rows: {train: 100}}]", "points: [{rows: {train: 500}}]", 5),
        ("points: [{rows: {train: 1000}}]", "points: [{rows: {train: 500000}}]", 1),  # no more than there are
        ("recipe: {max_length: 16}", "recipe: {max_length: 32}", 2),
        ("seeds: [1]", "seeds: [1, 2, 3]", 3),
    ],
)
def test_what_the_estimate_grows_with(place, one, other, factor):
    assert hours(told(place, place.small(other))) == pytest.approx(
        factor * hours(told(place, place.small(one))), rel=0.1
    )


def test_formatted_data_are_counted_instead_of_guessed(place):
    grid = place.small()
    (formatted,) = grid.formatted.values()
    guessed = hours(told(place, grid))
    write(f"{formatted.folder}/format.json", {"splits": {"train": {"rows": 2000, "tokens": 200_000}}})
    assert hours(told(place, grid)) == pytest.approx(4 * guessed, rel=0.1)


def test_measured_runs_make_the_estimate(place):
    grid = place.small("grid: {rank: [4, 8, 16]}")
    first, second, _ = grid.runs
    # 3 epochs × 1,000 rows × 50 tokens in an hour each
    write(f"{first}/run.json", {"cost": {"seconds": 3000, "tokens": 150_000}})
    write(f"{second}/run.json", {"cost": {"seconds": 4200, "tokens": 150_000}})
    text = told(place, grid)
    assert "  base   letters     3        2         1          1\n" in text
    assert text.endswith("estimated training: 1 GPU hours (from the runs measured so far)")


def test_a_damaged_run_is_not_measured(place):
    grid = place.small("grid: {rank: [4, 8]}")
    first, _ = grid.runs
    write(f"{first}/run.json", {"key": "of an older version"})
    assert "a rough guess" in told(place, grid)


def test_nothing_left(place):
    grid = place.small("untrained: [base]")
    for folder in grid.runs:
        write(f"{folder}/run.json", {})
    for answers in grid.answers.values():
        write(answers.generations, {})
        write(answers.scores("likelihood"), {})
    text = told(place, grid)
    assert "  base   letters     1        1         0          0\n" in text
    assert "untrained models: 1 (1 asked already); answers to make: 0 of 2" in text


def test_a_model_made_here_has_known_parameters(place):
    Path("corpus.txt").write_text("text")
    text = told(
        place,
        place.open("{title: x, models: {made: {build: {corpus: corpus.txt}}}, datasets: {letters: {source: letters}}}"),
    )
    assert "?" not in text
    assert hours(text) > 0
