"""Whose answers a score compares answers with."""

from typing import Any

from loragrid.files import canonical
from loragrid.study.grid import Answers, Grid
from loragrid.study.keys import key_of

UNTRAINED = "untrained"


def set_opponents(grid: Grid, problems: list[str]) -> None:
    """Find the opponent of each score that has one; what it says is in the score's key from then on.

    An opponent is compared with itself, too, which is a tie and costs nothing: the gain of others over it is told like
    any other gain.

    Args:
        grid: with all answers; their scores are changed.
        problems: opponents that are missing are added to them.
    """
    for answers in grid.answers.values():
        for id_, score in answers.scores.items():
            if score["against"] is None:
                continue
            opponent = _opponent(grid, answers, score["against"])
            if opponent is None:
                problems.append(_missing(grid, answers, id_, score["against"]))
                continue
            score["opponent"] = opponent.folder
            score["key"] = key_of("compared", {"score": score["key"], "opponent": opponent.folder})


def _opponent(grid: Grid, answers: Answers, name: str) -> Answers | None:
    """The answers to the same questions of the same untrained model, or of the run of that name that is most alike."""
    asked = [
        other
        for other in grid.answers.values()
        if (other.evaluation, other.prompts) == (answers.evaluation, answers.prompts)
    ]
    if name == UNTRAINED:
        same = (answers.model, answers.precision, _chat(answers))
        found = (each for each in asked if each.subject in grid.untrained)
        return next((each for each in found if (each.model, each.precision, _chat(each)) == same), None)
    run = grid.runs.get(answers.subject)
    named = [(grid.runs[each.subject], each) for each in asked if each.subject in grid.runs]
    named = [(other, each) for other, each in named if other.label == name]
    if not named:
        return None
    return min(named, key=lambda pair: (pair[0].model != answers.model, run is None or pair[0].seed != run.seed))[1]


def _chat(answers: Answers) -> str:
    """What has to be equal of two chats: not their names, nor whether the end of an answer is a token."""
    return canonical({name: value for name, value in answers.chat.items() if name not in ("name", "end_token")})


def _missing(grid: Grid, answers: Answers, id_: str, name: str) -> str:
    model = grid.models[answers.model].label
    where = f"evaluations.{answers.evaluation}.scores: {id_!r} compares"
    if name == UNTRAINED:
        return f"{where} with the untrained model, which is not asked; add `untrained: [{model}]`"
    labels: Any = sorted({run.label for run in grid.runs.values() if run.label})
    return (
        f"{where} with {name!r}, and no run of that name is asked the same as {model!r} on {answers.dataset!r}. "
        f"Points with a name: {', '.join(labels) or 'none'}."
    )
