import json
from dataclasses import replace
from pathlib import Path

import pytest

from loragrid.errors import UserError
from loragrid.estimates.devices import DEVICES, find_device
from loragrid.estimates.plan import detailed, summary
from loragrid.estimates.requests import VLLM_SECONDS, Estimator
from loragrid.metrics import METRICS
from loragrid.study.planning import plan
from loragrid.study.shape import Shape


def estimator(place, grid, device="t4") -> Estimator:
    return Estimator(grid, place.registry, DEVICES[device])


def plan_text(place, grid) -> str:
    return summary(grid, plan(grid), estimator(place, grid))


def shown(place, grid, device="t4") -> str:
    return detailed(grid, plan(grid), estimator(place, grid, device))


def write(file: str, content: dict) -> None:
    Path(file).parent.mkdir(parents=True, exist_ok=True)
    Path(file).write_text(json.dumps(content))


def finish(run, seconds: float, tokens: int, device: str = "Tesla T4") -> None:
    cost = {"seconds": seconds, "tokens": tokens, "peak_memory_bytes": 5e9}
    write(f"{run}/run.json", {"cost": cost, "micro_batch": 8, "environment": {"device": device}})


def row(text: str, *words: str) -> str:
    (line,) = [line for line in text.splitlines() if all(word in line for word in words)]
    return line


TWO = """
    title: Two models
    models:
      base: {id: org/base, parameters: 7e9, precision: 16bit, micro_batch: 2}
      secret: {id: org/secret}
    datasets:
      letters: {source: letters}
    recipe: {method: lora, epochs: 2}
    grid: {rank: [4, 8]}
    untrained: [secret]
    """


def test_summary(place):
    text = plan_text(place, place.open(TWO))
    lines = text.splitlines()
    assert lines[0] == "study small: Two models"
    assert lines[1].split() == ["model", "dataset", "runs", "trained", "to", "train", "GPU", "hours"]
    assert lines[2].split()[:5] == ["base", "letters", "2", "0", "2"]
    assert float(lines[2].split()[5]) > 0
    assert lines[3].split() == ["secret", "letters", "2", "0", "2", "?"]
    assert lines[4] == "  untrained models: 1 (0 asked already); answers to make: 5 of 5"
    assert "a rough estimate" in lines[5]
    assert "loragrid plan small" in lines[5]
    assert lines[6] == "  no estimate for secret: give `parameters` to the model"


def test_each_run_and_untrained_model_has_a_line_before_any_download(place):
    text = shown(place, place.open(TWO))
    assert len([line for line in text.splitlines() if line.startswith(("base", "secret"))]) == 5
    assert row(text, "base", "r4-a32-s42").endswith("estimate")
    assert row(text, "secret", "untrained, 16bit").endswith("no estimate")
    assert "GPU hours to go, on one T4" in text
    assert "guessed from `parameters` until the download: base" in text
    assert "until the data is formatted: letters" in text
    assert "no estimate for secret: give `parameters` to the model" in text
    assert not Path("data").exists()


def test_the_base_is_loaded_once_for_those_that_share_a_job(place):
    """Each line stands for itself; what is to go is less than all of them, by what jobs of several save."""
    study = """
    title: Eight runs
    models: {base: {id: org/base, parameters: 1e9}}
    datasets: {letters: {source: letters}}
    recipe: {max_steps: 1}
    grid: {rank: [1, 2, 3, 4, 5, 6, 7, 8]}
    evaluations: {test: {backend: vllm, decoding: {max_new_tokens: 1}, scores: [rouge]}}
    """
    text = shown(place, place.open(study))
    each = [float(line.split()[-2]) for line in text.splitlines() if line.startswith("base")]
    (to_go,) = (float(line.split()[0]) for line in text.splitlines() if "GPU hours to go" in line)
    server = VLLM_SECONDS / 3600
    assert min(each) > server
    assert server < to_go < sum(each) - 6 * server
    assert "each line above counts that for itself" in text


def test_what_does_not_fit_is_told_with_what_would(place):
    text = shown(place, place.open(TWO))
    said = text.split("Does not fit one T4, which has 14.7 GiB:")[1]
    assert "base, 16bit: needs " in said
    assert "NF4 (`method: qlora`) fits" in said
    assert "a larger GPU (" in said
    assert "Does not fit" not in shown(place, place.open(TWO, name="other"), "a100")


def test_a_smaller_micro_batch_is_the_remedy_where_it_is_one(place):
    study = "{title: x, models: {base: {id: org/b, parameters: 7e9, micro_batch: 64}},"
    study += " datasets: {d: {source: letters}}, recipe: {batch_size: 64, max_length: 1024}}"
    text = shown(place, place.open(study))
    assert "`micro_batch: " in text.split("Does not fit")[1]


def test_70b_does_not_fit_a_t4(place):
    study = "{title: x, models: {big: {id: org/big, parameters: 70e9}}, datasets: {d: {source: letters}}}"
    assert "big, nf4: needs " in shown(place, place.open(study)).split("Does not fit one T4")[1]


BIG = """
    title: x
    models: {{big: {{id: org/big, parameters: 70e9{}}}}}
    datasets: {{letters: {{source: letters}}}}
    """


def test_a_model_that_fits_several_gpus_only_is_to_be_spread_over_them(place):
    said = shown(place, place.open(BIG.format("")), "a100").split("Does not fit one A100")[1]
    assert "`gpus: 2` with `sharded: true` fits" in said
    text = shown(place, place.open(BIG.format(", gpus: 2, sharded: true"), name="spread"), "a100")
    assert "Does not fit" not in text
    gpus, of_each, host = row(text, "big", "letters").split()[3:6]
    assert gpus == "2"
    assert float(of_each) < 39.4 < float(host)
    # More GPUs that have all of it each are no remedy.
    assert "Does not fit" in shown(place, place.open(BIG.format(", gpus: 2"), name="whole"), "a100")


def test_a_profile_that_gives_one_gpu_to_a_model_spread_over_two_is_refused(place):
    grid = place.open(BIG.format(", gpus: 2, sharded: true"))
    with pytest.raises(UserError, match=r"is spread over 2 GPUs \(`sharded`\), and the profile gives 1"):
        Estimator(grid, place.registry, DEVICES["a100"], gpus=1)


def hours(text: str) -> float:
    return float(text.split("estimated: ")[1].split(" ")[0])


@pytest.mark.parametrize(
    ("one", "other", "factor"),
    [
        ("recipe: {epochs: 1}", "recipe: {epochs: 4}", 4),
        ("recipe: {max_steps: 1000, evaluations: 1}", "recipe: {max_steps: 2000, evaluations: 1}", 2),
        ("recipe: {epochs: 1}", "recipe: {epochs: 1, max_steps: 100000}", 1600),
        ("points: [{rows: {train: 1000}}]", "points: [{rows: {train: 500000}}]", 1),  # no more than there are
        ("seeds: [1]", "seeds: [1, 2, 3]", 3),
    ],
)
def test_what_the_hours_go_with(place, one, other, factor):
    assert hours(plan_text(place, place.small(other))) == pytest.approx(
        factor * hours(plan_text(place, place.small(one))), rel=0.1
    )


def test_formatted_data_are_counted_instead_of_guessed(place):
    grid = place.small()
    (formatted,) = grid.formatted.values()
    guessed = hours(plan_text(place, grid))
    rows = {"rows": 4000, "tokens": 200_000, "longest": 90}
    write(f"{formatted.folder}/format.json", {"splits": {"train": rows, "validation": rows}})
    assert hours(plan_text(place, grid)) == pytest.approx(4 * guessed, rel=0.4)
    assert "until the data is formatted" not in shown(place, grid)


def test_measured_runs_beat_the_estimate(place):
    grid = place.small("grid: {rank: [8], alpha: [8, 16, 32]}")
    first, second, third = grid.runs
    # 3 epochs × 1,000 rows × 50 tokens in an hour on average
    finish(first, 3000, 150_000)
    finish(second, 4200, 150_000)
    text = plan_text(place, grid)
    assert text.splitlines()[2].split() == ["base", "letters", "3", "2", "1", "1"]
    assert "from what earlier runs took" in text
    text = shown(place, grid)
    assert row(text, Path(first).name).split()[-1] == "estimate"  # its answers are still to be made
    assert " done " in row(text, Path(first).name)
    assert " 1:00 " in row(text, Path(third).name)
    assert row(text, Path(third).name).endswith("partly measured")


def test_what_another_device_took_says_nothing(place):
    grid = place.small("grid: {rank: [4, 8]}")
    finish(next(iter(grid.runs)), 3000, 150_000, "NVIDIA H100 80GB HBM3")
    assert "a rough estimate" in plan_text(place, grid)


def test_a_damaged_run_is_not_measured(place):
    grid = place.small("grid: {rank: [4, 8]}")
    write(f"{next(iter(grid.runs))}/run.json", {"key": "of an older version"})
    assert "a rough estimate" in plan_text(place, grid)


def test_what_has_failed_is_not_to_go(place):
    grid = place.small("grid: {rank: [4, 8]}")
    bad, good = grid.runs
    write(f"{bad}/work/failed.json", {"reason": "the loss is not a number"})
    write(f"{good}/run.json", {})
    for answers in grid.answers.values():
        write(f"{answers.folder}/work/failed.json", {"reason": "no template"})
    text = plan_text(place, grid)
    assert text.splitlines()[2].split() == ["base", "letters", "2", "1", "0", "0"]
    text = shown(place, grid)
    assert [line.split()[-1] for line in text.splitlines() if line.startswith("base")] == ["failed", "failed"]
    assert "\n0 GPU hours to go" in text


def test_jobs_that_somebody_works_on_may_have_members_of_another_study(place):
    place.registry = replace(place.registry, metrics={**place.registry.metrics, "bertscore": METRICS["bertscore"]})
    evaluations = """
evaluations:
  test: {scores: [likelihood, {bertscore: {encoder: org/one, layer: 1}}]}
  more: {rows: 2, scores: [rouge]}
"""
    theirs = place.open(TWO, evaluations.replace("org/one", "org/other"), name="theirs")
    living = {}
    for stage, batches in vars(plan(theirs, Shape(lambda _: 1, 99, 99, 1, {}))).items():
        for batch in batches.values():
            batch.record()
            living.setdefault(stage, set()).add(batch.id)
    ours = place.open(TWO.replace("[4, 8]", "[8]"), evaluations.partition("  more")[0])
    taken_over = plan(ours, Shape(lambda _: 1, 99, 99, 1, living))
    assert len(taken_over.by_answers()) > len(ours.answers)
    text = summary(ours, taken_over, estimator(place, ours))
    assert f"answers to make: {len(ours.answers)} of {len(ours.answers)}" in text
    assert "scores by an encoder (one): 3 to make, references to encode: 1" in text
    detailed(ours, taken_over, estimator(place, ours))
    for batch in (*taken_over.train.values(), *taken_over.generate.values()):
        assert estimator(place, ours).request(batch).minutes > 0


def test_nothing_left(place):
    grid = place.small("untrained: [base]")
    for folder in grid.runs:
        write(f"{folder}/run.json", {})
    for answers in grid.answers.values():
        write(answers.generations, {})
        write(answers.score_file("likelihood"), {})
    text = plan_text(place, grid)
    assert text.splitlines()[2].split() == ["base", "letters", "1", "1", "0", "0"]
    assert "untrained models: 1 (1 asked already); answers to make: 0 of 2" in text
    text = shown(place, grid)
    assert [line.split()[-1] for line in text.splitlines() if line.startswith("base")] == ["done", "done"]
    assert "\n0 GPU hours to go" in text


def test_a_model_made_here_has_known_dimensions(place):
    Path("corpus.txt").write_text("text")
    study = "{title: x, models: {made: {build: {corpus: corpus.txt}}}, datasets: {letters: {source: letters}}}"
    text = shown(place, place.open(study))
    assert "?" not in text
    assert "guessed" not in text


def test_an_unknown_device_is_refused_with_those_there_are():
    with pytest.raises(UserError, match=r"'tpu' is not known; there are t4, v100, a100, .*cpu"):
        find_device("tpu")


def test_scores_by_an_encoder_are_in_the_plan(place):
    place.registry = replace(place.registry, metrics={**place.registry.metrics, "bertscore": METRICS["bertscore"]})
    scores = "evaluations: {test: {scores: [rouge, {bertscore: {encoder: microsoft/deberta-xlarge-mnli}}]}}"
    grid = place.open(TWO, scores)
    text = plan_text(place, grid)
    line = row(text, "scores by an encoder")
    assert line.strip().startswith("scores by an encoder (deberta-xlarge-mnli): 5 to make, references to encode: 1;")
    assert "scores by an encoder" in shown(place, grid)
    assert "scores by an encoder" not in plan_text(place, place.open(TWO, name="other"))


def test_jobs_of_an_encoder_ask_for_a_gpu_and_by_its_size(place):
    place.registry = replace(place.registry, metrics={**place.registry.metrics, "bertscore": METRICS["bertscore"]})

    def requests(encoder, device="t4"):
        grid = place.open(TWO, f"evaluations: {{test: {{scores: [{{bertscore: {{encoder: {encoder}, layer: 1}}}}]}}}}")
        estimated = estimator(place, grid, device)
        (batch, *_), (references,) = plan(grid).score_by_encoder.values(), grid.references.values()
        return estimated.scoring_by_encoder(batch), estimated.encoding(references), grid

    large, encoding, grid = requests("microsoft/deberta-xlarge-mnli")
    small, _, _ = requests("org/minilm")
    assert large.gpus == encoding.gpus == 1
    assert large.memory_mb > small.memory_mb + 2 * 4 * 700
    assert 3000 < large.gpu_memory_mb < 14_000
    on_cpu = [requests(encoder, "cpu")[0] for encoder in ("microsoft/deberta-xlarge-mnli", "org/minilm")]
    assert [request.gpus for request in on_cpu] == [0, 0]
    assert on_cpu[0].minutes > 1.5 * on_cpu[1].minutes
    assert large.minutes < on_cpu[0].minutes
    # What its files say counts for more than its name.
    (encoder,) = grid.encoders.values()
    config = {"model_type": "bert", "hidden_size": 384, "num_hidden_layers": 6, "num_attention_heads": 12}
    write(f"{encoder.folder}/config.json", config | {"intermediate_size": 1536, "vocab_size": 30522})
    assert requests("microsoft/deberta-xlarge-mnli")[0].memory_mb == pytest.approx(small.memory_mb, rel=0.05)
