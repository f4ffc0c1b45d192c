"""A judge's rubric is one file, of loragrid or of the user."""

import pytest
from pydantic import ValidationError

from loragrid.errors import StudyError
from loragrid.metrics import METRICS, columns_of
from loragrid.metrics.judge import Options
from loragrid.metrics.rubric import shipped
from loragrid.plugins import REGISTRY
from loragrid.study.open import open_study
from loragrid.study.planning import plan
from loragrid.study.shape import Shape

OWN = "title: Mine\ninstructions: Rate it.\ncriteria: {warmth: how warm it is}\nminimum: 1\nmaximum: 3\n"

STUDY = """
title: Judged
models: {{base: {{id: org/Base-7B, revision: abc123, parameters: 7e9}}}}
datasets: {{ed: {{source: empathetic_dialogues}}}}
points: [{{name: small, rank: 4}}, {{name: big, rank: 64}}]
untrained: {untrained}
evaluations:
  test: {{scores: {scores}}}
{more}
"""


def study(tmp_path, scores, untrained="[base]", more=""):
    file = tmp_path / "config/studies/judged.yaml"
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(STUDY.format(scores=scores, untrained=untrained, more=more))
    return open_study("judged", REGISTRY)


def judge_scores(grid):
    return {grid.subject(answers.subject).name[:3]: answers.scores["judge"] for answers in grid.answers.values()}


@pytest.mark.parametrize("name", ["emotional-support", "mt-bench", "pairwise"])
def test_rubrics_that_come_with_loragrid_are_whole(name):
    assert name in shipped()
    assert METRICS["judge"].columns(Options(model="m", rubric=name))


def test_a_rubric_of_ones_own_by_its_path(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "mine.yaml").write_text(OWN)
    grid = study(tmp_path, "[{judge: {model: m, rubric: ./mine.yaml}}]")
    score = next(iter(judge_scores(grid).values()))
    assert list(columns_of(score)) == ["judge_warmth", "judge_length_correlation", "judge_parse_failures"]
    # Its content is in the key, not its place; comments are no content.
    (tmp_path / "other.yaml").write_text("# a comment\n" + OWN)
    same = study(tmp_path, "[{judge: {model: m, rubric: other.yaml}}]")
    assert next(iter(judge_scores(same).values()))["key"] == score["key"]
    (tmp_path / "other.yaml").write_text(OWN.replace("Rate it", "Rate it well"))
    changed = study(tmp_path, "[{judge: {model: m, rubric: other.yaml}}]")
    assert next(iter(judge_scores(changed).values()))["key"] != score["key"]
    # A recorded study needs the file no more.
    (tmp_path / "mine.yaml").unlink()
    assert list(columns_of(score))


@pytest.mark.parametrize(
    ("judge", "problem"),
    [
        ("judge", "scores[0].judge.model: is missing"),
        ("{judge: {model: m}}", "scores[0].judge.rubric: is missing"),
        (
            "{judge: {model: m, rubric: mt-bnech}}",
            "scores[0].judge.rubric: there is no rubric 'mt-bnech'. Did you mean",
        ),
        ("{judge: {model: m, rubric: ./no.yaml}}", "scores[0].judge.rubric: there is no './no.yaml'"),
        ("{judge: {model: m, rubric: mt-bench, opponent: big}}", "scores[0].judge: `opponent` is for a rubric"),
        ("{judge: {model: m, rubric: mt-bench, token: x}}", "scores[0].judge.token: unknown key"),
    ],
)
def test_problems_are_told_with_their_place(tmp_path, monkeypatch, judge, problem):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(StudyError) as raised:
        study(tmp_path, f"[{judge}]")
    assert any(line.startswith(f"evaluations.test.{problem}") for line in raised.value.problems), raised.value.problems


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        ("maximum: 3", "maximum: 1"),
        ("criteria: {warmth: how warm it is}", ""),
        ("warmth", "mean"),
        ("warmth", "Warm words"),
        ("title: Mine", "title: Mine\nkind: pairwise"),
        ("title: Mine", "title: Mine\ncategories: [math]"),
        ("title: Mine", "titel: Mine"),
        ("title: Mine", "title: [Mine"),
    ],
)
def test_rubrics_that_make_no_sense_are_refused(tmp_path, change, problem):
    (tmp_path / "mine.yaml").write_text(OWN.replace(change, problem))
    with pytest.raises(ValidationError, match=r"mine\.yaml"):
        Options(model="m", rubric=str(tmp_path / "mine.yaml"))


def test_how_fast_it_is_asked_is_in_no_key(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    keys = {
        judge_scores(study(tmp_path, f"[{{judge: {{model: m, rubric: mt-bench{more}}}}}]"))["r4-"]["key"]
        for more in ("", ", requests_per_minute: 5", ", tokens_per_minute: 9", ", max_requests: 5", ", concurrency: 1")
    }
    assert len(keys) == 1
    other = study(tmp_path, "[{judge: {model: m, rubric: mt-bench, repeats: 2}}]")
    assert judge_scores(other)["r4-"]["key"] not in keys


def test_everybody_is_compared_with_the_untrained_model(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    grid = study(tmp_path, "[{judge: {model: m, rubric: pairwise}}]")
    opponents = {score["opponent"] for score in judge_scores(grid).values()}
    assert len(opponents) == 1
    assert opponents.pop().startswith("results/untrained/")
    batches = plan(grid)
    assert len(batches.judge) == 3
    # Only the untrained model's own judgements wait for nobody else.
    alone = [batch for batch in batches.judge.values() if len(batch.after) == 1]
    assert ["results/untrained" in batch.members[0].answers.folder for batch in alone] == [True]
    assert all(alone[0].after[0] in batch.after for batch in batches.judge.values())


def test_or_with_a_run_by_its_name(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    grid = study(tmp_path, "[{judge: {model: m, rubric: pairwise, opponent: big}}]")
    assert {score["opponent"].split("/")[4].split("-")[0] for score in judge_scores(grid).values()} == {"r64"}
    with pytest.raises(StudyError, match=r"no run of that name.*Points with a name: big, small"):
        study(tmp_path, "[{judge: {model: m, rubric: pairwise, opponent: bgi}}]")
    with pytest.raises(StudyError, match=r"add `untrained: \[base\]`"):
        study(tmp_path, "[{judge: {model: m, rubric: pairwise}}]", untrained="[]")


def test_answers_that_are_made_together_are_judged_together(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    grid = study(tmp_path, "[rouge, {judge: {model: m, rubric: mt-bench}}]", untrained="[]")
    batches = plan(grid, Shape(lambda member: 1.0, longest=10, shortest=0, slots=1))
    (judge,) = batches.judge.values()
    assert len(judge.members) == 2
    (scores,) = [batch for batch in batches.score.values() if "judge" in batch.members[0].parts]
    assert judge.done in scores.after


def test_a_judge_holds_up_no_other_score(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    batches = plan(study(tmp_path, "[rouge, {judge: {model: m, rubric: mt-bench}}]"))
    parts = [set(member.parts) for batch in batches.score.values() for member in batch.members]
    assert parts.count({"rouge"}) == 3
    assert parts.count({"judge"}) == 3


def test_published_figures_may_name_its_columns(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    judge = "{judge: {model: m, rubric: emotional-support}}"
    figure = "published: [{{source: T, metric: judge_{}, value: 7, model: base}}]"
    study(tmp_path, f"[{judge}]", more=figure.format("comforting"))
    with pytest.raises(StudyError, match="judge_comfort"):
        study(tmp_path, f"[{judge}]", more=figure.format("comfort"))
