"""TurkishMMLU (Yüksel et al. 2024): multiple choice questions of Turkish schools, nine subjects, five choices each.

Rows with `question`, `choices` and `answer` (a letter, or a number from 0 in the small variant), and `subject` where
they name it; without it the file or its folder is called after the subject.
"""

import re
from collections.abc import Iterator
from pathlib import Path

from loragrid.data.drops import Drops
from loragrid.data.layouts import expected, recognise, record
from loragrid.data.reading import read_files
from loragrid.data.records import ChoiceQuestion, Record
from loragrid.data.sources.base import HubDataset, NoOptions, Remote, Size
from loragrid.data.tables import SPLIT, Row
from loragrid.data.wording import Wording
from loragrid.study.choices import Choice

VERSION = 1
LICENCE = "on request"
HOMEPAGE = "https://huggingface.co/datasets/AYueksel/TurkishMMLU"
REMOTE = Remote(hub=HubDataset(id="AYueksel/TurkishMMLU", files=["*.json", "*.jsonl", "*.parquet"]))
SIZE = Size(rows={"validation": 45, "test": 900}, tokens=160)
KIND = ChoiceQuestion
STEPS: list[Choice] = ["unicode", {"whitespace": {"within": "single"}}]
FORMAT = None
FACETS = ("subject",)

Options = NoOptions

CATEGORIES = {
    "natural_sciences": ["Biology", "Chemistry", "Physics"],
    "mathematics": ["Mathematics"],
    "language": ["Turkish_Language_and_Literature"],
    "social_sciences": ["History", "Geography", "Philosophy", "Religion_and_Ethics"],
}
"""Its subjects, as its configurations are called, in the four groups that its authors name."""

WORDING = Wording(about="", without_subject="", question="Soru: ", answer="Cevap:")
"""As lm-evaluation-harness 0.4.13 asks (lm_eval/tasks/turkishmmlu)."""


def read(folder: Path, options: NoOptions, drops: Drops) -> Iterator[tuple[str, Record]]:
    """Read the files of all subjects; see `Source.read`."""
    return read_files(
        folder,
        (".json", ".jsonl", ".parquet"),
        drops,
        _record,
        knows=lambda row: recognise(row) == "choice",
        expected=expected("choice"),
    )


def _record(row: Row, where: str, file: Path) -> Record:
    subject = row.get("subject")
    return record(
        "choice", row, where, {"subject": subject if isinstance(subject, str) and subject else _subject(file)}
    )


def _subject(path: Path) -> str:
    """What a file is called after: its own name, or its folder's where that only names a split."""
    names = [re.sub(r"-\d+-of-\d+$", "", path.name.split(".")[0]), path.parent.name]
    return next((name for name in names if name and not SPLIT.fullmatch(name.lower())), path.stem)
