"""PostgreSQL, through asyncpg: one connection that writes, a pool that reads.

A server that restarts costs nobody more than a wait: reads are UNAVAILABLE meanwhile, and a transaction that has not
begun begins on a new connection, where nobody else has written since.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from typing import Any, Final, TypeVar

import sqlalchemy as sa
from sqlalchemy.engine import make_url
from sqlalchemy.ext.asyncio import AsyncConnection, create_async_engine

from services.chassis.errors import ApiError
from services.chassis.storage.bulk import DIALECT, bulk
from services.chassis.storage.ownership import DatabaseInUseError, claim
from services.chassis.storage.prepared import ready_lookup
from services.chassis.storage.writer import Groups

# How long a write waits for a server that is away, before the process gives up and starts anew.
RECONNECT_SECONDS: Final = 10.0
# Advisory locks are of one database each, so one number does for all services.
_LOCK: Final = 0x7469636B6D657368
_AWAY: Final = ("08", "57P", "53300")

T = TypeVar("T")
_log = logging.getLogger(__name__)
_generations = sa.Table("writer_generation", sa.MetaData(), sa.Column("value", sa.BigInteger, nullable=False))
_take = sa.select(sa.func.pg_try_advisory_lock(_LOCK))
# A server that may forget what it has acknowledged is told not to; one that waits for its copies goes on doing so.
_durable = sa.text(
    "SELECT set_config('synchronous_commit', 'on', false) WHERE current_setting('synchronous_commit') = 'off'"
)


class Postgres:
    """A database on a server."""

    def __init__(self, url: str) -> None:
        parsed = make_url(url).set(drivername="postgresql+asyncpg")
        self._name = parsed.render_as_string()
        # The ping finds connections that a restart of the server has left behind.
        self._engine = create_async_engine(parsed, pool_pre_ping=True)
        self._turn = asyncio.Lock()
        self._connection: AsyncConnection | None = None
        self._driver: Any = None
        self._looking = asyncio.Lock()
        self._own: AsyncConnection | None = None
        self._own_driver: Any = None
        self._generation: int | None = None

    async def claim(self) -> None:
        """Keeps every other process that claims the database out, until this one ends; see `Database.open`.

        The lock is the writing connection's: when it is free, its last holder's transactions have ended too.
        """
        async with self._turn:
            connection = await self._connected()
            await self._lock(connection)
            async with connection.begin():
                await connection.run_sync(_generations.create, checkfirst=True)
                found = (await connection.execute(sa.select(_generations.c.value))).scalar() or 0
                await connection.execute(sa.delete(_generations))
                await connection.execute(sa.insert(_generations), {"value": found + 1})
            self._generation = found + 1

    async def read(self, work: Callable[[sa.Connection], T]) -> T:
        """Runs a function on one snapshot."""
        with _unavailable_while_away():
            async with self._engine.connect() as connection:
                snapshot = await connection.execution_options(isolation_level="REPEATABLE READ")
                return await snapshot.run_sync(work)

    async def fetch(self, query: sa.Select[Any], parameters: Mapping[str, Any] | None) -> Sequence[Any]:
        """All rows of a query."""
        with _unavailable_while_away():
            async with self._engine.connect() as connection:
                rows: Sequence[Any] = (await connection.execute(query, parameters or {})).fetchall()
                return rows

    async def lookup(self, query: sa.Select[Any], parameters: Mapping[str, Any]) -> Sequence[Any]:
        """The few rows of a query by keys, by the driver, on a connection of their own: one trip to the server."""
        ready = ready_lookup(query, parameters, DIALECT)
        if ready is None:
            return await self.fetch(query, parameters)
        with _unavailable_while_away():
            async with self._looking:
                if self._own is None or self._own_driver.is_closed():
                    await _discard(self._own)
                    self._own = None
                    self._own = await self._engine.connect()
                    self._own_driver = await _driver_of(self._own)
                sql, values = ready
                rows: Sequence[Any] = await self._own_driver.fetch(sql, *values)
                return rows

    async def begin(self, work: Callable[[sa.Connection], T]) -> T:
        """Runs a function in one transaction."""
        async with self._turn:
            connection = await self._writing()
            async with connection.begin():
                return await connection.run_sync(work)

    async def write(self, groups: Groups) -> None:
        """Runs statements in one transaction."""
        async with self._turn:
            connection = await self._writing()
            if (whole := bulk(groups)) is not None:
                await self._driver.execute(whole.sql, *whole.arguments(groups))
                return
            async with connection.begin():
                for statement, rows in groups:
                    await connection.execute(statement, rows)

    def write_here(self, groups: Groups) -> bool:
        """Never: to wait for a server would hold up everything else."""
        return False

    async def close(self) -> None:
        """Disconnects, and lets others claim the database."""
        async with self._turn:
            if self._connection is not None:
                await self._connection.close()
            self._connection = None
        async with self._looking:
            if self._own is not None:
                await self._own.close()
            self._own = None
        await self._engine.dispose()

    async def _writing(self) -> AsyncConnection:
        """The writing connection; a new one where the old one is gone, with its claim renewed."""
        if self._connection is not None and not self._driver.is_closed():
            return self._connection
        connection = await self._connected()
        if self._generation is not None:
            await self._lock(connection)
            async with connection.begin():
                found = (await connection.execute(sa.select(_generations.c.value))).scalar()
            if found != self._generation:
                raise DatabaseInUseError(f"another process has written {self._name} while the connection was away")
        return connection

    async def _connected(self) -> AsyncConnection:
        if self._connection is not None:
            _log.warning("the connection to the database is gone; connecting again", extra={"database": self._name})
            old, self._connection = self._connection, None
            await _discard(old)
        connection = await self._reached()
        self._driver = await _driver_of(connection)
        async with connection.begin():
            await connection.execute(_durable)
        self._connection = connection
        return connection

    async def _reached(self) -> AsyncConnection:
        end = time.monotonic() + RECONNECT_SECONDS
        while True:
            try:
                return await self._engine.connect()
            except Exception as error:
                if not is_away(error) or time.monotonic() >= end:
                    raise
            await asyncio.sleep(0.1)

    async def _lock(self, connection: AsyncConnection) -> None:
        async def take() -> bool:
            async with connection.begin():
                return bool((await connection.execute(_take)).scalar())

        await claim(take, self._name)


async def _driver_of(connection: AsyncConnection) -> Any:
    return (await connection.get_raw_connection()).driver_connection


async def _discard(connection: AsyncConnection | None) -> None:
    """Lets go of a connection that is gone."""
    if connection is not None:
        with suppress(Exception):
            await connection.invalidate()
            await connection.close()


def is_away(error: BaseException | None) -> bool:
    """Whether an error means that the server cannot be reached now, rather than that a statement is wrong."""
    if isinstance(error, sa.exc.DBAPIError):
        if error.connection_invalidated:
            return True
        error = error.orig
    state = getattr(error, "sqlstate", None) or ""
    return state.startswith(_AWAY) or (isinstance(error, OSError) and not isinstance(error, TimeoutError))


@contextmanager
def _unavailable_while_away() -> Iterator[None]:
    try:
        yield
    except Exception as error:
        if not is_away(error):
            raise
        _log.warning("the database is away", exc_info=error)
        raise ApiError.unavailable("SERVICE_UNAVAILABLE", "The database does not answer; try again.") from error
