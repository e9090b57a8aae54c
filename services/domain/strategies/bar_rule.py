"""Strategies whose rule reads nothing but the closes of one symbol's bars, symbol by symbol.

A ``Rule`` says at each bar which entries and exits its closes ask for; ``BarRule`` trades them: it enters when flat,
leaves a position whole, and takes back an entry that has not filled when its exit comes first. What a rule asks for
does not depend on what is held, so it can be worked out for a whole tape at once.
"""

from abc import ABC, abstractmethod
from bisect import bisect_right
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from enum import IntFlag
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from services.domain.deployment.context import Context
from services.domain.deployment.holdings import Holdings
from services.domain.market import Bar, Split
from services.domain.money import ZERO
from services.domain.orders.order import Side, TimeInForce
from services.domain.strategy import Scanner, Strategy, parameter
from services.domain.timeline import Timeline


class Action(IntFlag):
    """What a bar asks for; 0 for nothing."""

    ENTER_LONG = 1
    EXIT_LONG = 2
    ENTER_SHORT = 4
    EXIT_SHORT = 8


# Plain integers: an operation on a flag takes as long as twenty on these.
ENTER_LONG, EXIT_LONG, ENTER_SHORT, EXIT_SHORT = (action.value for action in Action)
ENTRIES, BUYS = ENTER_LONG | ENTER_SHORT, ENTER_LONG | EXIT_SHORT
_BUY, _SELL = Side.BUY, Side.SELL


class Readings(NamedTuple):
    """A rule over n bars: ``actions`` int8 ``[n]`` of ``Action``, ``figures`` float64 ``[n, k]``, NaN until warm."""

    actions: NDArray[np.int8]
    figures: NDArray[np.float64]


class Rule(ABC):
    """One symbol's rule. ``figures`` names the k values that a decision is read from."""

    figures: tuple[str, ...] = ()

    @abstractmethod
    def update(self, close: float) -> tuple[int, tuple[float, ...]]:
        """Take in the next close: the actions it asks for, and the figures."""

    @abstractmethod
    def extend(self, closes: NDArray[np.float64]) -> Readings:
        """Take in the next closes: exactly what as many updates would say."""

    @abstractmethod
    def scale(self, factor: float) -> None:
        """Multiply the history of prices by ``factor``."""

    @abstractmethod
    def state(self) -> dict[str, Any]:
        """What it remembers, as JSON."""

    @abstractmethod
    def restore(self, state: Mapping[str, Any]) -> None:
        """Go on where ``state`` was taken."""


class Outlook:
    """What a rule will ask for at each bar of a stretch of tape; ``through`` is how far it has taken them in."""

    def __init__(self, sequences: NDArray[np.int64], closes: NDArray[np.float64], readings: Readings) -> None:
        self.sequences = sequences
        self.closes = closes
        self.readings = readings
        self.through = 0
        self.settled = 0
        self._row = -1
        self._hits: dict[int, tuple[list[int], list[int]]] = {}
        self._found = -1

    @property
    def row(self) -> int:
        """The next bar that it has not taken in: mostly the one last found, which takes a fifth of a search to see."""
        found, through, sequences = self._found, self.through, self.sequences
        if found >= 0 and sequences.item(found) > through and (not found or sequences.item(found - 1) <= through):
            return found
        return int(sequences.searchsorted(through, side="right"))

    def take(self) -> int:
        """Take in the next bar: the actions it asks for."""
        self._row = row = self.row
        self.through = self.sequences.item(row)
        return self.readings.actions.item(row)

    def figures(self) -> list[float]:
        """The figures of the bar last taken in."""
        figures: list[float] = self.readings.figures[self._row].tolist()
        return figures

    def next(self, mask: int, after: int) -> int | None:
        """The first sequence after ``after`` that asks for one of ``mask``."""
        hits = self._hits.get(mask)
        if hits is None:
            found = np.flatnonzero(self.readings.actions & mask)
            hits = self._hits[mask] = (self.sequences[found].tolist(), found.tolist())
        sequences, rows = hits
        place = bisect_right(sequences, after)
        if place == len(sequences):
            return None
        self._found = rows[place]
        return sequences[place]


class BarRule(Strategy, Scanner):
    """Trades a ``Rule`` in each of its symbols independently."""

    @dataclass(frozen=True)
    class Parameters:
        """How entries are sized: by one of three; one unit where none is given."""

        quantity: Decimal = parameter(Decimal(0), "Units of an entry; 0 where it is sized otherwise.", minimum=0)
        cash_quantity: Decimal = parameter(
            Decimal(0), "Cash of an entry, sized at the fill; 0 where it is sized otherwise.", minimum=0
        )
        capital: Decimal = parameter(
            Decimal(0),
            "Cash set aside for each symbol; an entry spends what has become of it. 0 where it is sized otherwise.",
            minimum=0,
        )
        interval: str = parameter("", "Interval of the bars to read; empty for any.")
        time_in_force: str = parameter("GTC", "How long its orders work: GTC or DAY.", choices=("GTC", "DAY"))

        def __post_init__(self) -> None:
            if sum(size > 0 for size in (self.quantity, self.cash_quantity, self.capital)) > 1:
                raise ValueError("an entry is sized by one of quantity, cash_quantity and capital")

    def __init__(self, parameters: Any, symbols: Sequence[str]) -> None:
        super().__init__(parameters, symbols)
        self._time_in_force = TimeInForce[parameters.time_in_force]
        self._rules = {symbol: self.rule() for symbol in symbols}
        self._outlooks: dict[str, Outlook] = {}

    @abstractmethod
    def rule(self) -> Rule:
        """A rule with no history."""

    def on_bar(self, context: Context, bar: Bar) -> None:
        """Take the close in, and do what it asks for as far as it concerns what is held."""
        interval = self.parameters.interval
        if interval and interval != bar.interval:
            return
        symbol, outlook = bar.symbol, self._outlooks.get(bar.symbol)
        figures: Sequence[float] = ()
        if outlook is None:
            actions, figures = self._rules[symbol].update(bar.close)
        else:
            actions = outlook.take()
        wanted = actions & _concerns(context.holdings, symbol) if actions else 0
        if wanted:
            figures = figures if outlook is None else outlook.figures()
            self._act(context, symbol, wanted, dict(zip(self._rules[symbol].figures, figures, strict=True)))

    def on_split(self, context: Context, split: Split) -> None:
        """Express the history in new units."""
        self._settle(split.symbol)
        self._outlooks.pop(split.symbol, None)
        self._rules[split.symbol].scale(split.denominator / split.numerator)

    def scan(self, timeline: Timeline, holdings: Holdings, after: int) -> int:
        """See ``Scanner``."""
        soonest = timeline.end + 1
        for symbol in self.symbols:
            found = self._outlook(timeline, symbol, after).next(_concerns(holdings, symbol), after)
            if found is not None and found < soonest:
                soonest = found
        return soonest

    def skip(self, timeline: Timeline, after: int, through: int) -> None:
        """See ``Scanner``."""
        for symbol in self.symbols:
            self._outlook(timeline, symbol, after).through = through

    def state(self) -> dict[str, Any]:
        """The rules' histories, by symbol."""
        for symbol in self.symbols:
            self._settle(symbol)
        return {symbol: rule.state() for symbol, rule in self._rules.items()}

    def restore(self, state: Mapping[str, Any]) -> None:
        """Go on where ``state`` was taken."""
        self._outlooks.clear()
        for symbol, history in state.items():
            self._rules[symbol].restore(history)

    def _act(self, context: Context, symbol: str, wanted: int, figures: dict[str, float]) -> None:
        side = _BUY if wanted & BUYS else _SELL
        quantity, cash = abs(context.position(symbol)), ZERO
        if wanted & ENTRIES:
            quantity, cash = self._size(context, symbol)
        for order in context.working(symbol):
            context.cancel(order.client_order_id)
        signal = context.signal(symbol, side, values=figures)
        if quantity > 0:
            context.place(side, symbol, quantity, time_in_force=self._time_in_force, signal=signal)
        elif cash > 0:
            context.place(side, symbol, cash_quantity=cash, time_in_force=self._time_in_force, signal=signal)

    def _size(self, context: Context, symbol: str) -> tuple[Decimal, Decimal]:
        """An entry's units, or zero and its cash."""
        parameters = self.parameters
        if parameters.capital:
            return ZERO, parameters.capital + context.cash_flow(symbol)
        if parameters.cash_quantity:
            return ZERO, parameters.cash_quantity
        return parameters.quantity or Decimal(1), ZERO

    def _outlook(self, timeline: Timeline, symbol: str, after: int) -> Outlook:
        """What comes after ``after``, up to the next split of the symbol: then its prices are others."""
        outlook = self._outlooks.get(symbol)
        if outlook is None:
            sequences = timeline.bars(symbol, self.parameters.interval)
            first, last = sequences.searchsorted((after, timeline.next_split(after, symbol)), side="right").tolist()
            ahead = sequences[first:last]
            closes = timeline.tape.values[ahead - 1, 3]
            rule = self.rule()
            rule.restore(self._rules[symbol].state())
            outlook = self._outlooks[symbol] = Outlook(ahead, closes, rule.extend(closes))
        return outlook

    def _settle(self, symbol: str) -> None:
        """Let the rule itself take in what was read from its outlook."""
        outlook = self._outlooks.get(symbol)
        if outlook is not None:
            row = outlook.row
            self._rules[symbol].extend(outlook.closes[outlook.settled : row])
            outlook.settled = row


def _concerns(holdings: Holdings, symbol: str) -> int:
    """The actions that concern what is held and works: entries when flat, else the exit; none while an exit works."""
    units = holdings.positions.get(symbol, ZERO)
    for order in holdings.working.values():
        if order.symbol == symbol:
            if (units > 0 and order.side is _SELL) or (units < 0 and order.side is _BUY):
                return 0
            return EXIT_LONG if order.side is _BUY else EXIT_SHORT
    if units:
        return EXIT_LONG if units > 0 else EXIT_SHORT
    return ENTRIES
