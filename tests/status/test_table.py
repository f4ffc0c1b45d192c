"""What is said of a table with failed rows."""

from loragrid.status.table import failed_rows


def test_failed_rows_are_told_with_their_reasons(tmp_path):
    table = tmp_path / "comparison.csv"
    assert failed_rows(table) == []
    head = "model,run,evaluation,status,reason\n"
    table.write_text(head + "base,r4,test,done,\n")
    assert failed_rows(table) == []
    table.write_text(head + "base,r4,test,done,\n" + "".join(f"base,r{n},test,failed,damaged\n" for n in range(7)))
    first, *rows, more = failed_rows(table)
    assert first == f"7 of 8 rows of {table} failed, and their numbers are missing:"
    assert rows == [f"  - base, r{n}, test: damaged" for n in range(5)]
    assert more == "  - and 2 more"
