"""Reversion to a moving average."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from services.domain.indicators import StandardDeviation
from services.domain.strategies.bar_rule import Action, BarRule, Readings, Rule
from services.domain.strategy import parameter


class MeanReversion(BarRule):
    """Buys when the close lies far below its average, measured in standard deviations, and sells all at the average."""

    kind = "mean_reversion"

    @dataclass(frozen=True)
    class Parameters(BarRule.Parameters):
        """The window, how far is far, and how entries are sized."""

        window: int = parameter(20, "Bars in the average and the standard deviation.", minimum=2, maximum=10_000)
        entry: float = parameter(2.0, "Standard deviations from the average at which to enter.", minimum=0.0)
        exit: float = parameter(0.0, "Standard deviations before the average at which to leave.", minimum=0.0)
        short: bool = parameter(False, "Also sell short above the average; needs a portfolio that may.")

        def __post_init__(self) -> None:
            super().__post_init__()
            if self.exit >= self.entry:
                raise ValueError(f"exit ({self.exit}) must be nearer to the average than entry ({self.entry})")
            if self.short and (self.cash_quantity or self.capital):
                raise ValueError("an entry that may be short is sized by quantity: only buys go by cash")

    def rule(self) -> Rule:
        """An empty window."""
        parameters = self.parameters
        return ReversionRule(parameters.window, parameters.entry, parameters.exit, parameters.short)


class ReversionRule(Rule):
    """With z = (close - mean) / standard deviation: enters at z <= -entry, leaves at z >= -exit; shorts mirrored.

    Where nothing moved in the window, z is 0.
    """

    figures = ("z", "mean", "deviation")

    def __init__(self, window: int, entry: float, exit_: float, short: bool) -> None:
        self.deviation = StandardDeviation(window)
        self.entry = entry
        self.exit = exit_
        self.shorts = int(Action.ENTER_SHORT) if short else 0

    def update(self, close: float) -> tuple[int, tuple[float, ...]]:
        """Take in the next close."""
        deviation = self.deviation.update(close)
        if deviation is None:
            return 0, ()
        mean = self.deviation.mean.total / self.deviation.period
        z = (close - mean) / deviation if deviation else 0.0
        actions = (
            Action.ENTER_LONG * (z <= -self.entry)
            | Action.EXIT_LONG * (z >= -self.exit)
            | self.shorts * (z >= self.entry)
            | Action.EXIT_SHORT * (z <= self.exit)
        )
        return int(actions), (z, mean, deviation)

    def extend(self, closes: NDArray[np.float64]) -> Readings:
        """Take in the next closes."""
        mean, deviation = self.deviation.extend_both(closes)
        z = np.divide(closes - mean, deviation, out=np.where(np.isnan(mean), math.nan, 0.0), where=deviation > 0)
        actions = (
            Action.ENTER_LONG.value * (z <= -self.entry)
            | Action.EXIT_LONG.value * (z >= -self.exit)
            | self.shorts * (z >= self.entry)
            | Action.EXIT_SHORT.value * (z <= self.exit)
        )
        return Readings(actions.astype(np.int8), np.column_stack((z, mean, deviation)))

    def scale(self, factor: float) -> None:
        """Express the history in other units."""
        self.deviation.scale(factor)

    def state(self) -> dict[str, Any]:
        """What it remembers."""
        return self.deviation.state()

    def restore(self, state: Mapping[str, Any]) -> None:
        """Go on where ``state`` was taken."""
        self.deviation.restore(state)
