"""Limits of single orders, and of how many there are."""

from decimal import Decimal

from services.domain.accounting.holding import round_down, round_up
from services.domain.money import ZERO
from services.domain.orders.order import Side
from services.domain.risk.limit import PLACES, Counted, Intent, Limit, Measure, closing, opens


class PriceBand(Limit):
    """Limit and stop prices lie within ``bound`` of the reference price, as a fraction of it: 0.1 is ten per cent.

    So does a trailing stop's distance: its trigger begins that far from the best price there was.
    """

    name, reason = "price_band", "PRICE_OUT_OF_BAND"

    def measure(self, intent: Intent, counted: Counted) -> Measure | None:
        """The larger distance as a fraction, rounded up to nine places."""
        order, reference = intent.order, intent.reference
        shares = [abs(p - reference) / reference for p in (order.limit_price, order.stop_price) if p is not None]
        if order.trailing_amount is not None:
            shares.append(order.trailing_amount / reference)
        elif order.trailing_percent is not None:
            shares.append(order.trailing_percent / 100)
        return (self.bound, round_up(max(shares))) if shares else None


class MaxOrderNotional(Limit):
    """The value of one order, in the instrument's currency."""

    name = "max_order_notional"

    def measure(self, intent: Intent, counted: Counted) -> Measure | None:
        """Its notional."""
        return (self.bound, intent.notional)


class MaxOrderQuantity(Limit):
    """The units of one order."""

    name = "max_order_quantity"

    def measure(self, intent: Intent, counted: Counted) -> Measure | None:
        """Its units."""
        return (self.bound, abs(intent.signed))


class MaxOrderRate(Limit):
    """Orders that come in any market minute (``(t - 60 s, t]``), this one included; new terms of one count as one.

    New terms of which nobody is asked, because they only make an order smaller, count and are never refused.
    """

    name, reason = "max_order_rate", "ORDER_RATE_EXCEEDED"
    whole = True

    def measure(self, intent: Intent, counted: Counted) -> Measure | None:
        """How many there would be."""
        orders = sum(funds.rate.in_minute(intent.time, self.where.symbol) for funds in counted.all)
        return (self.bound, Decimal(1 + orders))


class Restricted(Limit):
    """A symbol on the restricted list, at ``bound`` 1: what is held of it can be reduced, and nothing else."""

    name, reason = "restricted", "SYMBOL_RESTRICTED"
    places = frozenset(each for each in PLACES if "symbol" in each)
    switch, bare = True, True

    def measure(self, intent: Intent, counted: Counted) -> Measure | None:
        """What could be traded, and the order's units; of one that only closes those that it lets others open."""
        if not self.bound:
            return None
        if intent.only_closes:
            return (ZERO, opens(intent, intent.funds))
        return (closing(intent, intent.funds), abs(intent.signed))


class ShortSale(Limit):
    """Selling what is not held, or what another open order already sells: not at ``bound`` 0, as it likes at 1."""

    name, reason = "short_sale", "SHORT_NOT_ALLOWED"
    switch, tells_missing = True, True

    def measure(self, intent: Intent, counted: Counted) -> Measure | None:
        """What could be sold, and the order's units; of one that only closes those that it lets others sell short."""
        signed, order = intent.signed, intent.order
        if self.bound or order.side is Side.BUY:
            return None
        if intent.only_closes:
            return (ZERO, opens(intent, intent.funds))
        return (intent.funds.holding(order.symbol).closing(signed), -signed)


class BuyingPower(Limit):
    """An order's cash is there. Always set; its bound is the portfolio's spendable cash."""

    name, reason = "buying_power", "INSUFFICIENT_BUYING_POWER"
    places = ()
    tells_missing = True

    def measure(self, intent: Intent, counted: Counted) -> Measure | None:
        """What there is for this order, and the cash to reserve.

        None where the order needs none, or none but the collateral it sets free. A reduce-only order needs as much as
        it takes from others: the collateral they count on.
        """
        needed, funds, order = intent.cash, intent.funds, intent.order
        if order.reduce_only:
            needed = funds.unpledge(order.symbol, intent.covering)
            return (round_down(funds.spendable), needed) if needed else None
        pledge = funds.pledge(order.symbol, intent.signed, needed)
        return (round_down(funds.spendable + pledge), needed) if needed > pledge else None
