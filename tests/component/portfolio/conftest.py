"""The portfolio service among small peers."""

from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest

from services.chassis.errors import ApiError
from tests.component.portfolio.peers import Peers
from tests.component.portfolio.running import Process, Service, serve_service

Serve = Callable[..., Any]


@pytest.fixture
async def peers() -> AsyncIterator[Peers]:
    peers = Peers()
    await peers.server.start()
    yield peers
    await peers.server.stop(0)


@pytest.fixture
def database_url(tmp_path: Path) -> str:
    return f"sqlite:///{tmp_path}/portfolio.db"


@pytest.fixture
def serve(peers: Peers, database_url: str) -> Serve:
    """`async with serve() as service`; again for a restart."""

    def start(**more: Any) -> Any:
        return serve_service(peers, database_url, **more)

    return start


@pytest.fixture
async def service(serve: Serve) -> AsyncIterator[Service]:
    async with serve() as service:
        yield service


@pytest.fixture
async def spawn(peers: Peers, tmp_path: Path) -> AsyncIterator[Callable[[str], Process]]:
    """Runs the service in processes of its own."""
    started: list[Process] = []

    def start(failpoints: str = "") -> Process:
        started.append(Process(peers, tmp_path, failpoints))
        return started[-1]

    yield start
    for process in started:
        await process.stop()


@pytest.fixture
def refused() -> Callable[..., Any]:
    """Awaits a call that must fail, and gives its error."""

    async def call(awaitable: Any) -> ApiError:
        with pytest.raises(ApiError) as caught:
            await awaitable
        return caught.value

    return call
