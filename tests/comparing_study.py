"""Results of a study that need no files: rows with scores made here."""

import numpy as np
from objects import make_answers, make_clean, make_grid, make_model, make_run, make_untrained

from loragrid.comparing.collect import Results, Row, Score
from loragrid.metrics import COLUMNS


def means(values):
    """Statistics of dialogues with one item each."""
    return np.column_stack([values, np.ones(len(values))])


def names(number):
    return [f"d{index}" for index in range(number)]


def make_score(sums, metric="bits_per_byte", dialogues=None):
    dialogues = tuple(dialogues or names(len(sums)))
    return Score(float(COLUMNS[metric].value(sums.sum(axis=0))), sums, dialogues, " ".join(dialogues), len(sums))


class Study:
    """Results of a study, row by row."""

    def __init__(self):
        self.grid = make_grid()
        self.grid.models["nano"] = make_model()
        self.grid.clean["inline"] = make_clean()
        self.results = Results(self.grid, [])

    def untrained(self, values, asked=None, **others):
        return self._row(make_untrained(), values, others, {}, asked)

    def run(self, values, loss=None, seed=42, others=None, asked=None, **recipe):
        subject = make_run(recipe, folder=f"results/runs/r{len(self.grid.runs)}", seed=seed)
        self.grid.runs[subject.folder] = subject
        trained = {} if loss is None else {"loss": {"validation": loss, "best_validation": loss}}
        return self._row(subject, values, others or {}, trained, asked)

    def _row(self, subject, values, others, trained, asked):
        """`values` are bits per byte of each dialogue; the scores of other metrics have their names.

        `asked` are fields of the answers.
        """
        folder = "/".join([subject.folder, "eval", *map(str, (asked or {}).values())])
        answers = make_answers(subject=subject.folder, folder=folder, **(asked or {}))
        self.grid.answers[answers.id] = answers
        scores = {"bits_per_byte": make_score(means(values)), **others}
        self.results.rows.append(Row(subject, answers, trained=trained, scores=scores))
        return self.results.rows[-1]
