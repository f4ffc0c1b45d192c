"""The whole pipeline finds what is there, and claims nothing that is not."""

import known_answer
import pytest


@pytest.mark.slow
def test_the_axis_that_matters_is_found_and_the_other_one_is_not_claimed(with_model):
    known_answer.write(with_model, datasets=1)
    with_model.snakemake(study="known")
    found = {row["axis"]: row for row in known_answer.effects(with_model)}
    assert set(found) == {known_answer.MATTERS, known_answer.DOES_NOT}
    assert {row["pairs"] for row in found.values()} == {"6"}
    assert found[known_answer.MATTERS]["verdict"] == "better"
    assert found[known_answer.DOES_NOT]["verdict"] == "chance"
    assert float(found[known_answer.DOES_NOT]["low"]) < 0 < float(found[known_answer.DOES_NOT]["high"])
    # Every run with the rate that matters is better than the untrained model, and says so.
    verdicts = {row["verdict"] for row in with_model.table("known") if row["learning_rate"] == "0.01"}
    assert verdicts == {"better"}
