"""What a split does to the venue's open orders (rule 20)."""

from decimal import Decimal

from services.domain.instrument import Instrument
from services.domain.money import ZERO, at_most_places, decimal_of, floor_to, snap
from services.domain.orders.events import When
from services.domain.orders.order import (
    CancelReason,
    ExecType,
    Order,
    OrderEvent,
    OrderState,
    OrderType,
    Side,
    TimeInForce,
)
from services.domain.tape_index import TapeIndex
from services.domain.venue.encounters.linked import follow
from services.domain.venue.offers.trailing import best_price
from services.domain.venue.waiting.blotter import Blotter

_RESTING = frozenset({TimeInForce.DAY, TimeInForce.GTC, TimeInForce.GTD})


def split(blotter: Blotter, index: TapeIndex, symbol: str, row: int) -> list[OrderEvent]:
    """Restate every order of ``symbol`` by the split of ``row``, or end it where that leaves no unit of it."""
    tape, when = index.tape, When(row + 1, index.tape.time.item(row))
    numerator, denominator = (decimal_of(tape.values.item(row, column)) for column in (0, 1))
    instrument, events = blotter.instrument(symbol), list[OrderEvent]()
    if blotter.shorts and (mark := _mark(index, symbol, row)):
        for portfolio_id, moved in blotter.shorts.split(symbol, numerator, denominator, mark).items():
            blotter.headroom[portfolio_id] += moved
    for arrival, order in list(blotter.orders.items()):
        if order.symbol != symbol:
            continue
        best = trailed(order, index, instrument.calendar, row)
        after = restated(order, numerator, denominator, instrument, best)
        if order.leaves_quantity and not after.leaves_quantity:
            events.append(blotter.end(arrival, ExecType.CANCELED, CancelReason.CORPORATE_ACTION, when))
        else:
            events.append(blotter.change(arrival, ExecType.RESTATED, after, when))
    return events + follow(blotter, events, when)


def _mark(index: TapeIndex, symbol: str, position: int) -> Decimal:
    """What a unit was worth before ``position``: the last price, of a quote the middle; zero before the first."""
    prices = [index.last_price(symbol, side, position) or 0.0 for side in Side]
    return decimal_of(sum(prices) / len(prices))


def restated(
    order: Order, numerator: Decimal, denominator: Decimal, instrument: Instrument, best: float | None = None
) -> Order:
    """``order`` after a split of ``numerator`` new units for ``denominator`` old ones (rule 20).

    Units are floored, prices snapped. The money of past fills stays what it was, but what paid for units that are lost
    so is no part of the average; and what is still set aside stays set aside. What divides comes last: a third of three
    units is one, but three times a third in decimals is less.

    Args:
        best: the price that it trails.
    """
    step, tick = instrument.quantity_increment, instrument.price_increment

    def units(quantity: Decimal) -> Decimal:
        return floor_to(quantity * numerator / denominator, step)

    def exact_price(old: Decimal) -> Decimal:
        return old * denominator / numerator

    def price(old: Decimal | None) -> Decimal | None:
        return None if old is None else max(tick, snap(exact_price(old), tick))

    cum, leaves, held = units(order.cum_quantity), units(order.leaves_quantity), order.reservation
    total, cash, kept = cum + leaves, held.cash, order.gross_amount - order.fraction_amount
    if cum * denominator != order.cum_quantity * numerator:
        kept = at_most_places(kept * cum * denominator / (order.cum_quantity * numerator), 9)
    if order.cash_quantity is None and leaves and order.leaves_quantity * total != order.quantity * leaves:
        cash = at_most_places(cash * order.leaves_quantity * total / (order.quantity * leaves), 9)
    return order._replace(
        quantity=total,
        cum_quantity=cum,
        leaves_quantity=leaves,
        avg_price=at_most_places(exact_price(order.avg_price), 9) if cum else ZERO,
        fraction_amount=order.gross_amount - kept,
        commission_quantity=units(order.commission_quantity),
        limit_price=price(order.limit_price),
        stop_price=price(order.stop_price),
        trailing_amount=price(order.trailing_amount),
        display_quantity=None if order.display_quantity is None else max(step, units(order.display_quantity)),
        trail_price=None if best is None else at_most_places(exact_price(decimal_of(best)), 9),
        reservation=held._replace(cash=cash, quantity=at_most_places(held.quantity * numerator / denominator, 9)),
    )


def trailed(order: Order, index: TapeIndex, calendar: str, row: int) -> float | None:
    """The best price that a resting trailing stop met before ``row``; None of any other order."""
    waits = order.order_type is OrderType.TRAILING_STOP and order.state is OrderState.NEW
    if not waits or order.time_in_force not in _RESTING:
        return None
    return best_price(index, order, calendar, row)
