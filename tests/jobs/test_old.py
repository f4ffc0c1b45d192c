"""Runs that an older loragrid has left behind."""

from loragrid.files import write_json, write_text
from loragrid.jobs.old import VERSION, about_old_runs


def test_runs_without_a_version_are_told_in_a_sentence(tmp_path):
    assert about_old_runs(tmp_path) is None
    write_json(tmp_path / "llama/ed/r4-a8-s1-aaaa/run.json", {"key": "a", "version": VERSION})
    write_text(tmp_path / "llama/ed/r4-a8-s1-bbbb/run.json", "{")
    assert about_old_runs(tmp_path) is None
    write_json(tmp_path / "llama/ed/r4-a8-s1-cccc/run.json", {"key": "c"})
    told = about_old_runs(tmp_path)
    assert told.startswith(f"1 run is of an older loragrid ({tmp_path}/llama/ed/r4-a8-s1-cccc)")
    assert "none of it is used" in told
    write_json(tmp_path / "llama/ed/r4-a8-s1-dddd/run.json", {"key": "d"})
    assert about_old_runs(tmp_path).startswith("2 runs are of an older loragrid")
