"""Files are whole or absent."""

import stat

import pytest

from loragrid import files
from loragrid.errors import UserError


def test_an_interrupted_write_leaves_the_old_file_and_nothing_else(tmp_path):
    target = tmp_path / "out.json"
    files.write_json(target, {"a": 1})

    def interrupted():
        with files.replacing(target) as file:
            file.write("half of")
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert files.read_json(target) == {"a": 1}
    assert list(tmp_path.iterdir()) == [target]


def test_written_files_are_readable_as_the_umask_says(tmp_path):
    files.write_text(tmp_path / "out", "x")
    assert stat.S_IMODE((tmp_path / "out").stat().st_mode) & 0o444 == 0o444


def test_bad_json_lines_are_named_by_file_and_line(tmp_path):
    bad = tmp_path / "bad.jsonl"
    bad.write_text('{"a": 1}\n{"a":\n')
    with pytest.raises(UserError, match=r"bad\.jsonl:2: not valid JSON"):
        list(files.read_jsonl(bad))


def test_canonical_json_ignores_the_order_of_keys():
    assert (
        files.canonical({"b": 1, "a": [1.5, "ü"]})
        == files.canonical({"a": [1.5, "ü"], "b": 1})
        == '{"a":[1.5,"ü"],"b":1}'
    )
