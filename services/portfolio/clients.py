"""What the books ask of others: environments, tapes and instruments of marketdata, events of the order service."""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Awaitable, Callable
from typing import Any

import grpc
from tickmesh.marketdata.v1 import (
    environment_service_pb2,
    instrument_service_pb2,
    replay_service_pb2,
    tape_service_pb2,
)
from tickmesh.marketdata.v1.environment_service_pb2_grpc import EnvironmentServiceStub
from tickmesh.marketdata.v1.instrument_service_pb2_grpc import InstrumentServiceStub
from tickmesh.marketdata.v1.replay_service_pb2_grpc import ReplayServiceStub
from tickmesh.marketdata.v1.tape_service_pb2_grpc import TapeServiceStub
from tickmesh.order.v1 import order_service_pb2
from tickmesh.order.v1.order_service_pb2_grpc import OrderServiceStub

from services.chassis.barrier import Participant
from services.chassis.channel import Channel
from services.chassis.errors import ApiError
from services.domain.instrument import Instrument
from services.domain.tape import Tape
from services.portfolio.mapping import (
    Environment,
    environment_from_proto,
    fills_from_proto,
    instrument_from_proto,
    join_stretches,
    stretch_from_proto,
)
from services.portfolio.records import Cursor, Fill, Step

IDEMPOTENT = (
    "tickmesh.marketdata.v1.EnvironmentService/GetEnvironment",
    "tickmesh.marketdata.v1.InstrumentService/GetInstrument",
)
FIRST_BACKOFF_SECONDS = 0.05
LAST_BACKOFF_SECONDS = 0.5

_log = logging.getLogger(__name__)


class Market:
    """Marketdata, as the books see it. Instruments never change, so each is asked for once."""

    def __init__(self, channel: Channel) -> None:
        self._environments = EnvironmentServiceStub(channel)
        self._instruments = InstrumentServiceStub(channel)
        self._tapes = TapeServiceStub(channel)
        self._known: dict[str, Instrument] = {}

    async def environment(self, environment_id: str) -> Environment:
        """An environment as it stands.

        Raises:
            ApiError: NOT_FOUND `ENVIRONMENT_NOT_FOUND`; UNAVAILABLE `SERVICE_UNAVAILABLE` when marketdata is away.
        """
        request = environment_service_pb2.GetEnvironmentRequest(environment_id=environment_id)
        try:
            return environment_from_proto(await self._environments.GetEnvironment(request))
        except ApiError as error:
            if error.code is grpc.StatusCode.DEADLINE_EXCEEDED:
                raise ApiError.unavailable("SERVICE_UNAVAILABLE", "Marketdata does not answer.") from error
            raise

    async def instruments(self, symbols: tuple[str, ...]) -> dict[str, Instrument]:
        """The instruments of these symbols."""
        for symbol in symbols:
            if symbol not in self._known:
                request = instrument_service_pb2.GetInstrumentRequest(symbol=symbol)
                self._known[symbol] = instrument_from_proto(await self._instruments.GetInstrument(request))
        return {symbol: self._known[symbol] for symbol in symbols}

    async def tape(self, environment: Environment) -> Tape:
        """An environment's whole tape."""
        request = tape_service_pb2.ReadTapeRequest(environment_id=environment.environment_id)
        parts = [stretch_from_proto(part) async for part in self._tapes.ReadTape(request)]
        if sum(map(len, parts)) != environment.end_sequence:
            message = f"The tape of {environment.environment_id} came short, in {len(parts)} parts."
            raise ApiError.unavailable("SERVICE_UNAVAILABLE", message)
        return join_stretches(parts)


class OrderFeed:
    """An environment's order events as they come, of which the fills are held until a fold asks for them.

    Attributes:
        arrived: the last event that has come.
    """

    def __init__(self, channel: Channel, environment_id: str, after: int) -> None:
        self.arrived = after
        self._stub = OrderServiceStub(channel)
        self._environment_id = environment_id
        self._fills: deque[Fill] = deque()
        self._changed = asyncio.Event()

    async def take(self, head: int) -> list[Fill]:
        """The fills up to event `head` that were not taken yet, once everything up to it has come."""
        while self.arrived < head:
            self._changed.clear()
            await self._changed.wait()
        taken: list[Fill] = []
        while self._fills and self._fills[0].sequence <= head:
            taken.append(self._fills.popleft())
        return taken

    async def run(self) -> None:
        """Subscribes, and again after every break, for as long as the environment lives."""
        backoff, lost = FIRST_BACKOFF_SECONDS, False
        while True:
            before = self.arrived
            try:
                await self._subscribe()
            except ApiError as error:
                # Said once, not at every attempt while the order service is away.
                if not lost or self.arrived > before:
                    more = {"environment_id": self._environment_id, "error": str(error)}
                    _log.info("lost the order events", extra=more)
                lost = True
            except Exception:  # noqa: BLE001 the fold waits for these events: trying again is all there is
                _log.exception("an order event could not be read", extra={"environment_id": self._environment_id})
            backoff = FIRST_BACKOFF_SECONDS if self.arrived > before else min(2 * backoff, LAST_BACKOFF_SECONDS)
            await asyncio.sleep(backoff)

    async def _subscribe(self) -> None:
        request = order_service_pb2.StreamOrderEventsRequest(
            environment_id=self._environment_id, after_sequence=self.arrived
        )
        call = self._stub.StreamOrderEvents(request)
        try:
            async for message in call:
                if message.HasField("order_events"):
                    self._receive(message.order_events)
                elif message.HasField("reset"):
                    # The order service has lost what we have counted: nothing that we could do would be right.
                    reason = f"The order events of {self._environment_id} end before {self.arrived}."
                    raise ApiError.unavailable("SERVICE_UNAVAILABLE", reason)
        finally:
            call.cancel()

    def _receive(self, message: order_service_pb2.OrderEvents) -> None:
        events = [event for event in message.events if event.sequence > self.arrived]
        if not events:
            return
        if events[0].sequence != self.arrived + 1 or events[-1].sequence != self.arrived + len(events):
            reason = f"Order event {self.arrived + 1} of {self._environment_id} is missing."
            raise ApiError.unavailable("SERVICE_UNAVAILABLE", reason)
        self._fills.extend(fills_from_proto(events))
        self.arrived = events[-1].sequence
        self._changed.set()


class Replays:
    """The books' side of the cycle: joins every environment that is announced, folds when asked."""

    def __init__(
        self,
        channel: Channel,
        announced: Callable[[Environment], Awaitable[Cursor]],
        fold: Callable[[Step], Awaitable[int]],
    ) -> None:
        """Takes what makes the books ready for an environment, and what folds a step and says the last entry."""
        stub = ReplayServiceStub(channel)
        self._announced, self._fold = announced, fold
        self._joined: set[str] = set()
        self._participant: Participant[Any, Any] = Participant(
            stub.JoinReplay, self._hello, self._handle, key=_environment_id, name="portfolio"
        )

    async def run(self) -> None:
        """Takes part for as long as we live."""
        await self._participant.run()

    def _hello(self) -> list[Any]:
        self._joined.clear()
        hello = replay_service_pb2.Hello(role=replay_service_pb2.PARTICIPANT_ROLE_BOOKS, participant="portfolio")
        return [replay_service_pb2.JoinReplayRequest(hello=hello)]

    async def _handle(self, message: replay_service_pb2.JoinReplayResponse) -> Any:
        match message.WhichOneof("message"):
            case "announced":
                return await self._join(environment_from_proto(message.announced.environment))
            case "fold":
                fold = message.fold
                head = await self._fold(Step(fold.environment_id, fold.cycle, fold.tape_sequence, fold.order_head))
                applied = replay_service_pb2.Applied(
                    environment_id=fold.environment_id, cycle=fold.cycle, ledger_head=head
                )
                return replay_service_pb2.JoinReplayRequest(applied=applied)
            case _:
                return None

    async def _join(self, environment: Environment) -> Any:
        cursor = await self._announced(environment)
        if environment.ended or environment.environment_id in self._joined:
            return None
        self._joined.add(environment.environment_id)
        join = replay_service_pb2.Join(
            environment_id=environment.environment_id, tape_sequence=cursor.tape_sequence, cycle=cursor.cycle
        )
        return replay_service_pb2.JoinReplayRequest(join=join)


def _environment_id(message: replay_service_pb2.JoinReplayResponse) -> str:
    kind = message.WhichOneof("message")
    if kind == "announced":
        return message.announced.environment.environment_id
    return str(getattr(message, kind).environment_id) if kind else ""
