"""One symbol of one portfolio, and what is set aside for it: units, cash, and collateral against a short (rule 19).

Risk keeps one of each symbol for all that it checks, the venue one of each short for what its fills may spend: that
neither drifts from the other is why there is one.
"""

from dataclasses import dataclass, field
from decimal import ROUND_CEILING, ROUND_FLOOR, Decimal, InvalidOperation

from services.domain.money import ZERO
from services.domain.orders.claim import Claim
from services.domain.orders.order import Side

_PLACE = Decimal("1e-9")


def round_up(amount: Decimal) -> Decimal:
    """To the wire's nine places, never less: what is set aside must be the same after it has been sent."""
    return _rounded(amount, ROUND_CEILING)


def round_down(amount: Decimal) -> Decimal:
    """To the wire's nine places, never more: what can be spent must be the same after it has been sent."""
    return _rounded(amount, ROUND_FLOOR)


def _rounded(amount: Decimal, rounding: str) -> Decimal:
    try:
        rounded = amount.quantize(_PLACE, rounding)
    except InvalidOperation:
        # From 10^51 on, which units, price and multiplier can come to, none of the 60 digits is behind the ninth place.
        return amount
    return amount if rounded == amount else rounded


@dataclass(slots=True)
class Holding:
    """One symbol of one portfolio.

    Attributes:
        quantity: signed units held.
        pending_buy, pending_sell: units that open orders may still buy or sell, both positive; no reduce-only ones'.
        opening: those to sell that may open a short.
        closing_buy, closing_sell: units of open orders that can only close, which may fill before the others.
        reserved: cash set aside for the open orders that buy.
        covering: units that open reduce-only orders may buy, those of exits too that still wait for their entry.
        collateral: cash held against a short; zero for a long.
        multiplier: the instrument's contract multiplier.
        whole: of a strategy's part, what the portfolio holds of the symbol.
    """

    quantity: Decimal = ZERO
    pending_buy: Decimal = ZERO
    pending_sell: Decimal = ZERO
    reserved: Decimal = ZERO
    collateral: Decimal = ZERO
    multiplier: Decimal = Decimal(1)
    covering: Decimal = ZERO
    opening: Decimal = ZERO
    closing_buy: Decimal = ZERO
    closing_sell: Decimal = ZERO
    whole: "Holding | None" = field(default=None, repr=False, compare=False)

    def closing(self, signed: Decimal) -> Decimal:
        """How many of an order's ``signed`` units only close what no other open order closes already."""
        if signed > 0:
            return min(signed, self.uncovered)
        return max(ZERO, min(-signed, self.quantity - self.pending_sell))

    def reach(self, side: Side, more: Decimal = ZERO, closing: Decimal = ZERO) -> Decimal:
        """How far open orders can lead to one side, whichever fill and in whatever order; below zero on the other.

        Those that can only close fill first in the worst case: they trade no more units than the portfolio holds, and
        the others go on from there. So a strategy's own part goes through zero where others hold the units.

        Args:
            more: units on top that may open a position to that side.
            closing: units on top that can only close one of the other.
        """
        held = self.quantity
        room = held if self.whole is None else self.whole.quantity
        if side is Side.BUY:
            closed = held + min(self.closing_buy + closing, -room) if room < 0 else held
            return closed + self.pending_buy + more
        closed = held - min(self.closing_sell + closing, room) if room > 0 else held
        return self.opening + more - closed

    def extreme(self, side: Side, more: Decimal = ZERO, closing: Decimal = ZERO) -> Decimal:
        """The largest position to one side that open orders can lead to, in absolute units; see ``reach``."""
        return max(ZERO, self.reach(side, more, closing))

    @property
    def worst(self) -> Decimal:
        """The larger of both extremes: the units at risk."""
        return max(ZERO, self.reach(Side.BUY), self.reach(Side.SELL))

    @property
    def uncovered(self) -> Decimal:
        """Units of a short that no open order closes, if it buys all that it asks for."""
        return max(ZERO, -self.quantity - self.covering - self.pending_buy)

    @property
    def held(self) -> Decimal:
        """Collateral that is not pledged to open orders."""
        return self.collateral - self.pledged() if self.collateral else ZERO

    def pledged(self, more: Decimal = ZERO, cash: Decimal = ZERO, covering: Decimal = ZERO) -> Decimal:
        """The collateral that pays for open buy orders, and for one of ``more`` units that reserves ``cash``.

        What reduce-only orders may cover, those that are open and one of ``covering`` units, pays for no other.
        """
        if not self.collateral:
            return ZERO
        units = max(ZERO, min(self.pending_buy + more, -self.quantity - self.covering - covering))
        return min(round_down(self.collateral * units / -self.quantity), self.reserved + cash)

    def cover(self, units: Decimal) -> Decimal:
        """Take the collateral of ``units`` that are covered: their share, and all of it with the last one."""
        freed = self.collateral if units == -self.quantity else round_down(self.collateral * units / -self.quantity)
        self.collateral -= freed
        return freed

    def resize(self, quantity: Decimal) -> Decimal:
        """Stand for other units of the same worth; the collateral that this frees: all of it where none are left."""
        freed = ZERO if quantity else self.collateral
        self.quantity, self.collateral = quantity, self.collateral - freed
        return freed

    def reserve(self, claim: Claim) -> None:
        """Count what an open order may still trade."""
        self.covering += claim.covering
        if claim.quantity > 0:
            self.pending_buy += claim.quantity
            self.reserved += claim.cash
        elif claim.quantity:
            self.pending_sell -= claim.quantity
            if not claim.closing:
                self.opening -= claim.quantity
        if claim.closing > 0:
            self.closing_buy += claim.closing
        elif claim.closing:
            self.closing_sell -= claim.closing

    def release(self, claim: Claim) -> None:
        """Give back what ``reserve`` counted."""
        self.covering -= claim.covering
        if claim.quantity > 0:
            self.pending_buy -= claim.quantity
            self.reserved -= claim.cash
        elif claim.quantity:
            self.pending_sell += claim.quantity
            if not claim.closing:
                self.opening += claim.quantity
        if claim.closing > 0:
            self.closing_buy -= claim.closing
        elif claim.closing:
            self.closing_sell += claim.closing

    def trade(self, signed: Decimal, value: Decimal, margin: Decimal) -> Decimal:
        """Count a fill of ``signed`` units worth ``value`` each, and say by how much the collateral changes.

        What is covered frees its share; what is sold short sets aside its proceeds and ``margin``, a fraction of them.
        """
        before = self.collateral
        if self.quantity < 0 < signed:
            self.cover(min(signed, -self.quantity))
        opened = min(-signed, -signed - self.quantity)
        self.quantity += signed
        if opened > 0:
            self.collateral += opened * value * (1 + margin)
        return self.collateral - before
