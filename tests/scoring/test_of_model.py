"""Score files of what the generate job hands over."""

import json

import pytest

from loragrid.errors import UserError
from loragrid.scoring.of_model import write_of_model

SCORE = {
    "name": "accuracy", "label": None, "version": 1, "place": "model", "key": "a" * 64, "needs": [],
    "with_prompt": False, "options": {"categories": {"science": ["physics", "biology"]}},
}  # fmt: skip


def item(id_, subject):
    groups = {} if subject is None else {"subject": subject}
    return {"id": id_, "dialogue": id_, "groups": groups, "correct": 1, "log_likelihoods": [-1.0, -2.0], "shots": 0}


def test_a_category_of_which_some_subjects_are_asked_says_which_part(tmp_path, capsys):
    write_of_model(tmp_path / "score.json", SCORE, [item("a", "physics"), item("b", "law")], [], {"fewer_examples": 0})
    content = json.loads((tmp_path / "score.json").read_text())
    assert content["made"]["counts"]["categories"] == {"science": {"asked": 1, "known": 2}}
    assert "accuracy_science is over 1 of its 2 subjects" in capsys.readouterr().out


@pytest.mark.parametrize(("subject", "there"), [("law", "law"), (None, "records need `subject` in their `meta`")])
def test_categories_of_which_nothing_is_asked_are_no_empty_columns(tmp_path, subject, there):
    with pytest.raises(UserError, match="no question is of a subject in `categories`") as error:
        write_of_model(tmp_path / "score.json", SCORE, [item("a", subject)], [], {"fewer_examples": 0})
    assert there in str(error.value)
    assert not (tmp_path / "score.json").exists()
