"""The paper venue's book of one symbol as a person looks at it: price levels, and what waits for something else.

As at an exchange, what icebergs hide and what waits for something else is for its owner alone to see.
"""

from collections.abc import Iterable, Iterator
from decimal import Decimal
from typing import NamedTuple

from services.domain.money import ZERO
from services.domain.orders.order import LIMITED, TRIGGERED_STATES, Order, OrderState, OrderType, Side, TimeInForce
from services.domain.venue.encounters.icebergs import shown

_QUEUED = TRIGGERED_STATES | {OrderState.NEW}
_AUCTIONED = frozenset({TimeInForce.OPG, TimeInForce.CLS})


class Level(NamedTuple):
    """Orders of one side that work at one price.

    Attributes:
        orders: in the order in which they are filled.
    """

    price: Decimal
    orders: tuple[Order, ...]

    @property
    def quantity(self) -> Decimal:
        """Units that are shown; an order by cash has none until a fill sizes it."""
        return sum((shown(order) for order in self.orders), ZERO)

    def own(self, portfolio_id: str) -> Iterator[tuple[Order, Decimal]]:
        """Those of one portfolio, each with the units shown here that are filled before it."""
        ahead = ZERO
        for order in self.orders:
            if order.portfolio_id == portfolio_id:
                yield order, ahead
            ahead += shown(order)

    def hidden_quantity(self, portfolio_id: str) -> Decimal:
        """Units that icebergs of one portfolio do not show."""
        return sum((order.leaves_quantity - shown(order) for order, _ in self.own(portfolio_id)), ZERO)


class OrderBook(NamedTuple):
    """The open orders of one symbol, as one portfolio sees them.

    Attributes:
        bids, asks: levels, the best first.
        waiting: its orders that work at no price: they wait for a trigger, a session, an auction or the next record.
    """

    bids: tuple[Level, ...]
    asks: tuple[Level, ...]
    waiting: tuple[Order, ...]


def order_book(orders: Iterable[Order], portfolio_id: str) -> OrderBook:
    """The book of the open orders of one symbol, given in any order, as a portfolio sees it; without one, as nobody."""
    sides: dict[Side, dict[Decimal, list[Order]]] = {Side.BUY: {}, Side.SELL: {}}
    waiting = []
    for order in sorted(orders, key=lambda each: each.priority):
        price = working_price(order)
        if price is not None:
            sides[order.side].setdefault(price, []).append(order)
        elif order.portfolio_id == portfolio_id:
            waiting.append(order)
    bids, asks = (
        tuple(Level(price, tuple(levels[price])) for price in sorted(levels, reverse=side is Side.BUY))
        for side, levels in sides.items()
    )
    return OrderBook(bids, asks, tuple(waiting))


def working_price(order: Order) -> Decimal | None:
    """The limit that an order works at now; None for one that waits for something else, such as an auction."""
    if order.order_type not in LIMITED or order.state not in _QUEUED or order.time_in_force in _AUCTIONED:
        return None
    if order.order_type is not OrderType.LIMIT and order.state is OrderState.NEW:
        return None
    return order.limit_price
