"""What is traded twice, through the mesh and in a backtest, and on which records."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path

from services.console.scenario import Scenario, Trader
from services.domain.costs import Commission, Latency, ModelChange, Scope, Slippage, VenueModel
from services.domain.filling import FillModel
from services.domain.risk.limits import LimitChange, make_limit
from tests.e2e.mesh import Mesh
from tests.e2e.ticks import DATA_SET, DEEP_DATA_SET, write_ticks


def day(date: str) -> int:
    """Midnight UTC of a date, in ns."""
    return int(datetime.fromisoformat(date).replace(tzinfo=UTC).timestamp()) * 1_000_000_000


# Both want more than they have or may: Trend spends its cash on three of the names, Reversion may hold 600 of each.
TRADERS = (
    Trader("Trend", "trend", "cross", "sma_cross", {"fast": "4", "slow": "9", "capital": "30000"}),
    Trader("Reversion", "reversion", "revert", "mean_reversion", {"window": "10", "entry": "1.2", "capital": "20000"}),
)
LIMITS = {
    "reversion": {"MAX_POSITION_QUANTITY": "600", "MAX_GROSS_EXPOSURE": "35000"},
    "desk": {"MAX_POSITION_QUANTITY": "700"},
}
# AAPL's split of 2005-02-28 lies inside. Short, since every kill repeats it.
SHORT = Scenario(
    data_set_id="us-daily",
    traders=TRADERS,
    symbols=("AAPL", "GOOG", "IBM", "MSFT"),
    start_time=day("2004-12-01"),
    end_time=day("2005-07-01"),
    warm_up_sessions=20,
)
# Stops on losses, shares of the equity, and what a strategy may do, each of which refuses something.
LIMITED = replace(
    SHORT,
    limits=tuple(
        LimitChange(0, limit)
        for limit in (
            make_limit("max_daily_loss", Decimal(600), strategy_id="cross"),
            make_limit("max_drawdown", Decimal("0.04"), "trend"),
            make_limit("max_drawdown", Decimal("0.03")),
            make_limit("max_leverage", Decimal("0.45")),
            make_limit("max_net_exposure", Decimal(12_000), strategy_id="revert"),
            make_limit("max_order_quantity", Decimal(300), strategy_id="cross", symbol="MSFT"),
        )
    ),
)
# Both also sell short, AAPL through its split.
_SWING = {"window": "10", "entry": "1.2", "short": "true", "capital": "0"}
SHORTING = replace(
    SHORT,
    traders=tuple(
        replace(each, kind="mean_reversion", parameters={**_SWING, "quantity": quantity})
        for each, quantity in zip(TRADERS, ("90", "300"), strict=True)
    ),
    limits=(
        LimitChange(0, make_limit("short_sale", Decimal(1))),
        LimitChange(0, make_limit("initial_margin", Decimal("0.3"), symbol="MSFT")),
    ),
)
REFUSED = {"max_daily_loss", "max_drawdown", "max_leverage", "max_net_exposure", "max_order_quantity"}
# All that is packaged: five names, thirteen years, three splits; slower, since every order costs some disk flushes.
WHOLE = Scenario(
    data_set_id="us-daily",
    traders=(
        replace(TRADERS[0], parameters={"fast": "10", "slow": "40", "capital": "30000"}),
        replace(TRADERS[1], parameters={"window": "30", "entry": "2", "capital": "20000"}),
    ),
    symbols=("AAPL", "FB", "GOOG", "IBM", "MSFT"),
    warm_up_sessions=40,
)
# Quotes and prints; two share a portfolio, and with a third the sizes that are traded.
QUOTING = str(Path(__file__).with_name("quoting.py"))
# Market seconds of latency are some quotes; slippage takes part of the spread, and a limit that it would pass is kept.
_DESK = VenueModel(Commission(per_order=Decimal(1), basis_points=Decimal(2)), Slippage(spread_share=Decimal("0.5")))
_SOLO = VenueModel(latency=Latency(10**9, 3 * 10**9, seed=11), fills=FillModel(volume_share=Decimal("0.4")))
QUOTED = Scenario(
    data_set_id=DATA_SET,
    traders=(
        Trader("Desk", "desk", "make", "maker", {"size": "70"}),
        Trader("Desk", "desk", "take", "taker", {"every": "35"}),
        Trader("Solo", "solo", "solo", "maker", {"every": "50", "size": "110"}),
    ),
    symbols=("AAA", "BBB"),
    models=(ModelChange(0, Scope("desk"), _DESK), ModelChange(0, Scope("solo"), _SOLO)),
    limits=(LimitChange(0, make_limit("max_order_rate", Decimal(12), strategy_id="make")),),
)


# Quotes that show three levels of each side, and orders that are larger than the first of them.
DEEP = replace(
    QUOTED,
    data_set_id=DEEP_DATA_SET,
    traders=(
        Trader("Desk", "desk", "make", "maker", {"size": "90"}),
        Trader("Desk", "desk", "take", "taker", {"every": "40", "size": "80"}),
        Trader("Solo", "solo", "sweep", "sweeper", {"every": "7"}),
    ),
)


def write_deep_quotes(mesh: Mesh) -> None:
    """What `DEEP` is traded on."""
    write_ticks(mesh.data, DEEP.symbols, count=600, seed=9, levels=3)


def write_quotes(mesh: Mesh) -> None:
    """What `QUOTED` is traded on."""
    write_ticks(mesh.data, QUOTED.symbols, count=1_000, seed=5)
