"""SQLite: one thread that writes, two that read, and whole reads and transactions in them, one hop each."""

from __future__ import annotations

import asyncio
import fcntl
import os
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeVar

import sqlalchemy as sa
from sqlalchemy.engine import make_url

from services.chassis.ownership import claim
from services.chassis.writer import Groups

T = TypeVar("T")


class Sqlite:
    """A file. Durability is the promise everything else stands on: always `synchronous=FULL`."""

    def __init__(self, url: str) -> None:
        parsed = make_url(url).set(drivername="sqlite")
        self._path = parsed.database
        self._engine = sa.create_engine(parsed, poolclass=sa.pool.QueuePool, pool_size=4)
        _prepare(self._engine)
        self._writer = ThreadPoolExecutor(1, thread_name_prefix="writer")
        self._readers = ThreadPoolExecutor(2, thread_name_prefix="reader")
        self._connection: sa.Connection | None = None
        self._own: sa.Connection | None = None
        self._lock: int | None = None

    async def claim(self) -> None:
        """Keeps every other process that claims the file out, until this one ends; see `Database.open`."""
        if not self._path or self._path == ":memory:":
            return
        # Beside the file: SQLite's own locks on it are lost when any descriptor of the file is closed.
        self._lock = lock = os.open(f"{self._path}.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)

        async def take() -> bool:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                return False
            return True

        await claim(take, self._path)

    async def read(self, work: Callable[[sa.Connection], T]) -> T:
        """Runs a function on one snapshot."""
        return await self._reading(lambda connection: _in_snapshot(connection, work))

    async def fetch(self, query: sa.Select[Any], parameters: Mapping[str, Any] | None) -> Sequence[Any]:
        """All rows of a query."""
        return await self._reading(lambda connection: connection.execute(query, parameters or {}).fetchall())

    async def lookup(self, query: sa.Select[Any], parameters: Mapping[str, Any]) -> Sequence[Any]:
        """The few rows of a query by keys, read right here: a thread would take longer to wake than this does."""
        if self._own is None:
            # It holds no snapshot between two reads, so each sees all that was committed before it.
            self._own = self._engine.connect().execution_options(isolation_level="AUTOCOMMIT")
        return self._own.execute(query, parameters).fetchall()

    async def begin(self, work: Callable[[sa.Connection], T]) -> T:
        """Runs a function in one transaction."""
        return await asyncio.get_running_loop().run_in_executor(self._writer, self._begin, work)

    async def write(self, groups: Groups) -> None:
        """Runs statements in one transaction."""
        await self.begin(lambda connection: _execute(connection, groups))

    async def close(self) -> None:
        """Disconnects, and lets others claim the file."""
        loop = asyncio.get_running_loop()
        if self._own is not None:
            self._own.close()
        if self._connection is not None:
            await loop.run_in_executor(self._writer, self._connection.close)
        await loop.run_in_executor(self._readers, self._engine.dispose)
        self._writer.shutdown()
        self._readers.shutdown()
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None

    async def _reading(self, work: Callable[[sa.Connection], T]) -> T:
        return await asyncio.get_running_loop().run_in_executor(self._readers, self._read, work)

    def _read(self, work: Callable[[sa.Connection], T]) -> T:
        with self._engine.connect() as connection:
            return work(connection)

    def _begin(self, work: Callable[[sa.Connection], T]) -> T:
        if self._connection is None:
            self._connection = self._engine.connect()
        with self._connection.begin():
            self._connection.exec_driver_sql("BEGIN IMMEDIATE")
            return work(self._connection)


def _execute(connection: sa.Connection, groups: Groups) -> None:
    for statement, rows in groups:
        connection.execute(statement, rows)


def _in_snapshot(connection: sa.Connection, work: Callable[[sa.Connection], T]) -> T:
    connection.exec_driver_sql("BEGIN")
    return work(connection)


def _prepare(engine: sa.Engine) -> None:
    @sa.event.listens_for(engine, "connect")
    def pragmas(connection: Any, _record: Any) -> None:
        # The driver would begin transactions on its own, but not before DDL; we begin them ourselves.
        connection.isolation_level = None
        cursor = connection.cursor()
        for pragma in ("journal_mode=WAL", "synchronous=FULL", "busy_timeout=5000", "foreign_keys=ON"):
            cursor.execute(f"PRAGMA {pragma}")
        cursor.close()
