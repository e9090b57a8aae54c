"""The service as it runs, in this process or in one of its own, among small peers."""

import asyncio
import os
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from tickmesh.portfolio.v1.portfolio_service_pb2_grpc import (
    PortfolioServiceStub,
    add_PortfolioServiceServicer_to_server,
)

from services.chassis.channel import connect
from services.chassis.database import Database
from services.chassis.errors import ApiError
from services.chassis.server import Server
from services.chassis.stream import EventLog
from services.chassis.tokens import ResumeTokens
from services.portfolio import mapping, migrations
from services.portfolio.clients import Market, OrderFeed, Replays
from services.portfolio.keeper import Keeper
from services.portfolio.servicer import PortfolioServicer
from services.portfolio.settings import Settings
from services.portfolio.store import Store
from tests.component.portfolio.peers import Peers

Serve = Callable[..., Any]


class Service:
    """The portfolio service in this process, and a stub on it."""

    def __init__(self, stub: PortfolioServiceStub, keeper: Keeper, server: Server, database: Database) -> None:
        self.stub, self.keeper, self.server, self.database = stub, keeper, server, database


@pytest.fixture
async def peers() -> AsyncIterator[Peers]:
    peers = Peers()
    await peers.server.start()
    yield peers
    await peers.server.stop(0)


@pytest.fixture
def database_url(tmp_path: Path) -> str:
    return f"sqlite+aiosqlite:///{tmp_path}/portfolio.db"


@asynccontextmanager
async def serve_service(peers: Peers, url: str, heartbeat_seconds: float = 15.0) -> AsyncIterator[Service]:
    """As main wires it."""
    async with AsyncExitStack() as stack:
        database = await stack.enter_async_context(await Database.open(url, migrations))
        channel = await stack.enter_async_context(connect(peers.address, deadline_seconds=5.0))
        server = Server(Settings(), address="127.0.0.1:0")
        store = Store(database, mapping.entry_bytes)
        log = EventLog(store.log_entries, draining=server.draining, heartbeat_seconds=heartbeat_seconds)
        keeper = Keeper(store, log, Market(channel), lambda key, after: OrderFeed(channel, key, after))
        await keeper.recover()
        servicer = PortfolioServicer(keeper, log, ResumeTokens(await store.epoch()))
        server.add(add_PortfolioServiceServicer_to_server, servicer)
        replays = Replays(channel, keeper.announced, keeper.fold)
        _tasks = server.spawn(replays.run(), "replays"), server.spawn(keeper.close_ended(), "close-ended")
        port = await server.start()
        own = await stack.enter_async_context(connect(f"127.0.0.1:{port}"))
        try:
            yield Service(PortfolioServiceStub(own), keeper, server, database)
        finally:
            await server.stop(0)
            for _, task in keeper._feeds.values():
                task.cancel()


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


class Process:
    """The service in a process of its own, started again whenever it dies until it is stopped."""

    def __init__(self, peers: Peers, folder: Path, failpoints: str) -> None:
        self.deaths: list[int] = []
        self._environment = {
            **os.environ,
            "TICKMESH_DATA_DIRECTORY": str(folder),
            "TICKMESH_MARKETDATA_ADDRESS": peers.address,
            "TICKMESH_ORDER_ADDRESS": peers.address,
            "TICKMESH_PORTFOLIO_ADDRESS": f"unix:{folder}/portfolio.sock",
            "TICKMESH_FAILPOINTS": failpoints,
            "TICKMESH_LOG_LEVEL": "WARNING",
        }
        self.address = f"unix:{folder}/portfolio.sock"
        self._task = asyncio.ensure_future(self._run())
        self._process: asyncio.subprocess.Process | None = None

    async def _run(self) -> None:
        while True:
            self._process = await asyncio.create_subprocess_exec(
                sys.executable, "-m", "services.portfolio.main", env=self._environment
            )
            self.deaths.append(await self._process.wait())

    def kill(self) -> None:
        if self._process is not None and self._process.returncode is None:
            self._process.kill()

    async def stop(self) -> None:
        self._task.cancel()
        if self._process is not None and self._process.returncode is None:
            self._process.kill()
            await self._process.wait()


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
