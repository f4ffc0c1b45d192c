"""Raw data and models come into their folders, from disk, from servers and from a hub."""

import gzip
import hashlib
import io
import json
import os
import subprocess
import sys
import tarfile
import threading
import zipfile
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import unquote, urlsplit

import pytest

from loragrid.data import digest as digest_module
from loragrid.data.digest import digest_of, files_below
from loragrid.data.download import download_dataset, download_model
from loragrid.errors import UserError

COMMIT = "0123456789abcdef0123456789abcdef01234567"
TOKEN = "hf_" + "verysecret" * 3


def tree(folder):
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file() and not path.name.startswith(".")
    }


def manifest(folder, name="provenance.json"):
    return json.loads((folder / name).read_text())


@pytest.fixture
def local(tmp_path):
    folder = tmp_path / "mine"
    (folder / "sub").mkdir(parents=True)
    (folder / "train.csv").write_text("a")
    (folder / "sub" / "test.csv").write_text("b")
    (folder / ".hidden").write_text("c")
    return folder


def dataset(out, path=None, revision=None, remote=None, source="empathetic_dialogues"):
    download_dataset(out, source, path=str(path) if path else None, revision=revision, remote=remote)


def test_local_folder_is_copied_and_its_place_not_told(tmp_path, local):
    dataset(tmp_path / "out", local)
    provenance = manifest(tmp_path / "out")
    assert sorted(tree(tmp_path / "out")) == ["provenance.json", "sub/test.csv", "train.csv"]
    assert str(tmp_path) not in json.dumps(provenance)
    assert provenance["path"] == "mine"
    assert provenance["licence"] == "CC BY-NC 4.0"
    assert provenance["files"]["train.csv"] == {"sha256": hashlib.sha256(b"a").hexdigest(), "bytes": 1}


def test_local_file_is_copied(tmp_path, local):
    dataset(tmp_path / "out", local / "train.csv")
    assert sorted(tree(tmp_path / "out")) == ["provenance.json", "train.csv"]


def test_repeated_download_gives_the_same_bytes_and_no_leftovers(tmp_path, local):
    out = tmp_path / "out"
    dataset(out, local)
    first = tree(out)
    (out / "train.csv").write_text("damaged")
    (out / "old.csv").write_text("from an earlier form of the data")
    (out / "provenance.json").unlink()  # as Snakemake does before it runs a rule again
    dataset(out, local)
    assert tree(out) == first


def test_folder_with_files_of_somebody_else_is_not_touched(tmp_path, local):
    out = tmp_path / "out"
    out.mkdir()
    (out / "thesis.txt").write_text("precious")
    with pytest.raises(UserError, match="not downloaded by loragrid"):
        dataset(out, local)
    assert tree(out) == {"thesis.txt": b"precious"}


def test_missing_or_overlapping_local_path_is_told_and_costs_nothing(tmp_path, local):
    out = tmp_path / "out"
    dataset(out, local)
    before = tree(out)
    with pytest.raises(UserError, match="nowhere: no such file or folder"):
        dataset(out, tmp_path / "nowhere")
    with pytest.raises(UserError, match="move it elsewhere"):
        dataset(out, tmp_path)
    assert tree(out) == before


def test_remote_files_and_archive_members_arrive(tmp_path):
    content = b"conv_id\n"
    tar = tmp_path / "x.tar.gz"
    with tarfile.open(tar, "w:gz") as opened:
        for name in ("d/train.csv", "d/README"):
            info = tarfile.TarInfo(name)
            info.size = len(content)
            opened.addfile(info, io.BytesIO(content))
    plain = tmp_path / "plain.csv"
    plain.write_bytes(b"p")

    def sha(path):
        return hashlib.sha256(path.read_bytes()).hexdigest()

    remote = {
        "files": [
            {"url": tar.as_uri(), "sha256": sha(tar), "name": "x.tar.gz", "members": ["d/train.csv"]},
            {"url": plain.as_uri(), "sha256": sha(plain), "name": "plain.csv"},
        ]
    }
    out = tmp_path / "out"
    dataset(out, remote=remote)
    assert sorted(tree(out)) == ["d/train.csv", "plain.csv", "provenance.json"]
    assert [file["sha256"] for file in manifest(out)["urls"]] == [sha(tar), sha(plain)]
    before = tree(out)
    dataset(out, remote=remote)
    assert tree(out) == before


def test_a_failed_download_leaves_no_manifest_and_the_next_one_goes_on(tmp_path):
    plain = tmp_path / "plain.csv"
    plain.write_bytes(b"p")
    good = {"url": plain.as_uri(), "sha256": hashlib.sha256(b"p").hexdigest(), "name": "plain.csv"}
    late = {"url": (tmp_path / "late").as_uri(), "sha256": hashlib.sha256(b"l").hexdigest(), "name": "late.csv"}
    out = tmp_path / "out"
    with pytest.raises(UserError, match="no such file"):
        dataset(out, remote={"files": [good, late]})
    assert sorted(tree(out)) == ["plain.csv"]
    (tmp_path / "late").write_bytes(b"l")
    plain.unlink()  # not needed a second time
    dataset(out, remote={"files": [good, late]})
    assert sorted(tree(out)) == ["late.csv", "plain.csv", "provenance.json"]


def test_wrong_remote_settings_are_told_with_their_key(tmp_path):
    with pytest.raises(UserError, match=r"remote\.files\.0\.sha256"):
        dataset(tmp_path / "out", remote={"files": [{"url": "https://a/b", "name": "b"}]})
    with pytest.raises(UserError, match="either `files` or `hub`"):
        dataset(tmp_path / "out", remote={})
    with pytest.raises(UserError, match="`revision` is for datasets on the hub"):
        dataset(tmp_path / "out", revision="main")


def test_local_model_is_linked_without_pickles_code_or_second_copies(tmp_path):
    model = tmp_path / "model"
    (model / "original").mkdir(parents=True)
    (tmp_path / "blob").write_bytes(b"weights")
    (model / "model.safetensors").symlink_to(tmp_path / "blob")  # as in the hub's cache
    for name in ("config.json", "tokenizer.model", "pytorch_model.bin", "modeling.py", "original/params.json"):
        (model / name).write_text("{}")
    out = tmp_path / "out"
    download_model(out, "owner/name", "v1", str(model))
    assert sorted(tree(out)) == ["config.json", "model.json", "model.safetensors", "tokenizer.model"]
    assert (out / "model.safetensors").stat().st_ino == (tmp_path / "blob").stat().st_ino
    facts = manifest(out, "model.json")
    assert (facts["id"], facts["revision"]) == ("owner/name", "v1")
    assert facts["files"]["model.safetensors"]["sha256"] == hashlib.sha256(b"weights").hexdigest()


def test_model_with_pickled_weights_only_is_refused(tmp_path):
    model = tmp_path / "model"
    model.mkdir()
    for name in ("config.json", "pytorch_model.bin"):
        (model / name).write_text("{}")
    with pytest.raises(UserError, match=r"no \*\.safetensors weights.*refs/pr"):
        download_model(tmp_path / "out", "owner/name", "main", str(model))
    assert not (tmp_path / "out").exists()


def test_an_adapter_is_no_model_and_one_beside_a_model_is_left_out(tmp_path):
    model = tmp_path / "model"
    model.mkdir()
    for name in ("adapter_config.json", "adapter_model.safetensors", "tokenizer.json"):
        (model / name).write_text("{}")
    with pytest.raises(UserError, match="this is an adapter and no model: name the model that it was trained"):
        download_model(tmp_path / "out", "owner/name", "main", str(model))
    assert not (tmp_path / "out").exists()
    for name in ("config.json", "model.safetensors"):
        (model / name).write_text("{}")
    download_model(tmp_path / "out", "owner/name", "main", str(model))
    assert sorted(tree(tmp_path / "out")) == ["config.json", "model.json", "model.safetensors", "tokenizer.json"]


# --- a hub ---------------------------------------------------------------------------------------------------------


def zipped(members):
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    return file.getvalue()


REPOS = {
    "models/owner/name": {
        "config.json": b"{}",
        "model.safetensors": b"weights",
        "tokenizer.json": b"{}",
        "pytorch_model.bin": b"pickle",
        "modeling_evil.py": b"raise SystemExit",
        "README.md": b"text",
    },
    "models/owner/gated": {"config.json": b"{}", "model.safetensors": b"weights"},
    "models/owner/pickled": {"pytorch_model.bin": b"pickle", "config.json": b"{}"},
    "datasets/owner/zipped": {"x/TweetSumm.zip": zipped({"TweetSumm/train.json": b"{}"})},
    "datasets/owner/tweets": {"x/TweetSumm/train.json": b"{}", "x/Other/train.json": b"{}", "load.py": b"raise"},
}


class Hub(BaseHTTPRequestHandler):
    """The few answers of the hub that huggingface_hub asks for."""

    seen: list
    on_the_way: dict

    def log_message(self, *args):
        pass

    def answer(self, status, body=b"", **headers):
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name.replace("_", "-"), value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def json(self, value):
        self.answer(200, json.dumps(value).encode(), Content_Type="application/json")

    def do_HEAD(self):
        self.do_GET()

    def do_GET(self):
        path = unquote(urlsplit(self.path).path).strip("/")
        self.seen.append((self.command, path, self.headers.get("Authorization")))
        if "gated" in path and "/resolve/" in path:
            return self.answer(403, X_Error_Code="GatedRepo", X_Error_Message="gated")
        if path.startswith("api/"):
            name, _, rest = path.removeprefix("api/").partition("/revision/")
            name, _, listing = (path.removeprefix("api/") if not rest else name).partition("/tree/")
            if name not in REPOS:
                return self.answer(404, X_Error_Code="RepoNotFound", X_Error_Message="no")
            if (rest or listing) not in ("main", COMMIT):
                return self.answer(404, X_Error_Code="RevisionNotFound", X_Error_Message="no")
            files = REPOS[name]
            if listing:
                return self.json(
                    [{"type": "file", "path": f, "size": len(b), "oid": git_hash(b)} for f, b in files.items()]
                )
            # As the hub, it says more of a file where it is asked for (`blobs=true`).
            more = "blobs" in urlsplit(self.path).query.lower()
            siblings = [{"rfilename": file, **(described(file, body) if more else {})} for file, body in files.items()]
            return self.json({"id": name.partition("/")[2], "sha": COMMIT, "siblings": siblings, "tags": []})
        name, _, rest = path.partition("/resolve/")
        name = name if name.startswith("datasets/") else f"models/{name}"
        body = REPOS[name][rest.partition("/")[2]]
        if change := self.on_the_way.get(rest.partition("/")[2]):
            body = change(body)
        return self.answer(200, body, ETag=f'"{git_hash(body)}"', X_Repo_Commit=COMMIT)


def sha256(body):
    return hashlib.sha256(body).hexdigest()


def described(file, body):
    """What the hub says of a file: weights are in git's large file storage."""
    lfs = {"size": len(body), "sha256": sha256(body), "pointerSize": 130}
    return {"size": len(body), "blobId": git_hash(body), **({"lfs": lfs} if file.endswith(".safetensors") else {})}


def git_hash(body):
    return hashlib.sha1(b"blob %d\0" % len(body) + body, usedforsecurity=False).hexdigest()


@pytest.fixture
def hub():
    class Recorded(Hub):
        seen = []  # noqa: RUF012
        on_the_way = {}  # noqa: RUF012 – what something between hub and user makes of a file

    with ThreadingHTTPServer(("127.0.0.1", 0), Recorded) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        server.seen, server.on_the_way = Recorded.seen, Recorded.on_the_way
        yield server
        server.shutdown()
        thread.join()


def in_process(tmp_path, hub, code, **environment):
    """Run code in a process of its own: huggingface_hub reads its settings when it is imported."""
    env = {name: value for name, value in os.environ.items() if "proxy" not in name.lower() and name[:3] != "HF_"}
    env |= {"HF_HOME": str(tmp_path / "home"), "HF_HUB_DISABLE_PROGRESS_BARS": "1", "HF_HUB_DISABLE_TELEMETRY": "1"}
    env |= {"HF_ENDPOINT": f"http://127.0.0.1:{hub.server_port}"} | environment
    program = (
        "import sys\nfrom pathlib import Path\nfrom loragrid.errors import UserError\n"
        "from loragrid.data.download import download_dataset, download_model\n"
        "def attempt(function, *args, **kwargs):\n"
        "    try:\n        function(*args, **kwargs); print('done')\n"
        "    except UserError as error:\n        print('UserError', error)\n"
        f"out = Path({str(tmp_path)!r})\n{code}\n"
    )
    result = subprocess.run([sys.executable, "-c", program], env=env, capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stderr
    return result


def test_model_and_dataset_come_from_a_fake_hub(tmp_path, hub):
    code = (
        "attempt(download_model, out / 'model', 'owner/name', 'main', None)\n"
        "remote = {'hub': {'id': 'owner/tweets', 'files': ['*TweetSumm*']}}\n"
        "for _ in range(2):\n"
        "    attempt(download_dataset, out / 'data', 'tweetsumm', path=None, revision=None, remote=remote)\n"
    )
    code += (
        "remote = {'hub': {'id': 'owner/zipped', 'files': ['*TweetSumm*']}}\n"
        "attempt(download_dataset, out / 'zipped', 'tweetsumm', path=None, revision=None, remote=remote)\n"
    )
    result = in_process(tmp_path, hub, code, HF_TOKEN=TOKEN)
    assert result.stdout.split() == ["done"] * 4, result.stdout
    assert sorted(tree(tmp_path / "model")) == ["config.json", "model.json", "model.safetensors", "tokenizer.json"]
    facts = manifest(tmp_path / "model", "model.json")
    assert (facts["id"], facts["revision"]) == ("owner/name", COMMIT)
    assert sorted(tree(tmp_path / "data")) == ["provenance.json", "x/TweetSumm/train.json"]
    assert manifest(tmp_path / "data")["revision"] == COMMIT
    assert sorted(tree(tmp_path / "zipped")) == ["provenance.json", "x/TweetSumm/train.json"]
    assert {authorization for _, _, authorization in hub.seen} == {f"Bearer {TOKEN}"}
    for path in tmp_path.rglob("*"):
        assert path.is_dir() or TOKEN.encode() not in path.read_bytes()
    assert TOKEN not in result.stdout + result.stderr


def test_refusals_say_what_to_do_and_never_the_token_with_a_fake_hub(tmp_path, hub):
    code = (
        "attempt(download_model, out / 'a', 'owner/gated', 'main', None)\n"
        "attempt(download_model, out / 'b', 'owner/none', 'main', None)\n"
        "attempt(download_model, out / 'c', 'owner/name', 'v9', None)\n"
        "attempt(download_model, out / 'd', 'owner/pickled', 'main', None)\n"
        "attempt(download_model, out / 'e', 'not a name', 'main', None)\n"
    )
    result = in_process(tmp_path, hub, code, HF_TOKEN=TOKEN)
    gated, none, revision, pickled, name = result.stdout.splitlines()
    assert "accept its licence on https://huggingface.co/owner/gated" in gated
    assert "HF_TOKEN" in gated
    assert "owner/none: no such model on the hub" in none
    assert "no revision 'v9'" in revision
    assert "no *.safetensors weights" in pickled
    assert "not the name of a model" in name
    assert TOKEN not in result.stdout + result.stderr
    assert not list(tmp_path.rglob("model.json"))


@pytest.mark.parametrize(
    ("file", "change", "said"),
    [
        ("model.safetensors", lambda body: body[:3], "expected 7 bytes, got 3"),
        ("model.safetensors", lambda body: b"Weights", f"expected sha256 {sha256(b'weights')}, got"),
        ("tokenizer.json", gzip.compress, "expected 2 bytes, got"),
        ("config.json", lambda body: b"[]", f"expected git hash {git_hash(b'{}')}, got {git_hash(b'[]')}"),
    ],
    ids=["cut off", "replaced", "compressed", "another answer"],
)
def test_what_something_on_the_way_changes_is_refused_with_a_fake_hub(tmp_path, hub, file, change, said):
    hub.on_the_way[file] = change
    code = "attempt(download_model, out / 'model', 'owner/name', 'main', None)\n"
    result = in_process(tmp_path, hub, code)
    assert f"owner/name: {file} is not what the hub says it is: {said}" in result.stdout
    assert not (tmp_path / "model/model.json").exists()
    # Once nothing is in the way any more, it goes on.
    hub.on_the_way.clear()
    assert in_process(tmp_path, hub, code).stdout.split() == ["done"]


def test_no_network_is_told_with_a_fake_hub_that_is_gone(tmp_path, hub):
    code = "attempt(download_model, out / 'a', 'owner/name', 'main', None)"
    offline = in_process(tmp_path, hub, code, HF_HUB_OFFLINE="1")
    gone = in_process(tmp_path, hub, code, HF_ENDPOINT="http://127.0.0.1:9")
    for result in (offline, gone):
        assert "owner/name: the hub cannot be reached" in result.stdout
        assert "`path`" in result.stdout


# --- digests -------------------------------------------------------------------------------------------------------


def test_digest_depends_on_names_and_contents_only(tmp_path, local):
    before = digest_of(local)
    os.utime(local / "train.csv", (1, 1))
    (local / ".hidden").write_text("other")
    local.rename(tmp_path / "moved")
    assert digest_of(tmp_path / "moved") == before
    (tmp_path / "moved" / "train.csv").rename(tmp_path / "moved" / "valid.csv")
    renamed = digest_of(tmp_path / "moved")
    (tmp_path / "moved" / "valid.csv").write_text("z")
    assert len({before, renamed, digest_of(tmp_path / "moved")}) == 3


def test_digest_follows_links_but_not_in_circles(tmp_path, local):
    before = digest_of(local)
    copy = tmp_path / "links"
    copy.mkdir()
    (copy / "train.csv").symlink_to(local / "train.csv")
    (copy / "sub").symlink_to(local / "sub")
    assert digest_of(copy) == before
    (local / "sub" / "up").symlink_to(local)
    assert digest_of(local) == before


def test_digest_of_nothing_is_told(tmp_path):
    with pytest.raises(UserError, match="no such file or folder"):
        digest_of(tmp_path / "nowhere")
    with pytest.raises(UserError, match="no files"):
        files_below(tmp_path)


def test_digest_cache_saves_reading_and_notices_changes(tmp_path, local, monkeypatch):
    cache = tmp_path / "cache.json"
    for name in ("train.csv", "sub/test.csv"):
        os.utime(local / name, (1, 1))
    before = digest_of(local, cache)
    read = []
    monkeypatch.setattr(digest_module, "sha256_of", lambda path: read.append(path.name) or "0" * 64)
    assert digest_of(local, cache) == before
    assert read == []
    (local / "train.csv").write_text("b")
    assert digest_of(local, cache) != before
    assert read == ["train.csv"]
    # A file changed just now may change again within the same tick of the clock: it is not remembered.
    digest_of(local, cache)
    assert read == ["train.csv", "train.csv"]


def test_damaged_digest_cache_is_ignored(tmp_path, local):
    cache = tmp_path / "cache.json"
    for damage in ("{", "[]", json.dumps({str(Path(local / "train.csv").resolve()): 3})):
        cache.write_text(damage)
        assert digest_of(local, cache) == digest_of(local)


def test_sources_import_stays_light():
    code = (
        "import sys, loragrid.data.sources, loragrid.data.digest\n"
        "print(*sorted({'requests', 'huggingface_hub', 'datasets', 'pandas', 'numpy', 'torch'} & set(sys.modules)))"
    )
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert loaded.split() == []
