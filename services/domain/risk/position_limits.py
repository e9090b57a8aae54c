"""Limits of what is held, each with what open orders may add to it."""

from collections import defaultdict
from collections.abc import Iterable
from decimal import Decimal

from services.domain.accounting.holding import Holding, round_up
from services.domain.money import ZERO
from services.domain.orders.order import Side
from services.domain.risk.limit import ENDLESS, PLACES, Counted, Intent, Limit, Mark, Measure, Standing, adds, opens

_SUMS = frozenset(each for each in PLACES if "strategy_id" not in each)


def _position(intent: Intent, counted: Counted) -> Decimal | None:
    """Units of the symbol after all open orders of the order's side, absolute, summed; None where it adds none."""
    symbol, side = intent.order.symbol, intent.order.side
    own = counted.own.holding(symbol)
    before, after = own.extreme(side), own.extreme(side, *adds(intent))
    if after == before:
        return None
    held = (funds.holdings.get(symbol) for funds in counted.all if funds is not counted.own)
    return after + sum((holding.extreme(side) for holding in held if holding), ZERO)


def _largest(figures: Iterable[tuple[str, Decimal]]) -> Standing:
    """The symbol whose sum is the largest, the first by name of equal ones."""
    sums: dict[str, Decimal] = defaultdict(lambda: ZERO)
    for symbol, figure in figures:
        sums[symbol] += figure
    symbol = min(sums, key=lambda each: (-sums[each], each), default="")
    return Standing(sums[symbol], symbol) if symbol and sums[symbol] else Standing(ZERO)


def share_of(amount: Decimal, equity: Decimal) -> Decimal:
    """``amount`` as a multiple of ``equity``, rounded up to nine places; of none at all it is without end."""
    return round_up(amount / equity) if equity > 0 else ENDLESS if amount else ZERO


def worth(holding: Holding, symbol: str, mark: Mark) -> Decimal:
    """The exposure to a symbol, with those open orders that make it largest."""
    units = holding.worst
    return units * holding.multiplier * mark(symbol) if units else ZERO


class MaxPositionQuantity(Limit):
    """Units of one symbol, long or short, with what open orders may add."""

    name = "max_position_quantity"

    def measure(self, intent: Intent, counted: Counted) -> Measure | None:
        """The units there would be."""
        units = _position(intent, counted)
        return None if units is None else (self.bound, units)

    def standing(self, counted: Counted, mark: Mark) -> Standing | None:
        """The units of the symbol that has the most."""
        return _largest((symbol, holding.worst) for symbol, holding in counted.holdings(self.where.symbol))


class MaxPositionNotional(Limit):
    """The value of one symbol's position at its mark, long or short, with what open orders may add."""

    name = "max_position_notional"

    def measure(self, intent: Intent, counted: Counted) -> Measure | None:
        """The value there would be, in the instrument's currency."""
        units = _position(intent, counted)
        if units is None:
            return None
        return (self.bound, units * intent.mark(intent.order.symbol) * intent.instrument.contract_multiplier)

    def standing(self, counted: Counted, mark: Mark) -> Standing | None:
        """The value of the symbol that has the most."""
        return _largest((symbol, worth(each, symbol, mark)) for symbol, each in counted.holdings(self.where.symbol))


class MaxGrossExposure(Limit):
    """The absolute values of all positions at their marks, each with those open orders that make it largest."""

    name = "max_gross_exposure"

    def measure(self, intent: Intent, counted: Counted) -> Measure | None:
        """The exposure there would be."""
        more = _more(intent, counted)
        return (self.bound, _gross_now(intent, counted, self.where.symbol) + more) if more else None

    def standing(self, counted: Counted, mark: Mark) -> Standing | None:
        """The exposure there is."""
        return Standing(_gross(counted, self.where.symbol, mark))


class MaxNetExposure(Limit):
    """The sum of the signed values of all positions at their marks, absolute, with all open orders of one side."""

    name = "max_net_exposure"

    def measure(self, intent: Intent, counted: Counted) -> Measure | None:
        """The exposure to the order's side there would be; nothing where it stays with the other side.

        What an order closes that can only close is asked of nobody, though it may have been a hedge: unless it lets
        another open more, then all that it leads to counts.
        """
        own, side = counted.own.holding(intent.order.symbol), intent.order.side
        if not (opens(intent, counted.own) if intent.only_closes else intent.signed):
            return None
        units = own.reach(side, *adds(intent)) - own.reach(side)
        value = units * intent.mark(intent.order.symbol) * intent.instrument.contract_multiplier
        return (self.bound, max(ZERO, _net_now(intent, counted, self.where.symbol) + value))

    def standing(self, counted: Counted, mark: Mark) -> Standing | None:
        """The larger exposure of both sides."""
        return Standing(max(ZERO, *(_net(counted, self.where.symbol, side, mark) for side in Side)))


class MaxLeverage(Limit):
    """Gross exposure as a multiple of the equity."""

    name = "max_leverage"
    places = frozenset(each for each in _SUMS if "symbol" not in each)

    def measure(self, intent: Intent, counted: Counted) -> Measure | None:
        """What it would be, rounded up to nine places."""
        more = _more(intent, counted)
        if not more:
            return None
        return (self.bound, share_of(_gross_now(intent, counted, "") + more, counted.equity_now(intent.mark)))

    def standing(self, counted: Counted, mark: Mark) -> Standing | None:
        """What it is."""
        return Standing(share_of(_gross(counted, "", mark), counted.equity(mark)))


class MaxConcentration(Limit):
    """The exposure to one symbol as a fraction of the equity."""

    name = "max_concentration"
    places = _SUMS

    def measure(self, intent: Intent, counted: Counted) -> Measure | None:
        """What it would be, rounded up to nine places."""
        more, symbol = _more(intent, counted), intent.order.symbol
        if not more:
            return None
        return (self.bound, share_of(_gross(counted, symbol, intent.mark) + more, counted.equity_now(intent.mark)))

    def standing(self, counted: Counted, mark: Mark) -> Standing | None:
        """That of the symbol that has the most."""
        largest = _largest((symbol, worth(each, symbol, mark)) for symbol, each in counted.holdings(self.where.symbol))
        return Standing(share_of(largest.value, counted.equity(mark)), largest.symbol)


def _more(intent: Intent, counted: Counted) -> Decimal:
    """What the order adds to the gross exposure."""
    own = counted.own.holding(intent.order.symbol)
    more = max(ZERO, own.extreme(intent.order.side, *adds(intent)) - own.worst)
    return more * intent.instrument.contract_multiplier * intent.mark(intent.order.symbol) if more else ZERO


def _gross(counted: Counted, symbol: str, mark: Mark) -> Decimal:
    return sum((worth(each, name, mark) for name, each in counted.holdings(symbol)), ZERO)


def _gross_now(intent: Intent, counted: Counted, symbol: str) -> Decimal:
    """As ``_gross``, at the last prices."""
    if symbol:
        return _gross(counted, symbol, intent.mark)
    return sum((sums.gross for sums in counted.sums(intent.mark)), ZERO)


def _net_now(intent: Intent, counted: Counted, symbol: str) -> Decimal:
    """As ``_net``, at the last prices."""
    side = intent.order.side
    if symbol:
        return _net(counted, symbol, side, intent.mark)
    each = counted.sums(intent.mark)
    return sum((sums.long if side is Side.BUY else sums.short for sums in each), ZERO)


def _net(counted: Counted, symbol: str, side: Side, mark: Mark) -> Decimal:
    """The furthest exposure to one side, with its open orders: that of a long side is positive, of a short side too."""
    total = ZERO
    for name, each in counted.holdings(symbol):
        units = each.reach(side)
        if units:
            total += units * each.multiplier * mark(name)
    return total
