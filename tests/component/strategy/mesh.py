"""The strategy service's peers in one toy server, on the real protos and the domain's own venue, gate and books.

It runs the cycle as the coordinator does, through the stream, where ``Simulation`` calls its runners: so what comes
out must be what a backtest of the same plans gives.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator, Iterable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from decimal import Decimal
from pathlib import Path
from typing import Any, ClassVar

from tickmesh.marketdata.v1 import (
    environment_pb2,
    environment_service_pb2_grpc,
    instrument_pb2,
    instrument_service_pb2_grpc,
    replay_service_pb2,
    replay_service_pb2_grpc,
    tape_service_pb2,
    tape_service_pb2_grpc,
)
from tickmesh.order.v1 import order_pb2, order_service_pb2, order_service_pb2_grpc
from tickmesh.portfolio.v1 import portfolio_pb2, portfolio_service_pb2_grpc
from tickmesh.strategy.v1.strategy_service_pb2_grpc import StrategyServiceStub

from services.chassis.calls.channel import connect
from services.chassis.calls.server import Server
from services.chassis.errors import ApiError
from services.chassis.settings import ServiceSettings
from services.chassis.telemetry.tracing import current_traceparent
from services.domain.backtest.plans import order_from
from services.domain.backtest.simulation import DeploymentPlan, PortfolioPlan, Simulation
from services.domain.deployment.commands import NewOrder
from services.domain.instrument import Instrument
from services.domain.money import format_decimal
from services.domain.orders.order import Order, OrderEvent, OrderState, OrderType, Side, TimeInForce
from services.domain.tape import Tape
from services.domain.timeline import Wake, next_through
from services.strategy.main import service
from services.strategy.settings import Settings
from services.wire.cycle import SEAT_KEY
from services.wire.orders import order_from_proto
from services.wire.values import nanoseconds, timestamp
from tests.nursery import Child

ENVIRONMENT = "r1"
SECOND = 1_000_000_000


class ToySettings(ServiceSettings):
    """The toy borrows a name of the catalog."""

    service: ClassVar[str] = "marketdata"


@dataclass
class Seat:
    """A deployment, as the coordinator knows it."""

    number: int
    start_sequence: int
    outbox: asyncio.Queue[Any] | None
    wake: Wake | None
    done: int
    token: str
    asked: tuple[Any, int] | None = None


@dataclass
class Toy:
    """One environment, every peer's part of it."""

    tape: Tape
    instruments: Mapping[str, Instrument]
    portfolios: list[PortfolioPlan]
    start_sequence: int = 0
    state: int = environment_pb2.ENVIRONMENT_STATE_RUNNING
    longest: int = 1_000_000
    events: list[order_pb2.OrderEvent] = field(default_factory=list)
    calls: list[str] = field(default_factory=list)
    traces: dict[str, str] = field(default_factory=dict)
    deciding: bool = False
    refuse_with: list[ApiError] = field(default_factory=list)
    lose: list[str] = field(default_factory=list)
    decides: list[Any] = field(default_factory=list)
    hold: asyncio.Event = field(default_factory=asyncio.Event)

    def __post_init__(self) -> None:
        self.simulation = Simulation(
            self.tape, self.instruments, self.portfolios, start_sequence=self.start_sequence, environment_id=ENVIRONMENT
        )
        self.seats: dict[str, Seat] = {}
        self.outboxes: list[asyncio.Queue[Any]] = []
        self.cycle = 0
        self.changed = asyncio.Event()
        self.published = asyncio.Event()
        self.orders: dict[tuple[str, str], Order] = {}
        self.by_id: dict[str, Order] = {}
        self.count = 0
        self.welcoming, self.taken = True, False
        self.hold.set()

    # --- the venue and the books

    def take(self, events: list[OrderEvent]) -> None:
        """Folds and publishes."""
        self.simulation._fold(events)
        for event in events:
            order = event.order
            self.orders[order.portfolio_id, order.client_order_id] = self.by_id[order.order_id] = order
            self.events.append(event_to_proto(event, len(self.events) + 1))
        published, self.published = self.published, asyncio.Event()
        published.set()

    async def CreateOrder(self, request: order_service_pb2.CreateOrderRequest, context: Any) -> order_pb2.Order:
        self.calls.append(request.client_order_id)
        self.traces[request.client_order_id] = current_traceparent()
        await self.hold.wait()
        if self.refuse_with:
            raise self.refuse_with.pop()
        known = self.orders.get((request.portfolio_id, request.client_order_id))
        seat = self.seats[request.deployment_id]
        assert (SEAT_KEY, seat.token) in context.invocation_metadata()
        if known is None:
            if request.basis_sequence != self.simulation.position:
                raise ApiError.aborted("BASIS_STALE", "elsewhere")
            if Decimal(request.quantity or 1) % 1:
                raise ApiError.invalid_field("quantity", "is off the increment", "OFF_INCREMENT")
            self.take(self.place(request))
            known = self.orders[request.portfolio_id, request.client_order_id]
        if self.lose and request.client_order_id == self.lose[-1]:
            self.lose.pop()
            raise ApiError.unavailable("SERVICE_UNAVAILABLE", "it was placed, but you will not know")
        if known.refusal is not None:
            raise ApiError.failed_precondition(known.refusal.reason, "refused", kind="RISK")
        return order_to_proto(known)

    def place(self, request: order_service_pb2.CreateOrderRequest) -> list[OrderEvent]:
        def optional(text: str) -> Decimal | None:
            return Decimal(text) if text else None

        command = NewOrder(
            request.client_order_id,
            request.symbol,
            Side(request.side),
            OrderType(request.order_type),
            TimeInForce(request.time_in_force),
            Decimal(request.quantity or 0),
            optional(request.cash_quantity),
            optional(request.limit_price),
            optional(request.stop_price),
            label=request.label,
            signal_id=request.signal_id,
            basis_sequence=request.basis_sequence,
            basis_time=nanoseconds(request.basis_time),
        )
        plan = DeploymentPlan(0, request.deployment_id, request.strategy_id, None, request.portfolio_id)  # type: ignore[arg-type]
        assert order_from(command, plan, "x").basis_time == command.basis_time
        return self.simulation.trading.carry_out(plan, command)

    async def GetOrderByClientOrderId(self, request: Any, context: Any) -> order_pb2.Order:
        return order_to_proto(self.orders[request.portfolio_id, request.client_order_id])

    async def CancelOrder(self, request: order_service_pb2.CancelOrderRequest, context: Any) -> order_pb2.Order:
        self.calls.append(f"cancel {self.by_id[request.order_id].client_order_id}")
        at = self.simulation.position
        events = self.simulation.venue.cancel(request.order_id, at, self.simulation.timeline.time(at))
        self.take(events)
        order = self.by_id[request.order_id]
        if not events and order.state is not OrderState.CANCELED:
            raise ApiError.failed_precondition("ORDER_ENDED", "over")
        return order_to_proto(order)

    async def StreamOrderEvents(
        self, request: order_service_pb2.StreamOrderEventsRequest, context: Any
    ) -> AsyncIterator[order_service_pb2.StreamOrderEventsResponse]:
        after = request.after_sequence
        while True:
            published, events = self.published, self.events[after:]
            if events:
                after += len(events)
                yield order_service_pb2.StreamOrderEventsResponse(
                    sequence=after, order_events=order_service_pb2.OrderEvents(events=events)
                )
            await published.wait()

    # --- marketdata and portfolio

    def environment(self) -> environment_pb2.Environment:
        return environment_pb2.Environment(
            environment_id=ENVIRONMENT,
            state=self.state,
            symbols=sorted(self.instruments),
            start_sequence=self.start_sequence,
            end_sequence=len(self.tape),
            tape_sequence=self.simulation.position,
        )

    async def GetEnvironment(self, request: Any, context: Any) -> environment_pb2.Environment:
        if request.environment_id != ENVIRONMENT:
            raise ApiError.not_found("environment", request.environment_id, "ENVIRONMENT_NOT_FOUND")
        return self.environment()

    async def GetDefaultEnvironment(self, request: Any, context: Any) -> environment_pb2.Environment:
        return self.environment()

    async def GetInstrument(self, request: Any, context: Any) -> instrument_pb2.Instrument:
        found = self.instruments[request.symbol]
        return instrument_pb2.Instrument(
            symbol=found.symbol,
            currency_code=found.currency_code,
            calendar=found.calendar,
            price_increment=str(found.price_increment),
            quantity_increment=str(found.quantity_increment),
        )

    async def ReadTape(self, request: Any, context: Any) -> AsyncIterator[tape_service_pb2.ReadTapeResponse]:
        tape = self.tape
        sources = [
            tape_service_pb2.TapeSource(kind=each.kind.value, symbol=each.symbol, interval=each.interval)
            for each in tape.sources
        ]
        for first in range(0, len(tape), 1000):
            part = slice(first, first + 1000)
            yield tape_service_pb2.ReadTapeResponse(
                sources=[] if first else sources,
                first_sequence=first + 1,
                source=tape.source[part].tolist(),
                time=tape.time[part].tolist(),
                start=tape.start[part].tolist(),
                values=tape.values[part].ravel().tolist(),
                end_sequence=len(tape),
            )

    async def GetPortfolio(self, request: Any, context: Any) -> portfolio_pb2.Portfolio:
        if request.portfolio_id not in {plan.portfolio_id for plan in self.portfolios}:
            raise ApiError.not_found("portfolio", request.portfolio_id, "PORTFOLIO_NOT_FOUND")
        return portfolio_pb2.Portfolio(portfolio_id=request.portfolio_id, environment_id=ENVIRONMENT)

    # --- the coordinator

    async def JoinReplay(self, requests: AsyncIterator[Any], context: Any) -> AsyncIterator[Any]:
        outbox: asyncio.Queue[Any] = asyncio.Queue()
        self.outboxes.append(outbox)

        async def hear() -> None:
            async for request in requests:
                self.hear(request, outbox)
            outbox.put_nowait(None)

        hearing = asyncio.create_task(hear())
        try:
            while (message := await outbox.get()) is not None:
                yield message
        finally:
            hearing.cancel()
            self.outboxes.remove(outbox)
            for seat in self.seats.values():
                if seat.outbox is outbox:
                    seat.outbox = None

    def hear(self, request: Any, outbox: asyncio.Queue[Any]) -> None:
        match request.WhichOneof("message"):
            case "join":
                self.join(request.join, outbox)
            case "leave":
                left = self.seats.pop(request.leave.deployment_id, None)
                assert left is None or left.token == request.leave.seat_token
            case "done":
                for wake in request.done.wakes:
                    seat = self.seats.get(wake.deployment_id)
                    if seat is not None:
                        seat.done, seat.wake = request.done.cycle, wake_from_proto(wake.next_wake)
        self.changed.set()

    def join(self, join: replay_service_pb2.Join, outbox: asyncio.Queue[Any]) -> None:
        wake = wake_from_proto(join.next_wake) if join.HasField("next_wake") else None
        seat = self.seats.get(join.deployment_id)
        if self.taken or (seat is not None and seat.token != join.seat_token):
            refused = replay_service_pb2.Refused(environment_id=ENVIRONMENT, deployment_id=join.deployment_id)
            refused.error.CopyFrom(ApiError.permission_denied("SEAT_TOKEN_INVALID", "taken").to_status())
            outbox.put_nowait(replay_service_pb2.JoinReplayResponse(refused=refused))
            return
        if seat is None:
            if not self.welcoming:
                return
            seat = Seat(len(self.seats) + 1, self.simulation.position, outbox, wake, self.cycle, join.seat_token)
            self.seats[join.deployment_id] = seat
        else:
            seat.outbox, seat.asked = outbox, None
            seat.done = max(seat.done, join.cycle)
            seat.wake = wake or seat.wake
        welcome = replay_service_pb2.Welcome(
            environment_id=ENVIRONMENT,
            deployment_id=join.deployment_id,
            deployment_number=seat.number,
            start_sequence=seat.start_sequence,
        )
        outbox.put_nowait(replay_service_pb2.JoinReplayResponse(welcome=welcome))

    def announce(self) -> None:
        announced = replay_service_pb2.Announced(environment=self.environment())
        for outbox in self.outboxes:
            outbox.put_nowait(replay_service_pb2.JoinReplayResponse(announced=announced))

    async def until(self, deployments: int) -> None:
        """Waits for so many to have joined."""
        async with asyncio.timeout(30):
            while len(self.seats) < deployments:
                self.changed.clear()
                await self.changed.wait()

    async def run(self, through: int | None = None) -> None:
        """Cycles up to a position, or to the tape's end, which ends the environment."""
        end = self.simulation.timeline.end if through is None else through
        while self.simulation.position < end:
            await self.step(end)
        if through is None:
            at = self.simulation.position
            self.take(self.simulation.venue.expire_all(at, self.simulation.timeline.time(at)))
            self.simulation._value_at_end()
            self.state = environment_pb2.ENVIRONMENT_STATE_COMPLETED
            self.announce()

    async def step(self, end: int) -> None:
        """One cycle."""
        simulation, timeline = self.simulation, self.simulation.timeline
        wakes = [seat.wake for seat in self.seats.values()]
        here = through = simulation.position
        if None not in wakes:
            through = min(next_through(timeline, here, [each for each in wakes if each]), here + self.longest, end)
        self.cycle += 1
        simulation.position, events = simulation.venue.advance(timeline.tape, here, through)
        simulation.result.position = simulation.position
        self.take(events)
        head = len(self.events)
        while late := [name for name, seat in self.seats.items() if seat.done < self.cycle]:
            self.changed.clear()
            outbox = self.seats[late[0]].outbox
            group = [name for name in late if self.seats[name].outbox is outbox]
            if outbox is not None and any(self.seats[name].asked != (outbox, self.cycle) for name in group):
                for name in group:
                    self.seats[name].asked = (outbox, self.cycle)
                decide = replay_service_pb2.Decide(
                    environment_id=ENVIRONMENT,
                    cycle=self.cycle,
                    tape_sequence=simulation.position,
                    order_head=head,
                    deployment_ids=group,
                )
                self.decides.append(decide)
                outbox.put_nowait(replay_service_pb2.JoinReplayResponse(decide=decide))
            await self.changed.wait()


def wake_from_proto(wake: replay_service_pb2.NextWake) -> Wake:
    return Wake(
        frozenset(wake.record_symbols),
        frozenset((bar.symbol, bar.interval) for bar in wake.bars),
        nanoseconds(wake.time) if wake.HasField("time") else None,
        wake.tape_sequence,
    )


def order_to_proto(order: Order) -> order_pb2.Order:
    refusal = order.refusal
    made = order_pb2.Order(
        order_id=order.order_id,
        client_order_id=order.client_order_id,
        portfolio_id=order.portfolio_id,
        environment_id=ENVIRONMENT,
        symbol=order.symbol,
        side=order.side.value,
        order_type=order.order_type.value,
        time_in_force=order.time_in_force.value,
        quantity=format_decimal(order.quantity),
        cash_quantity="" if order.cash_quantity is None else format_decimal(order.cash_quantity),
        limit_price="" if order.limit_price is None else format_decimal(order.limit_price),
        stop_price="" if order.stop_price is None else format_decimal(order.stop_price),
        state=order.state.value,
        cum_quantity=format_decimal(order.cum_quantity),
        leaves_quantity=format_decimal(order.leaves_quantity),
        avg_price=format_decimal(order.avg_price),
        gross_amount=format_decimal(order.gross_amount),
        commission=format_decimal(order.commission),
        cancel_reason=order.cancel_reason.value,
        deployment_id=order.deployment_id,
        strategy_id=order.strategy_id,
        label=order.label,
        basis_sequence=order.basis_sequence,
        basis_time=timestamp(order.basis_time),
        event_count=order.event_count,
    )
    if refusal is not None:
        made.refusal.CopyFrom(
            order_pb2.Refusal(
                reason=refusal.reason,
                limit=refusal.limit,
                bound=format_decimal(refusal.bound),
                value=format_decimal(refusal.value),
            )
        )
    assert order_from_proto(made).state is order.state
    return made


def event_to_proto(event: OrderEvent, sequence: int) -> order_pb2.OrderEvent:
    return order_pb2.OrderEvent(
        sequence=sequence,
        exec_id=event.exec_id,
        exec_type=event.exec_type.value,
        order=order_to_proto(event.order),
        last_quantity=format_decimal(event.last_quantity),
        last_price=format_decimal(event.last_price),
        last_commission=format_decimal(event.last_commission),
        transact_time=timestamp(event.transact_time),
        tape_sequence=event.tape_sequence,
    )


def add_toy(toy: Toy, server: Any) -> None:
    """Registers the toy as every peer."""
    for add in (
        environment_service_pb2_grpc.add_EnvironmentServiceServicer_to_server,
        instrument_service_pb2_grpc.add_InstrumentServiceServicer_to_server,
        replay_service_pb2_grpc.add_ReplayServiceServicer_to_server,
        tape_service_pb2_grpc.add_TapeServiceServicer_to_server,
        order_service_pb2_grpc.add_OrderServiceServicer_to_server,
        portfolio_service_pb2_grpc.add_PortfolioServiceServicer_to_server,
    ):
        add(_Rest(toy), server)


class _Rest:
    """The toy; what it does not serve, it serves as not there."""

    def __init__(self, toy: Toy) -> None:
        self._toy = toy

    def __getattr__(self, name: str) -> Any:
        async def absent(request: Any, context: Any) -> Any:
            raise NotImplementedError(name)

        return getattr(self._toy, name, absent)


@asynccontextmanager
async def peers(toy: Toy, address: str = "127.0.0.1:0") -> AsyncIterator[str]:
    """Serves the toy; gives its address."""
    server = Server(ToySettings(), address=address)
    server.add(add_toy, toy)
    port = await server.start()
    try:
        yield f"127.0.0.1:{port}"
    finally:
        await server.stop(0)


def settings_for(address: str, directory: Path, **more: Any) -> Settings:
    """The strategy service's, all its peers at one address."""
    return Settings(
        data_directory=directory,
        strategy_address="127.0.0.1:0",
        marketdata_address=address,
        order_address=address,
        portfolio_address=address,
        **more,
    )


@asynccontextmanager
async def strategy_service(settings: Settings) -> AsyncIterator[StrategyServiceStub]:
    """The service, in process; gives a stub on it."""
    async with service(settings) as server, connect(f"127.0.0.1:{await server.start()}") as channel:
        try:
            yield StrategyServiceStub(channel)
        finally:
            await server.stop(5)


def plans(count: int, cash: int = 20_000, limits: Iterable[Any] = ()) -> list[PortfolioPlan]:
    """Portfolios p1, p2, …"""
    return [PortfolioPlan(f"p{n}", f"Portfolio {n}", Decimal(cash), tuple(limits)) for n in range(1, count + 1)]


class Supervised:
    """The service in a process of its own, started again whenever it dies.

    Attributes:
        deaths: how often it died.
    """

    def __init__(self, address: str, directory: Path, port: int, environment: Mapping[str, str]) -> None:
        own = {name: value for name, value in os.environ.items() if not name.startswith("TICKMESH_")}
        dialled = {f"TICKMESH_{name}_ADDRESS": address for name in ("MARKETDATA", "ORDER", "PORTFOLIO")}
        here = {"TICKMESH_STRATEGY_ADDRESS": f"127.0.0.1:{port}", "TICKMESH_DATA_DIRECTORY": str(directory)}
        self._environment = own | dialled | here | dict(environment)
        self._log = directory / "strategy.log"
        self._channel = connect(f"127.0.0.1:{port}", deadline_seconds=20)
        self._keeping: asyncio.Task[None] | None = None
        self._process: Child | None = None
        self.stub = StrategyServiceStub(self._channel)
        self.deaths = 0

    async def __aenter__(self) -> Supervised:
        self._keeping = asyncio.create_task(self._keep())
        return self

    async def __aexit__(self, *error: object) -> None:
        assert self._keeping is not None
        self._keeping.cancel()
        await asyncio.gather(self._keeping, return_exceptions=True)
        await self._channel.close()
        self.kill()

    def kill(self) -> None:
        """As kill -9 does."""
        if self._process is not None:
            self._process.kill()

    async def terminate(self) -> int:
        """As a supervisor ends it; gives the exit code."""
        assert self._process is not None
        assert self._keeping is not None
        self._keeping.cancel()
        self._process.terminate()
        return await self._process.ended()

    async def _keep(self) -> None:
        while True:
            self._process = Child("services.strategy.main", self._environment, self._log)
            await self._process.ended()
            self.deaths += 1
