"""What the console knows of the mesh, as plain values. Market times are ns since the epoch, UTC."""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal
from typing import Final, NamedTuple

ENDED: Final = frozenset({"COMPLETED", "STOPPED"})
MOVING: Final = frozenset({"RUNNING", "BLOCKED"})


class Replay(NamedTuple):
    """An environment as it stands. `market_time` is 0 before the first record."""

    environment_id: str
    display_name: str
    state: str
    blocked_on: tuple[str, ...]
    data_set_id: str
    symbols: tuple[str, ...]
    start_sequence: int
    end_sequence: int
    tape_sequence: int
    market_time: int
    cycle: int

    @property
    def ended(self) -> bool:
        """Whether it is over."""
        return self.state in ENDED

    @property
    def progress(self) -> float:
        """How much of what is to be replayed has been, 0 to 1."""
        length = self.end_sequence - self.start_sequence
        return max(0.0, (self.tape_sequence - self.start_sequence) / length) if length else 1.0


class Deployment(NamedTuple):
    """A strategy at work. `number` is 0 until its environment has let it in."""

    deployment_id: str
    strategy_id: str
    portfolio_id: str
    number: int
    state: str
    error: str
    start_sequence: int
    tape_sequence: int


class Strategy(NamedTuple):
    """A kind with its parameters and symbols."""

    strategy_id: str
    kind: str
    parameters: Mapping[str, str]
    symbols: tuple[str, ...]


class Portfolio(NamedTuple):
    """What a portfolio is worth now. `positions` are signed units by symbol, those held."""

    portfolio_id: str
    label: str
    currency_code: str
    cash: Decimal
    equity: Decimal
    positions: Mapping[str, Decimal]


class Fill(NamedTuple):
    """One trade. `side` is BUY or SELL."""

    portfolio_id: str
    symbol: str
    side: str
    quantity: Decimal
    price: Decimal
    transact_time: int


class OrderNews(NamedTuple):
    """One order event: what happened (FIX 150, by name), when in wall time (ns), and the fill where it is one."""

    sequence: int
    exec_type: str
    create_time: int
    fill: Fill | None


class SignalNews(NamedTuple):
    """One decision of a strategy. `side` is BUY or SELL."""

    sequence: int
    deployment_id: str
    symbol: str
    side: str


class MarketNews(NamedTuple):
    """Records as they passed: how many, and the last prices among them."""

    records: int
    prices: Mapping[str, float]
