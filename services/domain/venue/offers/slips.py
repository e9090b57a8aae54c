"""What can be said of a fill's price before there is one: how far it walks, and slips (rules 11 and 14)."""

from decimal import Decimal

from services.domain.costs import NO_SLIP, Level, Slip
from services.domain.filling import VenueSettings
from services.domain.instrument import Instrument
from services.domain.market import Quote
from services.domain.money import ZERO, at_most_places, decimal_of
from services.domain.orders.order import LIMITED, Order, Side, TimeInForce
from services.domain.tape import Kind
from services.domain.tape_index import TapeIndex
from services.domain.venue.offers.depth import Depth

_AUCTIONS = frozenset({TimeInForce.OPG, TimeInForce.CLS})


def slip_of(
    order: Order, index: TapeIndex | None, position: int, settings: VenueSettings, instrument: Instrument
) -> Slip:
    """What the last quote up to ``position`` says of the records that will fill an order, if it walks or slips.

    Args:
        settings: how that order fills.
    """
    if index is None:
        return NO_SLIP
    slips = order.costs is not None and order.costs.slippage is not None
    # A limit bounds what is paid, and auctions have one price for all.
    walks = len(index.tape.levels) and order.order_type not in LIMITED and order.time_in_force not in _AUCTIONS
    if not slips and not walks:
        return NO_SLIP
    quote, most, spread = index.last_quote(order.symbol, position), settings.volume_share, ZERO
    sized = {index.tape.sources[each].kind for each in index.data_sources(order.symbol) if index.sized(each)}
    levels: tuple[Level, ...] = ()
    if quote is not None and walks:
        levels = _levels(order, quote, most if Kind.QUOTE in sized else None, instrument.quantity_increment)
    if not slips:
        return Slip(levels=levels) if levels else NO_SLIP
    if quote is not None and quote.bid > 0 and quote.ask > 0:
        spread = at_most_places(decimal_of(quote.ask) - decimal_of(quote.bid), 9)
    share = ZERO if levels or not sized else Decimal(1) if most is None else most
    return Slip(spread, share, levels)


def _levels(order: Order, quote: Quote, share: Decimal | None, step: Decimal) -> tuple[Level, ...]:
    """The levels that ``order`` meets if it is the first to take of them; none where it meets the best price alone."""
    side = quote.asks if order.side is Side.BUY else quote.bids
    if len(side) < 2:
        return ()
    best, levels = decimal_of(side[0].price), []
    for units, price in Depth(order.side, side, step).offers(share, None):
        distance = ZERO if price is None else abs(decimal_of(price) - best)
        levels.append(Level(at_most_places(distance, 9), ZERO if units is None else units))
    return tuple(levels) if levels and levels[-1].distance else ()
