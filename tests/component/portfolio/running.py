"""The service as it runs, in this process or in one of its own."""

import asyncio
import os
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

from tickmesh.portfolio.v1.portfolio_service_pb2_grpc import (
    PortfolioServiceStub,
    add_PortfolioServiceServicer_to_server,
)

from services.chassis.calls.channel import connect
from services.chassis.calls.server import Server
from services.chassis.storage.database import Database
from services.chassis.streams.event_log import EventLog
from services.chassis.streams.tokens import ResumeTokens
from services.portfolio import mapping, migrations
from services.portfolio.clients import OrderFeed
from services.portfolio.keeper import Keeper
from services.portfolio.servicer import PortfolioServicer
from services.portfolio.settings import Settings
from services.portfolio.store import Store
from services.wire.cycle import Books
from services.wire.market import Market
from tests.component.portfolio.peers import Peers
from tests.nursery import Child


class Service:
    """The portfolio service in this process, and a stub on it."""

    def __init__(self, stub: PortfolioServiceStub, keeper: Keeper, server: Server, database: Database) -> None:
        self.stub, self.keeper, self.server, self.database = stub, keeper, server, database


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
        books = Books(channel, "portfolio", keeper.announced, keeper.fold)
        _tasks = server.spawn(books.run(), "replays"), server.spawn(keeper.close_ended(), "close-ended")
        port = await server.start()
        own = await stack.enter_async_context(connect(f"127.0.0.1:{port}"))
        try:
            yield Service(PortfolioServiceStub(own), keeper, server, database)
        finally:
            await server.stop(0)
            await keeper.stop()


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
        self._process = self._start()
        self._task = asyncio.ensure_future(self._run())

    def _start(self) -> Child:
        return Child("services.portfolio.main", self._environment)

    async def _run(self) -> None:
        while True:
            self.deaths.append(await self._process.ended())
            self._process = self._start()

    def kill(self) -> None:
        self._process.kill()

    async def stop(self) -> None:
        self._task.cancel()
        self._process.kill()
        await self._process.ended()
