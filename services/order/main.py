"""Wires the order service."""

from __future__ import annotations

import tickmesh
from tickmesh.marketdata.v1.environment_service_pb2_grpc import EnvironmentServiceStub
from tickmesh.marketdata.v1.instrument_service_pb2_grpc import InstrumentServiceStub
from tickmesh.marketdata.v1.replay_service_pb2_grpc import ReplayServiceStub
from tickmesh.marketdata.v1.tape_service_pb2_grpc import TapeServiceStub
from tickmesh.order.v1.order_service_pb2_grpc import add_OrderServiceServicer_to_server
from tickmesh.portfolio.v1.portfolio_service_pb2_grpc import PortfolioServiceStub
from tickmesh.risk.v1.risk_gate_service_pb2_grpc import RiskGateServiceStub

from services.chassis import telemetry
from services.chassis.barrier import Participant
from services.chassis.channel import connect
from services.chassis.database import Database
from services.chassis.server import Server, run
from services.chassis.settings import load
from services.chassis.stream import EventLog
from services.chassis.tokens import ResumeTokens
from services.order import migrations
from services.order.clients import Peers, instruction_environment
from services.order.journal import OrderLog, reader
from services.order.replay import Desks
from services.order.servicer import OrderServicer
from services.order.settings import Settings
from services.order.store import Store

IDEMPOTENT_MARKETDATA = ["tickmesh.marketdata.v1.InstrumentService", "tickmesh.marketdata.v1.EnvironmentService"]
IDEMPOTENT_PORTFOLIO = ["tickmesh.portfolio.v1.PortfolioService/GetPortfolio"]


async def main() -> None:
    """Runs the service until it is told to stop."""
    settings = load(Settings)
    telemetry.configure(
        settings.service,
        otlp_endpoint=settings.otlp_endpoint,
        ratio=settings.trace_sample_ratio,
        log_level=settings.log_level,
    )
    seconds = settings.call_deadline_seconds
    async with (
        await Database.open(settings.database_url, migrations) as database,
        connect(settings.peer("marketdata"), idempotent=IDEMPOTENT_MARKETDATA, deadline_seconds=seconds) as market,
        connect(settings.peer("portfolio"), idempotent=IDEMPOTENT_PORTFOLIO, deadline_seconds=seconds) as portfolio,
        connect(settings.peer("risk")) as risk,
    ):
        server = Server(settings)
        store = Store(database)
        log: OrderLog = EventLog(reader(store), draining=server.draining, heartbeat_seconds=settings.heartbeat_seconds)
        reads = (InstrumentServiceStub(market), EnvironmentServiceStub(market), TapeServiceStub(market))
        peers = Peers(store, *reads, PortfolioServiceStub(portfolio))
        gate = RiskGateServiceStub(risk)
        desks = Desks(
            settings, store, log, peers, open_checks=lambda: gate.CheckOrders(wait_for_ready=True), spawn=server.spawn
        )
        await desks.recover()
        replays = ReplayServiceStub(market)
        venue = Participant(replays.JoinReplay, desks.hello, desks.handle, instruction_environment, name="venue")
        server.add(add_OrderServiceServicer_to_server, OrderServicer(desks, ResumeTokens(await store.stream_epoch())))
        server.reflect(tickmesh)
        _venue = server.spawn(venue.run(), "venue")
        await server.serve()


if __name__ == "__main__":
    run(main)
