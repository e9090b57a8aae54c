"""A market to trade in: the peers of the order service as real servers, and the service itself, as it is run."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import os
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass, field
from decimal import Decimal
from pathlib import Path
from typing import Any

import numpy as np
from grpc import StatusCode
from tickmesh.marketdata.v1 import (
    environment_pb2,
    environment_service_pb2_grpc,
    instrument_pb2,
    instrument_service_pb2_grpc,
    market_data_pb2,
    market_data_service_pb2,
    market_data_service_pb2_grpc,
    replay_service_pb2,
    replay_service_pb2_grpc,
    tape_service_pb2,
    tape_service_pb2_grpc,
)
from tickmesh.order.v1 import order_pb2, order_service_pb2
from tickmesh.order.v1.order_service_pb2_grpc import OrderServiceStub
from tickmesh.portfolio.v1 import portfolio_pb2, portfolio_service_pb2, portfolio_service_pb2_grpc
from tickmesh.risk.v1 import risk_gate_service_pb2, risk_gate_service_pb2_grpc, risk_pb2

from services.chassis.calls.channel import Channel, connect
from services.chassis.calls.server import Server
from services.chassis.errors import ApiError
from services.chassis.settings import ServiceSettings
from services.domain.costs import Level, Slip
from services.domain.instrument import Instrument
from services.domain.orders.order import OrderState
from services.domain.risk.gate import Gate, Verdict
from services.domain.risk.preview import Preview, preview
from services.domain.tape import Kind, Levels, Series, Source, Tape, merge
from services.order.gate.mapping import Check
from services.order.main import main
from services.order.mapping import decode_event
from services.wire.cycle import SEAT_KEY
from services.wire.limits import check_to_proto
from services.wire.orders import order_from_proto, refusal_to_proto
from services.wire.tapes import stretches_to_proto
from services.wire.values import nanoseconds
from tests.nursery import Child
from tests.ports import free_ports

__all__ = ["Check", "Mesh", "decode_event", "request", "running"]

ENVIRONMENT = "replay-1"
MINUTE = 60_000_000_000
# 2013-03-01 14:30 UTC, the open of a New York session.
OPEN = 1_362_148_200_000_000_000
BARS = 60
Instruction = replay_service_pb2.JoinReplayResponse
SEAT_TOKEN = "seat-of-d"
SEAT = ((SEAT_KEY, SEAT_TOKEN),)


def make_tape(bars: int = BARS, price: float = 100.0) -> Tape:
    """One session of minute bars of AAPL and MSFT; each bar's open is a cent above the one before."""
    start = OPEN + np.arange(bars, dtype=np.int64) * MINUTE
    values = np.zeros((bars, 5))
    values[:, 0] = np.round(price + np.arange(bars) * 0.01, 4)
    values[:, 1], values[:, 2], values[:, 3] = values[:, 0] + 0.02, values[:, 0] - 0.02, values[:, 0] + 0.005
    values[:, 4] = 1_000_000
    edges = np.array([OPEN, OPEN + bars * MINUTE], np.int64)
    clock = np.zeros((2, 5))
    clock[0, 0] = 1
    return merge(
        [
            Series(Source(Kind.CLOCK, "XNYS"), edges, edges, clock),
            Series(Source(Kind.BAR, "AAPL", "1m"), start + MINUTE, start, values.round(4)),
            Series(Source(Kind.BAR, "MSFT", "1m"), start + MINUTE, start, (values / 2).round(4)),
        ]
    )


def quoted_tape() -> Tape:
    """The same after a quote of each symbol before the open: of AAPL one with its levels, of MSFT without sizes."""
    tape, when = make_tape(), np.array([OPEN - 2, OPEN - 1], np.int64)
    values = np.array([[99.9, 100.1, 30, 40, 0], [50, 50.5, 0, 0, 0]])
    levels = Levels(np.array([0, 0], np.int64), np.array([[99.8, 50, 100.2, 60], [99.7, 70, 0, 0]], np.float64))
    deep = Series(Source(Kind.QUOTE, "AAPL"), when[:1], when[:1], values[:1], levels)
    flat = Series(Source(Kind.QUOTE, "MSFT"), when[1:], when[1:], values[1:])
    bars = [
        Series(source, tape.time[rows], tape.start[rows], tape.values[rows])
        for number, source in enumerate(tape.sources)
        if len(rows := np.flatnonzero(tape.source == number))
    ]
    return merge([*bars, deep, flat])


@dataclass
class Market:
    """What marketdata knows, and a coordinator that a test moves by hand."""

    tape: Tape = field(default_factory=make_tape)
    start_sequence: int = 3
    environment_id: str = ENVIRONMENT
    state: int = environment_pb2.ENVIRONMENT_STATE_PAUSED
    calls: list[asyncio.Queue[Instruction | None]] = field(default_factory=list)
    heard: asyncio.Queue[replay_service_pb2.JoinReplayRequest] = field(default_factory=asyncio.Queue)
    hold: bool = False
    halts: list[market_data_pb2.Halt] = field(default_factory=list)

    def environment(self) -> environment_pb2.Environment:
        return environment_pb2.Environment(
            environment_id=self.environment_id,
            state=self.state,  # type: ignore[arg-type]
            symbols=["AAPL", "MSFT"],
            start_sequence=self.start_sequence,
            end_sequence=len(self.tape),
            owner="local",
        )

    def send(self, **instruction: Any) -> None:
        """Tells the venue something, on its newest stream."""
        self.calls[-1].put_nowait(Instruction(**instruction))

    def announce(self, state: int | None = None) -> None:
        self.state = self.state if state is None else state
        self.send(announced=replay_service_pb2.Announced(environment=self.environment()))

    def idle(self, at: int, state: int = environment_pb2.ENVIRONMENT_STATE_PAUSED, cycle: int = 0) -> None:
        self.send(
            idle=replay_service_pb2.Idle(
                environment_id=self.environment_id,
                cycle=cycle,
                state=state,  # type: ignore[arg-type]
                tape_sequence=at,
            )
        )

    def grant(self, cycle: int, through: int, *, final: bool = False) -> None:
        self.send(
            grant=replay_service_pb2.Grant(
                environment_id=self.environment_id, cycle=cycle, through=through, final=final
            )
        )

    async def hear(self, which: str) -> Any:
        """The next message from the venue, which must be of this kind."""
        message = await asyncio.wait_for(self.heard.get(), 30)
        assert message.WhichOneof("message") == which, message
        return getattr(message, which)

    async def run(self, cycle: int, through: int, *, final: bool = False) -> Any:
        self.grant(cycle, through, final=final)
        return await self.hear("reached")

    async def joined(self, at: int | None = None, state: int | None = None) -> Any:
        """Waits until the venue has joined, and lets time stand still there."""
        await self.hear("hello")
        join = await self.hear("join")
        self.roll(d=("s", "trend"))
        self.idle(join.tape_sequence if at is None else at, state or environment_pb2.ENVIRONMENT_STATE_PAUSED)
        return join

    def roll(self, **deployments: tuple[str, str]) -> None:
        """Tells who takes part: the strategy and portfolio of each deployment."""
        entries = [
            replay_service_pb2.Enrolled(
                deployment_id=deployment_id,
                deployment_number=number,
                strategy_id=strategy_id,
                portfolio_id=portfolio_id,
                seat_digest=hashlib.sha256(SEAT_TOKEN.encode()).hexdigest(),
            )
            for number, (deployment_id, (strategy_id, portfolio_id)) in enumerate(deployments.items(), 1)
        ]
        self.send(roll=replay_service_pb2.Roll(environment_id=self.environment_id, deployments=entries))

    def hang_up(self) -> None:
        self.calls[-1].put_nowait(None)


class Replays(replay_service_pb2_grpc.ReplayServiceServicer):
    def __init__(self, market: Market) -> None:
        self._market = market

    async def JoinReplay(self, requests: Any, context: Any) -> AsyncIterator[Instruction]:
        market, outbox = self._market, asyncio.Queue[Instruction | None]()
        first = await anext(requests)
        if market.hold:
            raise ApiError.unavailable("SERVICE_UNAVAILABLE", "not now")
        market.calls.append(outbox)
        market.heard.put_nowait(first)
        market.announce()

        async def listen() -> None:
            with contextlib.suppress(Exception):
                async for message in requests:
                    market.heard.put_nowait(message)
            outbox.put_nowait(None)

        listening = asyncio.create_task(listen())
        try:
            while (message := await outbox.get()) is not None:
                yield message
        finally:
            listening.cancel()


class Instruments(instrument_service_pb2_grpc.InstrumentServiceServicer):
    KNOWN = ("AAPL", "MSFT", "IBM")
    QUANTITY_INCREMENT = "1"

    async def GetInstrument(self, request: Any, context: Any) -> instrument_pb2.Instrument:
        if request.symbol not in self.KNOWN:
            raise ApiError.not_found("instrument", request.symbol, "INSTRUMENT_NOT_FOUND")
        return instrument_pb2.Instrument(
            symbol=request.symbol,
            currency_code="USD",
            calendar="XNYS",
            price_increment="0.0001",
            quantity_increment=self.QUANTITY_INCREMENT,
            lot_size="1",
            contract_multiplier="1",
        )


class Environments(environment_service_pb2_grpc.EnvironmentServiceServicer):
    def __init__(self, market: Market) -> None:
        self._market = market

    async def GetEnvironment(self, request: Any, context: Any) -> environment_pb2.Environment:
        if request.environment_id != self._market.environment_id:
            raise ApiError.not_found("environment", request.environment_id, "ENVIRONMENT_NOT_FOUND")
        return self._market.environment()

    async def GetDefaultEnvironment(self, request: Any, context: Any) -> environment_pb2.Environment:
        return self._market.environment()


class Tapes(tape_service_pb2_grpc.TapeServiceServicer):
    def __init__(self, market: Market) -> None:
        self._market = market

    async def ReadTape(self, request: Any, context: Any) -> AsyncIterator[tape_service_pb2.ReadTapeResponse]:
        tape, after = self._market.tape, request.after_sequence
        stop = min(len(tape), after + request.limit) if request.limit else len(tape)
        for data in stretches_to_proto(tape, after, stop):
            yield tape_service_pb2.ReadTapeResponse.FromString(data)


class Prices(market_data_service_pb2_grpc.MarketDataServiceServicer):
    def __init__(self, market: Market) -> None:
        self._market = market

    async def ListHalts(self, request: Any, context: Any) -> market_data_service_pb2.ListHaltsResponse:
        until = nanoseconds(request.end_time) if request.HasField("end_time") else 2**63 - 1
        found = [each for each in self._market.halts if nanoseconds(each.event_time) < until]
        return market_data_service_pb2.ListHaltsResponse(halts=found)


class Portfolios(portfolio_service_pb2_grpc.PortfolioServiceServicer):
    def __init__(self) -> None:
        self.known: dict[str, str] = {"trend": ENVIRONMENT, "other": ENVIRONMENT}
        self.asked = 0
        self.entries: list[portfolio_pb2.LedgerEntry] = []

    async def ListLedgerEntries(self, request: Any, context: Any) -> portfolio_service_pb2.ListLedgerEntriesResponse:
        found = [each for each in self.entries if each.order_id == request.order_id]
        return portfolio_service_pb2.ListLedgerEntriesResponse(ledger_entries=found)

    async def GetPortfolio(self, request: Any, context: Any) -> portfolio_pb2.Portfolio:
        self.asked += 1
        if request.portfolio_id not in self.known:
            raise ApiError.not_found("portfolio", request.portfolio_id, "PORTFOLIO_NOT_FOUND")
        return portfolio_pb2.Portfolio(
            portfolio_id=request.portfolio_id,
            environment_id=self.known[request.portfolio_id],
            opening_ledger_sequence=2,
            principal="local",
            owner="local",
        )


class RiskGate(risk_gate_service_pb2_grpc.RiskGateServiceServicer):
    """The domain's gate behind the real protocol: it folds the order service's own stream up to the head it is told."""

    def __init__(self, orders: OrderServiceStub, cash: Decimal = Decimal(100_000)) -> None:
        self.gate = Gate()
        for portfolio_id in ("trend", "other"):
            self.gate.open_portfolio(portfolio_id, cash)
        self.orders = orders
        self.head = 0
        self.epoch = 0
        self.silent = False
        self.connects: list[tuple[int, int]] = []
        self.batches: list[int] = []
        self.carried: list[list[int]] = []
        self.stood: list[tuple[int, list[int]]] = []
        self.traceparents: list[str] = []
        self.kills: list[risk_pb2.KillSwitch] = []
        self.runaways: asyncio.Queue[risk_gate_service_pb2.ReportRunawayRequest] = asyncio.Queue()
        self.outbox: asyncio.Queue[risk_gate_service_pb2.CheckOrdersResponse | None] = asyncio.Queue()
        self.deaf = False
        self.before_answer: Any = None
        self._instrument = Instrument("AAPL", price_increment=Decimal("0.0001"))

    async def ReportRunaway(self, request: Any, context: Any) -> risk_gate_service_pb2.ReportRunawayResponse:
        self.runaways.put_nowait(request)
        if self.deaf:
            raise ApiError.unavailable("SERVICE_UNAVAILABLE", "It hears of no runaway.")
        return risk_gate_service_pb2.ReportRunawayResponse()

    async def CheckOrders(self, requests: Any, context: Any) -> Any:
        self.outbox = outbox = asyncio.Queue()
        listening = asyncio.create_task(self._listen(requests))
        listening.add_done_callback(lambda _: outbox.put_nowait(None))
        try:
            while (message := await outbox.get()) is not None:
                yield message
        finally:
            listening.cancel()

    async def _listen(self, requests: Any) -> None:
        first = (await anext(requests)).connect
        assert first.epoch > self.epoch
        self.epoch = first.epoch
        self.connects.append((first.epoch, first.order_head))
        await self.fold(first.order_head)
        self.gate.drop_unconfirmed()
        self._tell(ready=risk_gate_service_pb2.Ready(epoch=first.epoch, kill_switches=self.kills))
        async for request in requests:
            await self._check(request.batch)

    async def _check(self, batch: risk_gate_service_pb2.CheckBatch) -> None:
        self.batches.append(len(batch.checks))
        events = order_service_pb2.OrderEvents.FromString(batch.order_events).events
        self.carried.append([each.sequence for each in events])
        self.stood.append((batch.order_head, list(batch.standing_batch_ids)))
        self.traceparents += [check.traceparent for check in batch.checks]
        await self.fold(batch.order_head)
        verdicts = []
        for check in batch.checks:
            order, price = order_from_proto(check.order), Decimal(check.reference_price)
            decide = self.gate.check if order.state is OrderState.PENDING_NEW else self.gate.check_replacement
            verdict = decide(order, self._instrument, price, nanoseconds(batch.market_time), slip=slip_of(check))
            verdicts.append(verdict_to_proto(verdict))
        previews = [
            preview(
                self.gate,
                order_from_proto(each.order),
                self._instrument,
                Decimal(each.reference_price),
                nanoseconds(batch.market_time),
                slip=slip_of(each),
            )
            for each in batch.previews
        ]
        if self.before_answer is not None:
            await self.before_answer()
        if not self.silent:
            self._tell(
                verdicts=risk_gate_service_pb2.VerdictBatch(
                    batch_id=batch.batch_id, verdicts=verdicts, previews=map(preview_to_proto, previews)
                )
            )

    def kill(self, **switch: Any) -> None:
        message = risk_pb2.KillSwitch(environment_id=ENVIRONMENT, engaged=True, principal="officer", **switch)
        self.kills.append(message)
        self._tell(kill_switch=message)

    def guard(self, bound: str, portfolio_id: str = "trend") -> None:
        self._tell(runaway_guard=risk_gate_service_pb2.RunawayGuard(portfolio_id=portfolio_id, bound=bound))

    def hang_up(self) -> None:
        self.outbox.put_nowait(None)

    def _tell(self, **answer: Any) -> None:
        self.outbox.put_nowait(risk_gate_service_pb2.CheckOrdersResponse(**answer))

    async def fold(self, head: int) -> None:
        """Counts each event once, in order, up to `head`."""
        if self.head >= head:
            return
        stream = self.orders.StreamOrderEvents(
            order_service_pb2.StreamOrderEventsRequest(environment_id=ENVIRONMENT, after_sequence=self.head)
        )
        async for message in stream:
            for event in message.order_events.events:
                if event.sequence <= head:
                    assert event.sequence == self.head + 1
                    self.gate.fold(domain_event(event), self._instrument)
                    self.head = event.sequence
            if self.head >= head:
                break
        stream.cancel()


def verdict_to_proto(verdict: Verdict) -> risk_gate_service_pb2.Verdict:
    message = risk_gate_service_pb2.Verdict(order_id=verdict.order_id, checks=map(check_to_proto, verdict.checks))
    if verdict.reservation is not None:
        cash, quantity, headroom, fee, margin = (f"{each:f}" for each in verdict.reservation)
        message.reservation.CopyFrom(
            order_pb2.Reservation(cash=cash, quantity=quantity, headroom=headroom, commission=fee, margin=margin)
        )
    elif verdict.refusal is not None:
        message.refusal.CopyFrom(refusal_to_proto(verdict.refusal))
    return message


def preview_to_proto(found: Preview) -> risk_gate_service_pb2.PreviewVerdict:
    return risk_gate_service_pb2.PreviewVerdict(
        verdict=verdict_to_proto(found.verdict),
        price=f"{found.price:f}",
        quantity=f"{found.quantity:f}",
        notional=f"{found.notional:f}",
        largest_quantity="" if found.largest is None else f"{found.largest:f}",
        next_refusal=None if found.beyond is None else refusal_to_proto(found.beyond),
        slippage=f"{found.slippage:f}",
        initial_margin=f"{found.initial_margin:f}",
    )


def slip_of(check: risk_gate_service_pb2.OrderCheck) -> Slip:
    levels = tuple(Level(Decimal(each.distance), Decimal(each.quantity)) for each in check.levels)
    return Slip(Decimal(check.spread or 0), Decimal(check.size_share or 0), levels)


def domain_event(event: order_pb2.OrderEvent) -> Any:
    """A stored event as the domain has it."""
    from services.domain.orders.order import ExecType, OrderEvent

    figures = (event.last_quantity, event.last_price, event.last_commission, event.last_commission_quantity or "0")
    last = map(Decimal, figures)
    transacted = nanoseconds(event.transact_time)
    exec_type, order = ExecType(event.exec_type), order_from_proto(event.order)
    return OrderEvent(exec_type, order, transacted, event.tape_sequence, *last)


def request(client_order_id: str, **values: Any) -> order_service_pb2.CreateOrderRequest:
    """A buy of 10 AAPL at market, or what `values` make of it."""
    fields: dict[str, Any] = {
        "portfolio_id": "trend",
        "symbol": "AAPL",
        "side": 1,
        "order_type": order_pb2.ORDER_TYPE_MARKET,
        "time_in_force": order_pb2.TIME_IN_FORCE_GTC,
        "quantity": "10",
    }
    return order_service_pb2.CreateOrderRequest(client_order_id=client_order_id, **(fields | values))


def limit(client_order_id: str, price: str = "50", **values: Any) -> order_service_pb2.CreateOrderRequest:
    """A buy that rests: its limit is far below the market."""
    return request(client_order_id, order_type=order_pb2.ORDER_TYPE_LIMIT, limit_price=price, **values)


@dataclass
class Mesh:
    """The order service and its peers."""

    market: Market
    portfolios: Portfolios
    gate: RiskGate
    environment: dict[str, str]
    orders: OrderServiceStub
    channel: Channel
    servers: dict[str, Server] = field(default_factory=dict)
    process: Child | None = None
    task: asyncio.Task[None] | None = None

    async def start(self, **environment: str) -> None:
        """Starts the service in this process, wired by its own main."""
        with patched(self.environment | environment):
            self.task = asyncio.create_task(main())
            await asyncio.sleep(0)
        await self.ready()

    async def ready(self) -> None:
        """Waits until it answers; a connection to one that was killed may break only now."""
        anything = order_service_pb2.ListOrdersRequest(environment_id=ENVIRONMENT)
        async with asyncio.timeout(40):
            while True:
                try:
                    await self.orders.ListOrders(anything, wait_for_ready=True, timeout=40)
                except ApiError as error:
                    if self.task is not None and self.task.done():
                        self.task.result()
                    if error.code is not StatusCode.UNAVAILABLE:
                        raise
                    await asyncio.sleep(0.05)
                else:
                    return

    async def stop(self) -> None:
        """Stops it as SIGTERM does."""
        if self.task is not None:
            self.task.cancel()
            ended, _ = await asyncio.wait([self.task], timeout=10)
            assert ended, "the service goes on"
            self.task = None

    def spawn(self, **environment: str) -> Child:
        """Starts the service as a process of its own, to be killed."""
        self.process = Child("services.order.main", os.environ | self.environment | environment)
        return self.process

    async def died(self) -> int:
        """Waits until the process has ended; its return code."""
        assert self.process is not None
        code = await self.process.ended()
        self.process = None
        return code

    async def place(self, order: order_service_pb2.CreateOrderRequest, seconds: float = 20) -> order_pb2.Order:
        """As a client does: repeats the call until it is answered."""
        async with asyncio.timeout(seconds):
            while True:
                try:
                    return await self.orders.CreateOrder(order, timeout=5)
                except ApiError as error:
                    if error.code not in {StatusCode.UNAVAILABLE, StatusCode.DEADLINE_EXCEEDED}:
                        raise
                    await asyncio.sleep(0.05)

    async def get(self, client_order_id: str, portfolio_id: str = "trend") -> order_pb2.Order:
        return await self.orders.GetOrderByClientOrderId(
            order_service_pb2.GetOrderByClientOrderIdRequest(portfolio_id=portfolio_id, client_order_id=client_order_id)
        )

    async def events(self, after: int = 0) -> list[order_pb2.OrderEvent]:
        """All events from `after` on, as the stream tells them."""
        found: list[order_pb2.OrderEvent] = []
        stream = self.orders.StreamOrderEvents(
            order_service_pb2.StreamOrderEventsRequest(environment_id=ENVIRONMENT, after_sequence=after)
        )
        async for message in stream:
            if message.WhichOneof("event") == "heartbeat":
                break
            found += message.order_events.events
        stream.cancel()
        return found


@contextlib.contextmanager
def patched(environment: dict[str, str]) -> Iterator[None]:
    before = dict(os.environ)
    os.environ.update(environment)
    try:
        yield
    finally:
        os.environ.clear()
        os.environ.update(before)


@contextlib.asynccontextmanager
async def running(folder: Path, *, start: bool = True, database_url: str = "") -> AsyncIterator[Mesh]:
    """Peers on ports of their own, the service beside them, and all of it gone afterwards."""
    names = ("marketdata", "order", "risk", "portfolio")
    ports = dict(zip(names, free_ports(len(names)), strict=True))
    environment = {f"TICKMESH_{name.upper()}_ADDRESS": f"127.0.0.1:{port}" for name, port in ports.items()}
    environment |= {
        "TICKMESH_DATA_DIRECTORY": str(folder),
        "TICKMESH_LOG_LEVEL": os.environ.get("TICKMESH_TEST_LOG_LEVEL", "WARNING"),
        "TICKMESH_HEARTBEAT_SECONDS": "0.5",
        "TICKMESH_DRAIN_SECONDS": "1",
    }
    if database_url:
        environment["TICKMESH_ORDER_DATABASE_URL"] = database_url
    channel = connect(f"127.0.0.1:{ports['order']}")
    orders = OrderServiceStub(channel)
    market, portfolios, gate = Market(), Portfolios(), RiskGate(orders)
    mesh = Mesh(market, portfolios, gate, environment, orders, channel)
    try:
        for name in ("marketdata", "portfolio", "risk"):
            await start_peer(mesh, name)
        if start:
            await mesh.start()
        yield mesh
    finally:
        await mesh.stop()
        if mesh.process is not None:
            mesh.process.kill()
            mesh.process.wait()
        await channel.close()
        for server in mesh.servers.values():
            await server.stop(0)


async def start_peer(mesh: Mesh, name: str) -> None:
    server = Server(ServiceSettings(), address=mesh.environment[f"TICKMESH_{name.upper()}_ADDRESS"])
    if name == "marketdata":
        server.add(replay_service_pb2_grpc.add_ReplayServiceServicer_to_server, Replays(mesh.market))
        server.add(instrument_service_pb2_grpc.add_InstrumentServiceServicer_to_server, Instruments())
        server.add(environment_service_pb2_grpc.add_EnvironmentServiceServicer_to_server, Environments(mesh.market))
        server.add(tape_service_pb2_grpc.add_TapeServiceServicer_to_server, Tapes(mesh.market))
        server.add(market_data_service_pb2_grpc.add_MarketDataServiceServicer_to_server, Prices(mesh.market))
    elif name == "portfolio":
        server.add(portfolio_service_pb2_grpc.add_PortfolioServiceServicer_to_server, mesh.portfolios)
    else:
        server.add(risk_gate_service_pb2_grpc.add_RiskGateServiceServicer_to_server, mesh.gate)
    await server.start()
    mesh.servers[name] = server


async def stop_peer(mesh: Mesh, name: str) -> None:
    await mesh.servers.pop(name).stop(0)
