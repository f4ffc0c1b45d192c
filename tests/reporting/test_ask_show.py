"""Answers beside each other."""

from loragrid.reporting.ask_show import side_by_side


def answer(text, ended="stop", *, cut=False):
    return {"answer": text, "answer_tokens": 9, "ended": ended, "cut": cut}


def test_each_answer_stands_beside_its_name():
    shown = side_by_side(
        "How are you?", ["r2", "untrained"], [answer("Fine.\nAnd you?", cut=True), answer("", "length")]
    )
    assert shown.splitlines() == [
        "> How are you?", "", "r2         Fine.", "           And you?",
        "           (the prompt is longer than the model's context, and was asked without its beginning)",
        "untrained  (nothing)", "           (cut after 9 tokens)",
    ]  # fmt: skip


def test_what_a_model_says_does_not_steer_the_terminal():
    shown = side_by_side("\x1b[2J", ["r2"], [answer("\x1b]0;title\x07 and \r back")])
    assert "\x1b" not in shown
    assert "\r" not in shown
    assert "\\x1b]0;title\\x07" in shown


def test_long_answers_are_wrapped_beside_their_names():
    shown = side_by_side("?", ["r2"], [answer("word " * 100)])
    lines = shown.splitlines()[2:]
    assert all(len(line) <= 120 for line in lines)
    assert all(line.startswith("    ") for line in lines[1:])
    assert " ".join(lines).split() == ["r2"] + ["word"] * 100


def test_a_long_prompt_is_shown_by_its_beginning():
    shown = side_by_side("\n".join(f"line {number}" for number in range(30)), ["r2"], [answer("Fine.")])
    said = [line for line in shown.splitlines() if line.startswith("> ")]
    assert said == [*(f"> line {number}" for number in range(11)), "> (… and 19 more lines)"]
    assert shown.splitlines()[len(said) :] == ["", "r2  Fine."]
