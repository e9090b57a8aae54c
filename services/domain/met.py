"""What a symbol's orders of one side may have met on a tape."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True, slots=True)
class Met:
    """The records of a symbol's sessions that have a price for one side, in order, as columns.

    Attributes:
        lows, highs: how far prices went.
    """

    rows: NDArray[np.int64]
    starts: NDArray[np.int64]
    lows: NDArray[np.float64]
    highs: NDArray[np.float64]

    def any(self, first: int, end: int, live: int) -> bool:
        """Whether a row from ``first`` up to before ``end`` begins at ``live`` (ns) or later."""
        part = slice(*self.rows.searchsorted((first, end)).tolist())
        return bool((self.starts[part] >= live).any())

    def extremes(self, first: int, end: int, live: int) -> tuple[float, float] | None:
        """The lowest and the highest price of these rows; None without any."""
        part = slice(*self.rows.searchsorted((first, end)).tolist())
        late = self.starts[part] >= live
        if not late.any():
            return None
        return float(self.lows[part][late].min()), float(self.highs[part][late].max())
