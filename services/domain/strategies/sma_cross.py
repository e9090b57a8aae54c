"""The crossover of two moving averages."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from services.domain.indicators import SMA
from services.domain.strategies.bar_rule import Action, BarRule, Readings, Rule
from services.domain.strategy import parameter

EPSILON = 1e-6
"""Averages nearer than this are equal: running sums of equal prices differ by some 1e-12."""


class SmaCross(BarRule):
    """Buys when the fast average of closes rises above the slow one, sells all when it falls below. Long only."""

    kind = "sma_cross"

    @dataclass(frozen=True)
    class Parameters(BarRule.Parameters):
        """The two windows, and how entries are sized."""

        fast: int = parameter(10, "Bars in the fast average.", minimum=1, maximum=10_000)
        slow: int = parameter(30, "Bars in the slow average; more than in the fast one.", minimum=2, maximum=10_000)

        def __post_init__(self) -> None:
            super().__post_init__()
            if self.fast >= self.slow:
                raise ValueError(f"the fast average ({self.fast} bars) must be shorter than the slow one ({self.slow})")

    def rule(self) -> Rule:
        """Both averages, empty."""
        return CrossRule(self.parameters.fast, self.parameters.slow)


class CrossRule(Rule):
    """With d = fast - slow: enters when d was at most ε and is above it, leaves when it was at least -ε and is below.

    So the first decision comes one bar after both averages exist.
    """

    figures = ("fast", "slow")

    def __init__(self, fast: int, slow: int) -> None:
        self.fast = SMA(fast)
        self.slow = SMA(slow)
        self.spread: float | None = None

    def update(self, close: float) -> tuple[int, tuple[float, ...]]:
        """Take in the next close."""
        fast, slow = self.fast.update(close), self.slow.update(close)
        if fast is None or slow is None:
            return 0, ()
        before, self.spread = self.spread, fast - slow
        actions = 0
        if before is not None:
            if before <= EPSILON < self.spread:
                actions = int(Action.ENTER_LONG)
            elif before >= -EPSILON > self.spread:
                actions = int(Action.EXIT_LONG)
        return actions, (fast, slow)

    def extend(self, closes: NDArray[np.float64]) -> Readings:
        """Take in the next closes."""
        fast, slow = self.fast.extend(closes), self.slow.extend(closes)
        spread = fast - slow
        before = np.concatenate([[np.nan if self.spread is None else self.spread], spread[:-1]])[: len(spread)]
        if len(spread) and not np.isnan(spread[-1]):
            self.spread = float(spread[-1])
        enter = (before <= EPSILON) & (spread > EPSILON)
        leave = (before >= -EPSILON) & (spread < -EPSILON)
        actions = (enter * Action.ENTER_LONG.value + leave * Action.EXIT_LONG.value).astype(np.int8)
        return Readings(actions, np.column_stack((fast, slow)))

    def scale(self, factor: float) -> None:
        """Express the history in other units."""
        self.fast.scale(factor)
        self.slow.scale(factor)
        self.spread = None if self.spread is None else self.spread * factor

    def state(self) -> dict[str, Any]:
        """What it remembers."""
        return {"fast": self.fast.state(), "slow": self.slow.state(), "spread": self.spread}

    def restore(self, state: Mapping[str, Any]) -> None:
        """Go on where ``state`` was taken."""
        self.fast.restore(state["fast"])
        self.slow.restore(state["slow"])
        self.spread = state["spread"]
