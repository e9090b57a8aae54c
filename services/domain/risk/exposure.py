"""A portfolio's figures as risk shows them."""

from dataclasses import dataclass
from decimal import Decimal

from services.domain.accounting.holding import Holding, round_up
from services.domain.money import ZERO
from services.domain.risk.buying_power import Funds
from services.domain.risk.equity_limits import MaintenanceMargin
from services.domain.risk.limit import Mark
from services.domain.risk.position_limits import share_of, worth


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
        leverage: gross with those open orders that make it largest, as a multiple of the equity.
        concentration: the largest of it that is one symbol's, as a fraction of the equity.
        day_loss: lost since the last session close.
        drawdown: the fall from the highest point of the equity curve, as a fraction of it.
        maintenance_margin: the least equity of a portfolio with shorts that may do more than reduce; zero without.
    """

    portfolio_id: str
    cash: Decimal
    reserved_cash: Decimal
    collateral: Decimal
    spendable: Decimal
    equity: Decimal
    gross: Decimal
    net: Decimal
    leverage: Decimal
    concentration: Decimal
    day_loss: Decimal
    drawdown: Decimal
    maintenance_margin: Decimal
    positions: tuple[SymbolExposure, ...]


def exposure_of(portfolio_id: str, funds: Funds, margin: MaintenanceMargin, mark: Mark) -> Exposure:
    """The figures of ``funds`` at the prices that ``mark`` knows, with the maintenance ``margin`` that holds for it."""
    positions = tuple(
        _symbol_exposure(symbol, holding, mark(symbol))
        for symbol, holding in sorted(funds.holdings.items())
        if holding.quantity or holding.pending_buy or holding.pending_sell
    )
    net = sum((position.market_value for position in positions), ZERO)
    gross = sum((abs(position.market_value) for position in positions), ZERO)
    equity, worst = funds.cash + net, [worth(each, symbol, mark) for symbol, each in funds.holdings.items()]
    return Exposure(
        portfolio_id,
        *(funds.cash, funds.reserved, funds.held, funds.spendable, equity),
        *(gross, net),
        leverage=share_of(sum(worst, ZERO), equity),
        concentration=share_of(max(worst, default=ZERO), equity),
        day_loss=funds.curve.day_loss(equity),
        drawdown=round_up(funds.curve.drawdown(equity)),
        maintenance_margin=margin.required(funds, mark),
        positions=positions,
    )


def _symbol_exposure(symbol: str, holding: Holding, mark: Decimal) -> SymbolExposure:
    value = holding.quantity * holding.multiplier * mark
    return SymbolExposure(symbol, holding.quantity, holding.pending_buy, holding.pending_sell, mark, value)
