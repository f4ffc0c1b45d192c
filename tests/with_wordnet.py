"""WordNet, as the workflow brings it there from this machine's packages."""

import pytest

from loragrid.data.wordnet import FILES, INSTALLED, download_wordnet


def need_wordnet() -> None:
    """Skip a test that WordNet is missing for."""
    if not all((INSTALLED / name).exists() for name in FILES):
        pytest.skip("no WordNet: Debian's wordnet-base and wordnet-sense-index are not installed")


@pytest.fixture(scope="session")
def with_wordnet(tmp_path_factory):
    """A folder in which WordNet is."""
    need_wordnet()
    folder = tmp_path_factory.mktemp("wordnet")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        download_wordnet()
    return folder


@pytest.fixture
def wordnet(with_wordnet, monkeypatch):
    """Work where WordNet is."""
    monkeypatch.chdir(with_wordnet)
