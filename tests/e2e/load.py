"""Order load: clients who place, cancel and repeat orders at random, and remember every word they were given."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any, NamedTuple

import grpc
from tickmesh.common.v1 import side_pb2
from tickmesh.marketdata.v1 import market_data_service_pb2
from tickmesh.order.v1 import order_pb2, order_service_pb2

from services.chassis.errors import ApiError
from services.domain.order import TERMINAL, OrderState
from tests.e2e.entry import entering
from tests.e2e.mesh import PASSING, Clients, repeated

# How long a client waits for an answer before it asks again, later.
PATIENCE_SECONDS = 3.0


Call = Callable[..., Awaitable[Any]]


class Way(NamedTuple):
    """How a client's words travel."""

    create: Call
    cancel: Call


@dataclass
class Told:
    """What a client knows of one of its orders.

    Attributes:
        order: as it was last answered; None while nothing was.
        refusal: the error that a refused one was answered with.
        canceled: whether its cancel was acknowledged.
    """

    request: order_service_pb2.CreateOrderRequest
    order: order_pb2.Order | None = None
    refusal: ApiError | None = None
    canceled: bool = False

    @property
    def known(self) -> bool:
        """Whether there was any answer."""
        return self.order is not None or self.refusal is not None

    @property
    def order_id(self) -> str:
        """The order's id; empty while unknown."""
        if self.order is not None:
            return self.order.order_id
        return self.refusal.metadata.get("order_id", "") if self.refusal is not None else ""

    def hear(self, order: order_pb2.Order) -> None:
        """Takes an answer, which must fit what was said before."""
        assert order.client_order_id == self.request.client_order_id
        assert self.refusal is None, "a refused order was accepted when it was asked for again"
        assert self.order_id in {"", order.order_id}, f"{self.order_id} became {order.order_id}"
        if self.order is not None:
            check_later(self.order, order)
        self.order = order

    def hear_refusal(self, error: ApiError) -> None:
        """Takes a refusal, which must be the one that was said before."""
        assert self.order is None, f"an accepted order was refused when it was asked for again: {error}"
        assert error.metadata.get("order_id"), f"a refusal is an order too: {error} {error.metadata}"
        if self.refusal is not None:
            assert (error.reason, error.metadata) == (self.refusal.reason, self.refusal.metadata)
        self.refusal = error


def check_later(before: order_pb2.Order, after: order_pb2.Order) -> None:
    """That `after` is the same order, not earlier than `before`."""
    for name in ("order_id", "client_order_id", "portfolio_id", "symbol", "side", "order_type", "time_in_force"):
        assert getattr(after, name) == getattr(before, name), f"{name} of {before.order_id} changed"
    for name in ("cash_quantity", "label", "basis_sequence", "create_time"):
        assert getattr(after, name) == getattr(before, name), f"{name} of {before.order_id} changed"
    # The tape's splits, all two for one, restate what is open (rule 20).
    prices = [(Decimal(each.limit_price or 0), Decimal(each.stop_price or 0)) for each in (before, after)]
    halved = tuple(price / 2 for price in prices[0])
    assert prices[1] in {prices[0], halved}, f"{before.order_id} has another price"
    assert after.event_count >= before.event_count
    assert Decimal(after.cum_quantity or 0) >= Decimal(before.cum_quantity or 0)
    if OrderState(before.state) in TERMINAL:
        assert after == before, f"{before.order_id} had ended"


@dataclass
class Customer:
    """A client with one portfolio. What it does follows from its seed, what comes of it from chance."""

    clients: Clients
    environment_id: str
    portfolio_id: str
    symbols: tuple[str, ...]
    chance: random.Random
    told: dict[str, Told] = field(default_factory=dict)
    prices: dict[str, Decimal] = field(default_factory=dict)
    answers: int = 0

    async def trade(self, operations: int, at_once: int = 3) -> None:
        """Does so many things, a few at a time: each in a call of its own, or in a session that all share."""
        async with entering(self.clients.orders) as entry:
            ways = (
                Way(self.clients.orders.CreateOrder, self.clients.orders.CancelOrder),
                Way(entry.create, entry.cancel),
            )
            for _ in range(0, operations, at_once):
                await asyncio.gather(*(self._do(self.chance.choice(ways)) for _ in range(at_once)))

    async def settle(self) -> None:
        """Asks again for everything that was not answered, until it is."""
        for told in self.told.values():
            if not told.known:
                await self._heard(told, repeated(self.clients.orders.CreateOrder, told.request))

    async def cancel_all(self) -> None:
        """Cancels whatever is open."""
        for told in self.told.values():
            if told.order is not None and OrderState(told.order.state) not in TERMINAL:
                await self._cancel(told, self.clients.orders.CancelOrder, self._until)

    async def learn_prices(self) -> None:
        """Looks up the last price of every symbol."""
        for symbol in self.symbols:
            request = market_data_service_pb2.GetQuoteRequest(symbol=symbol, environment_id=self.environment_id)
            quote = await repeated(self.clients.market.GetQuote, request)
            self.prices[symbol] = Decimal(quote.last_price)

    async def _do(self, way: Way) -> None:
        earlier = list(self.told.values())
        what = self.chance.random()
        if what < 0.2 and earlier:
            await self._cancel(self.chance.choice(earlier), way.cancel, self._once)
        elif what < 0.35 and earlier:
            again = self.chance.choice(earlier)
            await self._heard(again, self._once(way.create, again.request))
        elif what < 0.4 and any(each.known for each in earlier):
            await self._reuse(self.chance.choice([each for each in earlier if each.known]), way)
        else:
            told = Told(self._request())
            self.told[told.request.client_order_id] = told
            # Twice at the same time, now and then: one of them is the other's repeat.
            times = 2 if self.chance.random() < 0.1 else 1
            await asyncio.gather(*(self._heard(told, self._once(way.create, told.request)) for _ in range(times)))

    def _request(self) -> order_service_pb2.CreateOrderRequest:
        chance = self.chance
        symbol, side = (
            chance.choice(self.symbols),
            chance.choice((side_pb2.SIDE_BUY, side_pb2.SIDE_BUY, side_pb2.SIDE_SELL)),
        )
        request = order_service_pb2.CreateOrderRequest(
            client_order_id=f"c-{len(self.told)}",
            portfolio_id=self.portfolio_id,
            symbol=symbol,
            side=side,
            label=chance.choice(("", "by hand")),
        )
        price = self.prices[symbol]
        kind = chance.random()
        if kind < 0.4:
            request.order_type = order_pb2.ORDER_TYPE_MARKET
            request.time_in_force = chance.choice((order_pb2.TIME_IN_FORCE_DAY, order_pb2.TIME_IN_FORCE_IOC))
        elif kind < 0.85:
            request.order_type = order_pb2.ORDER_TYPE_LIMIT
            request.time_in_force = chance.choice((order_pb2.TIME_IN_FORCE_GTC, order_pb2.TIME_IN_FORCE_DAY))
            request.limit_price = f"{price * Decimal(chance.choice(('0.8', '0.97', '1', '1.02'))):.2f}"
        else:
            request.order_type = order_pb2.ORDER_TYPE_STOP
            request.time_in_force = order_pb2.TIME_IN_FORCE_GTC
            request.stop_price = f"{price * Decimal(chance.choice(('0.95', '1.05'))):.2f}"
        if side == side_pb2.SIDE_BUY and kind < 0.4 and chance.random() < 0.3:
            request.cash_quantity = str(chance.randrange(500, 4000))
        else:
            # Now and then more than anybody can pay for.
            request.quantity = str(100_000 if chance.random() < 0.05 else chance.choice((1, 7, 20, 55)))
        return request

    async def _reuse(self, told: Told, way: Way) -> None:
        """The id of another order with other values is refused, and names that order."""
        request = order_service_pb2.CreateOrderRequest()
        request.CopyFrom(told.request)
        request.ClearField("cash_quantity")
        request.quantity = "3"
        try:
            await self._once(way.create, request)
        except ApiError as error:
            if error.code in PASSING:
                return
            if (error.reason, error.metadata.get("order_id")) != ("CLIENT_ORDER_ID_REUSED", told.order_id):
                raise AssertionError(f"an id used again was answered by {error}") from error
            self.answers += 1
        else:
            raise AssertionError("an id was used for two orders")

    async def _heard(self, told: Told, asking: Awaitable[Any]) -> None:
        try:
            told.hear(await asking)
        except ApiError as error:
            if error.code is grpc.StatusCode.FAILED_PRECONDITION:
                told.hear_refusal(error)
            elif error.code not in PASSING:
                raise AssertionError(f"an order was answered by {error}") from error
        self.answers += told.known

    async def _cancel(self, told: Told, cancel: Call, ask: Callable[[Call, Any], Awaitable[Any]]) -> None:
        if not told.order_id:
            return
        request = order_service_pb2.CancelOrderRequest(order_id=told.order_id)
        if self.chance.random() < 0.5:
            name = told.request.client_order_id
            request = order_service_pb2.CancelOrderRequest(portfolio_id=self.portfolio_id, orig_client_order_id=name)
        try:
            told.hear(await ask(cancel, request))
            told.canceled = True
        except ApiError as error:
            if error.code in PASSING:
                return
            if error.reason != "ORDER_ENDED":
                raise AssertionError(f"a cancel was answered by {error}") from error
        self.answers += 1

    async def _once(self, call: Call, request: Any) -> Any:
        return await call(request, timeout=PATIENCE_SECONDS)

    async def _until(self, call: Call, request: Any) -> Any:
        return await repeated(call, request)
