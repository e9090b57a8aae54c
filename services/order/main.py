"""Wires the order service."""

from __future__ import annotations

import tickmesh
from tickmesh.marketdata.v1.replay_service_pb2_grpc import ReplayServiceStub
from tickmesh.order.v1.order_book_service_pb2_grpc import add_OrderBookServiceServicer_to_server
from tickmesh.order.v1.order_explanation_service_pb2_grpc import add_OrderExplanationServiceServicer_to_server
from tickmesh.order.v1.order_service_pb2_grpc import add_OrderServiceServicer_to_server
from tickmesh.order.v1.venue_model_service_pb2_grpc import add_VenueModelServiceServicer_to_server
from tickmesh.risk.v1.risk_gate_service_pb2_grpc import RiskGateServiceStub

from services.chassis.calls.barrier import Participant
from services.chassis.calls.channel import connect
from services.chassis.calls.server import Server, run
from services.chassis.settings import begin
from services.chassis.storage.database import Database
from services.chassis.streams.event_log import EventLog
from services.chassis.streams.tokens import ResumeTokens
from services.order import migrations
from services.order.book_servicer import OrderBookServicer
from services.order.clients import IDEMPOTENT_MARKETDATA, IDEMPOTENT_PORTFOLIO, Peers
from services.order.desk.replay import Desks
from services.order.journal.log import OrderLog, reader
from services.order.listing import Listing
from services.order.model_servicer import VenueModelServicer
from services.order.servicer import OrderServicer
from services.order.settings import Settings
from services.order.store import Store
from services.order.story.clients import IDEMPOTENT_STRATEGY, Witnesses
from services.order.story.explaining import Explaining
from services.order.story.servicer import OrderExplanationServicer
from services.wire.cycle import environment_of


async def main() -> None:
    """Runs the service until it is told to stop."""
    settings = begin(Settings)
    seconds = settings.call_deadline_seconds
    async with (
        await Database.open(settings.database_url, migrations, alone=True) as database,
        connect(settings.peer("marketdata"), idempotent=IDEMPOTENT_MARKETDATA, deadline_seconds=seconds) as market,
        connect(settings.peer("portfolio"), idempotent=IDEMPOTENT_PORTFOLIO, deadline_seconds=seconds) as portfolio,
        connect(settings.peer("strategy"), idempotent=IDEMPOTENT_STRATEGY, deadline_seconds=seconds) as strategy,
        connect(settings.peer("risk")) as risk,
    ):
        server = Server(settings)
        store = Store(database)
        log: OrderLog = EventLog(reader(store), draining=server.draining, heartbeat_seconds=settings.heartbeat_seconds)
        peers = Peers(store, market, portfolio)
        gate = RiskGateServiceStub(risk)
        desks = Desks(
            settings,
            store,
            log,
            peers,
            open_checks=lambda: gate.CheckOrders(wait_for_ready=True),
            report_runaway=gate.ReportRunaway,
            spawn=server.spawn,
        )
        await desks.recover()
        replays = ReplayServiceStub(market)
        venue = Participant(replays.JoinReplay, desks.hello, desks.handle, environment_of, name="venue")
        tokens = ResumeTokens(await store.stream_epoch())
        listing = Listing(database)
        orders = OrderServicer(desks, listing, tokens, settings.heartbeat_seconds)
        server.add(add_OrderServiceServicer_to_server, orders)
        server.add(add_OrderBookServiceServicer_to_server, OrderBookServicer(desks, tokens))
        server.add(add_VenueModelServiceServicer_to_server, VenueModelServicer(desks))
        explaining = Explaining(desks, listing, Witnesses(market, strategy, portfolio))
        server.add(add_OrderExplanationServiceServicer_to_server, OrderExplanationServicer(explaining))
        server.reflect(tickmesh)
        _venue = server.spawn(venue.run(), "venue")
        await server.serve()


if __name__ == "__main__":
    run(main)
