"""CMMLU (Li et al. 2023): multiple choice questions in Chinese, 67 subjects.

`dev/<subject>.csv` (five questions each, the examples of few-shot prompts) and `test/<subject>.csv`, with the columns
`Question, A, B, C, D, Answer` after an unnamed number. What is dev there is validation here.
"""

from collections.abc import Iterator
from pathlib import Path

from loragrid.data.drops import Drops
from loragrid.data.layouts import Unusable, record
from loragrid.data.records import ChoiceQuestion, Record
from loragrid.data.sources.base import HubDataset, NoOptions, Remote, Size
from loragrid.data.tables import data_files, rows
from loragrid.errors import UserError, shortened
from loragrid.study.choices import Choice

VERSION = 1
LICENCE = "CC BY-NC-SA 4.0"
HOMEPAGE = "https://github.com/haonan-li/CMMLU"
REMOTE = Remote(hub=HubDataset(id="haonan-li/cmmlu", files=["*.zip", "*.csv"]))
SIZE = Size(rows={"validation": 335, "test": 11_582}, tokens=90)
KIND = ChoiceQuestion
STEPS: list[Choice] = ["unicode", {"whitespace": {"within": "single"}}]
FORMAT = None
FACETS = ("subject",)

Options = NoOptions

COLUMNS = ("Question", "A", "B", "C", "D", "Answer")


def read(folder: Path, options: NoOptions, drops: Drops) -> Iterator[tuple[str, Record]]:
    """Read the files of all subjects.

    Args:
        folder: holds `dev` and `test`, at any depth.
        options: none.
        drops: counts rows and what is dropped of them.

    Yields:
        Split and record.

    Raises:
        UserError: there are no such files, or one has other columns.
    """
    for split, path in data_files(folder, (".csv",)):
        for where, row in rows(path, path.relative_to(folder).as_posix(), split, drops):
            if missing := [column for column in COLUMNS if column not in row]:
                found = shortened(", ".join(row))
                raise UserError(f"{path}: no column {', '.join(missing)}; expected {', '.join(COLUMNS)}; found {found}")
            fields = {
                **row,
                "question": row["Question"],
                "answer": row["Answer"].strip(),
                "id": f"{path.stem}:{row.get('', where)}",
            }
            # A question whose right choice is itself a letter must not be taken for that letter's place.
            if fields["answer"] not in ("A", "B", "C", "D"):
                drops.add("the answer is none of the choices", where=where, split=split)
                continue
            try:
                yield (
                    split,
                    record(
                        "choice", {**fields, "answer": "ABCD".index(fields["answer"])}, where, {"subject": path.stem}
                    ),
                )
            except Unusable as problem:
                drops.add(str(problem), where=where, split=split)
