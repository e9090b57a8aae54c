"""The commonest encounter: a market order by quantity, alone in its record, that is filled whole.

It says what an ``Encounter`` says, in a third of the time, and nothing wherever that is not certain beforehand. The
slow model of the tests holds both to the same.
"""

from collections.abc import Callable
from decimal import Decimal
from functools import lru_cache
from typing import Any

from services.domain.filling import VenueSettings
from services.domain.instrument import Instrument
from services.domain.money import ZERO, decimal_of, snap
from services.domain.orders.events import When
from services.domain.orders.order import (
    Order,
    OrderEvent,
    OrderState,
    OrderType,
    Reservation,
    Side,
    TimeInForce,
    only_closes,
)
from services.domain.tape import Kind
from services.domain.tape_index import TapeIndex
from services.domain.values import place_of
from services.domain.venue.blotter import Blotter
from services.domain.venue.resting import Book

_MARKET, _NEW, _FILLED, _BUY = OrderType.MARKET, OrderState.NEW, OrderState.FILLED, Side.BUY
_CONTINUOUS = frozenset(set(TimeInForce) - {TimeInForce.OPG, TimeInForce.CLS})
_BAR, _QUOTE, _when, _reserved = Kind.BAR, Kind.QUOTE, When.__new__, Reservation.__new__
_STATE, _CUM, _LEAVES, _PRICE, _GROSS, _RESERVATION, _COUNT = place_of(
    Order,
    *("state", "cum_quantity", "leaves_quantity", "avg_price"),
    *("gross_amount", "reservation", "event_count"),
)
_new_tuple: Callable[..., Any] = tuple.__new__


@lru_cache(maxsize=1 << 13)
def _on_step(price: float, step: Decimal) -> Decimal:
    """A tape's price on the increment; quotes come back to the same ones, and the first look costs 1 us."""
    return snap(decimal_of(price), step)


def fill_alone(
    index: TapeIndex, row: int, blotter: Blotter, settings: VenueSettings, instrument: Instrument
) -> OrderEvent | None:
    """The TRADE of the only order that a bar, quote or trade concerns; None where it is not as simple as that."""
    book = blotter.books[instrument.symbol]
    if len(book.urgent) != 1 or book.closing:
        return None
    (arrival,) = book.urgent
    order, tape = blotter.orders[arrival], index.tape
    start, number = tape.start.item(row), tape.source.item(row)
    simple = order.order_type is _MARKET and order.state is _NEW and order.time_in_force in _CONTINUOUS
    live = order.basis_sequence <= row and start >= order.basis_time + order.latency
    if not simple or not live or order.cash_quantity is not None or order.reduce_only or order.costs is not None:
        return None
    if order.order_list_id:
        return None
    share = (order.fill_settings or settings).volume_share
    kind, values = tape.sources[number].kind, tape.values[row].tolist()
    first = _first(book, kind, values, order.side)
    if first <= 0:
        return None
    if share is not None and index.sized(number):
        if not _offered(kind, values, order, share, instrument):
            return None
    elif tape.behind(row):
        return None
    if only_closes(order):
        reducible = blotter.positions.reducible((order.portfolio_id, order.symbol), order.side, row + 1)
        if reducible < order.leaves_quantity:
            return None
    filled = _filled(order, _on_step(first, instrument.price_increment), instrument, blotter)
    return None if filled is None else blotter.finish(order, filled, _when(When, row + 1, start))


def _first(book: Book, kind: Kind, values: list[float], side: Side) -> float:
    """The record's first price; 0 where it concerns an order that waits for a price."""
    if kind is _QUOTE:
        bid, ask = values[0], values[1]
        return (ask if side is _BUY else bid) if book.clear(ask, ask, bid, bid) else 0.0
    first = values[0]
    low, high = (values[2], values[1]) if kind is _BAR else (first, first)
    return first if book.clear(low, high, low, high) else 0.0


def _offered(kind: Kind, values: list[float], order: Order, share: Decimal, instrument: Instrument) -> bool:
    """Whether the share of the record's size is more than enough: then doubles tell, at a third of decimals' price."""
    column = 4 if kind is _BAR else 1 if kind is not _QUOTE else 3 if order.side is _BUY else 2
    quantity = order.leaves_quantity
    return float(share) * values[column] > float(quantity) * 1.01 and not quantity % instrument.quantity_increment


def _filled(order: Order, price: Decimal, instrument: Instrument, blotter: Blotter) -> Order | None:
    """The order filled whole, its portfolio's headroom moved; None if a buy cannot pay for it (rule 19)."""
    quantity, before = order.leaves_quantity, order.reservation
    gross = quantity * price * instrument.contract_multiplier
    headroom = blotter.headroom[order.portfolio_id] + before.cash
    if order.side is _BUY:
        headroom -= gross
        if headroom < 0:
            return None
    elif not before.cash:
        headroom += gross
    filled = list(order)
    filled[_STATE], filled[_CUM], filled[_LEAVES] = _FILLED, quantity, ZERO
    filled[_PRICE], filled[_GROSS] = price, gross
    filled[_RESERVATION] = _reserved(Reservation, before.cash, before.quantity, headroom)
    filled[_COUNT] = order.event_count + 1
    made: Order = _new_tuple(Order, filled)
    return made
