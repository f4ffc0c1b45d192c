"""Studies that ask by vLLM what it cannot serve: told before anything is trained."""

import pytest
from studies import VOTES

from loragrid.errors import StudyError

BY_VLLM = "\nevaluations: {test: {backend: vllm}}"


@pytest.mark.parametrize(
    ("recipe", "why"),
    [
        ("dora: true", "`dora`"),
        ("lora_config: {bias: lora_only}", "`lora_config.bias`"),
        ("rank: 1024", "an adapter of rank 1024, and its largest is 512"),
        ("rank: 300, initialisation: olora", "an adapter of rank 600, and its largest is 512"),
    ],
)
def test_a_run_that_vllm_cannot_serve_is_refused_before_it_is_trained(place, recipe, why):
    grid = f"points: [{{name: plain}}, {{name: odd, {recipe}}}]"
    with pytest.raises(StudyError) as raised:
        place.small(grid + BY_VLLM)
    said = f"evaluations.test.backend: vLLM cannot serve odd, which has {why}; use `transformers`"
    assert raised.value.problems == [said]
    assert len(place.small(grid).runs) == 2


def test_a_base_in_32_bits_is_refused(place):
    study = (
        "title: One\nmodels: {base: {id: org/base, precision: 32bit}}\ndatasets: {letters: {source: letters}}\n"
        "recipe: {method: lora}"
    )
    with pytest.raises(StudyError, match="`precision: 32bit`, and it computes adapters in 16 bits"):
        place.open(study + BY_VLLM)


def test_a_trained_end_token_is_refused(place):
    study = VOTES.replace("{id:", "{end_token: train, template: chatml, id:")
    assert study != VOTES
    with pytest.raises(StudyError, match="`end_token: train`, whose token's rows are trained, too"):
        place.open(
            study, "evaluations: {test: {dataset: letters, backend: vllm}}\npoints: [{name: a, dataset: letters}]"
        )


def test_choices_are_not_generated_by_anything(place):
    asked = "datasets: {letters: {source: letters}}\nevaluations: {c: {kind: choice, dataset: letters, backend: vllm}}"
    with pytest.raises(StudyError, match=r"evaluations\.c\.backend: unknown key"):
        place.open("title: One\nmodels: {base: {id: org/base}}\n" + asked)
