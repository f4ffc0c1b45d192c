"""TurkishMMLU (Yüksel et al. 2024): multiple choice questions of Turkish schools, nine subjects, five choices each.

Rows with `question`, `choices` and `answer` (a letter, or a number from 0 in the small variant), and `subject` where
they name it; without it the file or its folder is called after the subject.
"""

import re
from collections.abc import Iterator
from pathlib import Path

from loragrid.data.drops import Drops
from loragrid.data.layouts import Unusable, expected, first_line, recognise, record
from loragrid.data.records import ChoiceQuestion, Record
from loragrid.data.sources.base import HubDataset, NoOptions, Remote, Size
from loragrid.data.tables import SPLIT, data_files, rows
from loragrid.errors import UserError
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


def read(folder: Path, options: NoOptions, drops: Drops) -> Iterator[tuple[str, Record]]:
    """Read the files of all subjects.

    Args:
        folder: holds the files, at any depth.
        options: none.
        drops: counts rows and what is dropped of them.

    Yields:
        Split and record.

    Raises:
        UserError: there are no such files, or one is of another layout.
    """
    for split, path in data_files(folder, (".json", ".jsonl", ".parquet")):
        is_known = False
        for where, row in rows(path, path.relative_to(folder).as_posix(), split, drops):
            if not is_known and recognise(row) != "choice":
                raise UserError(f"{path}: expected rows with {expected('choice')}; found {first_line(row)}")
            is_known = True
            subject = row.get("subject")
            name = subject if isinstance(subject, str) and subject else _subject(path.relative_to(folder))
            try:
                yield split, record("choice", row, where, {"subject": name})
            except Unusable as problem:
                drops.add(str(problem), where=where, split=split)


def _subject(path: Path) -> str:
    """What a file is called after: its own name, or its folder's where that only names a split."""
    names = [re.sub(r"-\d+-of-\d+$", "", path.name.split(".")[0]), path.parent.name]
    return next((name for name in names if name and not SPLIT.fullmatch(name.lower())), path.stem)
