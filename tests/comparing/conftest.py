"""A study without files."""

import pytest
from comparing_study import Study


@pytest.fixture
def study():
    return Study()
