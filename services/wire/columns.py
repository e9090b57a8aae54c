"""Arrays as packed fields: their bytes, with no element touched on its own."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from services.chassis.streams.tokens import length_delimited


def packed(number: int, values: NDArray[np.generic]) -> bytes:
    """A packed repeated field of 64-bit elements: its bytes are the array's."""
    return length_delimited(number, values.astype(values.dtype.newbyteorder("<"), copy=False).tobytes())


def packed_varints(number: int, values: NDArray[np.int32]) -> bytes:
    """A packed repeated field of small whole numbers."""
    if len(values) and int(values.max()) >= 1 << 7:
        high = (values >> 7) > 0
        if int(values.max()) >= 1 << 14:
            raise ValueError("an index beyond 16383")
        pairs = np.column_stack(((values & 0x7F) | np.where(high, 0x80, 0), values >> 7)).astype(np.uint8)
        return length_delimited(number, pairs[np.column_stack((np.ones(len(values), np.bool_), high))].tobytes())
    return length_delimited(number, values.astype(np.uint8).tobytes())
