"""Which open orders together only reduce: those that a kill switch may leave (rule 5)."""

from collections.abc import Callable, Collection, Iterable
from decimal import Decimal

from services.domain.orders.claim import claim_of, only_closes, pair_of, together
from services.domain.orders.order import Order
from services.domain.risk.buying_power import Funds


def enlarging(
    orders: Iterable[Order], covers: Callable[[Order], bool], held: Callable[[str, str], Decimal]
) -> list[Order]:
    """Those of a venue's open orders that may open or enlarge a position, once what stays before them has filled.

    What is left of each is judged as the gate judges a new order behind those before it. Orders of which only one can
    fill count once, and stay or go together. Who waits for an order that goes, goes with it and is not named.

    Args:
        orders: all that are open, by priority.
        covers: whether an order may have to go; the others count all the same.
        held: the signed units that a portfolio holds of a symbol.
    """
    funds, seen, going = dict[str, Funds](), set[tuple[str, str]](), dict[str, Order]()
    for legs in _counted_once(orders):
        portfolio_id, symbol = where = legs[0].portfolio_id, legs[0].symbol
        own, claim = funds.setdefault(portfolio_id, Funds()), together(map(claim_of, legs))
        if claim is None or legs[0].parent_order_id in going:
            continue
        if where not in seen:
            seen.add(where)
            own.holding(symbol).quantity = held(*where)
        closes = own.holding(symbol).closing(claim.quantity) == abs(claim.quantity)
        if all(not covers(leg) or only_closes(leg) or (closes and leg.cash_quantity is None) for leg in legs):
            own.reserve(claim)
        else:
            going.update((leg.order_id, leg) for leg in legs)
    return list(going.values())


def _counted_once(orders: Iterable[Order]) -> Collection[list[Order]]:
    """Each order by itself, or with its twin at the place of the first of both."""
    counted = dict[str, list[Order]]()
    for order in orders:
        counted.setdefault(pair_of(order) or order.order_id, []).append(order)
    return counted.values()
