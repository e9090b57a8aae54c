"""A data directory for a test, in which nothing runs afterwards."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.e2e.console.terminal import Mesh


@pytest.fixture
def mesh(tmp_path: Path) -> Iterator[Mesh]:
    made = Mesh(tmp_path / "data")
    yield made
    made.run("down")
