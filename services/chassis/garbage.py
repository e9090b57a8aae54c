"""When the garbage collector looks for cycles."""

import gc
from collections.abc import Iterator
from contextlib import contextmanager

_RARELY = (1_000, 1_000, 50)
"""The youngest thousand objects are looked through while the processor's cache holds them, older ones hardly ever.

So each that is kept is looked at once, for 100 ns; fifty thousand at a time that takes 260.
"""

_SERVING = (10_000, 10, 10)
"""A million more objects than before, some 200 MB, until all of them are looked through."""


def settle() -> None:
    """Sets what the process holds by now aside for good, and looks less often through what comes: for a service.

    Its modules and tables are most of what there is, and never garbage. By default they are looked through again and
    again: a fifth of an order's time, and 50 ms in which nobody is served.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(*_SERVING)


@contextmanager
def rare_collections() -> Iterator[None]:
    """Look for cycles among older objects rarely meanwhile: for a batch that keeps what it makes.

    Looking again and again through what will be kept takes a backtest of many orders a sixth of its time, and finds
    nothing. What strategies of others leave in cycles is still found. It concerns the whole process, so never use it
    where others are served.
    """
    before = gc.get_threshold()
    gc.set_threshold(*_RARELY)
    try:
        yield
    finally:
        gc.set_threshold(*before)
