"""What a fill of a buy does to the collateral of the short that it covers, before it happens (rule 19)."""

from dataclasses import dataclass, replace
from decimal import Decimal

from services.domain.accounting.holding import Holding
from services.domain.money import ZERO
from services.domain.orders.claim import claim_of, together
from services.domain.orders.order import TERMINAL, Order


@dataclass(frozen=True, slots=True)
class Cover:
    """A short as it stands with an order that may cover it.

    Attributes:
        order: the order as far as it has filled.
        held: collateral that pays for no open order.
    """

    order: Order
    held: Decimal
    _rest: Holding

    @classmethod
    def of(cls, holding: Holding, order: Order, twin: Order | None = None) -> "Cover":
        """As it is before a fill; the twin claims together with the order."""
        rest = replace(holding)
        if (claim := together(claim_of(each) for each in (order, twin) if each is not None)) is not None:
            rest.release(claim)
        return cls(order, holding.held, rest)

    def after(self, order: Order, twin: Order | None = None) -> "Cover":
        """As it will be once the order, and its twin with it, is that; one that has ended claims nothing."""
        rest = replace(self._rest)
        rest.trade(bought(order) - bought(self.order), ZERO, ZERO)
        legs = (claim_of(each) for each in (order, twin) if each is not None and each.state not in TERMINAL)
        counted = replace(rest)
        if (claim := together(legs)) is not None:
            counted.reserve(claim)
        return Cover(order, counted.held, rest)


def bought(order: Order) -> Decimal:
    """The units of a buy that its portfolio got."""
    return order.cum_quantity - order.commission_quantity
