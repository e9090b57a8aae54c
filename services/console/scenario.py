"""What is traded on which records: the one description that the demonstration is made by and backtests are run by."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from types import MappingProxyType
from typing import Final

from services.domain.costs import ModelChange
from services.domain.risk.limits import LimitChange


@dataclass(frozen=True, slots=True)
class Trader:
    """A strategy and the portfolio that it trades for.

    Attributes:
        label: the portfolio's display name, all that a digest knows it by.
        parameters: those that differ from the kind's defaults, as text.
    """

    label: str
    portfolio_id: str
    strategy_id: str
    kind: str
    parameters: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Scenario:
    """Records and traders.

    Attributes:
        symbols: of all traders; empty for all that the data set has.
        start_time, end_time: ns; None for the data set's own.
        warm_up_sessions: history that strategies see before they may trade.
        cash: what each portfolio begins with.
        models: what trading costs.
        limits: what orders may do.
    """

    data_set_id: str
    traders: tuple[Trader, ...]
    symbols: tuple[str, ...] = ()
    start_time: int | None = None
    end_time: int | None = None
    warm_up_sessions: int = 0
    cash: Decimal = Decimal(100_000)
    currency_code: str = "USD"
    models: tuple[ModelChange, ...] = ()
    limits: tuple[LimitChange, ...] = ()


# A fifth of the cash for each of the five names. The windows are short, so that something happens nearly every second.
_SHARE = "20000"
DEMONSTRATION: Final = Scenario(
    data_set_id="us-daily",
    symbols=("AAPL", "FB", "GOOG", "IBM", "MSFT"),
    traders=(
        Trader(
            label="Trend",
            portfolio_id="trend",
            strategy_id="cross",
            kind="sma_cross",
            parameters=MappingProxyType({"fast": "3", "slow": "12", "capital": _SHARE}),
        ),
        Trader(
            label="Reversion",
            portfolio_id="reversion",
            strategy_id="revert",
            kind="mean_reversion",
            parameters=MappingProxyType({"window": "8", "entry": "1.2", "capital": _SHARE}),
        ),
    ),
    # Both strategies trade in the second session after it, and AAPL's split of 2000-06-21 comes 20 s later.
    warm_up_sessions=35,
)
SESSIONS_PER_SECOND: Final = 2.0
