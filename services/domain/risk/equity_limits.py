"""Stops that look at the equity, and margin (rule 19). Beyond one, only orders that reduce a position pass.

The equity is that at the marks of the tape position, so a stop is a function of the tape like all else (rule 31).
"""

from decimal import Decimal

from services.domain.accounting.holding import round_up
from services.domain.money import ZERO
from services.domain.risk.buying_power import Funds
from services.domain.risk.limit import Counted, Intent, Limit, Mark, Measure, Standing, reduces

_ALL, _PORTFOLIO, _STRATEGY = frozenset[str](), frozenset({"portfolio_id"}), frozenset({"strategy_id"})

MAINTENANCE_MARGIN = Decimal("0.25")
"""Of the positions' values, where no other rate is set."""


class MaxDailyLoss(Limit):
    """What may be lost since the last session close, in the portfolio's currency; of a strategy, by its own orders."""

    name = "max_daily_loss"
    places = frozenset({_ALL, _PORTFOLIO, _STRATEGY})
    of_curve = True

    def measure(self, intent: Intent, counted: Counted) -> Measure | None:
        """What has been lost, at the marks."""
        if reduces(intent, counted.own):
            return None
        return (self.bound, counted.curve.day_loss(counted.equity_now(intent.mark)))

    def standing(self, counted: Counted, mark: Mark) -> Standing | None:
        """What has been lost."""
        return Standing(counted.curve.day_loss(counted.equity(mark)))


class MaxDrawdown(Limit):
    """The fall from the highest point of the equity curve, as a fraction of it.

    A portfolio's points come at each session close and after its fills, the environment's at session closes.
    """

    name = "max_drawdown"
    places = frozenset({_ALL, _PORTFOLIO})
    of_curve = True

    def measure(self, intent: Intent, counted: Counted) -> Measure | None:
        """The fall, rounded up to nine places."""
        if reduces(intent, counted.own):
            return None
        return (self.bound, round_up(counted.curve.drawdown(counted.equity_now(intent.mark))))

    def standing(self, counted: Counted, mark: Mark) -> Standing | None:
        """The fall."""
        return Standing(round_up(counted.curve.drawdown(counted.equity(mark))))


class InitialMargin(Limit):
    """The margin that a short sale needs beside its proceeds, as a fraction of its value: a rate, and no bound itself.

    Buying power checks it. The narrowest that covers a sale holds. It is never 0: the cash that a sale reserves says
    that it opens a short.
    """

    name = "initial_margin"
    above_zero = True
    places = frozenset({_ALL, _PORTFOLIO, frozenset({"symbol"}), frozenset({"portfolio_id", "symbol"})})

    def measure(self, intent: Intent, counted: Counted) -> Measure | None:
        """Nothing."""
        return None


class MaintenanceMargin(Limit):
    """A portfolio with shorts whose equity is below ``bound``, a fraction, of its positions' values may only reduce.

    Always set; the portfolio's own rate goes before the environment's.
    """

    name = "maintenance_margin"
    places = frozenset({_ALL, _PORTFOLIO})
    tells_missing = True

    def measure(self, intent: Intent, counted: Counted) -> Measure | None:
        """The equity, and what it must be at least."""
        funds = intent.funds
        if not funds.collateral or reduces(intent, funds):
            return None
        sums = intent.mark.sums(funds)
        return (funds.cash + sums.value, self.bound * sums.size)

    def required(self, funds: Funds, mark: Mark) -> Decimal:
        """The equity that a portfolio must have; none without shorts, which alone can lose more than they cost."""
        if not funds.collateral:
            return ZERO
        held = ((symbol, each) for symbol, each in funds.holdings.items() if each.quantity)
        return self.bound * sum((abs(each.quantity) * each.multiplier * mark(symbol) for symbol, each in held), ZERO)
