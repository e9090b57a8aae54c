"""What can be said of a fill's slippage before there is one (rule 14)."""

from decimal import Decimal

from services.domain.costs import NO_SLIP, Slip
from services.domain.filling import VenueSettings
from services.domain.money import ZERO, at_most_places, decimal_of
from services.domain.orders.order import Order
from services.domain.tape_index import TapeIndex


def slip_of(order: Order, index: TapeIndex | None, position: int, settings: VenueSettings) -> Slip:
    """What the last quote up to ``position`` says of the records that will fill an order, if it slips.

    Args:
        settings: how that order fills.
    """
    if index is None or order.costs is None or order.costs.slippage is None:
        return NO_SLIP
    quote, spread = index.last_quote(order.symbol, position), ZERO
    if quote is not None and quote.bid > 0 and quote.ask > 0:
        spread = at_most_places(decimal_of(quote.ask) - decimal_of(quote.bid), 9)
    sized = any(map(index.sized, index.data_sources(order.symbol)))
    most = settings.volume_share
    return Slip(spread, ZERO if not sized else Decimal(1) if most is None else most)
