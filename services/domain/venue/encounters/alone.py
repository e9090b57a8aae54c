"""The commonest encounter: a market order by quantity, alone in its record, that is filled whole.

It says what an ``Encounter`` says, in a third of the time, and nothing wherever that is not certain beforehand. The
slow model of the tests holds both to the same.
"""

from decimal import Decimal
from functools import lru_cache

from services.domain.filling import VenueSettings
from services.domain.money import ZERO, decimal_of, snap
from services.domain.orders.order import (
    Order,
    OrderEvent,
    OrderState,
    OrderType,
    Side,
    TimeInForce,
)
from services.domain.tape import Kind
from services.domain.tape_index import TapeIndex
from services.domain.venue.waiting.blotter import Blotter
from services.domain.venue.waiting.resting import Book

_MARKET, _NEW, _BUY = OrderType.MARKET, OrderState.NEW, Side.BUY
_CONTINUOUS = frozenset(set(TimeInForce) - {TimeInForce.OPG, TimeInForce.CLS})
_BAR, _QUOTE = Kind.BAR, Kind.QUOTE


@lru_cache(maxsize=1 << 13)
def _least_size(quantity: Decimal, share: Decimal, step: Decimal) -> float:
    """Of a record of which orders get ``share``, so that it surely fills ``quantity`` whole; infinite off the step.

    Sizes come again and again, and one look at doubles costs a tenth of the decimals' arithmetic.
    """
    return float("inf") if quantity % step else float(quantity) / float(share) * 1.01


@lru_cache(maxsize=1 << 13)
def _on_step(price: float, step: Decimal) -> Decimal:
    """A tape's price on the increment; quotes come back to the same ones, and the first look costs 1 us."""
    return snap(decimal_of(price), step)


def fill_alone(index: TapeIndex, row: int, book: Book, blotter: Blotter, settings: VenueSettings) -> OrderEvent | None:
    """The TRADE of the only order that a bar, quote or trade concerns; None where it is not as simple as that."""
    if len(book.urgent) != 1 or book.closing:
        return None
    (arrival,) = book.urgent
    order, start, number = blotter.orders[arrival], index.starts[row], index.numbers[row]
    if order.order_type is not _MARKET or order.state is not _NEW or order.time_in_force not in _CONTINUOUS:
        return None
    if order.cash_quantity is not None or order.reduce_only or order.costs is not None or order.order_list_id:
        return None
    if order.basis_sequence > row or start < order.basis_time + order.latency:
        return None
    side, kind, values, instrument = order.side, index.kinds[number], index.values, book.instrument
    first = bid = values[row, 0]
    if kind is _QUOTE:
        ask = values[row, 1]
        first, clear = ask if side is _BUY else bid, book.clear(ask, ask, bid, bid)
    else:
        low, high = (values[row, 2], values[row, 1]) if kind is _BAR else (first, first)
        clear = book.clear(low, high, low, high)
    if first <= 0 or not clear:
        return None
    share = (order.fill_settings or settings).volume_share
    if share is not None and index.sized(number):
        column = 4 if kind is _BAR else 1 if kind is not _QUOTE else 3 if side is _BUY else 2
        if values[row, column] < _least_size(order.leaves_quantity, share, instrument.quantity_increment):
            return None
    elif index.tape.behind(row):
        return None
    price = _on_step(first, instrument.price_increment)
    gross = order.leaves_quantity * price * instrument.contract_multiplier
    headroom = None if blotter.shorts.of(order) is not None else _headroom(order, gross, blotter, row)
    return None if headroom is None else blotter.finish(order, price, gross, headroom, (row + 1, start))


def _headroom(order: Order, gross: Decimal, blotter: Blotter, row: int) -> Decimal | None:
    """Its portfolio's after a fill; None where a buy cannot pay (rule 19), or a sale opens a short, or may not."""
    headroom, reserved = blotter.headroom[order.portfolio_id] + order.reservation.cash, order.reservation
    if order.side is _BUY:
        headroom -= gross
        return None if headroom < ZERO else headroom
    if reserved.cash:
        return None
    if reserved.quantity:
        # It only closes: it has nothing set aside for a short.
        reducible = blotter.positions.reducible((order.portfolio_id, order.symbol), order.side, row + 1)
        if reducible < order.leaves_quantity:
            return None
    return headroom + gross
