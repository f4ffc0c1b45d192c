"""Two studies that share a run, a model and data, started at the same moment in one folder."""

import subprocess

import pytest
from workspace import environment

NUMBERS = ("rouge1", "rougeL", "sacrebleu", "perplexity", "bits_per_byte")


@pytest.mark.slow
def test_what_two_studies_share_is_made_once_and_is_the_same(fresh, finished_once):
    fresh.study("other", grid={"rank": [2], "alpha": [4, 16]}, untrained=[])
    heads = {}
    for study in ("nano", "other"):
        log = fresh.folder / f"{study}.log"
        with log.open("w") as output:
            heads[study] = subprocess.Popen(fresh.command("--nolock", study=study), cwd=fresh.folder, env=environment(),
                                            stdout=output, stderr=output)  # fmt: skip
    for study, head in heads.items():
        assert head.wait() == 0, (fresh.folder / f"{study}.log").read_text()[-6000:] + fresh.last_logs()
    shared = fresh.runs()["r2-a4-s42"]
    for place in (shared, *shared.glob("eval/*")):
        (attempt,) = {line["attempt"] for line in fresh.json_lines(place / "work" / "attempts.jsonl")}
        assert attempt == 1
        assert [line["ended"] for line in fresh.json_lines(place / "work" / "attempts.jsonl") if "ended" in line] == [
            "finished"
        ]
    expected = row_of(finished_once.table(), "4")
    # In another fresh clone, and beside another study, the whole table is the same.
    ours, theirs = (place.folder / "results/studies/nano/comparison.csv" for place in (fresh, finished_once))
    assert ours.read_bytes() == theirs.read_bytes()
    for study in heads:
        assert {row["status"] for row in fresh.table(study)} == {"done"}
        row = row_of(fresh.table(study), "4")
        assert {name: row[name] for name in NUMBERS} == {name: expected[name] for name in NUMBERS}


def row_of(table, alpha):
    (row,) = (row for row in table if row["alpha"] == alpha)
    return row
