"""Files are whole or absent."""

import stat
import subprocess
import sys

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
    bad.write_bytes(b'{"a": 1}\n{"a": "\xe4"}\n')
    with pytest.raises(UserError, match=r"bad\.jsonl:2: not valid UTF-8"):
        list(files.read_jsonl(bad))


def test_canonical_json_ignores_the_order_of_keys():
    assert (
        files.canonical({"b": 1, "a": [1.5, "ü"]})
        == files.canonical({"a": [1.5, "ü"], "b": 1})
        == '{"a":[1.5,"ü"],"b":1}'
    )


MAKES = """
import sys
from pathlib import Path
from loragrid.files import make_once

def make():
    print("makes", flush=True)
    sys.stdin.readline()
    folder.mkdir()
    (folder / "model.json").touch()

folder = Path("data/model")
make_once(folder, ["model.json"], make)
"""


def test_what_two_processes_want_is_made_once(tmp_path):
    def start():
        return subprocess.Popen([sys.executable, "-c", MAKES], cwd=tmp_path, text=True, stdin=subprocess.PIPE,
                                stdout=subprocess.PIPE)  # fmt: skip

    with start() as first, start() as second:
        # Either may be the first; it goes on once the other one has said that it waits.
        said = first.stdout.readline(), second.stdout.readline()
        assert sorted(line.split()[0] for line in said) == ["data/model:", "makes"]
        maker, waiting = (first, second) if said[0] == "makes\n" else (second, first)
        maker.communicate("\n")
        rest, _ = waiting.communicate()
    assert rest == "data/model: is there; to make it again, delete it\n"
    assert maker.returncode == waiting.returncode == 0


def test_what_a_killed_process_was_making_is_made_by_the_next(tmp_path):
    with subprocess.Popen([sys.executable, "-c", MAKES], cwd=tmp_path, text=True, stdin=subprocess.PIPE,
                          stdout=subprocess.PIPE) as killed:  # fmt: skip
        assert killed.stdout.readline() == "makes\n"
        killed.kill()
    subprocess.run([sys.executable, "-c", MAKES], cwd=tmp_path, input="\n", text=True, check=True)
    assert (tmp_path / "data/model/model.json").exists()
