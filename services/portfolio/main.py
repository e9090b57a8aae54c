"""Wires the portfolio service."""

from __future__ import annotations

import tickmesh
from tickmesh.portfolio.v1.portfolio_service_pb2_grpc import add_PortfolioServiceServicer_to_server

from services.chassis.calls.channel import connect
from services.chassis.calls.server import Server, run
from services.chassis.settings import begin
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
from services.wire.market import IDEMPOTENT, Market


async def main() -> None:
    """Runs the service until it is told to stop."""
    settings = begin(Settings)
    async with (
        await Database.open(settings.database_url, migrations, alone=True) as database,
        connect(
            settings.peer("marketdata"), idempotent=IDEMPOTENT, deadline_seconds=settings.call_deadline_seconds
        ) as marketdata,
        connect(settings.peer("order")) as order,
    ):
        server = Server(settings)
        store = Store(database, mapping.entry_bytes)
        log = EventLog(store.log_entries, draining=server.draining, heartbeat_seconds=settings.heartbeat_seconds)
        keeper = Keeper(store, log, Market(marketdata), lambda key, after: OrderFeed(order, key, after))
        await keeper.recover()
        tokens = ResumeTokens(await store.epoch())
        server.add(add_PortfolioServiceServicer_to_server, PortfolioServicer(keeper, log, tokens))
        server.reflect(tickmesh)
        books = Books(marketdata, settings.service, keeper.announced, keeper.fold)
        _tasks = server.spawn(books.run(), "replays"), server.spawn(keeper.close_ended(), "close-ended")
        try:
            await server.serve()
        finally:
            await keeper.stop()


if __name__ == "__main__":
    run(main)
