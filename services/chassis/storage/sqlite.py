"""SQLite: one thread that writes, two that read, and whole reads and transactions in them, one hop each."""

from __future__ import annotations

import asyncio
import fcntl
import os
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Final, TypeVar

import sqlalchemy as sa
from sqlalchemy.engine import make_url

from services.chassis import deadline
from services.chassis.failpoints import failpoint
from services.chassis.storage.ownership import claim
from services.chassis.storage.prepared import SQLITE, prepare, ready_lookup
from services.chassis.storage.worker import Worker
from services.chassis.storage.writer import Groups

T = TypeVar("T")

# What may hold up everything else for the sake of one commit: one that usually takes longer is made by the thread.
BRIEF_SECONDS: Final = 0.003

# A checkpoint inside a commit, as SQLite makes one every 1,000 pages, kept an order in fifty waiting for up to 40 ms.
CHECKPOINT_SECONDS: Final = 1.0
# While commits never pause the log cannot begin anew; at 80 MB one of them sees to it, with little left to copy.
MOST_PAGES: Final = 20_000


class Sqlite:
    """A file. Durability is the promise everything else stands on: always `synchronous=FULL`."""

    def __init__(self, url: str) -> None:
        parsed = make_url(url).set(drivername="sqlite")
        self._path = parsed.database
        self._engine = sa.create_engine(parsed, poolclass=sa.pool.QueuePool, pool_size=4)
        _prepare(self._engine)
        self._writer = Worker("writer")
        self._readers = ThreadPoolExecutor(2, thread_name_prefix="reader")
        self._connection: sa.Connection | None = None
        self._usual_seconds = 0.0
        self._own: sa.Connection | None = None
        self._checkpointing: asyncio.Task[None] | None = None
        self._checkpoint_due = 0.0
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
        return _lookup(self._own, query, parameters)

    async def begin(self, work: Callable[[sa.Connection], T]) -> T:
        """Runs a function in one transaction."""
        return await self._writing(lambda connection: _in_transaction(connection, work))

    async def write(self, groups: Groups) -> None:
        """Runs statements in one transaction."""
        await self._writing(lambda connection: self._commit(connection, groups))
        self._checkpoint_in_time()

    def write_here(self, groups: Groups) -> bool:
        """As `write`, before it returns, and only where that is brief; whether it did. The thread must be idle."""
        if self._connection is None or self._usual_seconds > BRIEF_SECONDS:
            return False
        self._commit(self._connection, groups)
        self._checkpoint_in_time()
        return True

    def _commit(self, connection: sa.Connection, groups: Groups) -> None:
        began = time.monotonic()
        failpoint("sqlite.before_commit")
        _write(connection, groups)
        self._usual_seconds += (time.monotonic() - began - self._usual_seconds) / 8

    def _checkpoint_in_time(self) -> None:
        if self._checkpointing is None and time.monotonic() >= self._checkpoint_due:
            self._checkpointing = deadline.detach(self._checkpoint(), name="checkpoint")

    async def close(self) -> None:
        """Disconnects, and lets others claim the file."""
        loop = asyncio.get_running_loop()
        if self._checkpointing is not None:
            await self._checkpointing
        if self._own is not None:
            self._own.close()
        if self._connection is not None:
            await self._writer.run(self._connection.close)
        await loop.run_in_executor(self._readers, self._engine.dispose)
        self._writer.close()
        self._readers.shutdown()
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None

    async def _checkpoint(self) -> None:
        """Copies what was committed into the file itself, beside the commits that go on."""
        try:
            await self._reading(lambda connection: connection.exec_driver_sql("PRAGMA wal_checkpoint(PASSIVE)").all())
        finally:
            self._checkpointing = None
            self._checkpoint_due = time.monotonic() + CHECKPOINT_SECONDS

    async def _reading(self, work: Callable[[sa.Connection], T]) -> T:
        return await asyncio.get_running_loop().run_in_executor(self._readers, self._read, work)

    def _read(self, work: Callable[[sa.Connection], T]) -> T:
        with self._engine.connect() as connection:
            return work(connection)

    async def _writing(self, work: Callable[[sa.Connection], T]) -> T:
        return await self._writer.run(lambda: self._write(work))

    def _write(self, work: Callable[[sa.Connection], T]) -> T:
        if self._connection is None:
            self._connection = self._engine.connect()
        return work(self._connection)


def _in_transaction(connection: sa.Connection, work: Callable[[sa.Connection], T]) -> T:
    with connection.begin():
        connection.exec_driver_sql("BEGIN IMMEDIATE")
        return work(connection)


def _write(connection: sa.Connection, groups: Groups) -> None:
    """One transaction by the driver: Core writes the SQL once, and takes 0.4 ms of a commit to hand it on each time."""
    prepared = [(prepare(statement, tuple(rows[0])), rows) for statement, rows in groups]
    if any(each is None for each, _ in prepared):
        _in_transaction(connection, lambda own: [own.execute(statement, rows) for statement, rows in groups])
        return
    cursor: Any = connection.connection.cursor()
    try:
        cursor.execute("BEGIN IMMEDIATE")
        try:
            for each, rows in prepared:
                if each is not None:
                    cursor.executemany(each.sql, map(each.values, rows))
        except BaseException:
            cursor.execute("ROLLBACK")
            raise
        cursor.execute("COMMIT")
    finally:
        cursor.close()


def _lookup(connection: sa.Connection, query: sa.Select[Any], parameters: Mapping[str, Any]) -> Sequence[Any]:
    """Rows by the driver: of the 60 us that one found by its key takes through Core, that is 12."""
    ready = ready_lookup(query, parameters, SQLITE)
    if ready is None:
        return connection.execute(query, parameters).fetchall()
    cursor: Any = connection.connection.cursor()
    try:
        rows: Sequence[Any] = cursor.execute(*ready).fetchall()
        return rows
    finally:
        cursor.close()


def _in_snapshot(connection: sa.Connection, work: Callable[[sa.Connection], T]) -> T:
    connection.exec_driver_sql("BEGIN")
    return work(connection)


def _prepare(engine: sa.Engine) -> None:
    @sa.event.listens_for(engine, "connect")
    def pragmas(connection: Any, _record: Any) -> None:
        # The driver would begin transactions on its own, but not before DDL; we begin them ourselves.
        connection.isolation_level = None
        cursor = connection.cursor()
        for pragma in (
            "journal_mode=WAL",
            "synchronous=FULL",
            "busy_timeout=5000",
            "foreign_keys=ON",
            f"wal_autocheckpoint={MOST_PAGES}",
        ):
            cursor.execute(f"PRAGMA {pragma}")
        cursor.close()
