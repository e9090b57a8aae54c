"""One process at a time writes a database: what it has in memory is a copy, true only while nobody else writes.

The claim is a lock that ends with the process, however it ends, so that a restart after `kill -9` needs no cleaning up.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable
from typing import Final

EXIT_DATABASE_IN_USE: Final = 75
# A predecessor that was told to end drains for 5 s; PostgreSQL notices within milliseconds that a process is gone.
PATIENCE_SECONDS: Final = 10.0
_POLL_SECONDS: Final = 0.05

_log = logging.getLogger(__name__)


class DatabaseInUseError(RuntimeError):
    """Another process writes the database, and goes on doing so."""


async def claim(take: Callable[[], Awaitable[bool]], name: str) -> None:
    """Returns once `take` has succeeded.

    Args:
        take: tries to get the lock, at once.
        name: what is claimed, for the message.

    Raises:
        DatabaseInUseError: if whoever has it did not let go of it in `PATIENCE_SECONDS`.
    """
    end, waits = time.monotonic() + PATIENCE_SECONDS, False
    while not await take():
        if time.monotonic() >= end:
            raise DatabaseInUseError(f"another process writes {name}: stop it, or give this one a database of its own")
        if not waits:
            _log.warning("waiting for another process to let go of the database", extra={"database": name})
            waits = True
        await asyncio.sleep(_POLL_SECONDS)
