"""WordNet 3.0, which METEOR looks synonyms up in: from this machine's packages, or from Debian's, checked by SHA-256.

`data/wordnet/` then holds the database in the folders in which nltk looks for it. What Debian leaves out is the table
of lexicographer files, which is printed in WordNet's manual, lexnames(5WN).
"""

import io
import shutil
import tarfile
import tempfile
from pathlib import Path

from loragrid.data.fetch import fetch
from loragrid.errors import UserError
from loragrid.files import make_once, sha256_of, write_json, write_text

WORDNET = Path("data/wordnet")
MANIFEST = WORDNET / "provenance.json"
DATABASE = WORDNET / "corpora/wordnet"

INSTALLED = Path("/usr/share/wordnet")
"""Where Debian's packages wordnet-base and wordnet-sense-index put it."""

_POOL = "https://deb.debian.org/debian/pool/main/w/wordnet/"
_PACKAGES = {
    "wordnet-base_3.0-37_all.deb": "61060d960f9ada8fa120872312eccd3ecebfbab8c4579e4f5a74e1cf67620752",
    "wordnet-sense-index_3.0-37_all.deb": "b22c7d3100470d90f812acc224718e4bd362d7ca427766fa3e11013c8c7895cf",
}

_PARTS = ("adj", "adv", "noun", "verb")
FILES = (
    "cntlist.rev", "index.sense",
    *(f"{kind}.{part}" for kind in ("index", "data") for part in _PARTS),
    *(f"{part}.exc" for part in _PARTS),
)  # fmt: skip
"""What nltk reads, but for lexnames."""

_LEXICOGRAPHER_FILES = (
    "adj.all", "adj.pert", "adv.all", "noun.Tops", "noun.act", "noun.animal", "noun.artifact", "noun.attribute",
    "noun.body", "noun.cognition", "noun.communication", "noun.event", "noun.feeling", "noun.food", "noun.group",
    "noun.location", "noun.motive", "noun.object", "noun.person", "noun.phenomenon", "noun.plant", "noun.possession",
    "noun.process", "noun.quantity", "noun.relation", "noun.shape", "noun.state", "noun.substance", "noun.time",
    "verb.body", "verb.change", "verb.cognition", "verb.communication", "verb.competition", "verb.consumption",
    "verb.contact", "verb.creation", "verb.emotion", "verb.motion", "verb.perception", "verb.possession",
    "verb.social", "verb.stative", "verb.weather", "adj.ppl",
)  # fmt: skip
_CATEGORIES = {"noun": 1, "verb": 2, "adj": 3, "adv": 4}


def download_wordnet() -> None:
    """Put WordNet where METEOR finds it, unless it is there.

    Raises:
        UserError: it is not on this machine and cannot be downloaded.
    """
    make_once(WORDNET, [MANIFEST.name], _make)


def _make() -> None:
    DATABASE.mkdir(parents=True, exist_ok=True)
    if all((INSTALLED / name).exists() for name in FILES):
        for name in FILES:
            shutil.copyfile(INSTALLED / name, DATABASE / name)
        source = str(INSTALLED)
    else:
        _from_debian()
        source = _POOL
    lines = [
        f"{number:02}\t{name}\t{_CATEGORIES[name.partition('.')[0]]}\n"
        for number, name in enumerate(_LEXICOGRAPHER_FILES)
    ]
    write_text(DATABASE / "lexnames", "".join(lines))
    write_json(
        MANIFEST,
        {
            "source": source,
            "version": "3.0",
            "licence": "WordNet 3.0 license, https://wordnet.princeton.edu/license-and-commercial-use",
            "files": {name: sha256_of(DATABASE / name) for name in (*FILES, "lexnames")},
        },
    )


def _from_debian() -> None:
    with tempfile.TemporaryDirectory(dir=WORDNET) as folder:
        for name, sha256 in _PACKAGES.items():
            package = Path(folder, name)
            try:
                fetch(_POOL + name, package, sha256)
            except UserError as error:
                raise UserError(
                    f"WordNet, which METEOR needs: {error}. Where there is no internet, install Debian's packages "
                    "wordnet-base and wordnet-sense-index, or copy data/wordnet from a machine that has it"
                ) from None
            with tarfile.open(fileobj=io.BytesIO(_data_of(package))) as tar:
                for member in tar:
                    file = Path(member.name).name
                    if member.isfile() and file in FILES and "share/wordnet" in member.name:
                        content = tar.extractfile(member)
                        if content is not None:
                            with (DATABASE / file).open("wb") as out:
                                shutil.copyfileobj(content, out)


def _data_of(package: Path) -> bytes:
    """The archive of files in a Debian package, which is an ar archive: headers of 60 bytes before each member (ar(5)).

    Raises:
        UserError: it has none.
    """
    content = package.read_bytes()
    position = len(b"!<arch>\n")
    while position < len(content):
        header = content[position : position + 60]
        size = int(header[48:58])
        if header[:16].startswith(b"data.tar"):
            return content[position + 60 : position + 60 + size]
        position += 60 + size + size % 2
    raise UserError(f"{package}: no Debian package with files")
