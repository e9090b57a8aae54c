"""Edges to test with."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import httpx
import pytest

from services.chassis import catalog
from tests.integration.gateway.support import Backend, Edge, start_edge


@pytest.fixture(scope="session")
def edge(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Edge]:
    """One edge for all tests that leave it as it was; strategy is away."""
    with ExitStack() as stack:
        backend = Backend()
        stack.callback(backend.kill)
        here = f"127.0.0.1:{backend.port}"
        names = [name for name in catalog.SERVICES if name != "strategy"]
        started = start_edge(tmp_path_factory.mktemp("edge"), **{f"{name}_address": here for name in names})
        stack.callback(started.stop)
        yield started


@pytest.fixture
def own_edge(tmp_path: Path) -> Iterator[Callable[..., tuple[Edge, Backend]]]:
    """Makes edges that a test may hurt, each with a backend of its own as every service."""
    with ExitStack() as stack:

        def make(**settings: Any) -> tuple[Edge, Backend]:
            backend = Backend()
            stack.callback(backend.kill)
            here = {f"{name}_address": f"127.0.0.1:{backend.port}" for name in catalog.SERVICES}
            started = start_edge(tmp_path, **{**here, **settings})
            stack.callback(started.stop)
            return started, backend

        yield make


@pytest.fixture
def rest(edge: Edge) -> Iterator[httpx.Client]:
    with edge.client() as client:
        yield client
