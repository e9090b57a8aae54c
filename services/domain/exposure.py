"""A portfolio's figures as risk shows them."""

from collections.abc import Callable
from dataclasses import dataclass
from decimal import Decimal

from services.domain.buying_power import Funds, Holding
from services.domain.money import ZERO


@dataclass(frozen=True, slots=True)
class SymbolExposure:
    """One symbol of a portfolio: signed units held, units that open orders may buy and sell, the value at the mark."""

    symbol: str
    quantity: Decimal
    pending_buy: Decimal
    pending_sell: Decimal
    mark: Decimal
    market_value: Decimal


@dataclass(frozen=True, slots=True)
class Exposure:
    """A portfolio's figures, in its currency, at the last marks.

    Attributes:
        cash: with the proceeds of shorts.
        reserved_cash: set aside for open orders.
        collateral: held against shorts, without what open orders to cover use of it.
        spendable: cash - reserved_cash - collateral, the buying power.
        equity: cash and positions.
        gross, net: sums of the positions' absolute and signed values.
        gross_at_worst: gross with those open orders that make it largest; what ``max_gross_exposure`` bounds.
    """

    portfolio_id: str
    cash: Decimal
    reserved_cash: Decimal
    collateral: Decimal
    spendable: Decimal
    equity: Decimal
    gross: Decimal
    net: Decimal
    gross_at_worst: Decimal
    positions: tuple[SymbolExposure, ...]


def exposure_of(portfolio_id: str, funds: Funds, mark: Callable[[str], Decimal]) -> Exposure:
    """The figures of ``funds`` at the prices that ``mark`` knows."""
    positions = tuple(
        _symbol_exposure(symbol, holding, mark(symbol))
        for symbol, holding in sorted(funds.holdings.items())
        if holding.quantity or holding.pending_buy or holding.pending_sell
    )
    net = sum((position.market_value for position in positions), ZERO)
    gross = sum((abs(position.market_value) for position in positions), ZERO)
    money = (funds.cash, funds.reserved, funds.held, funds.spendable, funds.cash + net)
    return Exposure(portfolio_id, *money, gross, net, gross_at_worst(funds, mark), positions)


def _symbol_exposure(symbol: str, holding: Holding, mark: Decimal) -> SymbolExposure:
    value = holding.quantity * holding.multiplier * mark
    return SymbolExposure(symbol, holding.quantity, holding.pending_buy, holding.pending_sell, mark, value)


def gross_at_worst(funds: Funds, mark: Callable[[str], Decimal]) -> Decimal:
    """The gross exposure of one portfolio, open orders included, as ``max_gross_exposure`` counts it."""
    worst = ((symbol, holding, holding.worst()) for symbol, holding in funds.holdings.items())
    return sum((units * holding.multiplier * mark(symbol) for symbol, holding, units in worst if units), ZERO)
