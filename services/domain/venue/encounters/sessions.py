"""What sessions do to orders: who may come in, whom their edges concern, what they begin and end with (rule 15)."""

from services.domain.filling import VenueSettings
from services.domain.instrument import Instrument
from services.domain.money import ZERO
from services.domain.orders.events import When
from services.domain.orders.order import CancelReason, ExecType, Order, OrderEvent, OrderState, Refusal, TimeInForce
from services.domain.tape import Kind
from services.domain.tape_index import TapeIndex
from services.domain.venue.encounters.linked import follow
from services.domain.venue.waiting.blotter import Blotter

_BAR, _AUCTION, _NEW = Kind.BAR, Kind.AUCTION, OrderState.NEW
_DAY, _GTC, _GTD, _IOC, _FOK = TimeInForce.DAY, TimeInForce.GTC, TimeInForce.GTD, TimeInForce.IOC, TimeInForce.FOK
_OPG, _CLS = TimeInForce.OPG, TimeInForce.CLS
MARKET_CLOSED = "MARKET_CLOSED"
"""Reason of the refusal of an order that may not wait for its session, or whose instrument has no auctions."""
CLOSED = Refusal(MARKET_CLOSED, "session", ZERO, ZERO)
LEFT = {
    _IOC: CancelReason.IOC_REMAINDER,
    _FOK: CancelReason.FOK_UNFILLED,
    _OPG: CancelReason.AUCTION_OVER,
    _CLS: CancelReason.AUCTION_OVER,
}
"""Why what is left of an order ends that may not wait longer."""


def first_state(
    order: Order,
    when: tuple[int, int],
    index: TapeIndex | None,
    instrument: Instrument,
    settings: VenueSettings,
) -> OrderState:
    """NEW, or HELD or REJECTED where its session is not open, or its auction not now; without an index it is open."""
    tif = order.time_in_force
    if tif is _GTC or tif is _GTD:
        return _NEW
    edges = None if index is None else index.edges(instrument.calendar)
    open_now = edges is None or not edges.rows or edges.admits(*when)
    if tif is _OPG or tif is _CLS:
        if edges is not None and not edges.rows:
            return OrderState.REJECTED
        return _NEW if open_now and tif is _CLS else OrderState.HELD
    if open_now:
        return _NEW
    holds = (order.fill_settings or settings).hold_day_orders
    return OrderState.HELD if tif is _DAY and holds else OrderState.REJECTED


def strike(blotter: Blotter, calendar: str, opens: bool, when: When) -> list[OrderEvent]:
    """A session opens, and who was held for it works; or it closes, and who was there for it alone ends."""
    events = []
    for arrival in sorted(blotter.timed.get((calendar, opens), ())):
        order = blotter.orders[arrival]
        if opens:
            events.append(blotter.change(arrival, ExecType.NEW, order._replace(state=_NEW), when))
        elif (reason := LEFT.get(order.time_in_force)) is not None:
            events.append(blotter.end(arrival, ExecType.CANCELED, reason, when))
        else:
            events.append(blotter.end(arrival, ExecType.EXPIRED, CancelReason.END_OF_SESSION, when))
    return events + follow(blotter, events, when)


def begins_session(index: TapeIndex, row: int, instrument: Instrument) -> bool:
    """Whether this is the opening auction, or a bar that begins as its session does, and so with its price."""
    tape = index.tape
    kind = tape.sources[tape.source.item(row)].kind
    if kind is _AUCTION:
        return True
    return kind is _BAR and index.edges(instrument.calendar).opened(row) == tape.start.item(row)


def ends_session(index: TapeIndex, row: int, instrument: Instrument) -> bool:
    """Whether this is a bar that ends as its session does: its close is the closing auction's price."""
    tape = index.tape
    if tape.sources[tape.source.item(row)].kind is not _BAR or index.auctioned(instrument.symbol, opening=False):
        return False
    return index.edges(instrument.calendar).closing(row)[1] == tape.time.item(row)
