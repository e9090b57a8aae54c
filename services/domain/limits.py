"""What an order may not do: one small class a limit, and the kill switch (rules 4 and 5).

A limit is set for one portfolio or, with an empty ``portfolio_id``, for the whole environment; both must pass. One that
counts (positions, exposure, orders a minute) sums over all portfolios of the environment where it is set for it.
A limit refuses only what makes things worse: an order that reduces passes, however far beyond a bound things are.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Collection
from dataclasses import dataclass
from decimal import Decimal
from typing import ClassVar, NamedTuple

from services.domain.buying_power import Funds, round_down, round_up
from services.domain.exposure import gross_at_worst
from services.domain.instrument import Instrument
from services.domain.money import ZERO
from services.domain.order import Order, OrderState, Refusal


class Intent(NamedTuple):
    """An order as the limits see it.

    Attributes:
        funds: the portfolio's, without this order.
        signed: units it may change the position by; of an order by cash, what it buys at ``price``.
        reference: the venue's last price.
        price: what it may trade at: what a buy pays at most, what a sale is worth at least, as far as it is known.
        notional: absolute value in the instrument's currency, at ``price``.
        cash: what the order reserves once it passes, its commission included.
        time: market time, ns.
        mark: the last price of any symbol.
        commission: what of the cash is set aside for commission.
    """

    order: Order
    instrument: Instrument
    funds: Funds
    signed: Decimal
    reference: Decimal
    price: Decimal
    notional: Decimal
    cash: Decimal
    time: int
    mark: Callable[[str], Decimal]
    commission: Decimal = ZERO


Scope = Collection[Funds]
"""The portfolios a limit counts: one, or all of the environment."""


@dataclass(frozen=True, slots=True)
class Limit(ABC):
    """One bound.

    Attributes:
        bound: the largest value that passes.
        portfolio_id: whose it is; empty for the whole environment.
    """

    bound: Decimal
    portfolio_id: str = ""

    name: ClassVar[str]
    reason: ClassVar[str] = "LIMIT_EXCEEDED"

    @abstractmethod
    def value(self, intent: Intent, scope: Scope) -> Decimal | None:
        """What the order makes of the limited figure; None where it does not add to it."""

    def check(self, intent: Intent, scope: Scope) -> Refusal | None:
        """Why the order is refused, or None."""
        value = self.value(intent, scope)
        if value is None or value <= self.bound:
            return None
        return Refusal(self.reason, self.name, self.bound, value)


class PriceBand(Limit):
    """Limit and stop prices lie within ``bound`` of the reference price, as a fraction of it: 0.1 is ten per cent."""

    name, reason = "price_band", "PRICE_OUT_OF_BAND"

    def value(self, intent: Intent, scope: Scope) -> Decimal | None:
        """The larger distance as a fraction, rounded up to nine places."""
        prices = [p for p in (intent.order.limit_price, intent.order.stop_price) if p is not None]
        if not prices:
            return None
        return round_up(max(abs(p - intent.reference) for p in prices) / intent.reference)


class MaxOrderNotional(Limit):
    """The value of one order, in the instrument's currency."""

    name = "max_order_notional"

    def value(self, intent: Intent, scope: Scope) -> Decimal | None:
        """Its notional."""
        return intent.notional


class MaxOrderQuantity(Limit):
    """The units of one order."""

    name = "max_order_quantity"

    def value(self, intent: Intent, scope: Scope) -> Decimal | None:
        """Its units."""
        return abs(intent.signed)


class MaxOrderRate(Limit):
    """Orders that pass in any market minute (``(t - 60 s, t]``), this one included."""

    name, reason = "max_order_rate", "ORDER_RATE_EXCEEDED"

    def value(self, intent: Intent, scope: Scope) -> Decimal | None:
        """How many there would be; new terms of an open order make no new one."""
        if intent.order.state is not OrderState.PENDING_NEW:
            return None
        return Decimal(1 + sum(funds.orders_in_minute(intent.time) for funds in scope))


def _position(intent: Intent, scope: Scope) -> Decimal | None:
    """Units of the symbol after all open orders of the order's side, absolute, summed over ``scope``."""
    symbol, side = intent.order.symbol, intent.order.side
    own = intent.funds.holding(symbol)
    before, after = own.extreme(side), own.extreme(side, abs(intent.signed))
    if after == before:
        return None
    held = (funds.holdings.get(symbol) for funds in scope if funds is not intent.funds)
    return after + sum((holding.extreme(side) for holding in held if holding), ZERO)


class MaxPositionQuantity(Limit):
    """Units of one symbol, long or short, with what open orders may add."""

    name = "max_position_quantity"

    def value(self, intent: Intent, scope: Scope) -> Decimal | None:
        """The units there would be."""
        return _position(intent, scope)


class MaxPositionNotional(Limit):
    """The value of one symbol's position at its mark, long or short, with what open orders may add."""

    name = "max_position_notional"

    def value(self, intent: Intent, scope: Scope) -> Decimal | None:
        """The value there would be, in the instrument's currency."""
        units = _position(intent, scope)
        if units is None:
            return None
        return units * intent.mark(intent.order.symbol) * intent.instrument.contract_multiplier


class MaxGrossExposure(Limit):
    """The absolute values of all positions at their marks, each with those open orders that make it largest."""

    name = "max_gross_exposure"

    def value(self, intent: Intent, scope: Scope) -> Decimal | None:
        """The exposure there would be."""
        own = intent.funds.holding(intent.order.symbol)
        more = own.worst(intent.signed) - own.worst()
        if not more:
            return None
        held = sum((gross_at_worst(funds, intent.mark) for funds in scope), ZERO)
        return held + more * own.multiplier * intent.mark(intent.order.symbol)


class ShortSale(Limit):
    """Selling what is not held, or what another open order already sells: not at ``bound`` 0, as it likes at 1."""

    name, reason = "short_sale", "SHORT_NOT_ALLOWED"

    def value(self, intent: Intent, scope: Scope) -> Decimal | None:
        """Units a sale would be short."""
        if intent.signed >= 0:
            return None
        return -intent.signed - intent.funds.holding(intent.order.symbol).closing(intent.signed)

    def check(self, intent: Intent, scope: Scope) -> Refusal | None:
        """Refused with what could be sold as bound, the order's units as value, and what is missing."""
        short = self.value(intent, scope)
        if not short or self.bound:
            return None
        units = -intent.signed
        return Refusal(self.reason, self.name, units - short, units, short)


class BuyingPower(Limit):
    """An order's cash is there. Always set; its bound is the portfolio's spendable cash."""

    name, reason = "buying_power", "INSUFFICIENT_BUYING_POWER"

    def value(self, intent: Intent, scope: Scope) -> Decimal | None:
        """The cash to reserve; None where the order needs none, or none but the collateral it sets free."""
        cash = intent.cash
        return cash if cash > intent.funds.pledge(intent.order.symbol, intent.signed, cash) else None

    def check(self, intent: Intent, scope: Scope) -> Refusal | None:
        """Refused with the cash that is missing; the bound is what there is for this order."""
        needed, funds = self.value(intent, scope), intent.funds
        if needed is None:
            return None
        there = round_down(funds.spendable + funds.pledge(intent.order.symbol, intent.signed, needed))
        return Refusal(self.reason, self.name, there, needed, needed - there) if needed > there else None


ORDERED: tuple[type[Limit], ...] = (
    PriceBand,
    MaxOrderNotional,
    MaxOrderQuantity,
    MaxOrderRate,
    MaxPositionQuantity,
    MaxPositionNotional,
    MaxGrossExposure,
    ShortSale,
    BuyingPower,
)
"""In the order they are checked, after the kill switch: the first that fails is the refusal."""
_SETTABLE = {kind.name: kind for kind in ORDERED if kind is not BuyingPower}


def make_limit(name: str, bound: Decimal, portfolio_id: str = "") -> Limit:
    """The limit of that name.

    Raises:
        ValueError: no limit that can be set has this name, or the bound is negative.
    """
    kind = _SETTABLE.get(name)
    if kind is None:
        raise ValueError(f"no limit is called {name!r}; there are {', '.join(_SETTABLE)}")
    if bound < 0:
        raise ValueError(f"a bound of {bound} for {name}")
    return kind(bound, portfolio_id)


class KillScope(NamedTuple):
    """Whose orders a kill switch stops: a portfolio's, a strategy's, or with neither given all of the environment."""

    portfolio_id: str = ""
    strategy_id: str = ""

    def covers(self, order: Order) -> bool:
        """Whether ``order`` is one of them."""
        return self.portfolio_id in {"", order.portfolio_id} and self.strategy_id in {"", order.strategy_id}
