"""A service's own database: SQLite by default, PostgreSQL by URL, through SQLAlchemy Core; no ORM.

Durability is the promise everything else stands on, so SQLite always runs with `synchronous=FULL`.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from decimal import Decimal
from pathlib import Path
from types import ModuleType, TracebackType
from typing import Any, Self

import sqlalchemy as sa
from sqlalchemy.engine import Dialect, make_url
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine
from sqlalchemy.types import TypeDecorator, TypeEngine

from services.chassis.writer import Statement, Writer, exit_at_once

_Groups = Sequence[tuple[Statement, list[Mapping[str, Any]]]]


class DecimalText(TypeDecorator[Decimal]):
    """An exact decimal: TEXT in SQLite, whose NUMERIC is a double and loses digits, NUMERIC in PostgreSQL.

    Not to be compared, ordered or added up in SQL.
    """

    impl = sa.Text
    cache_ok = True

    def load_dialect_impl(self, dialect: Dialect) -> TypeEngine[Any]:
        """The column type of the dialect."""
        return dialect.type_descriptor(sa.Numeric() if dialect.name == "postgresql" else sa.Text())

    def process_bind_param(self, value: Decimal | None, dialect: Dialect) -> Any:
        """Python → database."""
        return value if value is None or dialect.name == "postgresql" else format(value, "f")

    def process_result_value(self, value: Any, dialect: Dialect) -> Decimal | None:
        """Database → Python."""
        return value if value is None or isinstance(value, Decimal) else Decimal(value)


class Database:
    """An engine to read with, a `writer` to write with.

    Open it with `Database.open`, which brings the schema up to date first.
    """

    def __init__(self, url: str, on_failure: Callable[[BaseException], None] = exit_at_once) -> None:
        parsed = make_url(url)
        self.url = url
        self.dialect = parsed.get_backend_name()
        self._thread: ThreadPoolExecutor | None = None
        if self.dialect == "sqlite":
            self.engine: AsyncEngine = create_async_engine(parsed.set(drivername="sqlite+aiosqlite"), pool_size=4)
            _prepare_sqlite(self.engine.sync_engine)
            # One thread that runs whole transactions: aiosqlite hops between threads at every statement.
            self._sync = _sync_engine(url)
            self._thread = ThreadPoolExecutor(1, thread_name_prefix="writer")
            self.writer = Writer(self._write_in_thread, on_failure)
        elif self.dialect == "postgresql":
            self.engine = create_async_engine(parsed.set(drivername="postgresql+asyncpg"), pool_pre_ping=True)
            self.writer = Writer(self._write_async, on_failure)
        else:
            raise ValueError(f"{self.dialect} is neither sqlite nor postgresql")

    @classmethod
    async def open(
        cls,
        url: str,
        migrations: ModuleType | Path | None = None,
        *,
        on_failure: Callable[[BaseException], None] = exit_at_once,
    ) -> Self:
        """Connects, after migrating the schema to its newest version.

        Args:
            url: `sqlite+aiosqlite:///path` or `postgresql+asyncpg://…`; a missing folder is made.
            migrations: a service's `migrations` package, or its folder, holding Alembic's version files.
            on_failure: what to do when a commit fails; ends the process unless a test says otherwise.
        """
        path = make_url(url).database
        if url.startswith("sqlite") and path:
            Path(path).parent.mkdir(parents=True, exist_ok=True)
        database = cls(url, on_failure)
        if migrations is not None:
            await database.migrate(migrations)
        return database

    async def migrate(self, migrations: ModuleType | Path) -> None:
        """Brings the schema to the newest version, in one transaction."""
        folder = migrations if isinstance(migrations, Path) else Path(next(iter(migrations.__path__)))
        async with self.engine.begin() as connection:
            await connection.run_sync(_upgrade, folder)

    async def fetch_all(self, query: sa.Select[Any], parameters: Mapping[str, Any] | None = None) -> Sequence[Any]:
        """All rows of a query, in a transaction of its own."""
        async with self.engine.connect() as connection:
            rows: Sequence[Any] = (await connection.execute(query, parameters or {})).fetchall()
            return rows

    async def fetch_one(self, query: sa.Select[Any], parameters: Mapping[str, Any] | None = None) -> Any:
        """The first row, or None."""
        async with self.engine.connect() as connection:
            return (await connection.execute(query, parameters or {})).first()

    async def close(self) -> None:
        """Waits for what is queued and disconnects."""
        await self.writer.drain()
        await self.engine.dispose()
        if self._thread is not None:
            await asyncio.get_running_loop().run_in_executor(self._thread, self._sync.dispose)
            self._thread.shutdown()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    async def _write_in_thread(self, groups: _Groups) -> None:
        await asyncio.get_running_loop().run_in_executor(self._thread, self._write, groups)

    def _write(self, groups: _Groups) -> None:
        with self._sync.begin() as connection:
            for statement, rows in groups:
                connection.execute(statement, rows)

    async def _write_async(self, groups: _Groups) -> None:
        async with self.engine.begin() as connection:
            for statement, rows in groups:
                await connection.execute(statement, rows)


def upsert(table: sa.Table, dialect: str, *, keep: Sequence[str] = ()) -> Any:
    """`INSERT … ON CONFLICT (primary key) DO UPDATE` of all other columns but those in `keep`.

    Build it once at start-up, from `database.dialect`; both back ends know it.
    """
    from sqlalchemy.dialects import postgresql, sqlite

    insert: Any = postgresql.insert(table) if dialect == "postgresql" else sqlite.insert(table)
    names = [column.name for column in table.columns if not column.primary_key and column.name not in keep]
    return insert.on_conflict_do_update(
        index_elements=list(table.primary_key.columns), set_={name: insert.excluded[name] for name in names}
    )


def _sync_engine(url: str) -> sa.Engine:
    engine = sa.create_engine(make_url(url).set(drivername="sqlite"), poolclass=sa.pool.StaticPool)
    _prepare_sqlite(engine)
    return engine


def _prepare_sqlite(engine: sa.Engine) -> None:
    @sa.event.listens_for(engine, "connect")
    def pragmas(connection: Any, _record: Any) -> None:
        # The driver would begin transactions on its own, but not before DDL; we begin them ourselves.
        connection.isolation_level = None
        cursor = connection.cursor()
        for pragma in ("journal_mode=WAL", "synchronous=FULL", "busy_timeout=5000", "foreign_keys=ON"):
            cursor.execute(f"PRAGMA {pragma}")
        cursor.close()

    @sa.event.listens_for(engine, "begin")
    def begin(connection: sa.Connection) -> None:
        connection.exec_driver_sql("BEGIN")


def _upgrade(connection: sa.Connection, folder: Path) -> None:
    from alembic.config import Config
    from alembic.runtime.environment import EnvironmentContext
    from alembic.script import ScriptDirectory

    script = ScriptDirectory(folder, version_locations=[str(folder)])

    def steps(revision: Any, _context: Any) -> Any:
        return script._upgrade_revs("head", revision)  # noqa: SLF001 all that alembic.command.upgrade does

    with EnvironmentContext(Config(), script, fn=steps) as environment:
        environment.configure(connection=connection, render_as_batch=True)
        environment.run_migrations()
