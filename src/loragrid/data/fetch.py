"""Fetch one file from a web server: resumed where it was cut off, and checked before it counts as there."""

import shutil
import stat
import tarfile
import time
import zipfile
import zlib
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import unquote, urljoin, urlsplit

from loragrid.addresses import is_this_machine, redacted
from loragrid.errors import UserError
from loragrid.files import read_json, sha256_of, write_json
from loragrid.progress import bar

if TYPE_CHECKING:
    import requests

ATTEMPTS = 5
"""Attempts in a row that bring nothing new, before giving up."""

BACKOFF = 1.0
"""Seconds before the second attempt; doubled each time."""

TIMEOUT = (10, 60)
"""Seconds to wait for a connection, and for the next bytes."""

CHUNK = 1 << 20


class _Interrupted(Exception):
    """The transfer broke off for a reason that may pass."""


def fetch(url: str, target: Path, sha256: str, *, bytes: int | None = None) -> None:
    """Download a file, or do nothing if it is there already.

    What has arrived is kept as `<target>.part` when the transfer breaks off, and the next call goes on from there if
    the server still has the same file. Proxies and certificates are taken from the environment, as requests does.

    Args:
        url: https://, file://, or http:// on this machine.
        target: where the file goes; its folder is made.
        sha256: hash the file must have.
        bytes: size the file must have, where it is known.

    Raises:
        UserError: the address is wrong, the server refuses or keeps failing, or the file is not the expected one.
    """
    if target.exists() and sha256_of(target) == sha256:
        return
    target.parent.mkdir(parents=True, exist_ok=True)
    part = target.with_name(f"{target.name}.part")
    origin = target.with_name(f"{target.name}.part.json")
    _check_scheme(url)
    if urlsplit(url).scheme == "file":
        source = Path(unquote(urlsplit(url).path))
        if not source.is_file():
            raise UserError(f"{url}: no such file")
        shutil.copyfile(source, part)
    else:
        _download(url, part, origin)
    size = part.stat().st_size
    if bytes is not None and size < bytes:
        raise UserError(
            f"{redacted(url)}: truncated: {size:,} of {bytes:,} bytes have arrived. They are kept; "
            "run it again to go on."
        )
    got = sha256_of(part)
    if got != sha256:
        part.unlink()
        origin.unlink(missing_ok=True)
        raise UserError(
            f"{redacted(url)}: this is not the expected file\n  expected sha256 {sha256}\n  got             {got}\n"
            "  Either it was changed at its source, or something on the way answers in its place, as login pages do."
        )
    part.replace(target)
    origin.unlink(missing_ok=True)


def _download(url: str, part: Path, origin: Path) -> None:
    """Fill the part file, in as many attempts as bring it forward."""
    import requests

    most = part.stat().st_size if part.exists() else 0
    failures = 0
    with requests.Session() as session:
        while True:
            try:
                _attempt(session, url, part, origin)
                return
            except (_Interrupted, requests.RequestException) as error:
                if isinstance(error, requests.exceptions.InvalidURL | requests.exceptions.SSLError):
                    raise UserError(f"{redacted(url)}: {_cause(error)}") from None
                size = part.stat().st_size if part.exists() else 0
                failures = 1 if size > most else failures + 1
                most = max(most, size)
                if failures >= ATTEMPTS:
                    raise UserError(
                        f"{redacted(url)}: {_cause(error)}; gave up after {failures} attempts that brought nothing "
                        f"new. {size:,} bytes have arrived and are kept; run it again to go on."
                    ) from None
                time.sleep(BACKOFF * 2 ** (failures - 1))


def _attempt(session: "requests.Session", url: str, part: Path, origin: Path) -> None:
    """One request: the rest of the file if the server can, all of it otherwise."""
    # Compressed on the way, positions in the file would mean nothing.
    headers = {"Accept-Encoding": "identity"}
    have = part.stat().st_size if part.exists() else 0
    validator = _validator(url, origin) if have else None
    if validator is not None:
        headers |= {"Range": f"bytes={have}-", "If-Range": validator}

    def check_redirect(response: "requests.Response", **_: object) -> None:
        target = session.get_redirect_target(response)
        if target is not None:
            _check_scheme(urljoin(response.url, target))

    hooks = {"response": check_redirect}
    with session.get(url, headers=headers, stream=True, timeout=TIMEOUT, hooks=hooks) as response:
        if response.status_code == 416:
            # Nothing after what is there: it is whole, or another file that is checked in a moment.
            if response.headers.get("Content-Range", "").endswith(f"/{have}"):
                return
            part.unlink()
            raise _Interrupted("the server has another file now")
        if response.status_code in (408, 429) or response.status_code >= 500:
            raise _Interrupted(f"the server answers {response.status_code} {response.reason}")
        if not response.ok:
            raise UserError(
                f"{redacted(url)}: the server answers {response.status_code} {response.reason}; check the address, "
                "and whether it asks for a login"
            )
        resumed = response.status_code == 206
        if resumed and not response.headers.get("Content-Range", "").startswith(f"bytes {have}-"):
            part.unlink()
            raise _Interrupted("the server sends another part than it was asked for")
        if not resumed:
            part.unlink(missing_ok=True)
            etag = response.headers.get("ETag")
            # A weak tag promises the same meaning, not the same bytes.
            strong = etag if etag and not etag.startswith("W/") else None
            write_json(origin, {"url": redacted(url), "validator": strong or response.headers.get("Last-Modified")})
        expected = response.headers.get("Content-Length")
        written = 0
        before = have if resumed else 0
        total = int(expected) + before if expected is not None else None
        name = part.name.removesuffix(".part")
        with part.open("ab") as file, bar(f"downloading {name}", total, done=before, is_bytes=True) as advance:
            for chunk in response.iter_content(CHUNK):
                file.write(chunk)
                written += len(chunk)
                advance(len(chunk))
        if expected is not None and written < int(expected):
            raise _Interrupted("the connection was cut")


def _validator(url: str, origin: Path) -> str | None:
    """What tells that the server still has the file of which a part is there."""
    try:
        stored = read_json(origin)
    except UserError:
        return None
    return stored.get("validator") if stored.get("url") == redacted(url) else None


def _check_scheme(url: str) -> None:
    parts = urlsplit(url)
    if parts.scheme in ("https", "file"):
        return
    if parts.scheme != "http":
        raise UserError(f"{redacted(url)}: an address begins with https:// or file://")
    if not is_this_machine(parts.hostname or ""):
        raise UserError(f"{redacted(url)}: http:// can be read and changed on the way; use https://")


def _cause(error: Exception) -> str:
    """Few words for people; the text of a library's error may repeat the whole address."""
    if isinstance(error, _Interrupted):
        return str(error)
    words = {
        "ProxyError": "the proxy cannot be reached (see HTTPS_PROXY)",
        "SSLError": "the server's certificate is not trusted (see REQUESTS_CA_BUNDLE)",
        "ConnectTimeout": "no connection: timed out",
        "ReadTimeout": "the server sends nothing more: timed out",
        "ConnectionError": "no connection, or it was cut",
        "ChunkedEncodingError": "the connection was cut",
        "InvalidURL": "not an address",
    }
    return words.get(type(error).__name__, type(error).__name__)


def extract(archive: Path, members: list[str], out: Path) -> None:
    """Unpack named members of a tar archive, and nothing else.

    Args:
        archive: a tar file, compressed or not.
        members: names of regular files in it.
        out: folder to unpack into.

    Raises:
        UserError: it is not a whole tar file, or lacks a member.
    """
    try:
        with tarfile.open(archive) as tar:
            for name in members:
                try:
                    member = tar.getmember(name)
                except KeyError:
                    found = ", ".join(tar.getnames()[:10])
                    raise UserError(f"{archive.name}: has no member {name}; it has {found}") from None
                source = tar.extractfile(member) if member.isfile() else None
                if source is None:
                    raise UserError(f"{archive.name}: {name} is not a plain file")
                target = out / name
                # Python 3.11 has tarfile's own filter for this from 3.11.4 on only.
                if not target.resolve().is_relative_to(out.resolve()):
                    raise UserError(f"{archive.name}: {name} leads out of the folder")
                target.parent.mkdir(parents=True, exist_ok=True)
                with source, target.open("wb") as file:
                    shutil.copyfileobj(source, file)
    except (tarfile.TarError, EOFError, OSError) as error:
        raise UserError(f"{archive.name}: cannot be unpacked ({error})") from None


MOST_UNPACKED = 1 << 30
"""Bytes that any zip file may unpack to."""

MOST_TIMES = 100
"""Times its own size that a larger one may unpack to: data files in text form come to 20 at most."""


def unzip(archive: Path, out: Path) -> None:
    """Unpack a zip file.

    Args:
        archive: the file.
        out: folder to unpack into.

    Raises:
        UserError: it is not a whole zip file, a member is a link or leads out of the folder, or it would unpack to far
            more than data does.
    """
    try:
        with zipfile.ZipFile(archive) as zipped:
            members = zipped.infolist()
            size = sum(member.file_size for member in members)
            if size > max(MOST_UNPACKED, MOST_TIMES * archive.stat().st_size):
                raise UserError(
                    f"{archive.name}: would unpack to {size:,} bytes, {size // archive.stat().st_size} times its own "
                    "size; no data does, so it is not unpacked"
                )
            for member in members:
                if stat.S_ISLNK(member.external_attr >> 16):
                    raise UserError(f"{archive.name}: {member.filename} is a link, which may lead anywhere")
                if not (out / member.filename).resolve().is_relative_to(out.resolve()):
                    raise UserError(f"{archive.name}: {member.filename} leads out of the folder")
            # Reads no more of a member than it says it has, and checks that.
            for member in members:
                zipped.extract(member, out)
    except (zipfile.BadZipFile, zlib.error, EOFError) as error:
        raise UserError(f"{archive.name}: not a whole zip file ({error}); delete it and run again") from None
    except RuntimeError as error:  # encrypted, or packed in a way that Python does not know
        raise UserError(
            f"{archive.name}: cannot be unpacked here ({error}); unpack it yourself and give the folder as `path`"
        ) from None
