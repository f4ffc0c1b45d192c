"""How a study names its scores."""

import pytest

from loragrid.errors import StudyError


def scores_of(place, scores):
    (answers,) = place.small(f"evaluations: {{test: {{scores: {scores}}}}}").answers.values()
    return answers.scores


def test_by_name_with_settings_and_as_a_group(place):
    found = scores_of(place, "[text, {likelihood: {minimum: 3}}]")
    assert list(found) == ["rouge", "sacrebleu", "likelihood"]
    assert found["likelihood"]["options"] == {"minimum": 3}
    plain = scores_of(place, "[likelihood, {rouge: }]")
    assert plain["likelihood"]["key"] != found["likelihood"]["key"]
    assert plain["rouge"]["key"] == found["rouge"]["key"]
    assert scores_of(place, "[{likelihood: {minimum: 1}}]")["likelihood"]["key"] == plain["likelihood"]["key"]


def test_one_metric_twice_under_a_label_of_its_own(place):
    found = scores_of(place, "[rouge, {rouge: {form: halves, label: rouge_halves}}]")
    assert list(found) == ["rouge", "rouge_halves"]
    (answers,) = place.small("evaluations: {test: {scores: [{rouge: {label: mine}}]}}").answers.values()
    assert answers.score_file("mine") == f"{answers.folder}/scores/rouge-{found['rouge']['key'][:10]}.json"


def test_published_figures_may_name_labelled_columns(place):
    place.small(
        "evaluations: {test: {scores: [{rouge: {form: halves, label: halved}}]}}\n"
        "published: [{source: T1, metric: halved_rougeL, value: 1, model: base}]".replace("halved_rougeL", "halved_L")
    )


@pytest.mark.parametrize(
    ("scores", "problem"),
    [
        ("[rouge, {rouge: {form: halves}}]", "scores[1]: 'rouge' is there already, as [0]; give one of them a `label`"),
        ("[rouge, text]", "scores[1]: 'rouge' is there already, as [0]"),
        ("[{text: {form: halves}}]", "scores[0]: 'text' is several metrics; give settings to one of rouge, sacrebleu"),
        ("[{rouge: {label: likelihood}}]", "scores[0]: the label 'likelihood' is the name of a metric"),
        ("[{rouge: {label: 'a b'}}]", "scores[0]: its label is a name of letters, digits and _, not 'a b'"),
        ("[{rouge: {label: 3}}]", "scores[0]: its label is a name of letters, digits and _, not 3"),
        ("[{rouge: {from: halves}}]", "scores[0].rouge.from: unknown key. Did you mean 'form'?"),
        ("[3]", "scores[0]: needs a name, or `{name: {option: value}}`, not 3"),
        ("[{rouge: , likelihood: }]", "scores[0]: needs one name with its options"),
    ],
)
def test_problems_are_told_at_their_place(place, scores, problem):
    with pytest.raises(StudyError) as raised:
        scores_of(place, scores)
    assert any(line.startswith(f"evaluations.test.{problem}") for line in raised.value.problems), raised.value.problems


def test_one_column_means_one_thing_in_all_evaluations(place):
    one, other = "{scores: [rouge]}", "{scores: [{rouge: {form: halves}}]}"
    with pytest.raises(StudyError, match=r"evaluations.b.scores: 'rouge' has other settings than in 'a'"):
        place.small(f"evaluations: {{a: {one}, b: {other}}}")
    place.small(f"evaluations: {{a: {one}, b: {other.replace('halves', 'halves, label: halved')}}}")
