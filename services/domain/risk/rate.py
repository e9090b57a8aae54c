"""How many orders, and new terms of open ones, came in the last market minute (rule 23)."""

from collections import deque
from dataclasses import dataclass, field
from typing import Any

MINUTE = 60_000_000_000
"""In ns."""


@dataclass(slots=True)
class Rate:
    """Orders of the last market minute, by symbol; new terms of one count as one.

    Attributes:
        unconfirmed: orders by symbol that passed a check and of which no event has come yet.
        recent: (market time, number of orders by symbol), oldest first.
    """

    unconfirmed: dict[str, int] = field(default_factory=dict)
    recent: deque[tuple[int, dict[str, int]]] = field(default_factory=deque)

    def expect(self, symbol: str, number: int = 1) -> None:
        """An order of ``symbol`` passed a check; with -1, one that was expected has come, or will not come."""
        left = self.unconfirmed.get(symbol, 0) + number
        if left:
            self.unconfirmed[symbol] = left
        else:
            del self.unconfirmed[symbol]

    def count(self, time: int, symbol: str) -> None:
        """Count an order at market ``time`` (ns)."""
        recent = self.recent
        while recent and recent[0][0] <= time - MINUTE:
            recent.popleft()
        if not recent or recent[-1][0] != time:
            recent.append((time, {}))
        numbers = recent[-1][1]
        numbers[symbol] = numbers.get(symbol, 0) + 1

    def in_minute(self, time: int, symbol: str = "") -> int:
        """Orders of the market minute that ends at ``time``, with those expected; of one symbol where it is named."""
        total = _number(self.unconfirmed, symbol)
        for at, numbers in reversed(self.recent):
            if at <= time - MINUTE:
                break
            total += _number(numbers, symbol)
        return total

    def snapshot(self) -> list[Any]:
        """What was counted, as JSON-able values; what is expected is not of it."""
        return [[time, dict(numbers)] for time, numbers in self.recent]

    @classmethod
    def restore(cls, snapshot: list[Any]) -> "Rate":
        """What ``snapshot`` was taken of."""
        return cls(recent=deque((time, dict(numbers)) for time, numbers in snapshot))


def _number(numbers: dict[str, int], symbol: str) -> int:
    return numbers.get(symbol, 0) if symbol else sum(numbers.values())
