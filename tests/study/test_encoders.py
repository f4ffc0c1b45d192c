"""Scores by an encoder: what they are made from, their keys, and their jobs."""

from dataclasses import replace
from pathlib import Path

import pytest
from studies import REGISTRY

from loragrid.errors import StudyError
from loragrid.metrics import METRICS
from loragrid.study.grid import Grid
from loragrid.study.members import EncodedReferences
from loragrid.study.planning import plan

LOCAL = "{bertscore: {encoder: ./encoder, layer: 2}}"


@pytest.fixture(autouse=True)
def registry(place):
    place.registry = replace(
        REGISTRY,
        metrics={**REGISTRY.metrics, "bertscore": METRICS["bertscore"]},
        digest=lambda path: "".join(f"{file.name} {file.read_text()};" for file in sorted(path.iterdir())),
    )
    folder = Path("encoder")
    folder.mkdir()
    (folder / "model.safetensors").write_text("weights")


def grid_of(place, *scores, name="small", more=""):
    return place.small(f"evaluations: {{test: {{scores: [{', '.join(scores)}]}}}}\n{more}", name=name)


def score_of(place, score):
    grid = grid_of(place, score)
    (answers,) = grid.answers.values()
    (found,) = answers.scores.values()
    return found


def test_the_encoder_and_the_references_are_artifacts(place):
    grid = grid_of(place, "bertscore", "{bertscore: {idf: true, label: weighed}}", more="seeds: [1, 2]")
    (encoder,), (references,), (prompts,) = grid.encoders.values(), grid.references.values(), grid.prompts.values()
    assert (encoder.hub, encoder.revision, encoder.path) == ("roberta-large", "main", None)
    assert encoder.manifest == f"data/encoders/roberta-large-{encoder.key[:10]}/model.json"
    assert references.file == f"data/references/{prompts.id}/roberta-large-{references.key[:10]}.safetensors"
    assert references.layer == 17
    assert Grid.from_json(grid.to_json()) == grid


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("bertscore", "{bertscore: {encoder: roberta-large, layer: 17, revision: main}}"),
        ("bertscore", "{bertscore: {language: en}}"),
        (LOCAL, "{bertscore: {encoder: $PWD/encoder, layer: 2}}"),
        (LOCAL, "{bertscore: {encoder: ./encoder, layer: 2, label: mine}}"),
    ],
)
def test_the_same_encoder_is_the_same_score_however_it_is_named(place, one, other, monkeypatch):
    monkeypatch.setenv("PWD", str(Path.cwd()))
    assert score_of(place, one)["key"] == score_of(place, other)["key"]


@pytest.mark.parametrize(
    "other",
    [
        "{bertscore: {revision: abc}}", "{bertscore: {layer: 16}}", "{bertscore: {encoder: roberta-base}}",
        "{bertscore: {idf: true}}", "{bertscore: {rescale: true, language: en}}", "{bertscore: {with_prompt: true}}",
        "{bertscore: {language: tr}}", LOCAL,
    ],
)  # fmt: skip
def test_another_encoder_layer_or_setting_is_another_score(place, other):
    assert score_of(place, other)["key"] != score_of(place, "bertscore")["key"]


def test_other_content_of_a_local_encoder_is_another_one(place):
    before = score_of(place, LOCAL)
    Path("encoder/model.safetensors").write_text("other weights")
    after = score_of(place, LOCAL)
    assert before["key"] != after["key"]
    assert before["encoded"]["references"] != after["encoded"]["references"]


# If one of these moves, scores that users have are made anew. Raise a version on purpose only.
BY_NAME, BY_LAYER = "bertscore", "{bertscore: {encoder: org/name, layer: 3, idf: true}}"
GOLDEN = {
    BY_NAME: "7f1faca727c3c4a370d9e2d66a18e5d2f6e3328f1d217b03d9433e259b07e3ce",
    BY_LAYER: "9eb9bd1ed4111234c936efd8625d2cceb3696f9e8784efba90ba2232bc4b768b",
}


def test_golden_keys(place):
    assert {score: score_of(place, score)["key"] for score in GOLDEN} == GOLDEN


@pytest.mark.parametrize(
    ("score", "problem"),
    [
        ("{bertscore: {encoder: org/new}}", "scores[0].bertscore: name the `layer` whose hidden states are compared"),
        ("{bertscore: {encoder: ./nowhere, layer: 2}}", "scores[0].bertscore.encoder: there is no './nowhere'"),
        (
            "{bertscore: {encoder: $NOWHERE, layer: 2}}",
            "scores[0].bertscore.encoder: '$NOWHERE' uses $NOWHERE, not set",
        ),
        ("{bertscore: {encodr: x}}", "scores[0].bertscore.encodr: unknown key. Did you mean 'encoder'?"),
    ],
)
def test_problems_are_told_at_their_place(place, score, problem):
    with pytest.raises(StudyError) as raised:
        grid_of(place, score)
    assert any(line.startswith(f"evaluations.test.{problem}") for line in raised.value.problems), raised.value.problems


def test_one_job_for_all_that_an_encoder_says_of_a_set_of_answers(place):
    grid = grid_of(
        place, "rouge", "bertscore", "{bertscore: {idf: true, label: weighed}}", LOCAL.replace("2}", "2, label: own}")
    )
    (answers,) = grid.answers.values()
    batches = plan(grid)
    by_encoder = {batch.members[0].encoder_folder: batch for batch in batches.score_by_encoder.values()}
    assert len(by_encoder) == 2
    (folder,) = (folder for folder in by_encoder if "roberta" in folder)
    batch = by_encoder[folder]
    (member,) = batch.members
    assert sorted(member.parts) == ["bertscore", "weighed"]
    references = grid.references[answers.scores["bertscore"]["encoded"]["references"]]
    assert member.references["bertscore"] == EncodedReferences(references.file, references.key, 17)
    assert batch.after == [batches.by_answers()[answers.folder].done]
    assert set(batch.needs) == {
        grid.prompts[answers.prompts].file, f"{folder}/model.json", references.file,
    }  # fmt: skip
    assert batches.by_score()[answers.score_file("weighed")] == batch
    (texts,) = batches.score.values()
    assert list(texts.members[0].parts) == ["rouge"]
    batches.record({("score_by_encoder", batch.id)}, {})
    assert batch.file.exists()
