"""How biased the pick of a winner is: best of N on some dialogues, looked at on others.

Among many runs the one with the best test score owes a part of it to the dialogues that it was picked on. Here the
winner is picked on one half of the dialogues and looked at on the other one, many times (repeated holdout; compare
Cawley and Talbot 2010 on over-fitting in selection). A half makes a pick noisier than all dialogues do, so the bias of
the pick on all of them is rather smaller than this.
"""

import hashlib
from dataclasses import dataclass

import numpy as np

from loragrid.comparing.collect import Results, Row
from loragrid.comparing.measure import sign

HALVES = 500
"""How often the dialogues are divided; each half is used for the pick once."""

_FEWEST = 4  # dialogues: two in each half


@dataclass(frozen=True)
class Selection:
    """The pick of a winner for one model × dataset × evaluation, in the headline metric.

    Args:
        model: name in the study.
        dataset: name in the study.
        evaluation: name in the study.
        metric: its title.
        runs: number of runs that are picked from.
        winner: id of the answers of the run with the best test score.
        chosen: id of the answers of the run that validation chooses; None if it chooses none.
        gain: of the winner over the untrained model on all dialogues; None without one.
        optimism: by how much a winner looks better on the dialogues that it was picked on than on the others; None
            with a reason.
        held_out: mean gain over the untrained model of winners, on dialogues that they were not picked on; None
            without an untrained model, or with a reason.
        dialogues: number of dialogues.
        reason: why nothing is said of the bias; empty if something is.
    """

    model: str
    dataset: str
    evaluation: str
    metric: str
    runs: int
    winner: str
    chosen: str | None
    gain: float | None
    optimism: float | None
    held_out: float | None
    dialogues: int
    reason: str = ""


def selection(results: Results) -> list[Selection]:
    """What picking the best run by its test score is worth, for each model × dataset × evaluation with several runs."""
    name = results.headline.name
    groups: dict[tuple[str, str, str], list[Row]] = {}
    for row in results.rows if name in results.measures else ():
        if row.run and name in row.scores:
            place = results.model(row), results.dataset(row), row.answers.evaluation
            groups.setdefault(place, []).append(row)
    return [_selection(results, place, rows, name) for place, rows in groups.items() if len(rows) > 1]


def _selection(results: Results, place: tuple[str, str, str], rows: list[Row], name: str) -> Selection:
    metric = results.columns[name]
    scores = [row.scores[name] for row in rows]
    values = sign(metric) * np.array([score.value for score in scores])
    winner = rows[int(values.argmax())]
    chosen = next((row.answers.id for row in rows if row.run and row.run.folder in results.best_runs), None)
    dialogues = scores[0].dialogues
    untrained = results.untrained(winner)
    base = untrained.scores.get(name) if untrained else None
    if base is not None and base.items != winner.scores[name].items:
        base = None
    gain = float(values.max() - sign(metric) * base.value) if base else None
    optimism = held_out = None
    if len({score.items for score in scores}) > 1:
        reason = "the runs are scored on different prompts"
    elif len(dialogues) < _FEWEST:
        reason = f"too few dialogues to divide: {len(dialogues)}, at least {_FEWEST} are needed"
    else:
        halves = _halves(dialogues)
        with np.errstate(all="ignore"):
            of_runs = sign(metric) * np.stack([metric.value(halves @ score.sums) for score in scores])
            of_base = sign(metric) * metric.value(halves @ base.sums) if base else np.zeros(len(halves))
        if np.isfinite(of_runs).all() and np.isfinite(of_base).all():
            reason = ""
            number = np.arange(len(halves))
            picked = of_runs.argmax(axis=0)
            other = number ^ 1  # the other half of the same division
            optimism = float((of_runs[picked, number] - of_runs[picked, other]).mean())
            held_out = float((of_runs[picked, other] - of_base[other]).mean()) if base else None
        else:
            reason = "the metric is undefined on some halves of the dialogues"
    return Selection(
        *place, metric.title, len(rows), winner.answers.id, chosen, gain, optimism, held_out, len(dialogues), reason
    )


def _halves(dialogues: tuple[str, ...]) -> np.ndarray:
    """Divisions of the dialogues, each half followed by the other one; 1 where a dialogue is in it.

    Of an odd number one dialogue sits out, another one each time.
    """
    seed = hashlib.sha256("\n".join(["halves", *dialogues]).encode()).digest()
    random = np.random.default_rng(list(seed))
    half = len(dialogues) // 2
    order = random.permuted(np.tile(np.arange(len(dialogues)), (HALVES, 1)), axis=1)
    halves = np.zeros((2 * HALVES, len(dialogues)))
    np.put_along_axis(halves[0::2], order[:, :half], 1, axis=1)
    np.put_along_axis(halves[1::2], order[:, half : 2 * half], 1, axis=1)
    return halves


def selection_sentences(found: Selection, names: dict[str, str]) -> list[str]:
    """What a selection means, in plain words.

    Args:
        found: it.
        names: of runs, by id of their answers.
    """
    title = found.metric
    texts = []
    if found.chosen is None:
        texts.append(f"{names[found.winner]} has the best {title} of {found.runs} runs on test data.")
    elif found.chosen == found.winner:
        texts.append(f"The run that validation chooses, {names[found.chosen]}, has the best {title} on test data, too.")
    else:
        texts.append(
            f"On test data another run than the one that validation chooses has the best {title}: "
            f"{names[found.winner]} instead of {names[found.chosen]}."
        )
    if found.optimism is None:
        return [*texts, f"How biased the pick of the best by its test score is cannot be said: {found.reason}."]
    text = (
        f"Picking the best of {found.runs} by its test score flatters it: picked on one half of the {found.dialogues} "
        f"dialogues, it looks {found.optimism:.3f} {title} better there than on the other half"
    )
    if found.held_out is not None and found.gain is not None:
        text += f"; its gain over the untrained model is {found.held_out:.3f} there, and {found.gain:.3f} on all"
    return [*texts, text + f" (mean over {2 * HALVES} picks)."]
