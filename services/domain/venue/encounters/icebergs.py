"""How icebergs take turns at one price of a record (rule 11)."""

from collections.abc import Sequence
from decimal import Decimal

from services.domain.filling import VenueSettings
from services.domain.orders.claim import only_closes
from services.domain.orders.order import Order, TimeInForce
from services.domain.venue.offers.supply import Supply
from services.domain.venue.waiting.blotter import Blotter


class Icebergs:
    """Those of one record."""

    __slots__ = ("_again", "_blotter", "_position", "_rounds", "_settings", "_supply")

    def __init__(self, blotter: Blotter, supply: Supply, settings: VenueSettings, position: int) -> None:
        """None had a turn yet; ``position`` is the record's tape sequence."""
        self._blotter, self._supply, self._settings, self._position = blotter, supply, settings, position
        # Of arrivals whose turn is to come: a number may be another order's soon after.
        self._again: dict[int, None] = {}
        self._rounds: dict[int, int] = {}

    def come_again(self, arrival: int) -> None:
        """It has another turn, with its next slice."""
        self._again[arrival] = None

    def shown(self, order: Order, level: Sequence[int]) -> Decimal:
        """Units of an iceberg's turn: what it still shows; all, where no other order waits at its price.

        Whoever has a second turn waits with icebergs alone: as many slices of each are taken in one turn as all of them
        have, and as there are units for, so that a million slices are no million fills. Where each slice moves the
        price by its own share of the record's size, each is a turn.

        Args:
            level: the arrivals whose turns are at its price, its own first.
        """
        display, arrival = order.display_quantity or order.quantity, level[0]
        second = arrival in self._again
        self._again.pop(arrival, None)
        if len(level) == 1:
            self._rounds.pop(arrival, None)
            return shown(order) if _moves_price(order) else order.leaves_quantity
        if not second:
            return shown(order)
        if arrival not in self._rounds:
            members = [self._blotter.orders[each] for each in level]
            if not self._supply.shared:
                members = [each for each in members if each.side is order.side]
            rounds = self._full_rounds(members)
            self._rounds.update((each.priority, rounds) for each in members)
        return self._rounds.pop(arrival) * display

    def _full_rounds(self, icebergs: list[Order]) -> int:
        """How many turns give each of the icebergs a whole slice; one where that is not certain."""

        if any(map(_moves_price, icebergs)):
            return 1

        def slices(orders: list[Order]) -> Decimal:
            return sum((each.display_quantity or each.quantity for each in orders), Decimal(0))

        rounds = min(each.leaves_quantity // slices([each]) for each in icebergs)
        offers = [self._supply.offer(each, (each.fill_settings or self._settings).volume_share) for each in icebergs]
        if len({offer.price for offer in offers}) > 1:
            return 1
        for units in (offer.units for offer in offers):
            if units is not None:
                rounds = min(rounds, units // slices(icebergs))
        for each in icebergs:
            if only_closes(each):
                holder = each.portfolio_id, each.symbol
                beside = [other for other in icebergs if (other.portfolio_id, other.side) == (holder[0], each.side)]
                # The last one may find less than a slice left to reduce.
                reducible = self._blotter.positions.reducible(holder, each.side, self._position)
                rounds = min(rounds, reducible // slices(beside) - 1)
        return max(1, int(rounds))


def shown(order: Order) -> Decimal:
    """Units that an order shows at its price: of an iceberg what is left of its slice, of any other all that is left.

    A FOK hides nothing, since it fills whole or not at all.
    """
    display, leaves = order.display_quantity, order.leaves_quantity
    if display is None or order.time_in_force is TimeInForce.FOK:
        return leaves
    return min(display - order.cum_quantity % display, leaves)


def new_slice(before: Order, after: Order) -> bool:
    """Whether an iceberg shows another slice than before, which queues behind the orders of its price."""
    display = after.display_quantity or after.quantity
    return bool(after.leaves_quantity) and after.cum_quantity // display > before.cum_quantity // display


def _moves_price(order: Order) -> bool:
    """Whether what it takes at once decides what it pays."""
    slippage = None if order.costs is None else order.costs.slippage
    return slippage is not None and bool(slippage.impact)
