"""How much of what stands behind a score was cut or left out: training rows, references, answers."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from loragrid.comparing.collect import Results, Row
from loragrid.errors import UserError
from loragrid.files import read_json
from loragrid.reporting.columns import Column
from loragrid.study.grid import Formatted, Run

MUCH = 0.1
"""Above this share there is a warning."""

NAMED = 3
"""Rows that a warning names."""

_PROMPTS_CUT = Column("prompts_cut", "prompts cut", "share", group="cut or left out")
COLUMNS = (
    Column("share_at_limit", "answers at the limit", "share", group="cut or left out"),
    Column("train_cut", "training rows cut", "share", group="cut or left out"),
    Column("excluded_share", "references left out", "share", group="cut or left out"),
)
_OF_CHOICES = Column("fewer_examples", "questions with fewer examples", "share", group="cut or left out")
_TURNS_REFUSED = Column("turns_refused", "turns not asked", "share", group="cut or left out")

_WARNINGS = {
    "share_at_limit": (
        "of the answers ran to max_new_tokens without an end",
        "Their scores are of beginnings. Either they need more tokens, or the model has not learnt to stop; "
        "format.json says with what its template ends an answer.",
    ),
    "train_cut": (
        "of the training rows were cut or left out, being longer than max_length",
        "What is learnt is about the shorter ones.",
    ),
    "excluded_share": (
        "of the references were left out, being too long for the model",
        "The scores that need them are about the shorter ones.",
    ),
    "prompts_cut": (
        "of the prompts were asked without their beginning, being longer than the context",
        "Shorter answers (max_new_tokens), or fewer words of what was said (`context`), leave more of it.",
    ),
    "turns_refused": (
        "of the turns were not asked, since the template refuses what the model had said before",
        "They count as empty answers; the log of `generate` says why.",
    ),
    "fewer_examples": (
        "of the questions were asked with fewer examples than `shots` says, since these are longer than the context",
        "Their accuracy is not that of so many shots.",
    ),
}


@dataclass(frozen=True)
class Share:
    """A part of a whole, in rows or answers.

    Args:
        column: key of its column.
        part: how many were cut or left out.
        whole: of how many.
    """

    column: str
    part: int
    whole: int

    @property
    def value(self) -> float:
        """Between 0 and 1."""
        return self.part / self.whole


def columns(results: Results) -> tuple[Column, ...]:
    """The columns of a study: some only where questions with choices are asked, conversations played or prompts cut."""
    prompts = results.grid.prompts.values()
    of_choices = (_OF_CHOICES,) if any(each.choice for each in prompts) else ()
    plays = any(each.replay for each in prompts)
    cuts = plays or any(row.generated.get("prompts_cut") for row in results.rows)
    return (*COLUMNS, *of_choices, *((_PROMPTS_CUT,) if cuts else ()), *((_TURNS_REFUSED,) if plays else ()))


def shares(results: Results) -> dict[str, list[Share]]:
    """What is known of each row, by id of its answers; what is not known is no share.

    Args:
        results: the study.
    """
    found: dict[str, dict[str, int] | None] = {}

    def of_data(run: Run) -> dict[str, int] | None:
        if run.formatted not in found:
            found[run.formatted] = _formatted(results.grid.formatted.get(run.formatted))
        return found[run.formatted]

    known = {}
    for row in results.rows:
        counts = [
            ("share_at_limit", row.generated.get("ended_by_length"), row.generated.get("answers")),
            *_prompts(row, results),
            ("train_cut", *_training(row, of_data)),
            ("excluded_share", *_references(row)),
            ("fewer_examples", row.fewer_examples, max((score.count for score in row.scores.values()), default=None)),
        ]
        known[row.answers.id] = [
            Share(name, part, whole)
            for name, part, whole in counts
            if isinstance(part, int) and isinstance(whole, int) and whole
        ]
    return known


def warnings(rows: Sequence[tuple[str, str, Sequence[Share]]]) -> list[str]:
    """A sentence about each kind of share that is large anywhere, with the worst rows.

    Args:
        rows: for each its name, which of several evaluations it is about (else empty), and what is known of it.
    """
    told = []
    for column, (what, meaning) in _WARNINGS.items():
        large = [
            (share.value, f"{name}{'' if column == 'train_cut' else where} ({share.part} of {share.whole})")
            for name, where, known in rows
            for share in known
            if share.column == column and share.part > MUCH * share.whole
        ]
        # Of a run with several evaluations the training data is named once; the grid's order where equal.
        worst = [text for _, text in sorted(dict.fromkeys(large), key=lambda each: -each[0])]
        if worst:
            more = f" and {len(worst) - NAMED} more" if len(worst) > NAMED else ""
            told.append(f"More than {100 * MUCH:g} % {what}: {', '.join(worst[:NAMED])}{more}. {meaning}")
    return told


def _prompts(row: Row, results: Results) -> list[tuple[str, int | None, int | None]]:
    """Prompts that were asked without their beginning, and turns of conversations that were not asked."""
    made = row.generated
    found = [("prompts_cut", made.get("prompts_cut"), made.get("answers"))]
    if results.grid.prompts[row.answers.prompts].replay:
        found.append(("turns_refused", made.get("refused"), made.get("answers")))
    return found


def _training(row: Row, of_data: Callable[[Run], dict[str, int] | None]) -> tuple[int | None, int | None]:
    """Training rows that were shortened or left out, of all that there were."""
    if row.run is None or not row.trained:
        return None, None
    # Runs that were trained before run.json told it: as long as their formatted data is there.
    try:
        told = (
            {**row.trained["cut"], "rows": row.trained["rows"]["train"]} if "cut" in row.trained else of_data(row.run)
        )
        return (None, None) if told is None else (told["shortened"] + told["too_long"], told["rows"] + told["too_long"])
    except (KeyError, TypeError):  # damage to what scores do not need
        return None, None


def _formatted(formatted: Formatted | None) -> dict[str, int] | None:
    """What format.json says of the training rows; None if it is deleted, or damaged."""
    if formatted is None:
        return None
    try:
        train = read_json(Path(formatted.folder, "format.json"))["splits"]["train"]
        return {name: int(train[name]) for name in ("shortened", "too_long", "rows")}
    except (UserError, KeyError, TypeError, ValueError):
        return None


def _references(row: Row) -> tuple[int | None, int | None]:
    """References that were left out, of all. What leaves the most out has the fewest scores."""
    fewest = min((score.count for score in row.scores.values()), default=None)
    return (None, None) if fewest is None else (row.excluded, fewest + row.excluded)
