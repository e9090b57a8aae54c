"""Why an order's events are what they are, as the record that caused them shows it (rules 8 to 15).

The venue's own rules decide; here their outcome is recognised, for people: a price that fills is the record's first or
last one, the order's limit or its trigger, or one of them moved by slippage.
"""

from decimal import Decimal
from enum import IntEnum
from typing import Final, NamedTuple

from services.domain.filling import VenueSettings
from services.domain.market import Auction, Bar, Quote, Record, Split, Trade
from services.domain.money import decimal_of, snap
from services.domain.money import format_decimal as _plain
from services.domain.orders.order import LIMITED, TOUCHED, CancelReason, ExecType, Order, OrderEvent, Side, TimeInForce
from services.domain.orders.telling import end_told, refusal_told, terms_told
from services.domain.prices import Prices
from services.domain.venue.telling.auction_reasons import auction_met, auction_missed
from services.domain.venue.telling.walked import level_met, level_told


class PriceBasis(IntEnum):
    """What a fill's price is."""

    NONE = 0
    FIRST = 1
    LIMIT = 2
    TRIGGER = 3
    LAST = 4
    SLIPPED = 5
    PARENT = 6
    AUCTION = 7
    LEVEL = 8


class Reason(NamedTuple):
    """Why an event is what it is: a sentence, and of a fill what its price is."""

    text: str
    basis: PriceBasis = PriceBasis.NONE


_TRADED: Final = "the trade's price"
_CUT: Final = {
    CancelReason.INSUFFICIENT_CASH: "the cash affords no more",
    CancelReason.NOTHING_TO_REDUCE: "no more is held that it could reduce",
}
"""Why a fill took no more, where its order ends there."""
_AUCTIONS: Final = frozenset({TimeInForce.OPG, TimeInForce.CLS})


def reason_of(
    event: OrderEvent,
    previous: OrderEvent | None,
    record: Record | None,
    increment: Decimal,
    principal: str = "",
    *,
    following: OrderEvent | None = None,
) -> Reason:
    """Why an event is what it is.

    Args:
        previous: the order's event before it; None for its first.
        record: the tape's at the event's position; None where it cannot be had, or is none.
        increment: the instrument's price increment.
        principal: who caused it.
        following: the order's event after it; None for its last. It tells why a fill took no more.
    """
    order = event.order
    match event.exec_type:
        case ExecType.TRADE:
            reason = _of_fill(event, previous, record, increment)
            return reason._replace(text=reason.text + _of_rest(event, following, record))
        case ExecType.TRIGGERED:
            return Reason(_of_trigger(order, record))
        case ExecType.REJECTED:
            return Reason(refusal_told(order))
        case ExecType.CANCELED | ExecType.EXPIRED:
            return Reason(auction_missed(order, record) or end_told(order, principal))
        case ExecType.RESTATED:
            if isinstance(record, Split):
                return Reason(
                    f"A split of {record.numerator:g} for {record.denominator:g}: its terms are in new units."
                )
            return Reason(f"What others of its list did made its units {_plain(order.quantity)}.")
        case ExecType.REPLACED:
            return Reason(terms_told(order, previous))
        case ExecType.HELD:
            return Reason(f"It passed the checks, and waits for {order.parent_order_id or 'its session'}.")
    if previous is None:
        later = f" that begin {order.latency / 1e9:g} s later or more" if order.latency else ""
        return Reason(f"It passed the checks, and meets the records after {order.basis_sequence}{later}.")
    return Reason("What it waited for has come.")


def _of_fill(event: OrderEvent, previous: OrderEvent | None, record: Record | None, increment: Decimal) -> Reason:
    order = event.order
    prices = _prices(record, order.side)
    if prices is None:
        return Reason("The record that filled it cannot be shown.")
    if isinstance(record, Auction):
        return Reason(auction_met(order, event.last_price), PriceBasis.AUCTION)
    if isinstance(record, Quote) and (level := level_met(event, previous, record, increment)) is not None:
        return Reason(level_told(order, level, event.last_price), PriceBasis.LEVEL)
    here = (ExecType.TRIGGERED, event.tape_sequence)
    triggered = previous is not None and (previous.exec_type, previous.tape_sequence) == here
    return _of_price(
        _Met(
            order,
            event.last_price,
            prices,
            _name(record, order.side),
            first=snap(decimal_of(prices.first), increment),
            last=snap(decimal_of(prices.last), increment),
            limit=order.limit_price if order.order_type in LIMITED else None,
            trigger=order.stop_price if triggered else None,
            # What nobody but a parent's own bar does: an order meets only the records after it was decided.
            in_parents_bar=bool(order.parent_order_id) and event.tape_sequence <= order.basis_sequence,
        )
    )


def _of_rest(event: OrderEvent, following: OrderEvent | None, record: Record | None) -> str:
    """Why a fill left some of its order; empty where it left nothing."""
    leaves = event.order.leaves_quantity
    if not leaves:
        return ""
    why = "the record offered no more"
    if following is not None and following.tape_sequence == event.tape_sequence:
        if following.exec_type is ExecType.TRADE:
            walks = isinstance(record, Quote) and following.last_price != event.last_price
            why = "the level had no more" if walks else "others had their turn before the rest"
        else:
            why = _CUT.get(following.order.cancel_reason, why)
    return f" {_plain(event.last_quantity)} of the {_plain(event.last_quantity + leaves)} units left: {why}."


class _Met(NamedTuple):
    """What an order met in the record that filled it; prices snapped to the increment."""

    order: Order
    price: Decimal
    prices: Prices
    name: str
    first: Decimal
    last: Decimal
    limit: Decimal | None
    trigger: Decimal | None
    in_parents_bar: bool

    @property
    def at_parents_price(self) -> bool:
        """Whether it fills in its parent's own bar, and at neither of its own prices."""
        return self.in_parents_bar and self.price not in {self.trigger, self.limit}


def _of_price(met: _Met) -> Reason:
    order, price, first, limit = met.order, met.price, met.first, met.limit
    if order.time_in_force is TimeInForce.CLS and price == met.last:
        return Reason(f"It fills at the close of its session alone: {_plain(price)}.", PriceBasis.LAST)
    if (slipped := _slipped(met)) is not None:
        return slipped
    if met.at_parents_price and met.trigger is not None:
        text = (
            f"Its parent filled at {_plain(price)}, beyond its trigger {_plain(met.trigger)}: it fills there as well."
        )
        return Reason(text, PriceBasis.PARENT)
    if price == first == limit and met.name == _TRADED and not (order.fill_settings or VenueSettings()).fill_on_touch:
        text = f"More traded at its limit {_plain(price)} than was ahead of it there: it gets what went beyond."
        return Reason(text, PriceBasis.LIMIT)
    if price == first:
        return Reason(_of_first(met.name, first, limit, met.trigger), PriceBasis.FIRST)
    if price == met.trigger:
        text = f"The bar went from its open {_plain(first)} through its trigger {_plain(price)}: it fills there."
        return Reason(text, PriceBasis.TRIGGER)
    if price == limit:
        extreme, which = (met.prices.low, "low") if order.side is Side.BUY else (met.prices.high, "high")
        how = "touched" if decimal_of(extreme) == limit else "went through"
        text = f"The bar's {which} {extreme!r} {how} its limit {_plain(price)}: it fills at the limit."
        return Reason(text, PriceBasis.LIMIT)
    if price == met.last:
        return Reason(f"It fills at the bar's close {_plain(price)}.", PriceBasis.LAST)
    return Reason(f"{_plain(price)} is none of its record's prices.")


def _slipped(met: _Met) -> Reason | None:
    """A price that slippage moved, against the order and never past its limit; None where it is as it was reached."""
    order, price, limit = met.order, met.price, met.limit
    if order.costs is None or order.costs.slippage is None or order.time_in_force in _AUCTIONS:
        return None
    if met.at_parents_price:
        text = f"Slippage moved its trigger, or what its parent filled at beyond, to {_plain(price)}."
        return Reason(text, PriceBasis.SLIPPED)
    name, base = met.name, met.first
    buys = order.side is Side.BUY
    # A trailing trigger that moved inside the bar lies beyond its first price, and so does what it fills at.
    beyond = price < base if buys else price > base
    if met.trigger is not None and (beyond or _inside(order, base, met.trigger)):
        name, base = "its trigger", met.trigger
    reached = base if limit is None else limit
    worse, admitted = (price > base, base <= reached) if buys else (price < base, base >= reached)
    if not (worse and admitted):
        return None
    stop = ", its limit" if price == limit else ""
    return Reason(f"Slippage moved {name} {_plain(base)} to {_plain(price)}{stop}.", PriceBasis.SLIPPED)


def _of_first(name: str, first: Decimal, limit: Decimal | None, trigger: Decimal | None) -> str:
    if trigger is not None and trigger != first:
        return f"Its trigger {_plain(trigger)} was jumped: it fills at the first price beyond, {name} {_plain(first)}."
    if limit is not None and limit != first:
        return f"{_capital(name)} {_plain(first)} is better than its limit {_plain(limit)}: it gets the better price."
    return f"It fills at the first price there is: {name} {_plain(first)}."


def _of_trigger(order: Order, record: Record | None) -> str:
    trigger, prices = order.stop_price, _prices(record, order.side)
    if trigger is None or prices is None:
        return "Its trigger was reached."
    first, met = decimal_of(prices.first), _plain(trigger)
    if isinstance(record, Bar) and _inside(order, first, trigger):
        extreme, which = (prices.high, "high") if trigger > first else (prices.low, "low")
        return f"The bar's {which} {extreme!r} reached its trigger {met}."
    return f"{_capital(_name(record, order.side))} {_plain(first)} is at or beyond its trigger {met}."


def _prices(record: Record | None, side: Side) -> Prices | None:
    match record:
        case Bar():
            return Prices(record.open, record.low, record.high, record.close)
        case Quote():
            price = record.ask if side is Side.BUY else record.bid
            return Prices(price, price, price, price)
        case Trade() | Auction():
            return Prices(record.price, record.price, record.price, record.price)
    return None


def _name(record: Record | None, side: Side) -> str:
    match record:
        case Bar():
            return "the bar's open"
        case Quote():
            return "the ask" if side is Side.BUY else "the bid"
    return _TRADED


def _inside(order: Order, first: Decimal, trigger: Decimal) -> bool:
    """Whether a trigger was reached, not jumped: of a stop by prices that move against it, of a touched one for it."""
    rises = (order.side is Side.BUY) is not (order.order_type in TOUCHED)
    return first < trigger if rises else first > trigger


def _capital(text: str) -> str:
    return text[0].upper() + text[1:]
