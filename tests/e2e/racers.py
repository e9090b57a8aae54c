"""Clients who want different things of one order at the same time."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from decimal import Decimal

from tickmesh.common.v1 import side_pb2
from tickmesh.order.v1 import order_list_pb2, order_pb2, order_service_pb2

from tests.e2e.client import Client, Way
from tests.e2e.told import Told

SYMBOLS = ("AAA", "BBB")


@dataclass
class Racer(Client):
    """Several clients of one portfolio, each with his own connections, of whom all know the same orders."""

    quotes: dict[str, tuple[Decimal, Decimal]] = field(default_factory=dict)

    async def race(self, number: int, calls: list[Way], sessions: list[Way]) -> None:
        """One order, and two to four who want something else of it.

        In a session they may follow at once: there they wait until the order itself is answered.
        """
        chance = self.chance
        told = self.wants_list(self._oco(number)) if chance.random() < 0.15 else self.wants(self._request(number))
        count = chance.randint(2, 4)
        if chance.random() < 0.3:
            session = chance.choice(sessions)
            creating = asyncio.create_task(self.create(told, session))
            await asyncio.gather(creating, *(self._contend(told, session) for _ in range(count)))
        else:
            ways = calls + sessions
            await self.create(told, chance.choice(ways))
            await asyncio.gather(*(self._contend(told, chance.choice(ways)) for _ in range(count)))

    async def _contend(self, told: Told, way: Way) -> None:
        chance = self.chance
        if told.listed is not None:
            told = chance.choice(told.listed.orders)
        await asyncio.sleep(chance.choice((0, chance.uniform(0, 0.4))))
        if chance.random() < 0.25:
            await self.cancel(told, way)
        else:
            await self.replace(told, way, **self._terms(told.request))

    def _request(self, number: int) -> order_service_pb2.CreateOrderRequest:
        chance = self.chance
        symbol, side = chance.choice(SYMBOLS), chance.choice((side_pb2.SIDE_BUY, side_pb2.SIDE_BUY, side_pb2.SIDE_SELL))
        return order_service_pb2.CreateOrderRequest(
            client_order_id=f"race-{number}",
            portfolio_id=self.portfolio_id,
            symbol=symbol,
            side=side,
            order_type=order_pb2.ORDER_TYPE_LIMIT,
            time_in_force=order_pb2.TIME_IN_FORCE_GTC,
            quantity=str(chance.randint(5, 150)),
            limit_price=self._near(symbol, side),
        )

    def _oco(self, number: int) -> order_list_pb2.CreateOrderListRequest:
        """Two legs on either side of the market, of which only one can fill."""
        symbol, units = self.chance.choice(SYMBOLS), str(self.chance.randint(5, 150))
        bid, ask = self.quotes[symbol]
        legs = [
            order_list_pb2.ListedOrder(
                client_order_id=f"race-{number}-{place}",
                symbol=symbol,
                side=side_pb2.SIDE_BUY,
                time_in_force=order_pb2.TIME_IN_FORCE_GTC,
                quantity=units,
                **terms,
            )
            for place, terms in enumerate(
                (
                    {"order_type": order_pb2.ORDER_TYPE_LIMIT, "limit_price": f"{bid - Decimal('0.01'):.2f}"},
                    {"order_type": order_pb2.ORDER_TYPE_STOP, "stop_price": f"{ask + Decimal('0.02'):.2f}"},
                )
            )
        ]
        return order_list_pb2.CreateOrderListRequest(
            portfolio_id=self.portfolio_id, contingency_type=order_pb2.CONTINGENCY_TYPE_OCO, orders=legs
        )

    def _near(self, symbol: str, side: int) -> str:
        """A price that some of the next quotes fill at, or none of them."""
        bid, ask = self.quotes[symbol]
        towards = 1 if side == side_pb2.SIDE_BUY else -1
        touch = ask if side == side_pb2.SIDE_BUY else bid
        return f"{touch + towards * Decimal(self.chance.randint(-3, 3)) / 100:.2f}"

    def _terms(self, request: order_service_pb2.CreateOrderRequest) -> dict[str, str]:
        terms, what = {}, self.chance.random()
        if request.stop_price:
            _, ask = self.quotes[request.symbol]
            return {"stop_price": f"{ask + Decimal(self.chance.randint(0, 4)) / 100:.2f}"}
        if what < 0.7:
            # Often less than what fills meanwhile.
            terms["quantity"] = str(self.chance.randint(1, 170))
        if what > 0.5:
            terms["limit_price"] = self._near(request.symbol, request.side)
        return terms
