"""The portfolio service's peers, small and on one port: marketdata with its coordinator, and the order service.

They speak the real protos. What happens comes from the domain's own simulation, so what the books must hold is known.
"""

import asyncio
from collections.abc import AsyncIterator, Iterable
from dataclasses import dataclass, field
from typing import Any

from google.protobuf.timestamp_pb2 import Timestamp
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

from services.chassis.calls.server import Server
from services.chassis.errors import ApiError
from services.chassis.settings import ServiceSettings
from services.domain.instrument import Instrument
from services.domain.orders.order import OrderEvent
from services.domain.tape import Tape

RUNNING = environment_pb2.ENVIRONMENT_STATE_RUNNING
COMPLETED = environment_pb2.ENVIRONMENT_STATE_COMPLETED
STOPPED = environment_pb2.ENVIRONMENT_STATE_STOPPED
TRACEPARENT = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"


def stamp(nanoseconds: int) -> Timestamp:
    return Timestamp(seconds=nanoseconds // 10**9, nanos=nanoseconds % 10**9)


@dataclass
class Replay:
    """One environment: its tape, where it stands, and the order events so far."""

    environment_id: str
    tape: Tape
    instruments: dict[str, Instrument]
    start_sequence: int = 0
    state: int = RUNNING
    position: int = 0
    cycle: int = 0
    events: list[order_pb2.OrderEvent] = field(default_factory=list)
    changed: asyncio.Event = field(default_factory=asyncio.Event)

    @property
    def head(self) -> int:
        return len(self.events)

    def to_proto(self) -> environment_pb2.Environment:
        return environment_pb2.Environment(
            environment_id=self.environment_id,
            state=self.state,
            symbols=list(self.instruments),
            start_sequence=self.start_sequence,
            end_sequence=len(self.tape),
            tape_sequence=self.position or self.start_sequence,
            cycle=self.cycle,
        )

    def publish(self, events: Iterable[OrderEvent], traceparent: str = TRACEPARENT) -> None:
        for event in events:
            self.events.append(event_to_proto(event, self.head + 1, self.environment_id, traceparent))
        changed, self.changed = self.changed, asyncio.Event()
        changed.set()


def event_to_proto(event: OrderEvent, sequence: int, environment_id: str, traceparent: str) -> order_pb2.OrderEvent:
    order = event.order
    return order_pb2.OrderEvent(
        sequence=sequence,
        exec_id=event.exec_id,
        exec_type=order_pb2.ExecType.ValueType(event.exec_type.value),
        order=order_pb2.Order(
            order_id=order.order_id,
            client_order_id=order.client_order_id,
            portfolio_id=order.portfolio_id,
            environment_id=environment_id,
            symbol=order.symbol,
            side=order.side.value,  # type: ignore[arg-type]
            order_type=order_pb2.OrderType.ValueType(order.order_type.value),
            time_in_force=order_pb2.TimeInForce.ValueType(order.time_in_force.value),
            quantity=str(order.quantity),
            state=order_pb2.OrderState.ValueType(order.state.value),
            event_count=order.event_count,
            owner="local",
        ),
        last_quantity=format(event.last_quantity, "f"),
        last_price=format(event.last_price, "f"),
        last_commission=format(event.last_commission, "f"),
        transact_time=stamp(event.transact_time),
        tape_sequence=event.tape_sequence,
        principal="trader",
        traceparent=traceparent,
    )


class Environments(environment_service_pb2_grpc.EnvironmentServiceServicer):
    def __init__(self, peers: "Peers") -> None:
        self._peers = peers

    async def GetEnvironment(self, request: Any, context: Any) -> environment_pb2.Environment:
        return self._peers.replay(request.environment_id).to_proto()


class Instruments(instrument_service_pb2_grpc.InstrumentServiceServicer):
    def __init__(self, peers: "Peers") -> None:
        self._peers = peers

    async def GetInstrument(self, request: Any, context: Any) -> instrument_pb2.Instrument:
        found = next(
            r.instruments[request.symbol] for r in self._peers.replays.values() if request.symbol in r.instruments
        )
        return instrument_pb2.Instrument(
            symbol=found.symbol,
            currency_code=found.currency_code,
            calendar=found.calendar,
            price_increment=str(found.price_increment),
            quantity_increment=str(found.quantity_increment),
        )


class Tapes(tape_service_pb2_grpc.TapeServiceServicer):
    def __init__(self, peers: "Peers") -> None:
        self._peers = peers

    async def ReadTape(self, request: Any, context: Any) -> AsyncIterator[tape_service_pb2.ReadTapeResponse]:
        tape = self._peers.replay(request.environment_id).tape
        for first in range(0, len(tape), 100):
            rows = slice(first, first + 100)
            yield tape_service_pb2.ReadTapeResponse(
                sources=[
                    tape_service_pb2.TapeSource(
                        kind=tape_service_pb2.TapeKind.ValueType(s.kind.value), symbol=s.symbol, interval=s.interval
                    )
                    for s in (tape.sources if first == 0 else ())
                ],
                first_sequence=first + 1,
                source=tape.source[rows].tolist(),
                time=tape.time[rows].tolist(),
                start=tape.start[rows].tolist(),
                values=tape.values[rows].ravel().tolist(),
                end_sequence=len(tape),
            )


class Orders(order_service_pb2_grpc.OrderServiceServicer):
    """Only the stream; `batch` events at a time, and a break after every `breaks` messages where set."""

    def __init__(self, peers: "Peers") -> None:
        self._peers = peers

    async def StreamOrderEvents(self, request: Any, context: Any) -> AsyncIterator[Any]:
        replay, at, sent = self._peers.replay(request.environment_id), request.after_sequence, 0
        self._peers.asked.append(at)
        while True:
            changed = replay.changed
            events = replay.events[at : at + self._peers.batch]
            if events:
                at += len(events)
                sent += 1
                batch = order_service_pb2.OrderEvents(events=events)
                yield order_service_pb2.StreamOrderEventsResponse(sequence=at, order_events=batch)
                if sent == self._peers.breaks:
                    raise ApiError.unavailable("SERVICE_UNAVAILABLE", "a break")
            else:
                await changed.wait()


class Coordinator(replay_service_pb2_grpc.ReplayServiceServicer):
    """Announces, and sends each fold again to whoever comes back without having answered it."""

    def __init__(self, peers: "Peers") -> None:
        self._peers = peers
        self._outbox: asyncio.Queue[Any] | None = None
        self._open: dict[tuple[str, int], tuple[Any, asyncio.Future[int]]] = {}
        self.joins: list[replay_service_pb2.Join] = []
        self.joined = asyncio.Event()
        self.hellos = 0

    async def JoinReplay(self, requests: Any, context: Any) -> AsyncIterator[Any]:
        outbox: asyncio.Queue[Any] = asyncio.Queue()
        reader = asyncio.ensure_future(self._read(requests, outbox))
        try:
            while (message := await outbox.get()) is not None:
                yield message
        finally:
            reader.cancel()
            if self._outbox is outbox:
                self._outbox = None

    async def _read(self, requests: Any, outbox: asyncio.Queue[Any]) -> None:
        try:
            async for request in requests:
                match request.WhichOneof("message"):
                    case "hello":
                        assert request.hello.role == replay_service_pb2.PARTICIPANT_ROLE_BOOKS
                        assert request.hello.participant == "portfolio"
                        self.hellos += 1
                        self._outbox = outbox
                        for replay in self._peers.replays.values():
                            if replay.state == RUNNING:
                                self.announce(replay)
                    case "join":
                        self.joins.append(request.join)
                        self.joined.set()
                        for (key, _), (message, _) in list(self._open.items()):
                            if key == request.join.environment_id:
                                outbox.put_nowait(message)
                    case "applied":
                        key = request.applied.environment_id, request.applied.cycle
                        _, answer = self._open.pop(key, (None, None))
                        if answer is not None and not answer.done():
                            answer.set_result(request.applied.ledger_head)
        finally:
            outbox.put_nowait(None)

    def announce(self, replay: Replay) -> None:
        if self._outbox is not None:
            announced = replay_service_pb2.Announced(environment=replay.to_proto())
            self._outbox.put_nowait(replay_service_pb2.JoinReplayResponse(announced=announced))

    async def fold(self, replay: Replay, cycle: int, position: int, head: int) -> int:
        """What the books answer; sent again after every break."""
        fold = replay_service_pb2.Fold(
            environment_id=replay.environment_id, cycle=cycle, tape_sequence=position, order_head=head
        )
        message = replay_service_pb2.JoinReplayResponse(fold=fold)
        answer: asyncio.Future[int] = asyncio.get_running_loop().create_future()
        self._open[replay.environment_id, cycle] = message, answer
        if self._outbox is not None:
            self._outbox.put_nowait(message)
        async with asyncio.timeout(60):
            head = await answer
        replay.cycle, replay.position = cycle, position
        return head

    def hang_up(self) -> None:
        """Break the stream."""
        if self._outbox is not None:
            self._outbox.put_nowait(None)


class PeerSettings(ServiceSettings):
    service = "marketdata"


class Peers:
    """All of them, served."""

    def __init__(self) -> None:
        self.replays: dict[str, Replay] = {}
        self.batch, self.breaks = 100, 0
        self.asked: list[int] = []
        self.coordinator = Coordinator(self)
        self.server = Server(PeerSettings(), address="127.0.0.1:0")
        self.server.add(environment_service_pb2_grpc.add_EnvironmentServiceServicer_to_server, Environments(self))
        self.server.add(instrument_service_pb2_grpc.add_InstrumentServiceServicer_to_server, Instruments(self))
        self.server.add(tape_service_pb2_grpc.add_TapeServiceServicer_to_server, Tapes(self))
        self.server.add(replay_service_pb2_grpc.add_ReplayServiceServicer_to_server, self.coordinator)
        self.server.add(order_service_pb2_grpc.add_OrderServiceServicer_to_server, Orders(self))

    @property
    def address(self) -> str:
        return f"127.0.0.1:{self.server.port}"

    def replay(self, environment_id: str) -> Replay:
        if environment_id not in self.replays:
            raise ApiError.not_found("environment", environment_id, "ENVIRONMENT_NOT_FOUND")
        return self.replays[environment_id]

    def add(self, replay: Replay) -> Replay:
        self.replays[replay.environment_id] = replay
        self.coordinator.announce(replay)
        return replay

    def end(self, replay: Replay, state: int = COMPLETED) -> None:
        replay.state = state
        self.coordinator.announce(replay)
