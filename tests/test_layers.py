"""Imports point downwards: each package of loragrid knows those below it, and none above."""

import re

import pytest
from workspace import REPO

BELOW_FIRST = (
    "study", "jobs", "modeling", "data", "metrics", "preflight", "training", "generation", "judging", "estimates",
    "scoring", "comparing", "status", "pages", "reporting",
)  # fmt: skip
"""The packages, each above those that it may import."""

SOURCE = REPO / "src/loragrid"
IMPORT = re.compile(r"^\s*(?:from|import) loragrid\.(\w+)", re.M)


def test_every_package_has_its_place():
    assert sorted(BELOW_FIRST) == sorted(folder.name for folder in SOURCE.iterdir() if any(folder.glob("*.py")))


@pytest.mark.parametrize("package", BELOW_FIRST)
def test_no_import_points_upwards(package):
    above = set(BELOW_FIRST[BELOW_FIRST.index(package) + 1 :])
    upwards = {
        f"{file.relative_to(SOURCE)}: {name}"
        for file in (SOURCE / package).rglob("*.py")
        for name in IMPORT.findall(file.read_text(encoding="utf-8"))
        if name in above
    }
    assert not upwards
