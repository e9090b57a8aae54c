"""The interface a strategy implements, and the registry of those there are.

    class Breakout(Strategy):
        "Buys ten units above a level."
        kind = "breakout"

        @dataclass(frozen=True)
        class Parameters:
            level: float = parameter(100.0, "Price above which to buy.", minimum=0.0)

        def on_bar(self, context: Context, bar: Bar) -> None:
            if bar.close > self.parameters.level and context.idle(bar.symbol) and not context.position(bar.symbol):
                context.buy(bar.symbol, Decimal(10))

A strategy decides only from what it is handed; the same class runs in a backtest, in a replay and live.
"""

from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

from services.domain.deployment.context import Context, Signal
from services.domain.deployment.holdings import Holdings
from services.domain.deployment.parameters import (
    BadParameter,
    ParameterSpec,
    parameter,
    parameter_specs,
    parameters_from,
)
from services.domain.market import Auction, Bar, Halt, Quote, Split, Trade
from services.domain.orders.order import OrderEvent
from services.domain.timeline import Timeline, Wake

__all__ = [
    "BadParameter",
    "Context",
    "Holdings",
    "ParameterSpec",
    "Registry",
    "Scanner",
    "Signal",
    "Strategy",
    "StrategyKind",
    "Timeline",
    "Wake",
    "parameter",
]


_TOLD = ("on_quote", "on_trade", "on_auction", "on_halt")


class Strategy:
    """One trading rule over any number of symbols. Subclasses name their ``kind`` and override what they react to.

    ``state`` and ``restore`` carry what ``__init__`` does not make, as plain JSON; positions and working orders are
    kept for it (``Context``).
    """

    kind: ClassVar[str]

    @dataclass(frozen=True)
    class Parameters:
        """None."""

    parameters: Any

    def __init__(self, parameters: Any, symbols: Sequence[str]) -> None:
        self.parameters = parameters
        self.symbols = tuple(symbols)

    def on_bar(self, context: Context, bar: Bar) -> None:
        """A bar of one of its symbols ended."""

    def on_quote(self, context: Context, quote: Quote) -> None:
        """The best bid or ask of one of its symbols changed."""

    def on_trade(self, context: Context, trade: Trade) -> None:
        """One of its symbols traded."""

    def on_auction(self, context: Context, auction: Auction) -> None:
        """An auction of one of its symbols came to a price."""

    def on_halt(self, context: Context, halt: Halt) -> None:
        """Trading in one of its symbols stops, or goes on. Nothing fills meanwhile, and orders wait."""

    def on_split(self, context: Context, split: Split) -> None:
        """Units and prices of a symbol change; its position is already in new units. Scale any history of prices."""

    def on_order_event(self, context: Context, event: OrderEvent) -> None:
        """Something happened to one of its orders; position and working orders already show it."""

    def on_time(self, context: Context) -> None:
        """The time it asked for by ``next_wake`` came; where that had passed already, ``context.now`` is later."""

    def next_wake(self) -> Wake:
        """What to wait for: by default any bar, and all else where it looks at quotes, trades, auctions or halts."""
        cls, bars = type(self), frozenset((symbol, "") for symbol in self.symbols)
        if any(getattr(cls, name) is not getattr(Strategy, name) for name in _TOLD):
            return Wake(records=frozenset(self.symbols), bars=bars)
        return Wake(bars=bars)

    def state(self) -> dict[str, Any]:
        """What it remembers, as JSON."""
        return {}

    def restore(self, state: Mapping[str, Any]) -> None:
        """Remember what ``state`` gave."""


class Scanner(ABC):
    """A strategy that can look ahead for the records it would act on, so that a backtest visits only those.

    Promised: visiting every record in between would issue nothing, ``skip`` leaves exactly the state that it would, and
    it never asks to be run at a time.
    """

    @abstractmethod
    def scan(self, timeline: Timeline, holdings: Holdings, after: int) -> int:
        """The first sequence after ``after`` at which it might act, its holdings as they are; ``end + 1`` if none.

        It has taken in everything up to ``after``.
        """

    @abstractmethod
    def skip(self, timeline: Timeline, after: int, through: int) -> None:
        """Take in the records of ``(after, through]``, among which no split is."""


@dataclass(frozen=True, slots=True)
class StrategyKind:
    """One kind as clients see it."""

    kind: str
    description: str
    parameters: tuple[ParameterSpec, ...]


class Registry:
    """The strategy classes there are, by kind."""

    def __init__(self, strategies: Iterable[type[Strategy]] = ()) -> None:
        self._classes: dict[str, type[Strategy]] = {}
        for strategy in strategies:
            self.add(strategy)

    def add(self, strategy: type[Strategy]) -> None:
        """Take a class in.

        Raises:
            ValueError: the kind is taken by another class, or missing.
            TypeError: its parameters are not documented, typed and defaulted.
        """
        kind = getattr(strategy, "kind", "")
        if not kind:
            raise ValueError(f"{strategy.__qualname__} names no kind")
        parameter_specs(strategy.Parameters)
        if self._classes.setdefault(kind, strategy) is not strategy:
            raise ValueError(f"kind {kind!r} is {self._classes[kind].__qualname__} already")

    def kinds(self) -> tuple[StrategyKind, ...]:
        """All kinds by name."""
        return tuple(
            StrategyKind(kind, (cls.__doc__ or "").strip(), parameter_specs(cls.Parameters))
            for kind, cls in sorted(self._classes.items())
        )

    def create(self, kind: str, parameters: Mapping[str, object], symbols: Sequence[str]) -> Strategy:
        """A new strategy of ``kind``.

        Raises:
            KeyError: there is no such kind.
            BadParameter: see ``parameters_from``.
        """
        cls = self._classes[kind]
        return cls(parameters_from(cls.Parameters, parameters), symbols)
