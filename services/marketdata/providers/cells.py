"""Cells of a file as arrays."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress

import numpy as np
from numpy.typing import NDArray


def times_in(texts: Sequence[str]) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
    """ns since the epoch, and which could be read."""
    stripped = [text.removesuffix("Z") for text in texts]
    with suppress(ValueError):
        # Of texts that are all whole numbers, or all ISO, in one go; an empty one would be NaT, a number a far year.
        if all(stripped) and len({text.isdigit() for text in stripped}) == 1:
            kind = np.int64 if stripped[0].isdigit() else "datetime64[ns]"
            return np.array(stripped, dtype=kind).astype(np.int64), np.ones(len(texts), np.bool_)
    times, good = np.zeros(len(texts), np.int64), np.zeros(len(texts), np.bool_)
    for row, text in enumerate(stripped):
        with suppress(ValueError, OverflowError):
            times[row] = int(text) if text.isdigit() else np.datetime64(text, "ns").astype(np.int64)
            good[row] = bool(text)
    return times, good


def numbers_in(texts: Sequence[str], missing: float) -> NDArray[np.float64]:
    """Doubles; NaN for what is none, `missing` for nothing."""
    with suppress(ValueError):
        return np.array(texts, dtype="U").astype(np.float64)
    numbers = np.full(len(texts), np.nan)
    for row, text in enumerate(texts):
        with suppress(ValueError):
            numbers[row] = float(text) if text else missing
    return numbers
