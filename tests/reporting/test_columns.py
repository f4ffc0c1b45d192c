"""How values are shown, whatever they are values of."""

import dataclasses
import re
from pathlib import Path

import pytest

from loragrid.comparing.collect import collect
from loragrid.reporting.columns import Column, Table
from loragrid.reporting.formats import to_csv, to_latex, to_markdown, to_text
from loragrid.reporting.overview import overview
from loragrid.reporting.short import short
from loragrid.reporting.tables import comparison
from loragrid.reporting.tabulate import tabulate, terminal_table

TABLE = Table(
    [
        Column("run", "run", "name"),
        Column("chrf", "chrF", "number", 1, higher_is_better=True),
        Column("length", "words", "number", 0),
        Column("ppl", "perplexity", "number", higher_is_better=False),
    ],
    [{"run": "a|b", "chrf": 41.23456789, "length": 12, "ppl": 3.0}, {"run": "c", "chrf": None, "length": 7, "ppl": 12}],
)


@pytest.mark.parametrize(
    ("kind", "value", "shown"),
    [
        ("count", 350_000, "350k"), ("count", 24, "24"), ("number", 0.12345, "0.123"), ("number", -0.0, "0.000"),
        ("difference", 0.5, "+0.500"), ("difference", -0.5, "-0.500"), ("share", 0.75, "75.0 %"),
        ("probability", 0.0031234, "0.0031"),
        ("setting", 2048.0, "2048"), ("setting", 1e-4, "0.0001"), ("setting", 123456, "123456"),
        ("setting", "q_proj", "q_proj"), ("setting", True, "True"), ("verdict", "better", "better"),
        ("number", float("nan"), ""), ("share", None, ""),
    ],
)  # fmt: skip
def test_values(kind, value, shown):
    assert Column("x", "x", kind).shown(value) == shown


def test_one_table_as_csv_markdown_latex_and_text():
    assert to_csv(TABLE) == "run,chrf,length,ppl\na|b,41.2346,12,3\nc,,7,12\n"
    assert to_markdown(TABLE) == (
        "| run  | chrF ↑ | words | perplexity ↓ |\n"
        "| ---- | -----: | ----: | -----------: |\n"
        "| a\\|b |   41.2 |    12 |        3.000 |\n"
        "| c    |        |     7 |       12.000 |\n"
    )
    assert r"run & chrF $\uparrow$ & words & perplexity $\downarrow$ \\" in to_latex(TABLE, "x")
    assert to_text(TABLE, 80) == "run  chrF  words  perplexity\na|b  41.2     12  3.000\nc              7  12.000\n"


def test_a_table_without_rows_has_its_columns_in_csv():
    assert to_csv(Table(TABLE.columns, [])) == "run,chrf,length,ppl\n"


def test_the_short_table_shows_the_headline_and_the_first_others_that_the_study_has(demo):
    def header():
        tabulate(demo.grid)
        lines = Path("results/studies/demo/comparison.md").read_text().splitlines()
        return re.split(r" +\| +", next(line for line in lines if line.startswith("| run")))[6:-1]

    assert header() == ["bits/byte ↓", "gain", "ROUGE-L ↑", "BLEU ↑"]
    for id_, answers in demo.grid.answers.items():
        demo.grid.answers[id_] = dataclasses.replace(answers, scores={"rouge": answers.scores["rouge"]})
    assert header() == ["ROUGE-L ↑", "gain"]
    assert "ROUGE-L" in terminal_table(demo.grid)


def test_an_evaluation_without_the_headline_shows_what_it_has(demo):
    study = overview(collect(demo.grid))
    rows = [row | {"bits_per_byte": None, "sacrebleu": None} for row in comparison(study).rows]
    table = short(study, rows)
    assert [column.title for column in table.columns[-2:]] == ["ROUGE-L", "verdict"]
    assert "gain" not in {column.title for column in table.columns}
    assert any(row["rougeL"] is not None for row in table.rows)  # one has failed
