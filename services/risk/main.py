"""Wires the risk service."""

from __future__ import annotations

import tickmesh
from tickmesh.risk.v1.risk_gate_service_pb2_grpc import add_RiskGateServiceServicer_to_server
from tickmesh.risk.v1.risk_service_pb2_grpc import add_RiskServiceServicer_to_server

from services.chassis.calls.channel import connect
from services.chassis.calls.server import Server, run
from services.chassis.settings import begin
from services.chassis.storage.database import Database
from services.chassis.streams.event_log import EventLog
from services.chassis.streams.tokens import ResumeTokens
from services.risk import migrations
from services.risk.clients import IDEMPOTENT_PORTFOLIO, Peers
from services.risk.controls import Controls
from services.risk.environments import Environments
from services.risk.journal.events import RiskEvents, reader
from services.risk.journal.journal import Journal
from services.risk.journal.mapping import event_entry
from services.risk.journal.runaways import Runaways
from services.risk.records import Journalled
from services.risk.servicer import RiskGateServicer, RiskServicer
from services.risk.settings import Settings
from services.risk.store import Store
from services.wire.cycle import Books
from services.wire.market import IDEMPOTENT


async def serve(settings: Settings) -> None:
    """Serves until told to stop, then stores what is not yet stored."""
    seconds = settings.call_deadline_seconds
    async with (
        await Database.open(settings.database_url, migrations, alone=True) as database,
        connect(settings.peer("marketdata"), idempotent=IDEMPOTENT, deadline_seconds=seconds) as marketdata,
        connect(settings.peer("strategy"), deadline_seconds=seconds) as strategy,
        connect(settings.peer("order"), deadline_seconds=seconds) as order,
        connect(settings.peer("portfolio"), idempotent=IDEMPOTENT_PORTFOLIO, deadline_seconds=seconds) as portfolio,
    ):
        server = Server(settings)
        store = Store(database)
        log: EventLog[Journalled] = EventLog(
            reader(store, event_entry), draining=server.draining, heartbeat_seconds=settings.heartbeat_seconds
        )
        journal = Journal(store, log, event_entry)
        controls = Controls(journal.change)
        peers = Peers(marketdata, strategy, order, portfolio)
        environments = Environments(
            peers,
            store,
            controls,
            journal,
            spawn=server.spawn,
            report=lambda peer, up: server.set_health(peer, serving=up),
            settings=settings,
        )
        stored = await store.load()
        journal.recover(stored.sequences)
        controls.recover(stored.limits, stored.kill_switches)
        environments.recover(stored)
        events = RiskEvents(store, log, ResumeTokens(await store.stream_epoch()), environments, peers)
        server.add(add_RiskServiceServicer_to_server, RiskServicer(environments, controls, events))
        server.add(add_RiskGateServiceServicer_to_server, RiskGateServicer(environments, Runaways(store, journal)))
        server.reflect(tickmesh)
        books = Books(marketdata, settings.service, environments.announced, environments.fold, environments.enrolled)
        _ = server.spawn(environments.keep(settings.risk_store_interval_ms / 1000), "store")
        _ = server.spawn(books.run(), "replay")
        await server.serve()
        await environments.save()


async def main() -> None:
    """Runs the service until it is told to stop."""
    settings = begin(Settings)
    await serve(settings)


if __name__ == "__main__":
    run(main)
