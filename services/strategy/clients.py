"""What strategies ask of others: their orders, and their part in replays."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Any, Final, NamedTuple, Protocol, TypeVar

from tickmesh.marketdata.v1 import replay_service_pb2
from tickmesh.marketdata.v1.replay_service_pb2_grpc import ReplayServiceStub
from tickmesh.order.v1 import order_list_pb2, order_pb2, order_service_pb2
from tickmesh.order.v1.order_service_pb2_grpc import OrderServiceStub
from tickmesh.portfolio.v1 import portfolio_service_pb2
from tickmesh.portfolio.v1.portfolio_service_pb2_grpc import PortfolioServiceStub

from services.chassis.calls.barrier import Participant
from services.chassis.calls.channel import Channel, connect
from services.chassis.errors import ApiError
from services.domain.deployment.commands import NewOrder, NewOrderList, ReplaceOrder
from services.domain.orders.order import Order
from services.domain.timeline import Wake
from services.strategy.answers import FIRST_BACKOFF_SECONDS, REFUSALS, until_answered
from services.strategy.host.runner import Nonsense, Stale
from services.strategy.host.sites import OwnEvents
from services.strategy.mapping import done_to_proto, list_to_proto, order_to_proto, replacement_to_proto
from services.strategy.records import Deployment, Moment, Seat
from services.strategy.settings import Settings
from services.wire.cycle import SEAT_KEY, environment_of, hello
from services.wire.environments import Environment, environment_from_proto
from services.wire.feeds import follow_orders
from services.wire.market import IDEMPOTENT, Market, promptly
from services.wire.orders import event_from_proto, order_from_proto
from services.wire.wakes import wake_to_proto

T = TypeVar("T")

PARTICIPANT: Final = "strategy"
_CANCELED: Final = order_pb2.ORDER_STATE_CANCELED
# What a fill may have made of an order before its new terms came.
_TOO_LATE: Final = frozenset({"ORDER_ENDED", "ORDER_TRIGGERED", "QUANTITY_BELOW_FILLED"})
IDEMPOTENT_PORTFOLIO: Final = ("tickmesh.portfolio.v1.PortfolioService/GetPortfolio",)


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
        name = command.client_order_id
        request = _made(name, lambda: order_to_proto(command, deployment))
        answer = await _answered(name, lambda: self._stub.CreateOrder(request, metadata=_seat(deployment)))
        return await self._refused(name, deployment) if answer is None else order_from_proto(answer)

    async def create_list(self, command: NewOrderList, deployment: Deployment) -> list[Order]:
        """The orders of a list as they were accepted or refused.

        Raises:
            Stale, Nonsense: as `create`.
        """
        names = [each.client_order_id for each in command.orders]
        request = _made(names[0], lambda: list_to_proto(command, deployment))
        answer = await _answered(names[0], lambda: self._stub.CreateOrderList(request, metadata=_seat(deployment)))
        if answer is None:
            return [await self._refused(name, deployment) for name in names]
        return [order_from_proto(order) for order in answer.orders]

    async def cancel(self, order_id: str) -> list[Order]:
        """The order as it was canceled, and what went with it of its list; none where nothing was left to cancel."""
        request = order_service_pb2.CancelOrderRequest(order_id=order_id)
        try:
            order = await until_answered(lambda: self._stub.CancelOrder(request))
        except ApiError as error:
            if error.reason not in {"ORDER_ENDED", "ORDER_NOT_FOUND", "ENVIRONMENT_COMPLETED"}:
                raise Nonsense(f"{order_id}: {error.reason}: {error.message}") from error
            return []
        if not order.order_list_id:
            return [order_from_proto(order)]
        asked = order_list_pb2.GetOrderListRequest(order_list_id=order.order_list_id)
        members = (await until_answered(lambda: self._stub.GetOrderList(asked))).orders
        others = [each for each in members if each.order_id != order_id and each.state == _CANCELED]
        # As the venue ends them.
        others.sort(key=lambda each: each.priority)
        return [order_from_proto(each) for each in (order, *others)]

    async def replace(self, order_id: str, command: ReplaceOrder, deployment: Deployment) -> list[Order]:
        """The order on its new terms; none where it does not get them.

        Raises:
            Stale, Nonsense: as `create`.
        """
        request = _made(order_id, lambda: replacement_to_proto(order_id, command, deployment))
        try:
            answer = await _answered(order_id, lambda: self._stub.ReplaceOrder(request, metadata=_seat(deployment)))
        except Nonsense as error:
            if isinstance(error.__cause__, ApiError) and error.__cause__.reason in _TOO_LATE:
                return []
            raise
        return [] if answer is None else [order_from_proto(answer)]

    async def _refused(self, client_order_id: str, deployment: Deployment) -> Order:
        asked = order_service_pb2.GetOrderByClientOrderIdRequest(
            portfolio_id=deployment.portfolio_id, client_order_id=client_order_id
        )
        return order_from_proto(await until_answered(lambda: self._stub.GetOrderByClientOrderId(asked)))


def _seat(deployment: Deployment) -> tuple[tuple[str, str], ...]:
    return ((SEAT_KEY, deployment.seat_token),)


def _made(name: str, make: Callable[[], T]) -> T:
    """The request of a command: a strategy may have made it of anything."""
    try:
        return make()
    except (TypeError, ValueError, AttributeError, LookupError, ArithmeticError) as error:
        raise Nonsense(f"{name}: {error!r}") from error


async def _answered(name: str, call: Callable[[], Awaitable[T]]) -> T | None:
    """The answer to a command; None where it was refused by a check."""
    try:
        return await until_answered(call)
    except ApiError as error:
        if error.reason in {"BASIS_STALE", "ENVIRONMENT_COMPLETED"}:
            raise Stale(str(error)) from error
        if error.reason not in REFUSALS:
            raise Nonsense(f"{name}: {error.reason}: {error.message}") from error
        return None


class OrderFeed:
    """The order events of environments, taken in as they come."""

    def __init__(self, channel: Channel) -> None:
        self._stub = OrderServiceStub(channel)

    async def run(self, environment_id: str, events: OwnEvents) -> None:
        """Follows them for as long as the environment lives."""

        def take(came: Sequence[order_pb2.OrderEvent]) -> None:
            for event in came:
                # Whoever's event it is, it is counted; only those of deployments here are worth reading.
                wanted = events.wanted(event.order.deployment_id)
                events.add(event.sequence, event_from_proto(event) if wanted else None)

        await follow_orders(self._stub, environment_id, lambda: events.arrived, take)


class Players(Protocol):
    """Who takes part in replays; `host.Host`."""

    async def roll(self) -> tuple[list[Seat], list[Seat]]:
        """Who joins and who has left, at each connection."""

    async def announced(self, environment: Environment) -> None:
        """An environment is as it is."""

    async def welcomed(self, deployment_id: str, deployment_number: int, start_sequence: int) -> None:
        """A deployment has its place."""

    async def refused(self, deployment_id: str, error: ApiError) -> None:
        """A deployment has no place."""

    async def decide(self, moment: Moment, deployment_ids: Sequence[str]) -> Mapping[str, Wake] | Seat | None:
        """What each waits for, once all it decided is stored; or one to be asked again; or None: nobody is left."""


class Replays:
    """The strategies' side of the cycle, all environments over one stream."""

    def __init__(self, channel: Channel) -> None:
        stub = ReplayServiceStub(channel)
        self._players: Players | None = None
        self._participant: Participant[Any, Any] = Participant(
            stub.JoinReplay, self._hello, self._handle, key=environment_of, name=PARTICIPANT
        )

    async def run(self, players: Players) -> None:
        """Takes part, for them, for as long as we live."""
        self._players = players
        await self._participant.run()

    async def join(self, seat: Seat) -> None:
        """Asks for a place; returns once that is said."""
        await self._say(_join(seat))

    async def leave(self, seat: Seat) -> None:
        """Gives a place up; returns once that is said."""
        await self._say(_leave(seat))

    async def done(self, moment: Moment, wakes: Mapping[str, Wake]) -> None:
        """Answers for deployments that have decided before others; returns once that is said."""
        await self._say(done_to_proto(moment.environment_id, moment.cycle, wakes))

    async def _say(self, message: Any) -> None:
        # What is said at a connection may have been gathered before this was to be said: so it is said after it.
        while not await self._participant.send(message):
            await asyncio.sleep(FIRST_BACKOFF_SECONDS)
            await self._participant.wait_connected()

    async def _hello(self) -> list[Any]:
        joining, leaving = await self._players.roll() if self._players is not None else ([], [])
        return [hello("STRATEGY", PARTICIPANT), *map(_leave, leaving), *map(_join, joining)]

    async def _handle(self, message: replay_service_pb2.JoinReplayResponse) -> Any:
        players = self._players
        match message.WhichOneof("message"):
            case "decide" if players is not None:
                decide = message.decide
                moment = Moment(decide.environment_id, decide.cycle, decide.tape_sequence, decide.order_head)
                answer = await players.decide(moment, decide.deployment_ids)
                if answer is None:
                    return None
                if isinstance(answer, Seat):
                    return _join(answer)
                return done_to_proto(decide.environment_id, decide.cycle, answer)
            case "welcome" if players is not None:
                welcome = message.welcome
                await players.welcomed(welcome.deployment_id, welcome.deployment_number, welcome.start_sequence)
            case "refused" if players is not None:
                refused = message.refused
                await players.refused(refused.deployment_id, ApiError.from_status(refused.error))
            case "announced" if players is not None:
                await players.announced(environment_from_proto(message.announced.environment))
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
        connect(settings.peer("marketdata"), idempotent=IDEMPOTENT, deadline_seconds=seconds) as marketdata,
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
        seat_token=seat.seat_token,
        strategy_id=seat.strategy_id,
        portfolio_id=seat.portfolio_id,
    )
    return replay_service_pb2.JoinReplayRequest(join=join)


def _leave(seat: Seat) -> Any:
    leave = replay_service_pb2.Leave(
        environment_id=seat.environment_id, deployment_id=seat.deployment_id, seat_token=seat.seat_token
    )
    return replay_service_pb2.JoinReplayRequest(leave=leave)
