"""What strategies ask of others: environments, tapes and instruments; their orders; their part in replays."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any, Final, NamedTuple

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
from tickmesh.portfolio.v1 import portfolio_service_pb2
from tickmesh.portfolio.v1.portfolio_service_pb2_grpc import PortfolioServiceStub

from services.chassis.barrier import Participant
from services.chassis.channel import Channel, connect
from services.chassis.errors import ApiError
from services.domain.context import NewOrder
from services.domain.instrument import Instrument
from services.domain.order import Order
from services.domain.tape import Tape
from services.strategy.answers import (
    FIRST_BACKOFF_SECONDS,
    LAST_BACKOFF_SECONDS,
    REFUSALS,
    promptly,
    until_answered,
)
from services.strategy.mapping import (
    Environment,
    done_to_proto,
    environment_from_proto,
    event_from_proto,
    instrument_from_proto,
    order_from_proto,
    order_to_proto,
    tape_from_proto,
    wake_to_proto,
)
from services.strategy.records import Deployment, Moment, Seat
from services.strategy.runner import Nonsense, Stale
from services.strategy.settings import Settings
from services.strategy.sites import OwnEvents

if TYPE_CHECKING:
    from services.strategy.host import Host

PARTICIPANT: Final = "strategy"
IDEMPOTENT_MARKETDATA: Final = (
    "tickmesh.marketdata.v1.EnvironmentService/GetEnvironment",
    "tickmesh.marketdata.v1.InstrumentService/GetInstrument",
)
IDEMPOTENT_PORTFOLIO: Final = ("tickmesh.portfolio.v1.PortfolioService/GetPortfolio",)
_log = logging.getLogger(__name__)


class Market:
    """Marketdata, as strategies see it. Instruments never change, so each is asked for once."""

    def __init__(self, channel: Channel) -> None:
        self._environments = EnvironmentServiceStub(channel)
        self._instruments = InstrumentServiceStub(channel)
        self._tapes = TapeServiceStub(channel)
        self._known: dict[str, Instrument] = {}

    async def environment(self, environment_id: str) -> Environment:
        """An environment as it stands.

        Raises:
            ApiError: NOT_FOUND `ENVIRONMENT_NOT_FOUND`; UNAVAILABLE `SERVICE_UNAVAILABLE`.
        """
        request = environment_service_pb2.GetEnvironmentRequest(environment_id=environment_id)
        return environment_from_proto(await promptly(self._environments.GetEnvironment(request), "marketdata"))

    async def instruments(self, symbols: Iterable[str]) -> dict[str, Instrument]:
        """The instruments of these symbols."""
        found: dict[str, Instrument] = {}
        for symbol in symbols:
            if symbol not in self._known:
                request = instrument_service_pb2.GetInstrumentRequest(symbol=symbol)
                self._known[symbol] = instrument_from_proto(await self._instruments.GetInstrument(request))
            found[symbol] = self._known[symbol]
        return found

    async def tape(self, environment: Environment) -> Tape:
        """An environment's whole tape."""
        request = tape_service_pb2.ReadTapeRequest(environment_id=environment.environment_id)
        parts = [part async for part in self._tapes.ReadTape(request)]
        tape = tape_from_proto(parts) if parts else None
        if tape is None or len(tape) != environment.end_sequence:
            message = f"The tape of {environment.environment_id} came short, in {len(parts)} parts."
            raise ApiError.unavailable("SERVICE_UNAVAILABLE", message)
        return tape


class Portfolios:
    """The portfolio service, as strategies see it."""

    def __init__(self, channel: Channel) -> None:
        self._stub = PortfolioServiceStub(channel)

    async def environment_of(self, portfolio_id: str) -> str:
        """The environment that a portfolio belongs to.

        Raises:
            ApiError: NOT_FOUND `PORTFOLIO_NOT_FOUND`; UNAVAILABLE `SERVICE_UNAVAILABLE`.
        """
        request = portfolio_service_pb2.GetPortfolioRequest(portfolio_id=portfolio_id)
        return str((await promptly(self._stub.GetPortfolio(request), "portfolio")).environment_id)


class Orders:
    """Carries commands out. Whatever breaks on the way, the same command is repeated until it is answered."""

    def __init__(self, channel: Channel) -> None:
        self._stub = OrderServiceStub(channel)

    async def create(self, command: NewOrder, deployment: Deployment) -> Order:
        """The order as it was accepted or refused.

        Raises:
            Stale: the environment has moved on, or ended.
            Nonsense: no order can be made of it.
        """
        try:
            request = order_to_proto(command, deployment)
        except (TypeError, ValueError, AttributeError, LookupError, ArithmeticError) as error:
            raise Nonsense(f"{command.client_order_id}: {error!r}") from error
        try:
            return order_from_proto(await until_answered(lambda: self._stub.CreateOrder(request)))
        except ApiError as error:
            if error.reason in {"BASIS_STALE", "ENVIRONMENT_COMPLETED"}:
                raise Stale(str(error)) from error
            if error.reason not in REFUSALS:
                raise Nonsense(f"{command.client_order_id}: {error.reason}: {error.message}") from error
        asked = order_service_pb2.GetOrderByClientOrderIdRequest(
            portfolio_id=deployment.portfolio_id, client_order_id=command.client_order_id
        )
        return order_from_proto(await until_answered(lambda: self._stub.GetOrderByClientOrderId(asked)))

    async def cancel(self, order_id: str) -> Order | None:
        """The order as it was canceled; None where there was nothing left to cancel."""
        request = order_service_pb2.CancelOrderRequest(order_id=order_id)
        try:
            return order_from_proto(await until_answered(lambda: self._stub.CancelOrder(request)))
        except ApiError as error:
            if error.reason not in {"ORDER_ENDED", "ORDER_NOT_FOUND", "ENVIRONMENT_COMPLETED"}:
                raise Nonsense(f"{order_id}: {error.reason}: {error.message}") from error
            return None


class OrderFeed:
    """An environment's order events, taken in as they come, for as long as the environment lives."""

    def __init__(self, channel: Channel) -> None:
        self._stub = OrderServiceStub(channel)

    async def run(self, environment_id: str, events: OwnEvents) -> None:
        """Subscribes, and again after every break."""
        backoff = FIRST_BACKOFF_SECONDS
        while True:
            before = events.arrived
            try:
                await self._subscribe(environment_id, events)
            except ApiError as error:
                _log.info("lost the order events", extra={"environment_id": environment_id, "error": str(error)})
            except Exception:  # noqa: BLE001 decisions wait for these events: trying again is all there is
                _log.exception("an order event could not be read", extra={"environment_id": environment_id})
            backoff = FIRST_BACKOFF_SECONDS if events.arrived > before else min(2 * backoff, LAST_BACKOFF_SECONDS)
            await asyncio.sleep(backoff)

    async def _subscribe(self, environment_id: str, events: OwnEvents) -> None:
        request = order_service_pb2.StreamOrderEventsRequest(
            environment_id=environment_id, after_sequence=events.arrived
        )
        call = self._stub.StreamOrderEvents(request)
        try:
            async for message in call:
                if message.HasField("reset"):
                    reason = f"The order events of {environment_id} end before {events.arrived}."
                    raise ApiError.unavailable("SERVICE_UNAVAILABLE", reason)
                for event in message.order_events.events:
                    # Whoever's event it is, it is counted; only those of deployments here are worth reading.
                    wanted = events.wanted(event.order.deployment_id)
                    events.add(event.sequence, event_from_proto(event) if wanted else None)
        finally:
            call.cancel()


class Replays:
    """The strategies' side of the cycle, all environments over one stream."""

    def __init__(self, channel: Channel) -> None:
        stub = ReplayServiceStub(channel)
        self._host: Host | None = None
        self._participant: Participant[Any, Any] = Participant(
            stub.JoinReplay, self._hello, self._handle, key=_environment_id, name=PARTICIPANT
        )

    async def run(self, host: Host) -> None:
        """Takes part, for the host, for as long as we live."""
        self._host = host
        await self._participant.run()

    async def join(self, seat: Seat) -> None:
        """Asks for a place; returns once that is said."""
        await self._say(_join(seat))

    async def leave(self, seat: Seat) -> None:
        """Gives a place up; returns once that is said."""
        await self._say(_leave(seat))

    async def _say(self, message: Any) -> None:
        # What is said at a connection may have been gathered before this was to be said: so it is said after it.
        while not await self._participant.send(message):
            await asyncio.sleep(FIRST_BACKOFF_SECONDS)
            await self._participant.wait_connected()

    async def _hello(self) -> list[Any]:
        hello = replay_service_pb2.Hello(role=replay_service_pb2.PARTICIPANT_ROLE_STRATEGY, participant=PARTICIPANT)
        joining, leaving = await self._host.roll() if self._host is not None else ([], [])
        said = [replay_service_pb2.JoinReplayRequest(hello=hello)]
        return [*said, *map(_leave, leaving), *map(_join, joining)]

    async def _handle(self, message: replay_service_pb2.JoinReplayResponse) -> Any:
        host = self._host
        match message.WhichOneof("message"):
            case "decide" if host is not None:
                decide = message.decide
                moment = Moment(decide.environment_id, decide.cycle, decide.tape_sequence, decide.order_head)
                answer = await host.decide(moment, decide.deployment_ids)
                if answer is None:
                    return None
                if isinstance(answer, Seat):
                    return _join(answer)
                return done_to_proto(decide.environment_id, decide.cycle, answer)
            case "welcome" if host is not None:
                welcome = message.welcome
                await host.welcomed(welcome.deployment_id, welcome.deployment_number, welcome.start_sequence)
            case "announced" if host is not None:
                await host.announced(environment_from_proto(message.announced.environment))
        return None


class Peers(NamedTuple):
    """All of them."""

    market: Market
    portfolios: Portfolios
    orders: Orders
    feed: OrderFeed
    replays: Replays


@asynccontextmanager
async def connected(settings: Settings) -> AsyncIterator[Peers]:
    """All peers, where the settings say that they are; none needs to be there."""
    seconds = settings.call_deadline_seconds
    async with (
        connect(settings.peer("marketdata"), idempotent=IDEMPOTENT_MARKETDATA, deadline_seconds=seconds) as marketdata,
        connect(settings.peer("portfolio"), idempotent=IDEMPOTENT_PORTFOLIO, deadline_seconds=seconds) as portfolio,
        connect(settings.peer("order"), deadline_seconds=seconds) as order,
    ):
        yield Peers(Market(marketdata), Portfolios(portfolio), Orders(order), OrderFeed(order), Replays(marketdata))


def _join(seat: Seat) -> Any:
    join = replay_service_pb2.Join(
        environment_id=seat.environment_id,
        deployment_id=seat.deployment_id,
        next_wake=None if seat.wake is None else wake_to_proto(seat.wake),
        tape_sequence=seat.tape_sequence,
        cycle=seat.cycle,
    )
    return replay_service_pb2.JoinReplayRequest(join=join)


def _leave(seat: Seat) -> Any:
    leave = replay_service_pb2.Leave(environment_id=seat.environment_id, deployment_id=seat.deployment_id)
    return replay_service_pb2.JoinReplayRequest(leave=leave)


def _environment_id(message: replay_service_pb2.JoinReplayResponse) -> str:
    kind = message.WhichOneof("message")
    if kind == "announced":
        return message.announced.environment.environment_id
    return str(getattr(message, kind).environment_id) if kind else ""
