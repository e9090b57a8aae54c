"""What risk asks of the others: environments and tapes, order events, ledger entries, and its place in replays."""

from collections.abc import AsyncGenerator, Awaitable, Callable
from typing import Any, NamedTuple

from tickmesh.marketdata.v1 import environment_pb2, replay_service_pb2
from tickmesh.marketdata.v1.environment_service_pb2 import GetEnvironmentRequest
from tickmesh.marketdata.v1.environment_service_pb2_grpc import EnvironmentServiceStub
from tickmesh.marketdata.v1.instrument_service_pb2 import GetInstrumentRequest
from tickmesh.marketdata.v1.instrument_service_pb2_grpc import InstrumentServiceStub
from tickmesh.marketdata.v1.replay_service_pb2 import JoinReplayRequest, JoinReplayResponse
from tickmesh.marketdata.v1.replay_service_pb2_grpc import ReplayServiceStub
from tickmesh.marketdata.v1.tape_service_pb2 import ReadTapeRequest
from tickmesh.marketdata.v1.tape_service_pb2_grpc import TapeServiceStub
from tickmesh.order.v1.order_service_pb2 import StreamOrderEventsRequest
from tickmesh.order.v1.order_service_pb2_grpc import OrderServiceStub
from tickmesh.portfolio.v1.portfolio_service_pb2 import GetPortfolioRequest, StreamLedgerEntriesRequest
from tickmesh.portfolio.v1.portfolio_service_pb2_grpc import PortfolioServiceStub

from services.chassis.barrier import Participant
from services.chassis.channel import Channel
from services.chassis.errors import ApiError
from services.domain.timeline import Timeline
from services.risk.folding import NumberedEntry, NumberedEvent, Scene
from services.risk.mapping import entry_from_proto, event_from_proto, instrument_from_proto, tape_from_proto

ENDED = {environment_pb2.ENVIRONMENT_STATE_COMPLETED, environment_pb2.ENVIRONMENT_STATE_STOPPED}
IDEMPOTENT = (
    "tickmesh.marketdata.v1.EnvironmentService/GetEnvironment",
    "tickmesh.marketdata.v1.InstrumentService/GetInstrument",
    "tickmesh.portfolio.v1.PortfolioService/GetPortfolio",
)


class Facts(NamedTuple):
    """An environment as the coordinator tells of it."""

    environment_id: str
    symbols: tuple[str, ...]
    start_sequence: int
    tape_sequence: int
    cycle: int
    ended: bool


class Opening(NamedTuple):
    """Where a portfolio lives, and the ledger entry that opened it."""

    environment_id: str
    ledger_sequence: int


class Peers:
    """The other services, as risk sees them. All of its calls raise `ApiError`."""

    def __init__(self, marketdata: Channel, order: Channel, portfolio: Channel) -> None:
        self._environments = EnvironmentServiceStub(marketdata)
        self._instruments = InstrumentServiceStub(marketdata)
        self._tapes = TapeServiceStub(marketdata)
        self._replays = ReplayServiceStub(marketdata)
        self._orders = OrderServiceStub(order)
        self._portfolios = PortfolioServiceStub(portfolio)

    async def environment(self, environment_id: str) -> Facts:
        """An environment; NOT_FOUND `ENVIRONMENT_NOT_FOUND` if there is none."""
        return _facts(await self._environments.GetEnvironment(GetEnvironmentRequest(environment_id=environment_id)))

    async def scene(self, facts: Facts) -> Scene:
        """The whole tape of an environment and its instruments."""
        instruments = {}
        for symbol in facts.symbols:
            message = await self._instruments.GetInstrument(GetInstrumentRequest(symbol=symbol))
            instruments[symbol] = instrument_from_proto(message)
        request = ReadTapeRequest(environment_id=facts.environment_id)
        tape = tape_from_proto([stretch async for stretch in self._tapes.ReadTape(request)])
        return Scene(Timeline(tape), instruments, facts.start_sequence)

    async def opening(self, portfolio_id: str) -> Opening:
        """Where a portfolio lives; NOT_FOUND `PORTFOLIO_NOT_FOUND` if there is none."""
        found = await self._portfolios.GetPortfolio(GetPortfolioRequest(portfolio_id=portfolio_id))
        return Opening(found.environment_id, found.opening_ledger_sequence)

    async def order_events(self, environment_id: str, after: int) -> AsyncGenerator[list[NumberedEvent]]:
        """Order events after a number, in order; an empty list says that there are no more for now."""
        request = StreamOrderEventsRequest(environment_id=environment_id, after_sequence=after)
        async for message in _messages(self._orders.StreamOrderEvents(request)):
            yield [event_from_proto(each) for each in message.order_events.events]

    async def ledger_entries(self, environment_id: str, after: int) -> AsyncGenerator[list[NumberedEntry]]:
        """Ledger entries after a number, in order; an empty list says that there are no more for now.

        All kinds are asked for, although fills' own count nothing: a cycle's fold names the last entry of all, and a
        filtered stream would say only with its heartbeats that it has come so far.
        """
        request = StreamLedgerEntriesRequest(environment_id=environment_id, after_sequence=after)
        async for message in _messages(self._portfolios.StreamLedgerEntries(request)):
            yield [entry_from_proto(each) for each in message.ledger_entries.entries]

    def participant(
        self,
        announced: Callable[[Facts], Awaitable[tuple[int, int] | None]],
        fold: Callable[[str, int, int, int, int], Awaitable[None]],
    ) -> Participant[JoinReplayResponse, JoinReplayRequest]:
        """Risk's place in every replay.

        Args:
            announced: told of an environment; once it is recovered, answers (tape_sequence, cycle) it has come to, or
                None where it takes no part.
            fold: (environment_id, cycle, tape_sequence, order_head, ledger_head); returns when all of it counts.
        """
        joined: set[str] = set()

        def hello() -> list[JoinReplayRequest]:
            joined.clear()
            role = replay_service_pb2.PARTICIPANT_ROLE_BOOKS
            return [JoinReplayRequest(hello=replay_service_pb2.Hello(role=role, participant="risk"))]

        async def handle(message: JoinReplayResponse) -> JoinReplayRequest | None:
            kind = message.WhichOneof("message")
            if kind == "announced":
                facts = _facts(message.announced.environment)
                stands = await announced(facts)
                if stands is None or facts.environment_id in joined:
                    return None
                joined.add(facts.environment_id)
                return _join(facts.environment_id, *stands)
            if kind == "fold":
                asked = message.fold
                heads = (asked.cycle, asked.tape_sequence, asked.order_head, asked.ledger_head)
                await fold(asked.environment_id, *heads)
                return _applied(asked)
            return None

        return Participant(self._replays.JoinReplay, hello, handle, key=_environment_of, name="risk")


def _join(environment_id: str, tape_sequence: int, cycle: int) -> JoinReplayRequest:
    join = replay_service_pb2.Join(environment_id=environment_id, tape_sequence=tape_sequence, cycle=cycle)
    return JoinReplayRequest(join=join)


def _applied(asked: replay_service_pb2.Fold) -> JoinReplayRequest:
    applied = replay_service_pb2.Applied(
        environment_id=asked.environment_id, cycle=asked.cycle, ledger_head=asked.ledger_head
    )
    return JoinReplayRequest(applied=applied)


def _environment_of(message: JoinReplayResponse) -> str:
    kind = message.WhichOneof("message")
    if kind is None:
        return ""
    part = getattr(message, kind)
    return str(part.environment.environment_id if kind == "announced" else part.environment_id)


def _facts(message: environment_pb2.Environment) -> Facts:
    return Facts(
        message.environment_id,
        tuple(message.symbols),
        message.start_sequence,
        message.tape_sequence,
        message.cycle,
        message.state in ENDED,
    )


async def _messages(call: Any) -> AsyncGenerator[Any]:
    """A stream's messages; those that tell of its end raise."""
    try:
        async for message in call:
            kind = message.WhichOneof("event")
            if kind == "closed":
                raise ApiError.from_status(message.closed.status)
            if kind == "reset":
                raise ApiError.unavailable("SERVICE_UNAVAILABLE", f"Our cursor is not known: {message.reset.message}")
            yield message
    finally:
        call.cancel()
