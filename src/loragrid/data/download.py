"""Download: raw datasets and models come into their folders, and a manifest written last tells what they are.

A folder without its manifest (provenance.json, model.json) is unfinished; running again goes on with it.
"""

import hashlib
import os
import shutil
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from fnmatch import fnmatch
from pathlib import Path
from typing import Any, Literal, NamedTuple

from pydantic import ValidationError

from loragrid.data.digest import files_below
from loragrid.data.fetch import extract, fetch, redacted, unzip
from loragrid.data.sources import SOURCES
from loragrid.data.sources.base import HubDataset, Remote
from loragrid.errors import UserError
from loragrid.files import read_json, sha256_of, write_json
from loragrid.modeling.adapters import CONFIG, IS_ADAPTER

REQUEST = ".download.json"
"""Says what a folder is for: its files are ours, and those of the same request need not be brought again."""

MANIFESTS = ("provenance.json", "model.json")

MODEL_FILES = ("*.safetensors", "*.json", "*.model", "*.txt", "*.jinja", "*.tiktoken")
"""Weights that cannot run code, configuration and tokenizers; never pickles (*.bin, *.pt) or Python."""

MODEL_REPEATS = ("original/*", "onnx/*", "openvino/*", "consolidated*")
"""The same weights in other forms, which some repositories hold beside the usual ones."""

ADAPTER_FILES = ("adapter_*",)
"""Of an adapter, which transformers would load over a model that has one beside it, unasked."""


def download_dataset(
    out: Path, source: str, *, path: str | None, revision: str | None, remote: dict[str, Any] | None
) -> None:
    """Bring a dataset's raw files into a folder.

    Args:
        out: the folder. It belongs to the download: files there that are not part of it are removed.
        source: name of the dataset's source.
        path: local file or folder in the original format, copied instead of a download.
        revision: revision on the hub, instead of the source's own; for a local path, a name that is noted.
        remote: where to download from instead of the source's own `REMOTE`, in the same form.

    Raises:
        UserError: something is wrong with the settings, the network or the files.
    """
    reader = SOURCES[source]
    origin: dict[str, Any]
    if path is not None:
        # The absolute path is the user's own business, and would make equal data unequal.
        origin = {"path": Path(path).name, "revision": revision}
        files = _local(Path(path), out)
        _begin(out, None)
        _put(files, out, shutil.copyfile)
    else:
        place = _remote(reader.REMOTE, remote, revision, source)
        if place.hub is not None:
            snapshot = _resolve(place.hub.id, place.hub.revision, place.hub.files, (), kind="dataset")
            origin = {"hub": snapshot.id, "revision": snapshot.commit}
            _begin(out, {"source": source, **origin})
            _take(snapshot, out)
            _unzip(out)
        else:
            urls = [file.model_dump(exclude_defaults=True) | {"url": redacted(file.url)} for file in place.files]
            origin = {"urls": urls, "revision": None}
            _begin(out, {"source": source, **origin})
            _fetch_all(place, out)
    provenance = {"source": source, "licence": reader.LICENCE, "homepage": reader.HOMEPAGE, **origin}
    _finish(out, "provenance.json", provenance)


def download_model(out: Path, id: str, revision: str, path: str | None) -> None:
    """Bring a base model into a folder: safetensors weights, configuration and tokenizer.

    Args:
        out: the folder. It belongs to the download: files there that are not part of it are removed.
        id: repository on the Hugging Face hub.
        revision: commit, tag or branch.
        path: local folder with the same files, linked (or copied to another file system) instead of a download.

    Raises:
        UserError: the model cannot be had, or has no safetensors weights.
    """
    if path is not None:
        there = _local(Path(path), out)
        _refuse_adapter(path, [name for name, _ in there])
        files = [pair for pair in there if _matches(pair[0], MODEL_FILES, (*MODEL_REPEATS, *ADAPTER_FILES))]
        _need_safetensors(path, [name for name, _ in files])
        _begin(out, None)
        _put(files, out, _link)
        commit = revision
    else:
        snapshot = _resolve(id, revision, MODEL_FILES, MODEL_REPEATS, kind="model")
        _refuse_adapter(id, list(snapshot.files))
        own = {name: file for name, file in snapshot.files.items() if not _matches(name, ADAPTER_FILES, ())}
        snapshot = snapshot._replace(files=own)
        _need_safetensors(id, list(snapshot.files))
        commit = snapshot.commit
        _begin(out, {"id": id, "revision": commit})
        _take(snapshot, out)
    _finish(out, "model.json", {"id": id, "revision": commit})


def _refuse_adapter(where: str, names: list[str]) -> None:
    """Refuse an adapter that is given as a model; one that lies beside a model of its own is left out."""
    if CONFIG in names and "config.json" not in names:
        raise UserError(f"{where}: {IS_ADAPTER}")


def _need_safetensors(where: str, names: list[str]) -> None:
    if not any(name.endswith(".safetensors") for name in names):
        raise UserError(
            f"{where}: no *.safetensors weights; pickled ones (*.bin, *.pt) can run code and are not used. Choose a "
            "revision that has them: the hub's converter opens a pull request, `revision: refs/pr/<number>`."
        )


def _begin(out: Path, request: dict[str, Any] | None) -> None:
    """Make the folder ready. What an earlier download of the same things has brought stays; None: nothing stays."""
    marker = out / REQUEST
    out.mkdir(parents=True, exist_ok=True)
    if marker.exists():
        try:
            same = request is not None and read_json(marker) == request
        except UserError:
            same = False
        for manifest in MANIFESTS:
            (out / manifest).unlink(missing_ok=True)
        if not same:
            _clear(out)
    elif any(not entry.name.startswith(".") for entry in out.iterdir()):
        raise UserError(
            f"{out}: holds files that were not downloaded by loragrid, and they would be lost. Move them elsewhere and "
            "give that place as `path`."
        )
    write_json(marker, request)


def _clear(out: Path) -> None:
    """Empty a folder but for the marker, so that a kill in between leaves a folder known as ours."""
    write_json(out / REQUEST, None)
    for entry in out.iterdir():
        if entry.name == REQUEST:
            continue
        if entry.is_dir() and not entry.is_symlink():
            shutil.rmtree(entry)
        else:
            entry.unlink()


def _finish(out: Path, name: str, facts: dict[str, Any]) -> None:
    """Write the manifest; the folder is whole from then on."""
    for hidden in (entry for entry in out.iterdir() if entry.name.startswith(".") and entry.is_dir()):
        shutil.rmtree(hidden)
    files = {file: {"sha256": sha256_of(place), "bytes": place.stat().st_size} for file, place in files_below(out)}
    write_json(out / name, {**facts, "files": files})


def _remote(own: Remote | None, given: dict[str, Any] | None, revision: str | None, source: str) -> Remote:
    try:
        place = own if given is None else Remote.model_validate(given)
    except ValidationError as error:
        lines = [f"  - {'.'.join(['remote', *map(str, p['loc'])])}: {p['msg']}" for p in error.errors()]
        raise UserError("\n".join([f"{source}: wrong `remote`", *lines])) from None
    if place is None:
        raise UserError(f"{source}: has no download; give its files as `path`")
    if revision is None:
        return place
    if place.hub is None:
        raise UserError(f"{source}: `revision` is for datasets on the hub; this one is told by the hash of its files")
    return Remote(hub=HubDataset(id=place.hub.id, revision=revision, files=place.hub.files))


def _fetch_all(place: Remote, out: Path) -> None:
    for file in place.files:
        if file.members:
            # Hidden, so that the archive goes with the other working files at the end.
            archive = out / ".fetched" / file.name
            fetch(file.url, archive, file.sha256, bytes=file.bytes)
            extract(archive, file.members, out)
        else:
            fetch(file.url, out / file.name, file.sha256, bytes=file.bytes)


def _unzip(out: Path) -> None:
    """Unpack what a repository holds zipped, beside the archive, which goes."""
    for _, archive in files_below(out):
        if archive.suffix == ".zip":
            unzip(archive, archive.parent)
            archive.unlink()


def _local(path: Path, out: Path) -> list[tuple[str, Path]]:
    """The user's files, without the manifest that another download may have left beside them."""
    source, target = path.resolve(), out.resolve()
    if source == target or target in source.parents or source in target.parents:
        raise UserError(f"{path}: is or holds the folder {out}, into which it would be copied; move it elsewhere")
    return [pair for pair in files_below(path) if pair[0] not in MANIFESTS]


def _put(files: list[tuple[str, Path]], out: Path, bring: Callable[[Path, Path], object]) -> None:
    for name, file in files:
        target = out / name
        target.parent.mkdir(parents=True, exist_ok=True)
        bring(file, target)


def _link(file: Path, target: Path) -> None:
    """Hard links cost no space; a model's files are only ever read. Another file system needs a copy."""
    try:
        # Resolved, since a link to a symbolic link would be one that leads nowhere from here.
        os.link(file.resolve(), target)
    except OSError:
        shutil.copyfile(file, target)


def _matches(name: str, wanted: Sequence[str], unwanted: Sequence[str]) -> bool:
    return any(fnmatch(name, pattern) for pattern in wanted) and not any(fnmatch(name, bad) for bad in unwanted)


class Expected(NamedTuple):
    """What the hub says of a file: what it leaves out is None."""

    size: int | None
    sha256: str | None
    git: str | None

    def fault(self, file: Path) -> str | None:
        """What is wrong with a file that has arrived; None if nothing is."""
        size = file.stat().st_size
        if self.size is not None and size != self.size:
            return f"expected {self.size:,} bytes, got {size:,}"
        if self.sha256 is not None and (got := sha256_of(file)) != self.sha256:
            return f"expected sha256 {self.sha256}, got {got}"
        if self.sha256 is None and self.git is not None and (got := _git_hash(file)) != self.git:
            return f"expected git hash {self.git}, got {got}"
        return None


class Snapshot(NamedTuple):
    """Files of one commit of a hub repository."""

    id: str
    commit: str
    files: dict[str, Expected]
    kind: str


def _token() -> str | bool:
    """From the environment only: a token that some login left on this machine is not used behind the user's back."""
    return os.environ.get("HF_TOKEN") or False


def _resolve(
    id: str, revision: str, wanted: Sequence[str], unwanted: Sequence[str], *, kind: Literal["model", "dataset"]
) -> Snapshot:
    """Ask the hub for the commit and the files. Taking a snapshot alone takes a gated repository for an empty one."""
    from huggingface_hub import HfApi

    api = HfApi(token=_token())
    with _hub_errors(id, revision, kind):
        info = (api.dataset_info if kind == "dataset" else api.model_info)(id, revision=revision, files_metadata=True)
    files = {
        file.rfilename: Expected(file.size, file.lfs.sha256 if file.lfs else None, file.blob_id)
        for file in info.siblings or []
        if _matches(file.rfilename, wanted, unwanted)
    }
    if not files or info.sha is None:
        raise UserError(f"{id}: revision {revision} has no file like {', '.join(wanted)}; check id and revision")
    return Snapshot(id, info.sha, files, kind)


def _take(snapshot: Snapshot, out: Path) -> None:
    """Download the files as they are: no code of the repository is run."""
    from huggingface_hub import snapshot_download

    with _hub_errors(snapshot.id, snapshot.commit, snapshot.kind):
        snapshot_download(
            snapshot.id,
            repo_type=snapshot.kind,
            revision=snapshot.commit,
            local_dir=out,
            allow_patterns=list(snapshot.files),
            token=_token(),
            max_workers=4,
        )
    missing = [name for name in snapshot.files if not (out / name).is_file()]
    if missing:
        raise UserError(
            f"{snapshot.id}: {len(missing)} files did not arrive, first {missing[0]}; run it again to go on"
        )
    for name, expected in snapshot.files.items():
        if fault := expected.fault(out / name):
            (out / name).unlink()
            raise UserError(
                f"{snapshot.id}: {name} is not what the hub says it is: {fault}. Something on the way cuts "
                "files off, or answers in their place, as proxies and login pages do. Run it again, or give a local "
                "copy as `path`."
            )


def _git_hash(file: Path) -> str:
    """The hash by which git knows a file: that of files which are not in its large file storage."""
    digest = hashlib.sha1(b"blob %d\0" % file.stat().st_size, usedforsecurity=False)
    with file.open("rb") as opened:
        while part := opened.read(1 << 20):
            digest.update(part)
    return digest.hexdigest()


@contextmanager
def _hub_errors(id: str, revision: str, kind: str) -> Iterator[None]:
    try:
        yield
    except Exception as error:
        message = _hub_message(error, id, revision, kind)
        if message is None:
            raise
        raise UserError(message) from None


def _hub_message(error: BaseException, id: str, revision: str, kind: str) -> str | None:
    """What to do about an error of the hub; None for what is not one. The error's own text may hold a request."""
    from huggingface_hub import errors

    page = f"https://huggingface.co/{'datasets/' if kind == 'dataset' else ''}{id}"
    login = "set HF_TOKEN in the environment to a token of an account that may read it"
    if os.environ.get("HF_TOKEN"):
        login += " (it is set, but to one that may not, or is not valid)"
    if isinstance(error, errors.LocalEntryNotFoundError) and isinstance(error.__cause__, errors.HfHubHTTPError):
        error = error.__cause__
    if isinstance(error, errors.GatedRepoError):
        return f"{id}: this {kind} is gated; accept its licence on {page} and {login}"
    if isinstance(error, errors.RevisionNotFoundError):
        return f"{id}: no revision {revision!r}; see the commits and branches on {page}"
    if isinstance(error, errors.RepositoryNotFoundError):
        return f"{id}: no such {kind} on the hub, or a private one; check the id; for a private one {login}"
    if isinstance(error, errors.HFValidationError):
        return f"{id}: not the name of a {kind} on the hub, such as `owner/name`"
    if isinstance(error, errors.HfHubHTTPError):
        status = error.response.status_code if error.response is not None else "an error"
        if status in (401, 403):
            return f"{id}: the hub answers {status}; accept the licence on {page} and {login}"
        return f"{id}: the hub answers {status}; run it again later, what has arrived is kept"
    unreachable = errors.LocalEntryNotFoundError | errors.OfflineModeIsEnabled
    if isinstance(error, unreachable) or type(error).__module__.startswith(("httpx", "requests")):
        return (
            f"{id}: the hub cannot be reached. Downloads need the internet (a login node, HF_HUB_OFFLINE not set); or "
            "give a local copy as `path`; of an encoder, its folder in place of the name."
        )
    return None
