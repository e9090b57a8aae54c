"""The group-committing single writer.

Whatever has queued while one transaction was being flushed goes into the next one: a flush costs the same for one row
as for a thousand. SQLite: 39k rows/s through Core against 1k/s with a commit each.
"""

from __future__ import annotations

import asyncio
import logging
import os
from collections.abc import Awaitable, Callable, Mapping, Sequence
from operator import itemgetter
from typing import Any, Final, NamedTuple

import sqlalchemy as sa

from services.chassis import deadline

EXIT_COMMIT_FAILED: Final = 70
# Rows in one transaction: about 0.1 s of work, so that the first caller in a flood does not wait for the last.
MAX_ROWS: Final = 4096

# Execution options of an upsert: the columns that tell its rows apart, and those that the first one decides.
UPSERT_KEY: Final = "upsert_key"
UPSERT_KEEPS: Final = "upsert_keeps"

Statement = sa.sql.Executable
Parameters = Sequence[Mapping[str, Any]]
Unit = Sequence[tuple[Statement, Parameters]]
Groups = Sequence[tuple[Statement, list[Mapping[str, Any]]]]
Transaction = Callable[[Groups], Awaitable[None]]
Here = Callable[[Groups], bool]

_log = logging.getLogger(__name__)


def exit_at_once(error: BaseException) -> None:
    """Ends the process with code 70: what was decided in memory is ahead of the store, so nothing may be answered."""
    logging.shutdown()
    os._exit(EXIT_COMMIT_FAILED)


class _Queued(NamedTuple):
    unit: Unit
    then: Callable[[], None] | None
    done: asyncio.Future[None]

    def conclude(self) -> None:
        """It is durable."""
        if self.then is not None:
            self.then()
        if not self.done.done():
            self.done.set_result(None)


class Writer:
    """The only writer of a database. A unit is all or nothing, units commit in the order they were given."""

    def __init__(
        self,
        transaction: Transaction,
        on_failure: Callable[[BaseException], None] = exit_at_once,
        here: Here | None = None,
    ) -> None:
        """Wraps functions which run statements in one durable transaction; see `Database.writer`.

        Args:
            transaction: runs them.
            on_failure: called when a commit fails.
            here: runs them before it returns, or says that it would take too long.
        """
        self._transaction = transaction
        self._on_failure = on_failure
        self._here = here
        self._queue: list[_Queued] = []
        self._running: asyncio.Task[None] | None = None
        self._failed: BaseException | None = None

    async def commit(self, unit: Unit, then: Callable[[], None] | None = None) -> None:
        """Returns once the unit is durable.

        Args:
            unit: pairs of a statement and its rows. Use the same statement objects again and again: rows of the same
                one, from many units, become one executemany. An upsert merges better than an insert and an update.
            then: called in the event loop right after the commit, in commit order, before the caller resumes and even
                if the caller was cancelled meanwhile. Publish here: an event that is stored must reach subscribers.

        Raises:
            RuntimeError: if a commit failed before; the process is on its way out.
        """
        await self.enqueue(unit, then)

    def enqueue(
        self, unit: Unit, then: Callable[[], None] | None = None, *, here: bool = False
    ) -> asyncio.Future[None]:
        """As `commit`, but takes its place in the order at once and returns what to wait for.

        Args:
            unit: as of `commit`.
            then: as of `commit`.
            here: where nothing is being committed and commits are brief, it is made before this returns: two switches
                of threads and four turns of the loop are most of what it takes beside the disk.
        """
        if self._failed is not None:
            raise RuntimeError("the writer has failed") from self._failed
        loop = asyncio.get_running_loop()
        queued = _Queued(unit, then, loop.create_future())
        if self._running is not None or not (here and self._commit_here(queued)):
            self._queue.append(queued)
            if self._running is None:
                self._running = deadline.detach(self._run(), name="writer")
        return queued.done

    async def drain(self) -> None:
        """Returns when all that was queued before is durable."""
        if self._queue or self._running is not None:
            await self.enqueue(())

    def _commit_here(self, queued: _Queued) -> bool:
        if self._here is None or self._queue:
            return False
        try:
            if not self._here(merge([queued.unit])):
                return False
            queued.conclude()
        except Exception as error:  # noqa: BLE001 who waits is told, as by a commit of the task's
            self._fail(error, [queued])
        return True

    async def _run(self) -> None:
        batch: list[_Queued] = []
        try:
            # Begun in a turn of its own: the tasks that were ready join the first transaction.
            while self._queue:
                batch = self._take()
                groups = merge(each.unit for each in batch)
                if groups:
                    await self._transaction(groups)
                for each in batch:
                    each.conclude()
        except asyncio.CancelledError as error:
            # The loop is ending. Whether the batch is stored is unknown, and nobody is told that it is.
            self._failed = error
            raise
        except Exception as error:
            self._fail(error, batch)
            raise
        finally:
            self._running = None

    def _take(self) -> list[_Queued]:
        rows = 0
        for index, each in enumerate(self._queue):
            rows += sum(len(parameters) for _, parameters in each.unit)
            if rows > MAX_ROWS and index:
                batch, self._queue = self._queue[:index], self._queue[index:]
                return batch
        batch, self._queue = self._queue, []
        return batch

    def _fail(self, error: BaseException, batch: list[_Queued]) -> None:
        self._failed = error
        _log.critical("a commit failed; memory is ahead of the store", exc_info=error)
        self._on_failure(error)
        for each in [*batch, *self._queue]:
            if not each.done.done():
                each.done.set_exception(RuntimeError("the commit failed"))
                each.done.exception()
        self._queue = []


def merge(units: Any) -> list[tuple[Statement, list[Mapping[str, Any]]]]:
    """Groups rows of the same statement, keeping the order wherever the database could tell the difference.

    A row joins an earlier group of its statement unless a group in between touches the same table, or one that the
    row's table refers to by a foreign key (its parent may only come into being there), or it deletes. Of rows that an
    upsert would put one over the other the last is left.
    """
    groups: list[tuple[Statement, list[Mapping[str, Any]]]] = []
    latest: dict[tuple[int, frozenset[str]], int] = {}
    for unit in units:
        for statement, rows in unit:
            if not rows:
                continue
            key = (id(statement), frozenset(rows[0]))
            index = latest.get(key)
            if index is not None and all(_may_overtake(statement, between) for between, _ in groups[index + 1 :]):
                groups[index][1].extend(rows)
                continue
            latest[key] = len(groups)
            groups.append((statement, list(rows)))
    return [(statement, _last(statement, rows)) for statement, rows in groups]


def _last(statement: Any, rows: list[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    """Of rows that an upsert would put one over the other the last, with what it keeps of the first."""
    options = statement.get_execution_options()
    key: tuple[str, ...] = options.get(UPSERT_KEY, ())
    if not key or len(rows) == 1:
        return rows
    keep: Sequence[str] = options[UPSERT_KEEPS]
    key_of, found = itemgetter(*key), dict[Any, Mapping[str, Any]]()
    for row in rows:
        which = key_of(row)
        first = found.get(which) if keep else None
        found[which] = row if first is None else {**row, **{name: first[name] for name in keep if name in first}}
    return list(found.values())


def _may_overtake(statement: Statement, other: Statement) -> bool:
    key = (id(statement), id(other))
    known = _overtaking.get(key)
    if known is None:
        known = _overtaking[key] = _independent(statement, other)
        # Ids are only unique among the living.
        _kept.append((statement, other))
    return known


def _independent(statement: Any, other: Any) -> bool:
    mine, theirs = getattr(statement, "table", None), getattr(other, "table", None)
    if mine is None or theirs is None or mine is theirs:
        return False
    if getattr(statement, "is_delete", False) or getattr(other, "is_delete", False):
        return False
    return all(key.column.table is not theirs for key in mine.foreign_keys)


_overtaking: dict[tuple[int, int], bool] = {}
_kept: list[tuple[Statement, Statement]] = []
