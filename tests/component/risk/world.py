"""Everybody that risk talks to, in one server: a coordinator, an order service and a portfolio service, all small."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from decimal import Decimal
from pathlib import Path
from typing import Any

import grpc
from google.protobuf.timestamp_pb2 import Timestamp
from tickmesh.common.v1 import stream_pb2
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
from tickmesh.portfolio.v1 import portfolio_pb2, portfolio_service_pb2, portfolio_service_pb2_grpc
from tickmesh.risk.v1 import risk_gate_service_pb2 as gate_pb2
from tickmesh.risk.v1 import risk_service_pb2
from tickmesh.risk.v1.risk_gate_service_pb2_grpc import RiskGateServiceStub
from tickmesh.risk.v1.risk_service_pb2_grpc import RiskServiceStub
from tickmesh.strategy.v1 import strategy_pb2, strategy_service_pb2_grpc

from services.chassis.calls.channel import connect
from services.chassis.calls.server import Server
from services.chassis.errors import ApiError
from services.chassis.settings import ServiceSettings
from services.chassis.streams.event_log import EventLog, Events, Heartbeat
from services.chassis.streams.ring import Entry as LogEntry
from services.domain.accounting.ledger import Entry, Ledger
from services.domain.instrument import Instrument
from services.domain.money import format_decimal
from services.domain.orders.order import (
    ExecType,
    Order,
    OrderEvent,
    OrderState,
    OrderType,
    Reservation,
    Side,
    TimeInForce,
)
from services.domain.tape import Tape
from services.risk.main import serve
from services.risk.settings import Settings
from services.wire.orders import refusal_to_proto
from tests.ports import free_port

ENVIRONMENT = "replay-1"
State = environment_pb2.EnvironmentState


class World:
    """What the others hold; it outlives risk's restarts.

    Attributes:
        entries: the ledger's, numbered in the environment, not in the portfolio.
        joins: how risk's participant joined, each time; a broken stream's end says nothing of when the next came.
    """

    def __init__(self, tape: Tape, instruments: dict[str, Instrument], start_sequence: int = 0) -> None:
        self.tape, self.instruments = tape, instruments
        self.environment = environment_pb2.Environment(
            owner="ada",
            environment_id=ENVIRONMENT,
            state=State.ENVIRONMENT_STATE_PAUSED,
            symbols=sorted(instruments),
            start_sequence=start_sequence,
            tape_sequence=start_sequence,
            end_sequence=len(tape),
        )
        self.events: EventLog[order_pb2.OrderEvent] = EventLog(ring=1 << 20)
        self.entries: EventLog[portfolio_pb2.LedgerEntry] = EventLog(ring=1 << 20)
        self.openings: dict[str, int] = {}
        self.ledgers: dict[str, Ledger] = {}
        self.orders_away = False
        self.strategies: set[str] = set()
        self.strategies_answer: Callable[[], Awaitable[Any]] | None = None
        self.joins: asyncio.Queue[replay_service_pb2.Join] = asyncio.Queue()
        self._outbox: asyncio.Queue[replay_service_pb2.JoinReplayResponse] = asyncio.Queue()
        self._applied: dict[int, asyncio.Future[replay_service_pb2.Applied]] = {}
        self._last_fold: replay_service_pb2.JoinReplayResponse | None = None
        self.port = 0

    def open_portfolio(self, portfolio_id: str, cash: str = "100000", at: int | None = None) -> int:
        """Deposit; the opening entry's number."""
        ledger = self.ledgers[portfolio_id] = Ledger(portfolio_id)
        at = self.environment.tape_sequence if at is None else at
        posting = ledger.deposit(Decimal(cash), 0, at, f"{portfolio_id}-deposit")
        self.post(portfolio_id, posting.entries)
        self.openings[portfolio_id] = self.entries.head(ENVIRONMENT)
        return self.openings[portfolio_id]

    def post(self, portfolio_id: str, entries: Sequence[Entry]) -> None:
        first = self.entries.head(ENVIRONMENT) + 1
        messages = [entry_to_proto(portfolio_id, first + i, entry) for i, entry in enumerate(entries)]
        self.entries.publish(ENVIRONMENT, [LogEntry(each.sequence, each) for each in messages])

    def carried(self, after: int) -> bytes:
        """The events after a number, as a batch brings them."""
        events = [each.event for each in self.events.recent(ENVIRONMENT, after, 1 << 20)]
        return order_service_pb2.OrderEvents(events=events).SerializeToString()

    def commit(self, *events: OrderEvent) -> int:
        """Number and publish order events; the head."""
        first = self.events.head(ENVIRONMENT) + 1
        messages = [event_to_proto(first + i, event) for i, event in enumerate(events)]
        self.events.publish(ENVIRONMENT, [LogEntry(each.sequence, each) for each in messages])
        return self.head

    @property
    def head(self) -> int:
        return self.events.head(ENVIRONMENT)

    @property
    def ledger_head(self) -> int:
        return self.entries.head(ENVIRONMENT)

    async def fold(self, cycle: int, tape_sequence: int, seconds: float = 30.0) -> replay_service_pb2.Applied:
        """The cycle's fold up to all there is now, applied."""
        self.environment.tape_sequence = tape_sequence
        answer = self._applied[cycle] = asyncio.get_running_loop().create_future()
        asked = replay_service_pb2.Fold(
            environment_id=ENVIRONMENT,
            cycle=cycle,
            tape_sequence=tape_sequence,
            order_head=self.head,
            ledger_head=self.ledger_head,
        )
        self._last_fold = replay_service_pb2.JoinReplayResponse(fold=asked)
        self._outbox.put_nowait(self._last_fold)
        return await asyncio.wait_for(answer, seconds)

    def announce(self, state: State.ValueType, cycle: int = 0) -> None:
        self.environment.state = state
        self.environment.cycle = cycle
        announced = replay_service_pb2.Announced(environment=self.environment)
        self._outbox.put_nowait(replay_service_pb2.JoinReplayResponse(announced=announced))

    async def enrol(self, *strategies: str) -> None:
        """Tells who takes part; risk has heard it."""
        deployments = [
            replay_service_pb2.Enrolled(deployment_id=f"{each}-1", strategy_id=each, seat_digest="x")
            for each in strategies
        ]
        roll = replay_service_pb2.Roll(environment_id=ENVIRONMENT, deployments=deployments)
        self._outbox.put_nowait(replay_service_pb2.JoinReplayResponse(roll=roll))
        await self.fold(max(self._applied, default=0) + 1, self.environment.tape_sequence)

    # --- the RPCs

    async def GetStrategy(self, request: Any, context: Any) -> strategy_pb2.Strategy:
        if self.strategies_answer is not None:
            await self.strategies_answer()
        if request.strategy_id not in self.strategies:
            raise ApiError.not_found("strategy", request.strategy_id, "STRATEGY_NOT_FOUND")
        return strategy_pb2.Strategy(strategy_id=request.strategy_id)

    async def GetEnvironment(self, request: Any, context: Any) -> environment_pb2.Environment:
        if request.environment_id != ENVIRONMENT:
            raise ApiError.not_found("environment", request.environment_id, "ENVIRONMENT_NOT_FOUND")
        return self.environment

    async def GetInstrument(self, request: Any, context: Any) -> instrument_pb2.Instrument:
        return instrument_to_proto(self.instruments[request.symbol])

    async def ReadTape(self, request: Any, context: Any) -> AsyncIterator[tape_service_pb2.ReadTapeResponse]:
        tape, step = self.tape, 100
        for first in range(0, len(tape), step):
            rows = slice(first, first + step)
            yield tape_service_pb2.ReadTapeResponse(
                sources=[
                    tape_service_pb2.TapeSource(kind=int(s.kind), symbol=s.symbol, interval=s.interval)  # type: ignore[arg-type]
                    for s in (tape.sources if first == 0 else ())
                ],
                first_sequence=first + 1,
                source=tape.source[rows].tolist(),
                time=tape.time[rows].tolist(),
                start=tape.start[rows].tolist(),
                values=tape.values[rows].ravel().tolist(),
                end_sequence=len(tape),
            )

    async def JoinReplay(
        self, requests: AsyncIterator[replay_service_pb2.JoinReplayRequest], context: Any
    ) -> AsyncIterator[replay_service_pb2.JoinReplayResponse]:
        hello = await anext(requests)
        assert hello.hello.role == replay_service_pb2.PARTICIPANT_ROLE_BOOKS
        assert hello.hello.participant == "risk"
        self._outbox = asyncio.Queue()
        if self.environment.state not in {State.ENVIRONMENT_STATE_COMPLETED, State.ENVIRONMENT_STATE_STOPPED}:
            self.announce(self.environment.state, self.environment.cycle)
        reader = asyncio.create_task(self._hear(requests))
        try:
            while True:
                yield await self._outbox.get()
        finally:
            reader.cancel()

    async def _hear(self, requests: AsyncIterator[replay_service_pb2.JoinReplayRequest]) -> None:
        async for request in requests:
            if request.WhichOneof("message") == "join":
                self.joins.put_nowait(request.join)
                if self._last_fold is not None:
                    self._outbox.put_nowait(self._last_fold)
            elif not self._applied[request.applied.cycle].done():
                self._applied[request.applied.cycle].set_result(request.applied)

    async def StreamOrderEvents(
        self, request: Any, context: Any
    ) -> AsyncIterator[order_service_pb2.StreamOrderEventsResponse]:
        assert request.HasField("after_sequence")
        async for item in self.events.subscribe(request.environment_id, request.after_sequence):
            if self.orders_away:
                raise ApiError.unavailable("SERVICE_UNAVAILABLE", "The order service is away.")
            match item:
                case Events():
                    events = order_service_pb2.OrderEvents(events=[entry.event for entry in item.entries])
                    yield order_service_pb2.StreamOrderEventsResponse(order_events=events)
                case Heartbeat():
                    yield order_service_pb2.StreamOrderEventsResponse(
                        heartbeat=stream_pb2.Heartbeat(scanned_sequence=item.scanned)
                    )

    async def GetPortfolio(self, request: Any, context: Any) -> portfolio_pb2.Portfolio:
        if request.portfolio_id not in self.openings:
            raise ApiError.not_found("portfolio", request.portfolio_id, "PORTFOLIO_NOT_FOUND")
        return portfolio_pb2.Portfolio(
            portfolio_id=request.portfolio_id,
            environment_id=ENVIRONMENT,
            opening_ledger_sequence=self.openings[request.portfolio_id],
        )

    async def StreamLedgerEntries(
        self, request: Any, context: Any
    ) -> AsyncIterator[portfolio_service_pb2.StreamLedgerEntriesResponse]:
        async for item in self.entries.subscribe(request.environment_id, request.after_sequence):
            match item:
                case Events():
                    entries = portfolio_service_pb2.LedgerEntries(entries=[entry.event for entry in item.entries])
                    yield portfolio_service_pb2.StreamLedgerEntriesResponse(ledger_entries=entries)
                case Heartbeat():
                    yield portfolio_service_pb2.StreamLedgerEntriesResponse(
                        heartbeat=stream_pb2.Heartbeat(scanned_sequence=item.scanned)
                    )

    def __getattr__(self, name: str) -> Callable[..., Awaitable[Any]]:
        # The generated code asks for every method of each service; nobody calls the others.
        if name[:1].isupper():
            return self.GetEnvironment
        raise AttributeError(name)

    @asynccontextmanager
    async def served(self) -> AsyncIterator["World"]:
        settings = ServiceSettings()
        server = Server(settings, address=f"127.0.0.1:{self.port}")
        server.add(environment_service_pb2_grpc.add_EnvironmentServiceServicer_to_server, self)
        server.add(instrument_service_pb2_grpc.add_InstrumentServiceServicer_to_server, self)
        server.add(tape_service_pb2_grpc.add_TapeServiceServicer_to_server, self)
        server.add(replay_service_pb2_grpc.add_ReplayServiceServicer_to_server, self)
        server.add(order_service_pb2_grpc.add_OrderServiceServicer_to_server, self)
        server.add(portfolio_service_pb2_grpc.add_PortfolioServiceServicer_to_server, self)
        server.add(strategy_service_pb2_grpc.add_StrategyServiceServicer_to_server, self)
        self.port = await server.start()
        try:
            yield self
        finally:
            await server.stop(grace=0)


class Desk:
    """The order service's end of `CheckOrders`; it numbers its orders and commits their events in the world."""

    def __init__(self, world: World, channel: Any, address: str) -> None:
        self.world = world
        self.address = address
        self.gate = RiskGateServiceStub(channel)
        self.risk = RiskServiceStub(channel)
        self.epoch = 0
        self.numbers = 0
        self.batches = 0
        self.call: Any = None
        self.ready: gate_pb2.Ready = gate_pb2.Ready()
        self.switches: list[Any] = []

    async def connect(self, epoch: int | None = None, head: int | None = None) -> gate_pb2.Ready:
        self.epoch = self.epoch + 1 if epoch is None else epoch
        self.call = self.gate.CheckOrders()
        head = self.world.head if head is None else head
        hello = gate_pb2.Connect(environment_id=ENVIRONMENT, epoch=self.epoch, order_head=head)
        await self.call.write(gate_pb2.CheckOrdersRequest(connect=hello))
        answer = await asyncio.wait_for(self.call.read(), 30)
        assert answer is not grpc.aio.EOF
        assert answer.WhichOneof("message") == "ready"
        self.ready = answer.ready
        return self.ready

    def order(self, side: Side = Side.BUY, quantity: str = "10", **terms: Any) -> Order:
        self.numbers += 1
        order_id = f"{ENVIRONMENT}-{self.numbers}"
        terms = {"portfolio_id": "p1", "symbol": "A", "order_type": OrderType.MARKET, **terms}
        terms |= {name: Decimal(terms[name]) for name in ("limit_price", "stop_price") if name in terms}
        return Order(
            order_id, f"c{self.numbers}", side=side, time_in_force=TimeInForce.GTC, quantity=Decimal(quantity), **terms
        )

    async def check(self, *orders: Order, price: str = "100", **batch: Any) -> list[gate_pb2.Verdict]:
        """The verdicts; kill switches that come before them are put aside."""
        await self.ask(*orders, price=price, **batch)
        return await self.answer()

    async def preview(self, *orders: Order) -> list[gate_pb2.PreviewVerdict]:
        """The answers for orders that are only thought of."""
        await self.ask(*orders, kind="previews")
        answer = await asyncio.wait_for(self.call.read(), 30)
        assert not answer.verdicts.verdicts
        return list(answer.verdicts.previews)

    async def ask(self, *orders: Order, price: str = "100", kind: str = "checks", **batch: Any) -> None:
        self.batches += 1
        position = batch.get("tape_sequence", self.world.environment.tape_sequence)
        checks = [
            gate_pb2.OrderCheck(
                order=order_to_proto(order),
                reference_price=price,
                traceparent=batch.get("traceparent", ""),
                ledger_sequence=batch.get("ledger_sequence", self.world.openings.get(order.portfolio_id, 0)),
            )
            for order in orders
        ]
        message = gate_pb2.CheckBatch(
            batch_id=self.batches,
            order_head=batch.get("order_head", self.world.head),
            tape_sequence=position,
            market_time=timestamp(batch.get("time", 0)),
            order_events=batch.get("order_events", b""),
            standing_batch_ids=batch.get("standing", ()),
            **{kind: checks},
        )
        await self.call.write(gate_pb2.CheckOrdersRequest(batch=message))

    async def answer(self) -> list[gate_pb2.Verdict]:
        while True:
            answer = await asyncio.wait_for(self.call.read(), 30)
            assert answer is not grpc.aio.EOF
            if answer.WhichOneof("message") == "verdicts":
                assert answer.verdicts.batch_id == self.batches
                return list(answer.verdicts.verdicts)
            self.switches.append(answer.kill_switch)

    async def figures(self, portfolio_id: str = "p1") -> Any:
        """The portfolio's risk, once everything that was committed counts."""
        while True:
            request = risk_service_pb2.GetPortfolioRiskRequest(portfolio_id=portfolio_id)
            found = await self.risk.GetPortfolioRisk(request)
            if found.order_sequence >= self.world.head and found.ledger_sequence >= self.world.ledger_head:
                return found
            await asyncio.sleep(0.01)

    def hang_up(self) -> None:
        self.call.cancel()


def accepted(order: Order, verdict: gate_pb2.Verdict, at: int = 0) -> OrderEvent:
    """The order as its first event makes it."""
    held = verdict.reservation
    reservation = Reservation(*(Decimal(each or 0) for each in (held.cash, held.quantity, held.headroom)))
    after = order._replace(state=OrderState.NEW, leaves_quantity=order.quantity, reservation=reservation, event_count=1)
    return OrderEvent(ExecType.NEW, after, 0, at)


def replaced(order: Order, verdict: gate_pb2.Verdict, at: int = 0) -> OrderEvent:
    """The event of an order that is on new terms."""
    held = verdict.reservation
    reservation = Reservation(*(Decimal(each or 0) for each in (held.cash, held.quantity, held.headroom)))
    after = order._replace(reservation=reservation, event_count=order.event_count + 1)
    return OrderEvent(ExecType.REPLACED, after, 0, at)


def filled(before: OrderEvent, quantity: str, price: str, at: int = 0) -> OrderEvent:
    """The next event: a fill."""
    order, units = before.order, Decimal(quantity)
    cum, leaves = order.cum_quantity + units, order.leaves_quantity - units
    after = order._replace(
        state=OrderState.PARTIALLY_FILLED if leaves else OrderState.FILLED,
        cum_quantity=cum,
        leaves_quantity=leaves,
        gross_amount=order.gross_amount + units * Decimal(price),
        event_count=order.event_count + 1,
    )
    return OrderEvent(ExecType.TRADE, after, 0, at, units, Decimal(price))


def canceled(before: OrderEvent, at: int = 0) -> OrderEvent:
    """The next event: a cancel."""
    order = before.order
    after = order._replace(state=OrderState.CANCELED, leaves_quantity=Decimal(0), event_count=order.event_count + 1)
    return OrderEvent(ExecType.CANCELED, after, 0, at)


def settings_for(world: World, folder: Path, **more: Any) -> Settings:
    peers = f"127.0.0.1:{world.port}"
    return Settings(
        data_directory=folder,
        marketdata_address=peers,
        strategy_address=peers,
        order_address=peers,
        portfolio_address=peers,
        **{
            "risk_address": f"127.0.0.1:{free_port()}",
            "drain_seconds": 0.2,
            # What a check names has been committed: it comes, though on a busy machine not always within 400 ms.
            "risk_check_patience_ms": 30_000,
            **more,
        },
    )


@asynccontextmanager
async def risk_of(world: World, folder: Path, **more: Any) -> AsyncIterator[Desk]:
    """A risk service in this process, and a desk connected to its port; leaving is as abrupt as a kill."""
    settings = settings_for(world, folder, **more)
    task = asyncio.create_task(serve(settings))
    try:
        async with connect(settings.address) as channel:
            await asyncio.wait_for(channel.channel_ready(), 30)
            yield Desk(world, channel, settings.address)
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


# --- the wire's forms


def timestamp(time: int) -> Timestamp:
    message = Timestamp()
    message.FromNanoseconds(time)
    return message


def text(value: Decimal | None) -> str:
    return "" if value is None else format_decimal(value)


def instrument_to_proto(instrument: Instrument) -> instrument_pb2.Instrument:
    return instrument_pb2.Instrument(
        symbol=instrument.symbol,
        currency_code=instrument.currency_code,
        calendar=instrument.calendar,
        price_increment=text(instrument.price_increment),
        quantity_increment=text(instrument.quantity_increment),
        contract_multiplier=text(instrument.contract_multiplier),
    )


def order_to_proto(order: Order) -> order_pb2.Order:
    held = order.reservation
    return order_pb2.Order(
        order_id=order.order_id,
        event_count=order.event_count,
        client_order_id=order.client_order_id,
        portfolio_id=order.portfolio_id,
        environment_id=ENVIRONMENT,
        symbol=order.symbol,
        side=int(order.side),  # type: ignore[arg-type]
        order_type=int(order.order_type),  # type: ignore[arg-type]
        time_in_force=int(order.time_in_force),  # type: ignore[arg-type]
        quantity=text(order.quantity),
        cash_quantity=text(order.cash_quantity),
        limit_price=text(order.limit_price),
        stop_price=text(order.stop_price),
        state=int(order.state),  # type: ignore[arg-type]
        cum_quantity=text(order.cum_quantity),
        leaves_quantity=text(order.leaves_quantity),
        gross_amount=text(order.gross_amount),
        reservation=order_pb2.Reservation(
            cash=text(held.cash), quantity=text(held.quantity), headroom=text(held.headroom)
        ),
        deployment_id=order.deployment_id,
        strategy_id=order.strategy_id,
        refusal=None if order.refusal is None else refusal_to_proto(order.refusal),
    )


def event_to_proto(sequence: int, event: OrderEvent) -> order_pb2.OrderEvent:
    return order_pb2.OrderEvent(
        sequence=sequence,
        exec_id=event.exec_id,
        exec_type=int(event.exec_type),  # type: ignore[arg-type]
        order=order_to_proto(event.order),
        last_quantity=text(event.last_quantity),
        last_price=text(event.last_price),
        last_commission=text(event.last_commission),
        transact_time=timestamp(event.transact_time),
        tape_sequence=event.tape_sequence,
    )


def entry_to_proto(portfolio_id: str, sequence: int, entry: Entry) -> portfolio_pb2.LedgerEntry:
    return portfolio_pb2.LedgerEntry(
        sequence=sequence,
        transaction_id=entry.transaction_id,
        portfolio_id=portfolio_id,
        environment_id=ENVIRONMENT,
        kind=portfolio_pb2.LedgerEntryKind.Value(f"LEDGER_ENTRY_KIND_{entry.kind.name}"),
        account=portfolio_pb2.LedgerAccount.Value(f"LEDGER_ACCOUNT_{entry.account.name}"),
        asset=entry.asset,
        amount=text(entry.amount),
        order_id=entry.order_id,
        exec_id=entry.exec_id,
        event_time=timestamp(entry.time),
        tape_sequence=entry.tape_sequence,
    )
