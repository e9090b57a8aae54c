"""What every kind of test may want."""

import os
import shutil
from collections.abc import Callable
from pathlib import Path

import hypothesis
import pytest

from tests.ports import free_port

PROJECT = Path(__file__).resolve().parents[1]

# Without a deadline: tests share two cores with whole meshes, and an example's wall time says nothing there.
hypothesis.settings.register_profile("tickmesh", deadline=None)
hypothesis.settings.load_profile("tickmesh")


def pytest_configure() -> None:
    """Tests run on the settings they name: those of the shell, inherited by every process, are none of theirs."""
    for name in [each for each in os.environ if each.startswith("TICKMESH_")]:
        del os.environ[name]


@pytest.fixture(scope="session")
def shared() -> Path:
    """The folder of data and reference results beside the project; tests over it skip where it is absent."""
    folder = PROJECT.parent / "shared"
    if not folder.is_dir():
        pytest.skip(f"needs the reference data in ../{folder.name}, which is not here")
    return folder


@pytest.fixture
def port() -> int:
    """One that nobody listens on."""
    return free_port()


@pytest.fixture(scope="session")
def tool() -> Callable[[str], str]:
    """Finds a program: `tool("grpcurl")`. Where it is missing the test skips, but fails under CI=true."""

    def find(name: str) -> str:
        path = shutil.which(name)
        if path is None and os.environ.get("CI") == "true":
            pytest.fail(f"{name} is not installed, and CI skips nothing for that")
        if path is None:
            pytest.skip(f"{name} is not installed")
        return path

    return find
