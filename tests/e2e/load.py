"""Order load: clients who place, replace, cancel and repeat orders at random, and remember all they were told."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from decimal import Decimal

from tickmesh.common.v1 import side_pb2
from tickmesh.marketdata.v1 import market_data_service_pb2
from tickmesh.order.v1 import order_list_pb2, order_pb2, order_service_pb2

from services.chassis.errors import ApiError
from tests.e2e.client import PATIENCE_SECONDS, Client, Way
from tests.e2e.entry import entering
from tests.e2e.mesh import PASSING, repeated
from tests.e2e.told import Told

AT_MARKET = tuple(map(order_pb2.TimeInForce.Value, ("TIME_IN_FORCE_DAY", "TIME_IN_FORCE_IOC", "TIME_IN_FORCE_OPG")))
AT_LIMIT = tuple(
    order_pb2.TimeInForce.Value(f"TIME_IN_FORCE_{name}") for name in ("GTC", "GTC", "GTC", "DAY", "DAY", "FOK", "CLS")
)
# These fill at once and whole, or at an auction.
WHOLE = frozenset({order_pb2.TIME_IN_FORCE_FOK, order_pb2.TIME_IN_FORCE_OPG, order_pb2.TIME_IN_FORCE_CLS})


@dataclass
class Customer(Client):
    """Trades some symbols. What it does follows from its seed, what comes of it from chance."""

    symbols: tuple[str, ...] = ()
    prices: dict[str, Decimal] = field(default_factory=dict)

    async def trade(self, operations: int, at_once: int = 3) -> None:
        """Does so many things, a few at a time: each in a call of its own, or in a session that all share.

        With every third session ends what it created and is still open then.
        """
        orders, ends = self.clients.orders, self.chance.random() < 1 / 3
        async with entering(orders, cancel_on_disconnect=ends) as entry:
            ways = (Way.of(orders), Way.of(entry))
            for _ in range(0, operations, at_once):
                await asyncio.gather(*(self._do(self.chance.choice(ways)) for _ in range(at_once)))

    async def learn_prices(self) -> None:
        """Looks up the last price of every symbol."""
        for symbol in self.symbols:
            request = market_data_service_pb2.GetQuoteRequest(symbol=symbol, environment_id=self.environment_id)
            quote = await repeated(self.clients.market.GetQuote, request)
            self.prices[symbol] = Decimal(quote.last_price)

    async def _do(self, way: Way) -> None:
        earlier = list(self.told.values())
        known = [each for each in earlier if each.known]
        what = self.chance.random()
        if what < 0.15 and known:
            await self.cancel(self.chance.choice(known), way)
        elif what < 0.3 and known:
            await self._change(self.chance.choice(known[-9:]), way)
        elif what < 0.42 and earlier:
            await self.create(self.chance.choice(earlier), way)
        elif what < 0.46 and known:
            await self._reuse(self.chance.choice(known), way)
        else:
            told = self.wants_list(self._list()) if self.chance.random() < 0.2 else self.wants(self._request())
            # Twice at the same time, now and then: one of them is the other's repeat.
            times = 2 if self.chance.random() < 0.1 else 1
            await asyncio.gather(*(self.create(told, way) for _ in range(times)))

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
        if kind < 0.35:
            request.order_type = order_pb2.ORDER_TYPE_MARKET
            request.time_in_force = chance.choice(AT_MARKET)
        elif kind < 0.8:
            request.order_type = order_pb2.ORDER_TYPE_LIMIT
            request.time_in_force = chance.choice(AT_LIMIT)
            request.limit_price = f"{price * Decimal(chance.choice(('0.8', '0.97', '1', '1.02'))):.2f}"
        else:
            self._trigger(request, price)
        if side == side_pb2.SIDE_BUY and kind < 0.8 and request.time_in_force not in WHOLE and chance.random() < 0.3:
            request.cash_quantity = str(chance.randrange(500, 4000))
        else:
            # Now and then more than anybody can pay for.
            request.quantity = str(100_000 if chance.random() < 0.05 else chance.choice((1, 7, 20, 55)))
            request.reduce_only = chance.random() < 0.1
        rests = (
            request.order_type == order_pb2.ORDER_TYPE_LIMIT and request.time_in_force == order_pb2.TIME_IN_FORCE_GTC
        )
        if rests and request.quantity:
            request.post_only = chance.random() < 0.1
            # Less than any quantity that it may be replaced by, and than its own.
            request.display_quantity = "1" if request.quantity != "1" and chance.random() < 0.2 else ""
        return request

    def _trigger(self, request: order_service_pb2.CreateOrderRequest, price: Decimal) -> None:
        """Makes it wait for a price."""
        chance = self.chance
        request.time_in_force = order_pb2.TIME_IN_FORCE_GTC
        kind = chance.choice(("STOP", "STOP_LIMIT", "MARKET_IF_TOUCHED", "TRAILING_STOP"))
        request.order_type = order_pb2.OrderType.Value(f"ORDER_TYPE_{kind}")
        if kind == "TRAILING_STOP":
            request.trailing_percent = chance.choice(("1", "5"))
            return
        request.stop_price = f"{price * Decimal(chance.choice(('0.95', '1.05'))):.2f}"
        if kind == "STOP_LIMIT":
            request.limit_price = f"{price * Decimal(chance.choice(('0.94', '1.06'))):.2f}"

    def _list(self) -> order_list_pb2.CreateOrderListRequest:
        """An OCO, an OTO or a bracket, whose later orders may never come to life, or at once."""
        chance = self.chance
        kind = chance.choice(("OCO", "OTO", "BRACKET"))
        symbol, buys, number = chance.choice(self.symbols), chance.random() < 0.6, len(self.told)
        entry, leaving = (side_pb2.SIDE_BUY, side_pb2.SIDE_SELL) if buys else (side_pb2.SIDE_SELL, side_pb2.SIDE_BUY)
        units = str(chance.choice((3, 12, 40)))

        def one(order_type: str, side: int, factor: str = "", **terms: object) -> order_list_pb2.ListedOrder:
            nonlocal number
            number += 1
            price = {"LIMIT": "limit_price", "STOP": "stop_price"}.get(order_type)
            prices = {price: f"{self.prices[symbol] * Decimal(factor):.2f}"} if price else {}
            terms |= {"client_order_id": f"c-{number - 1}", "symbol": symbol, "side": side, **prices}
            terms["order_type"] = f"ORDER_TYPE_{order_type}"
            return order_list_pb2.ListedOrder(time_in_force="TIME_IN_FORCE_GTC", **terms)

        # A target and a stop on either side of the price, near enough that some are reached.
        target, stop = ("1.03", "0.97") if buys else ("0.97", "1.03")
        if kind == "OCO":
            legs = [one("LIMIT", leaving, target, quantity=units), one("STOP", leaving, stop, quantity=units)]
        elif kind == "OTO":
            terms = {"quantity": units, "reduce_only": True}
            legs = [one("MARKET", entry, quantity=units), one("LIMIT", leaving, target, **terms)]
        else:
            first = chance.choice((("MARKET", ""), ("LIMIT", "0.99" if buys else "1.01")))
            legs = [one(first[0], entry, first[1], quantity=units)]
            legs += [one("LIMIT", leaving, target), one("STOP", leaving, stop)]
        kinds = f"CONTINGENCY_TYPE_{kind}"
        return order_list_pb2.CreateOrderListRequest(
            portfolio_id=self.portfolio_id, contingency_type=kinds, orders=legs
        )

    async def _reuse(self, told: Told, way: Way) -> None:
        """The id of another order with other values is refused, and names that order."""
        request = order_service_pb2.CreateOrderRequest()
        request.CopyFrom(told.request)
        request.ClearField("cash_quantity")
        request.quantity = "3"
        try:
            await way.create(request, timeout=PATIENCE_SECONDS)
        except ApiError as error:
            if error.code in PASSING:
                return
            if (error.reason, error.metadata.get("order_id")) != ("CLIENT_ORDER_ID_REUSED", told.order_id):
                raise AssertionError(f"an id used again was answered by {error}") from error
            self.answers += 1
        else:
            raise AssertionError("an id was used for two orders")

    async def _change(self, told: Told, way: Way) -> None:
        """Asks for new terms, or once more for some that were asked for before."""
        changes = list(told.changes.values())
        if changes and self.chance.random() < 0.4:
            await self.replace_again(told, way, self.chance.choice(changes))
        else:
            await self.replace(told, way, **self._terms(told.request))

    def _terms(self, request: order_service_pb2.CreateOrderRequest) -> dict[str, str]:
        """New terms that go with the order's type."""
        chance, terms = self.chance, {}
        for name in ("limit_price", "stop_price"):
            if getattr(request, name) and chance.random() < 0.6:
                price = self.prices[request.symbol] * Decimal(chance.choice(("0.9", "0.98", "1.01", "1.04")))
                terms[name] = f"{price:.2f}"
        if request.cash_quantity and (not terms or chance.random() < 0.5):
            terms["cash_quantity"] = str(chance.choice((300, 900, 2500, 6000)))
        elif not terms or (request.quantity and chance.random() < 0.5):
            terms["quantity"] = str(chance.choice((2, 9, 23, 60)))
        return terms
