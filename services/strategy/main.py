"""Wires the strategy service."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import tickmesh
from tickmesh.strategy.v1.strategy_service_pb2_grpc import add_StrategyServiceServicer_to_server

from services.chassis.calls.server import Server, run
from services.chassis.settings import begin
from services.chassis.storage.database import Database
from services.chassis.streams.event_log import EventLog
from services.chassis.streams.tokens import ResumeTokens
from services.strategy import migrations
from services.strategy.clients import connected
from services.strategy.deployments import Deployments
from services.strategy.host.host import Host
from services.strategy.host.journal import Journal
from services.strategy.records import SignalKey
from services.strategy.servicer import StrategyServicer
from services.strategy.settings import Settings
from services.strategy.signals import Signals
from services.strategy.store import Store
from services.strategy.workshop.kinds import discover
from services.strategy.workshop.strategies import Strategies


@asynccontextmanager
async def service(settings: Settings) -> AsyncIterator[Server]:
    """The service, recovered and ready to be served."""
    async with (
        await Database.open(settings.database_url, migrations, alone=True) as database,
        connected(settings) as peers,
    ):
        server = Server(settings)
        store = Store(database)
        log: EventLog[SignalKey] = EventLog(
            store.read_signals, draining=server.draining, heartbeat_seconds=settings.heartbeat_seconds
        )
        strategies = Strategies(store, discover(settings.strategy_path))
        host = Host(store, Journal(store, log), peers, strategies.make, scanning=settings.strategy_scanning)
        deployments = Deployments(store, strategies, peers, host, welcome_seconds=settings.strategy_welcome_seconds)
        stored = await store.load()
        strategies.recover(stored.strategies)
        host.recover(stored)
        deployments.recover()
        signals, tokens = Signals(store, log, host, peers), ResumeTokens(await store.epoch())
        servicer = StrategyServicer(strategies, deployments, signals, tokens)
        server.add(add_StrategyServiceServicer_to_server, servicer)
        server.reflect(tickmesh)
        _replays = server.spawn(peers.replays.run(host), "replays")
        try:
            yield server
        finally:
            host.close()


async def main() -> None:
    """Runs the service until it is told to stop."""
    settings = begin(Settings)
    async with service(settings) as server:
        await server.serve()


if __name__ == "__main__":
    run(main)
