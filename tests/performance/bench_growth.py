"""What an order costs, and how long a start takes, with more and more orders stored.

    python tests/performance/bench_growth.py [--orders 1000,1000000] [--seconds N] [--directory PATH]
        [--database sqlite|postgresql] [--json PATH]

A few real orders, filled and canceled, are multiplied in the services' stores (`stored.py`) while nothing runs. Then
the services are started, all at once: how long each takes from there until its health says SERVING, and until its first
answer, of the order service to a new order through risk. Then orders are sent, 64 at once: their cost in CPU and their
latency stand beside those with fewer stored.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import tempfile
import time
from pathlib import Path
from typing import Any

import grpc
import psutil
from grpc_health.v1 import health_pb2, health_pb2_grpc
from tickmesh.marketdata.v1 import environment_service_pb2
from tickmesh.marketdata.v1.environment_service_pb2_grpc import EnvironmentServiceStub
from tickmesh.order.v1 import order_pb2, order_service_pb2
from tickmesh.order.v1.order_service_pb2_grpc import OrderServiceStub
from tickmesh.portfolio.v1 import portfolio_service_pb2
from tickmesh.portfolio.v1.portfolio_service_pb2_grpc import PortfolioServiceStub
from tickmesh.risk.v1 import risk_service_pb2
from tickmesh.risk.v1.risk_service_pb2_grpc import RiskServiceStub

from tests.performance.generator import HEADER, Generator
from tests.performance.machine import state
from tests.performance.rig import (
    ENVIRONMENT,
    PORTFOLIO,
    SERVICES,
    Mesh,
    databases,
    order,
    placed,
    prepare,
    traces,
)
from tests.performance.stored import grow

IN_FLIGHT = 64
# One order in five is filled.
CANCELED = 8
QUICK = (("grpc.initial_reconnect_backoff_ms", 20), ("grpc.max_reconnect_backoff_ms", 20))


async def originals(mesh: Mesh) -> list[str]:
    """Real orders that have ended: one bought, one sold, some canceled."""
    async with mesh.channel("order") as channel, mesh.channel("marketdata") as market:
        orders, replays = OrderServiceStub(channel), EnvironmentServiceStub(market)
        made = []
        for side in (1, 2):
            wanted = order(f"market-{side}")
            wanted.side, wanted.order_type, wanted.limit_price = side, order_pb2.ORDER_TYPE_MARKET, ""  # type: ignore[assignment]
            made.append((await orders.CreateOrder(wanted)).order_id)
            await replays.ResumeReplay(environment_service_pb2.ResumeReplayRequest(environment_id=ENVIRONMENT))
            events = order_service_pb2.StreamOrderEventsRequest(environment_id=ENVIRONMENT, after_sequence=0)
            async for message in orders.StreamOrderEvents(events):
                if any(each.exec_id == f"{made[-1]}-2" for each in message.order_events.events):
                    break
            await replays.PauseReplay(environment_service_pb2.PauseReplayRequest(environment_id=ENVIRONMENT))
        for number in range(CANCELED):
            resting = await placed(mesh, f"canceled-{number}")
            await orders.CancelOrder(order_service_pb2.CancelOrderRequest(order_id=resting.order_id))
            made.append(resting.order_id)
        return made


async def start(mesh: Mesh, run: str) -> dict[str, float]:
    """Starts the services; seconds until each was SERVING, and until its first answer, and of CPU that all took."""
    began = time.monotonic()
    mesh.start()
    waits = [*(_serving(mesh, name) for name in SERVICES), *_answers(mesh, run)]
    took: dict[str, float] = {}

    async def timed(name: str, waiting: Any) -> None:
        await waiting
        took[name] = time.monotonic() - began

    names = [*(f"{name} serving" for name in SERVICES), "first order", "portfolio's risk", "portfolio"]
    await asyncio.gather(*(timed(name, waiting) for name, waiting in zip(names, waits, strict=True)))
    return took | {f"{name} CPU": used for name, used in mesh.used().items()}


async def _serving(mesh: Mesh, name: str) -> None:
    async with _dialled(mesh, name) as channel:
        health = health_pb2_grpc.HealthStub(channel)
        while True:
            found = await health.Check(health_pb2.HealthCheckRequest(), wait_for_ready=True)
            if found.status == health_pb2.HealthCheckResponse.SERVING:
                return


def _answers(mesh: Mesh, run: str) -> list[Any]:
    async def risk() -> None:
        async with _dialled(mesh, "risk") as channel:
            asked = risk_service_pb2.GetPortfolioRiskRequest(portfolio_id=PORTFOLIO)
            await RiskServiceStub(channel).GetPortfolioRisk(asked, wait_for_ready=True)

    async def portfolio() -> None:
        async with _dialled(mesh, "portfolio") as channel:
            asked = portfolio_service_pb2.GetPortfolioRequest(portfolio_id=PORTFOLIO)
            await PortfolioServiceStub(channel).GetPortfolio(asked, wait_for_ready=True)

    return [placed(mesh, f"first-of-{run}", pause=0.01, options=QUICK), risk(), portfolio()]


def _dialled(mesh: Mesh, name: str) -> grpc.aio.Channel:
    return mesh.channel(name, QUICK)


async def measure(mesh: Mesh, folder: Path, stored: dict[str, str], chosen: argparse.Namespace) -> list[dict[str, Any]]:
    """One row of figures for each number of orders."""
    load, found = Generator(folder), list[dict[str, Any]]()
    await load.build()
    mesh.start()
    await asyncio.wait_for(prepare(mesh, sessions_per_second=5), 120)
    copied = await originals(mesh)
    print(state().line())
    print(f"load         by {load.name}, on {chosen.database}, {IN_FLIGHT} in flight, a tenth of the traces exported")
    for count in chosen.orders:
        # Whatever rests was sent by the measurement before.
        mesh.stop()
        await grow(folder, stored, copied, count)
        took = await asyncio.wait_for(start(mesh, f"{count}"), 120)
        told = "  ".join(f"{name} {seconds:.2f}" for name, seconds in took.items())
        print(f"\n{count:,} orders stored; seconds from the start: {told}")
        print(HEADER)
        case = await load.run(mesh, "enter", IN_FLIGHT, chosen.seconds)
        memory = {name: psutil.Process(each.pid).memory_info().rss / 1e6 for name, each in mesh.processes.items()}
        print(case.line())
        print("memory, MB: " + "  ".join(f"{name} {each:.0f}" for name, each in memory.items()), flush=True)
        found.append({"orders": count, "start": took, "load": case._asdict(), "memory_mb": memory})
    print(state().line())
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument(
        "--orders", type=lambda text: [int(each) for each in text.split(",")], default=[1_000, 100_000, 1_000_000]
    )
    parser.add_argument("--seconds", type=float, default=5.0, help="of load with each")
    parser.add_argument("--directory", type=Path, help="whose disk the services write to")
    parser.add_argument("--database", choices=("sqlite", "postgresql"), default="sqlite")
    parser.add_argument("--json", type=Path, help="where the figures are written too")
    chosen = parser.parse_args()
    with (
        tempfile.TemporaryDirectory(dir=chosen.directory, ignore_cleanup_errors=True) as name,
        databases(chosen.database, Path(name)) as stored,
        traces() as traced,
    ):
        mesh = Mesh(Path(name), stored | traced)
        try:
            found = asyncio.run(measure(mesh, Path(name), stored, chosen))
        finally:
            mesh.stop()
    if chosen.json:
        chosen.json.write_text(json.dumps({"database": chosen.database, "found": found}, indent=2))


if __name__ == "__main__":
    main()
