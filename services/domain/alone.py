"""The commonest encounter: a market order by quantity, alone in its record, that is filled whole.

It says what an ``Encounter`` says, in a third of the time, and nothing wherever that is not certain beforehand. The
slow model of the tests holds both to the same.
"""

from services.domain.blotter import Blotter, When
from services.domain.fills import VenueSettings
from services.domain.instrument import Instrument
from services.domain.money import ZERO, decimal_of, snap
from services.domain.order import OrderEvent, OrderState, OrderType, Reservation, Side, TimeInForce
from services.domain.prices import prices_of
from services.domain.tape import Kind
from services.domain.tape_index import TapeIndex

_MARKET, _NEW, _FILLED, _BUY, _SELL = OrderType.MARKET, OrderState.NEW, OrderState.FILLED, Side.BUY, Side.SELL
_CONTINUOUS = frozenset(set(TimeInForce) - {TimeInForce.OPG, TimeInForce.CLS})
_BAR, _QUOTE, _when, _reserved = Kind.BAR, Kind.QUOTE, When.__new__, Reservation.__new__


def fill_alone(
    index: TapeIndex, row: int, blotter: Blotter, settings: VenueSettings, instrument: Instrument
) -> OrderEvent | None:
    """The TRADE of the only order that a bar, quote or trade concerns; None where it is not as simple as that."""
    book = blotter.books[instrument.symbol]
    if len(book.urgent) != 1 or book.closing:
        return None
    (arrival,) = book.urgent
    order = blotter.orders[arrival]
    if order.order_type is not _MARKET or order.state is not _NEW or order.time_in_force not in _CONTINUOUS:
        return None
    tape, side, quantity = index.tape, order.side, order.leaves_quantity
    start = tape.start.item(row)
    live = order.basis_sequence <= row and start >= order.basis_time + settings.latency
    if not live or order.cash_quantity is not None or order.reduce_only:
        return None
    number = tape.source.item(row)
    kind, values = tape.sources[number].kind, tape.values[row].tolist()
    sells = prices_of(kind, values, _SELL)
    buys = prices_of(kind, values, _BUY) if kind is _QUOTE else sells
    first = (buys if side is _BUY else sells).first
    if first <= 0 or not book.passes(buys, sells):
        return None
    if settings.volume_share is not None and index.sized(number):
        column = 4 if kind is _BAR else 1 if kind is not _QUOTE else 3 if side is _BUY else 2
        offered = settings.volume_share * decimal_of(values[column])
        if offered < quantity or quantity % instrument.quantity_increment:
            return None
    price = snap(decimal_of(first), instrument.price_increment)
    gross = quantity * price * instrument.contract_multiplier
    charge, before = settings.commission.charge(quantity, price), order.reservation
    headroom = blotter.headroom[order.portfolio_id] + before.cash - charge
    if side is _BUY:
        headroom -= gross
        if headroom < 0:
            return None
    elif not before.cash:
        headroom += gross
    after = order._replace(
        state=_FILLED,
        cum_quantity=quantity,
        leaves_quantity=ZERO,
        avg_price=price,
        gross_amount=gross,
        commission=order.commission + charge,
        reservation=_reserved(Reservation, before.cash, before.quantity, headroom),
        event_count=order.event_count + 1,
    )
    return blotter.finish(order, after, _when(When, row + 1, start))
