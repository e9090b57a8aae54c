"""What an indicator is: a state that takes values in, singly or as an array, to the same result."""

from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]


class Indicator(ABC):
    """One indicator of one series of values, over ``period`` of them.

    Raises:
        ValueError: the period is too short for it to be defined.
    """

    shortest = 1

    def __init__(self, period: int) -> None:
        if period < self.shortest:
            raise ValueError(f"{type(self).__name__} needs a period of at least {self.shortest}, not {period}")
        self.period = period

    @abstractmethod
    def update(self, value: float) -> float | None:
        """Take in the next value."""

    @abstractmethod
    def extend(self, values: Floats) -> Floats:
        """Take in the next values, ``[n]``; what each update would have given, ``[n]``."""

    @abstractmethod
    def scale(self, factor: float) -> None:
        """Multiply the history by ``factor``: prices after a split."""

    def state(self) -> dict[str, Any]:
        """What it remembers, as JSON."""
        return {name: _to_json(value) for name, value in vars(self).items() if name != "period"}

    def restore(self, state: Mapping[str, Any]) -> None:
        """Go on where ``state`` was taken."""
        for name, value in state.items():
            setattr(self, name, deque(value, getattr(self, name).maxlen) if isinstance(value, list) else value)


def _to_json(value: Any) -> Any:
    return list(value) if isinstance(value, deque) else value
