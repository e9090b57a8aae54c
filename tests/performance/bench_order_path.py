"""Orders a second, and how long one takes from being sent to its durable acknowledgement through risk.

    python tests/performance/bench_order_path.py [--seconds N] [--directory PATH] [--no-rest]

The real services in processes of their own, tracing off, and Envoy before them for REST; the load comes from this
process, so all of it shares the machine. The environment is PAUSED, so orders rest and nothing else happens. Beside the
figures stands what bounds them: how often a second this disk makes 4 KiB durable, what calls that do nothing come to
(`bare`: health checks of the order service), and what the machine did meanwhile.
"""

import argparse
import asyncio
import contextlib
import json
import os
import platform
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import grpc
import psutil
from tickmesh.common.v1.money_pb2 import Money
from tickmesh.marketdata.v1 import environment_pb2, environment_service_pb2
from tickmesh.marketdata.v1.environment_service_pb2_grpc import EnvironmentServiceStub
from tickmesh.order.v1 import order_pb2, order_service_pb2
from tickmesh.order.v1.order_service_pb2_grpc import OrderServiceStub
from tickmesh.portfolio.v1 import portfolio_service_pb2
from tickmesh.portfolio.v1.portfolio_service_pb2_grpc import PortfolioServiceStub

SERVICES = ("marketdata", "order", "risk", "portfolio")
IN_FLIGHT = (1, 16, 64)
ENVIRONMENT, PORTFOLIO = "bench", "load"
CREATE = "/tickmesh.order.v1.OrderService/CreateOrder"
ENTER = "/tickmesh.order.v1.OrderService/EnterOrders"
CHECK = "/grpc.health.v1.Health/Check"
Send = Callable[[str], Awaitable[None]]


class Case(NamedTuple):
    """What one run measured: latencies in seconds, the time it took, CPU seconds by process."""

    name: str
    latencies: list[float]
    seconds: float
    used: dict[str, float]

    def line(self) -> str:
        """A row of the table."""
        count, ordered = len(self.latencies), sorted(self.latencies)
        p50, p99 = (ordered[int(count * share)] * 1e3 for share in (0.5, 0.99))
        used = "  ".join(f"{name} {seconds / count * 1e6:.0f}" for name, seconds in self.used.items())
        return f"{self.name:<18} {count / self.seconds:>8,.0f} {p50:>8.1f} {p99:>8.1f}   {used}"


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


class Mesh:
    """The processes, on ports of their own."""

    def __init__(self, folder: Path, edge: bool) -> None:
        names = (*SERVICES, *(("edge", "edge_admin") if edge else ()))
        self.ports = dict(zip(names, free_ports(len(names)), strict=True))
        addresses = {f"TICKMESH_{name.upper()}_ADDRESS": f"127.0.0.1:{port}" for name, port in self.ports.items()}
        self._environment = (
            os.environ
            | addresses
            | {
                "TICKMESH_DATA_DIRECTORY": str(folder),
                "TICKMESH_LOG_LEVEL": "WARNING",
            }
        )
        self._log = (folder / "mesh.log").open("ab")
        self.processes = {name: self._start(f"services.{name}.main") for name in SERVICES}
        if edge:
            self.processes["edge"] = self._start("gateway")

    def _start(self, module: str) -> "subprocess.Popen[bytes]":
        log = self._log
        return subprocess.Popen([sys.executable, "-m", module], env=self._environment, stdout=log, stderr=log)

    def stop(self) -> None:
        """Ends what was started here."""
        for process in self.processes.values():
            process.send_signal(signal.SIGTERM)
        for process in self.processes.values():
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(10)
            process.kill()
        self._log.close()

    def used(self) -> dict[str, float]:
        """CPU seconds so far, by process."""
        found = {name: psutil.Process(process.pid).cpu_times() for name, process in self.processes.items()}
        found["load"] = psutil.Process().cpu_times()
        return {name: times.user + times.system for name, times in found.items()}


def free_ports(count: int) -> list[int]:
    """Ports that nobody listens on."""
    with contextlib.ExitStack() as stack:
        probes = [stack.enter_context(socket.socket()) for _ in range(count)]
        for probe in probes:
            probe.bind(("127.0.0.1", 0))
        return [probe.getsockname()[1] for probe in probes]


async def prepare(mesh: Mesh) -> None:
    """A paused replay, a portfolio that can pay, and a first order through all of it."""
    async with (
        grpc.aio.insecure_channel(f"127.0.0.1:{mesh.ports['marketdata']}") as market,
        grpc.aio.insecure_channel(f"127.0.0.1:{mesh.ports['portfolio']}") as portfolio,
        grpc.aio.insecure_channel(f"127.0.0.1:{mesh.ports['order']}") as orders,
    ):
        environments = EnvironmentServiceStub(market)
        await environments.CreateReplay(
            environment_service_pb2.CreateReplayRequest(
                environment_id=ENVIRONMENT,
                data_set_id="us-daily",
                symbols=["AAPL"],
                warm_up_sessions=10,
                pace=environment_pb2.Pace(sessions_per_second=0.01),
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
        await placed(OrderServiceStub(orders), "first")


async def placed(orders: OrderServiceStub, client_order_id: str) -> None:
    """Repeats an order until it is there, as long as somebody is still starting."""
    while True:
        try:
            await orders.CreateOrder(order(client_order_id), wait_for_ready=True, timeout=10)
            return
        except grpc.aio.AioRpcError as error:
            if error.code() is not grpc.StatusCode.UNAVAILABLE:
                raise
            await asyncio.sleep(0.2)


@contextlib.asynccontextmanager
async def over_grpc(mesh: Mesh, in_flight: int) -> AsyncIterator[list[Send]]:
    """Senders over one channel; answers stay encoded, what a client does with them is its own."""
    async with grpc.aio.insecure_channel(f"127.0.0.1:{mesh.ports['order']}") as channel:
        call = channel.unary_unary(CREATE)

        async def send(client_order_id: str) -> None:
            await call(order(client_order_id).SerializeToString())

        yield [send] * in_flight


@contextlib.asynccontextmanager
async def by_session(mesh: Mesh, in_flight: int) -> AsyncIterator[list[Send]]:
    """Senders that share one session: what is to be sent while a message is written travels with the next."""
    async with grpc.aio.insecure_channel(f"127.0.0.1:{mesh.ports['order']}") as channel:
        call: grpc.aio.StreamStreamCall[Any, Any] = channel.stream_stream(
            ENTER,
            request_serializer=order_service_pb2.EnterOrdersRequest.SerializeToString,
            response_deserializer=order_service_pb2.EnterOrdersResponse.FromString,
        )()
        entry = Entry(call)
        tasks = [asyncio.create_task(entry.write()), asyncio.create_task(entry.read())]
        try:
            yield [entry.send] * in_flight
        finally:
            for task in tasks:
                task.cancel()
            call.cancel()


class Entry:
    """The client's side of a session."""

    def __init__(self, call: Any) -> None:
        self._call = call
        self._waiting: list[order_service_pb2.OrderCommand] = []
        self._news = asyncio.Event()
        self._answers: dict[str, asyncio.Future[None]] = {}

    async def send(self, client_order_id: str) -> None:
        """Sends an order with the next message, and waits for its acknowledgement."""
        answer = self._answers[client_order_id] = asyncio.get_running_loop().create_future()
        self._waiting.append(order_service_pb2.OrderCommand(create=order(client_order_id)))
        self._news.set()
        await answer

    async def write(self) -> None:
        """Sends what waits, until cancelled."""
        while await self._news.wait():
            self._news.clear()
            waiting, self._waiting = self._waiting, []
            if waiting:
                await self._call.write(order_service_pb2.EnterOrdersRequest(commands=waiting))

    async def read(self) -> None:
        """Hands out acknowledgements, until cancelled."""
        async for message in self._call:
            for ack in message.acks.acks:
                answer = self._answers.pop(ack.client_order_id)
                if ack.HasField("order"):
                    answer.set_result(None)
                else:
                    answer.set_exception(RuntimeError(ack.error.message))


@contextlib.asynccontextmanager
async def bare(mesh: Mesh, in_flight: int) -> AsyncIterator[list[Send]]:
    """Callers of a method that does nothing, over one channel."""
    async with grpc.aio.insecure_channel(f"127.0.0.1:{mesh.ports['order']}") as channel:
        call: Any = channel.unary_unary(CHECK)

        async def send(_: str) -> None:
            await call(b"")

        yield [send] * in_flight


@contextlib.asynccontextmanager
async def over_rest(mesh: Mesh, in_flight: int) -> AsyncIterator[list[Send]]:
    """Senders over a kept connection each, through Envoy."""
    connections = [await asyncio.open_connection("127.0.0.1", mesh.ports["edge"]) for _ in range(in_flight)]
    try:
        yield [rest_sender(*connection) for connection in connections]
    finally:
        for _, writer in connections:
            writer.close()


def rest_sender(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> Send:
    """Posts JSON; as little of HTTP as that takes, because a whole client would be most of what is measured."""

    async def send(client_order_id: str) -> None:
        body = json.dumps(
            {
                "client_order_id": client_order_id,
                "portfolio_id": PORTFOLIO,
                "symbol": "AAPL",
                "side": "SIDE_BUY",
                "order_type": "ORDER_TYPE_LIMIT",
                "time_in_force": "TIME_IN_FORCE_GTC",
                "quantity": "1",
                "limit_price": "1.5",
            }
        ).encode()
        head = "POST /api/v1/orders HTTP/1.1\r\nhost: bench\r\ncontent-type: application/json\r\n"
        writer.write(f"{head}content-length: {len(body)}\r\n\r\n".encode() + body)
        answer = (await reader.readuntil(b"\r\n\r\n")).decode().lower()
        length = int(answer.split("content-length: ")[1].split("\r\n")[0])
        content = await reader.readexactly(length)
        if not answer.startswith("http/1.1 200"):
            raise RuntimeError(content.decode())

    return send


async def run(mesh: Mesh, name: str, in_flight: int, seconds: float) -> Case:
    """Keeps so many orders in flight for so long, after a second to warm up."""
    latencies: list[float] = []
    run_id = f"{name}-{in_flight}-{time.time_ns()}"
    began = time.perf_counter() + min(1.0, seconds / 4)
    until = began + seconds

    async def worker(number: int, send: Send) -> None:
        n = 0
        while (sent := time.perf_counter()) < until:
            n += 1
            await send(f"{run_id}-{number}-{n}")
            if sent >= began:
                latencies.append(time.perf_counter() - sent)

    async with WAYS[name](mesh, in_flight) as senders:
        working = asyncio.gather(*(worker(number, send) for number, send in enumerate(senders)))
        await asyncio.sleep(began - time.perf_counter())
        before = mesh.used()
        await working
        after = mesh.used()
    took = time.perf_counter() - began
    return Case(f"{name:<5} {in_flight:>3}", latencies, took, {each: after[each] - before[each] for each in after})


WAYS = {"bare": bare, "enter": by_session, "gRPC": over_grpc, "REST": over_rest}


def durable_writes(folder: Path, seconds: float = 1.0) -> float:
    """How often a second 4 KiB are appended to a file here and made durable, one after the other."""
    block, count = os.urandom(4096), 0
    with (folder / "probe").open("wb", buffering=0) as file:
        began = time.perf_counter()
        while time.perf_counter() - began < seconds:
            file.write(block)
            os.fdatasync(file.fileno())
            count += 1
        return count / (time.perf_counter() - began)


def reference_loop() -> float:
    """Nanoseconds for a dictionary entry and an addition, in a loop of Python: what the machine gives one process."""
    kept: dict[int, int] = {}
    began = time.perf_counter()
    for i in range(500_000):
        kept[i & 255] = i + 1
    return (time.perf_counter() - began) / 500_000 * 1e9


def report(folder: Path, cases: Iterator[str]) -> None:
    """Prints the table, with what the machine was doing before and after."""
    print(f"disk         {durable_writes(folder):,.0f} durable writes a second in {folder}")
    print(f"machine      load {os.getloadavg()[0]:.2f}, {os.cpu_count()} processors, loop {reference_loop():.0f} ns")
    print(f"versions     Python {platform.python_version()}, grpcio {grpc.__version__}, {platform.machine()}")
    print(f"{'in flight':<18} {'orders/s':>8} {'p50 ms':>8} {'p99 ms':>8}   CPU of a call in us, by process")
    for line in cases:
        print(line, flush=True)
    print(f"machine      load {os.getloadavg()[0]:.2f}, loop {reference_loop():.0f} ns, afterwards")


def main() -> None:
    arguments = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    arguments.add_argument("--seconds", type=float, default=5.0, help="of each case")
    arguments.add_argument("--directory", type=Path, help="whose disk the services write to")
    arguments.add_argument("--no-rest", action="store_true", help="without Envoy")
    chosen = arguments.parse_args()
    ways = [way for way in WAYS if way != "REST" or not chosen.no_rest]
    with tempfile.TemporaryDirectory(dir=chosen.directory) as name, asyncio.Runner() as runner:
        mesh = Mesh(Path(name), edge=not chosen.no_rest)
        try:
            runner.run(asyncio.wait_for(prepare(mesh), 120))
            cases = (
                runner.run(run(mesh, way, in_flight, chosen.seconds)).line() for way in ways for in_flight in IN_FLIGHT
            )
            report(Path(name), cases)
        finally:
            mesh.stop()


if __name__ == "__main__":
    main()
