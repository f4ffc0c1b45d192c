"""Downloads over a real web server on this machine that behaves as badly as servers do."""

import hashlib
import io
import re
import stat
import tarfile
import threading
import zipfile
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from loragrid.data import fetch as module
from loragrid.data.fetch import extract, fetch, unzip
from loragrid.errors import UserError

BODY = bytes(n * n % 251 for n in range(300_000))
SHA256 = hashlib.sha256(BODY).hexdigest()


class Server(ThreadingHTTPServer):
    """Serves one body; the attributes say how it misbehaves."""

    daemon_threads = True

    def __init__(self):
        super().__init__(("127.0.0.1", 0), Handler)
        self.body = BODY
        self.etag = '"v1"'
        self.ranges = True
        self.cuts = []  # for each request: after how many bytes the connection is cut
        self.statuses = []  # for each request: an error to answer with
        self.announced = None  # a Content-Length other than the true one
        self.requests = []
        self.url = f"http://127.0.0.1:{self.server_port}/file.bin"


class Handler(BaseHTTPRequestHandler):
    def log_message(self, *args):
        pass

    def do_GET(self):
        server = self.server
        server.requests.append(dict(self.headers))
        status = server.statuses.pop(0) if server.statuses else None
        if status:
            self.send_response(status)
            self.send_header("Content-Length", "0")
            self.send_header("Location", "http://example.org/file.bin")
            self.end_headers()
            return
        wanted = re.fullmatch(r"bytes=(\d+)-", self.headers.get("Range", ""))
        start = 0
        if wanted and server.ranges and self.headers.get("If-Range") == server.etag:
            start = int(wanted[1])
        body = server.body[start:]
        if start and not body:
            self.send_response(416)
            self.send_header("Content-Range", f"bytes */{len(server.body)}")
            self.send_header("Content-Length", "0")
            self.end_headers()
            return
        self.send_response(206 if start else 200)
        if start:
            self.send_header("Content-Range", f"bytes {start}-{len(server.body) - 1}/{len(server.body)}")
        if server.etag:
            self.send_header("ETag", server.etag)
        self.send_header("Content-Length", str(server.announced or len(body)))
        self.end_headers()
        cut = server.cuts.pop(0) if server.cuts else None
        self.wfile.write(body[:cut])


@pytest.fixture
def server(monkeypatch):
    monkeypatch.setattr(module, "BACKOFF", 0.001)
    monkeypatch.setattr(module, "CHUNK", 4096)
    for name in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.delenv(name, raising=False)
    with Server() as running:
        thread = threading.Thread(target=running.serve_forever, args=(0.01,))
        thread.start()
        yield running
        running.shutdown()
        thread.join()


def names(folder):
    return sorted(entry.name for entry in folder.iterdir())


def test_whole_file_arrives_and_nothing_else_stays(server, tmp_path):
    fetch(server.url, tmp_path / "new" / "out.bin", SHA256, bytes=len(BODY))
    assert (tmp_path / "new" / "out.bin").read_bytes() == BODY
    assert names(tmp_path / "new") == ["out.bin"]


def test_a_file_that_is_there_is_not_asked_for_again(server, tmp_path):
    (tmp_path / "out.bin").write_bytes(BODY)
    fetch(server.url, tmp_path / "out.bin", SHA256)
    assert server.requests == []


def test_a_cut_connection_is_resumed_where_it_broke_off(server, tmp_path):
    server.cuts = [100_000, 50_000]
    fetch(server.url, tmp_path / "out.bin", SHA256)
    assert (tmp_path / "out.bin").read_bytes() == BODY
    ranges = [request.get("Range") for request in server.requests]
    assert ranges[0] is None
    assert len(ranges) == 3
    starts = [int(re.search(r"\d+", text)[0]) for text in ranges[1:]]
    assert 0 < starts[0] <= 100_000 < starts[1] <= 150_000
    assert all(request["If-Range"] == '"v1"' for request in server.requests[1:])


def test_a_server_without_ranges_sends_all_again(server, tmp_path):
    server.ranges = False
    server.cuts = [200_000]
    fetch(server.url, tmp_path / "out.bin", SHA256)
    assert (tmp_path / "out.bin").read_bytes() == BODY


def test_a_weak_or_missing_tag_starts_again_instead_of_mixing_files(server, tmp_path):
    server.etag = 'W/"v1"'
    server.cuts = [200_000]
    fetch(server.url, tmp_path / "out.bin", SHA256)
    assert (tmp_path / "out.bin").read_bytes() == BODY
    assert "Range" not in server.requests[1]


def test_a_later_call_goes_on_from_what_an_earlier_one_kept(server, tmp_path):
    server.cuts = [100_000] + [0] * 10
    with pytest.raises(UserError, match=r"gave up after 5 attempts .* are kept; run it again"):
        fetch(server.url, tmp_path / "out.bin", SHA256)
    kept = (tmp_path / "out.bin.part").stat().st_size
    assert 0 < kept <= 100_000
    server.cuts, server.requests = [], []
    fetch(server.url, tmp_path / "out.bin", SHA256)
    assert server.requests[0]["Range"] == f"bytes={kept}-"
    assert names(tmp_path) == ["out.bin"]


def test_a_file_changed_at_the_server_between_attempts_is_fetched_whole(server, tmp_path):
    server.body = b"old" * 50_000
    server.cuts = [100_000] + [0] * 10
    with pytest.raises(UserError):
        fetch(server.url, tmp_path / "out.bin", SHA256)
    server.body, server.etag, server.cuts = BODY, '"v2"', []
    fetch(server.url, tmp_path / "out.bin", SHA256)
    assert (tmp_path / "out.bin").read_bytes() == BODY


def test_all_bytes_there_but_not_yet_checked_needs_no_second_transfer(server, tmp_path):
    (tmp_path / "out.bin.part").write_bytes(BODY)
    module.write_json(tmp_path / "out.bin.part.json", {"url": server.url, "validator": '"v1"'})
    fetch(server.url, tmp_path / "out.bin", SHA256)
    assert names(tmp_path) == ["out.bin"]


def test_server_errors_pass_when_they_end_in_time(server, tmp_path):
    server.statuses = [503, 500, 429]
    fetch(server.url, tmp_path / "out.bin", SHA256)
    assert len(server.requests) == 4


def test_server_errors_that_last_are_told(server, tmp_path):
    server.statuses = [503] * 20
    with pytest.raises(UserError, match="answers 503"):
        fetch(server.url, tmp_path / "out.bin", SHA256)
    assert len(server.requests) == module.ATTEMPTS


def test_a_missing_page_is_told_at_once(server, tmp_path):
    server.statuses = [404]
    with pytest.raises(UserError, match=r"file\.bin: the server answers 404"):
        fetch(server.url, tmp_path / "out.bin", SHA256)
    assert len(server.requests) == 1


def test_wrong_bytes_are_removed_and_both_hashes_told(server, tmp_path):
    server.body = b"<html>Please log in</html>"
    with pytest.raises(UserError) as error:
        fetch(server.url, tmp_path / "out.bin", SHA256)
    assert SHA256 in str(error.value)
    assert hashlib.sha256(server.body).hexdigest() in str(error.value)
    assert names(tmp_path) == []


def test_a_truncated_file_is_told_and_kept(server, tmp_path):
    server.body = BODY[:120_000]
    with pytest.raises(UserError, match="truncated: 120,000 of 300,000 bytes"):
        fetch(server.url, tmp_path / "out.bin", SHA256, bytes=len(BODY))
    assert (tmp_path / "out.bin.part").stat().st_size == 120_000


def test_secrets_in_an_address_are_in_no_message_and_no_file(server, tmp_path):
    server.cuts = [1000] + [0] * 10
    url = server.url.replace("http://", "http://me:secret@") + "?token=secret"
    with pytest.raises(UserError) as error:
        fetch(url, tmp_path / "out.bin", SHA256)
    assert "secret" not in str(error.value)
    assert "secret" not in (tmp_path / "out.bin.part.json").read_text()


def test_plain_http_is_refused_also_after_a_redirect(server, tmp_path):
    with pytest.raises(UserError, match="use https"):
        fetch("http://example.org/file.bin", tmp_path / "out.bin", SHA256)
    server.statuses = [302]
    with pytest.raises(UserError, match=r"example\.org.* use https"):
        fetch(server.url, tmp_path / "out.bin", SHA256)
    with pytest.raises(UserError, match="begins with https"):
        fetch("ftp://example.org/file.bin", tmp_path / "out.bin", SHA256)


def test_no_connection_is_told(server, tmp_path):
    with pytest.raises(UserError, match="no connection"):
        fetch("http://127.0.0.1:9/file.bin", tmp_path / "out.bin", SHA256)


def test_a_file_address_is_copied_and_checked(tmp_path):
    (tmp_path / "a b.bin").write_bytes(BODY)
    fetch((tmp_path / "a b.bin").as_uri(), tmp_path / "out.bin", SHA256)
    assert (tmp_path / "out.bin").read_bytes() == BODY
    with pytest.raises(UserError, match="no such file"):
        fetch("file:///nowhere/x", tmp_path / "other.bin", SHA256)


def archive(path, members):
    with tarfile.open(path, "w:gz") as tar:
        for name, content in members.items():
            info = tarfile.TarInfo(name)
            info.size = len(content)
            tar.addfile(info, io.BytesIO(content))
    return path


def test_only_named_members_are_unpacked(tmp_path):
    tar = archive(tmp_path / "x.tar.gz", {"d/a.csv": b"a", "d/b.csv": b"b"})
    extract(tar, ["d/a.csv"], tmp_path / "out")
    assert (tmp_path / "out" / "d" / "a.csv").read_bytes() == b"a"
    assert names(tmp_path / "out" / "d") == ["a.csv"]


def test_members_that_are_missing_or_lead_outside_are_refused(tmp_path):
    tar = archive(tmp_path / "x.tar.gz", {"../evil": b"a"})
    with pytest.raises(UserError, match=r"no member d/a\.csv; it has \.\./evil"):
        extract(tar, ["d/a.csv"], tmp_path / "out")
    with pytest.raises(UserError, match="leads out of the folder"):
        extract(tar, ["../evil"], tmp_path / "out")
    assert not (tmp_path / "evil").exists()
    (tmp_path / "bad.tar.gz").write_bytes(b"not a tar")
    with pytest.raises(UserError, match="cannot be unpacked"):
        extract(tmp_path / "bad.tar.gz", ["a"], tmp_path / "out")


# -- zip files


def zipped(folder, *members, name="data.zip"):
    """A zip file of names with what they hold, or of whole entries."""
    with zipfile.ZipFile(folder / name, "w", zipfile.ZIP_DEFLATED) as archive:
        for member, content in members:
            archive.writestr(member, content)
    return folder / name


def test_a_zip_file_is_unpacked(tmp_path):
    unzip(zipped(tmp_path, ("a/b.csv", "1"), ("c.csv", "2")), tmp_path / "out")
    assert (tmp_path / "out/a/b.csv").read_text() == "1"
    assert (tmp_path / "out/c.csv").read_text() == "2"


@pytest.mark.parametrize("name", ["../evil.csv", "a/../../evil.csv", "/evil.csv"])
def test_members_of_a_zip_file_that_lead_outside_are_refused(tmp_path, name):
    with pytest.raises(UserError, match="leads out of the folder"):
        unzip(zipped(tmp_path, ("good.csv", "1"), (name, "2")), tmp_path / "out")
    assert not (tmp_path / "evil.csv").exists()
    assert not (tmp_path / "out").exists()


def test_links_in_a_zip_file_are_refused(tmp_path):
    link = zipfile.ZipInfo("link.csv")
    link.external_attr = (stat.S_IFLNK | 0o777) << 16
    with pytest.raises(UserError, match=r"link\.csv is a link"):
        unzip(zipped(tmp_path, (link, "/etc/passwd")), tmp_path / "out")


def test_a_zip_file_that_would_fill_the_disk_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(module, "MOST_UNPACKED", 10_000)
    bomb = zipped(tmp_path, ("zeros.csv", b"0" * 5_000_000))
    with pytest.raises(UserError, match="would unpack to 5,000,000 bytes"):
        unzip(bomb, tmp_path / "out")
    assert not (tmp_path / "out").exists()
    unzip(zipped(tmp_path, ("zeros.csv", b"0" * 9_000), name="small.zip"), tmp_path / "out")


@pytest.mark.parametrize("damage", [lambda all_: all_[:-30], lambda all_: b"<html>", lambda all_: b""])
def test_a_damaged_zip_file_is_told(tmp_path, damage):
    archive = zipped(tmp_path, ("a.csv", "1" * 1000))
    archive.write_bytes(damage(archive.read_bytes()))
    with pytest.raises(UserError, match="not a whole zip file"):
        unzip(archive, tmp_path / "out")


def test_an_encrypted_zip_file_is_not_called_damaged(tmp_path):
    archive = zipped(tmp_path, ("a.csv", "1" * 1000))
    content = bytearray(archive.read_bytes())
    for signature, flags in ((b"PK\x03\x04", 6), (b"PK\x01\x02", 8)):
        content[content.index(signature) + flags] |= 1
    archive.write_bytes(bytes(content))
    with pytest.raises(UserError, match=r"cannot be unpacked here \(.*encrypted.*unpack it yourself"):
        unzip(archive, tmp_path / "out")
