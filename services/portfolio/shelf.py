"""The books in memory, and what of them is stored: every change takes its place in the writer's queue at once."""

from __future__ import annotations

import asyncio
from typing import Final

from services.chassis import deadline
from services.chassis.streams.event_log import EventLog
from services.portfolio.book import Book
from services.portfolio.records import Change, Cursor, EntryKey, Register
from services.portfolio.store import Store

# Equity points wait so long for a commit of their own: the tape would give them again, so no answer waits for them.
FLUSH_SECONDS: Final = 0.25


class Shelf:
    """All books. Who asks waits in `settled` until what memory holds is stored.

    Attributes:
        books: by environment.
        register: all portfolios.
    """

    def __init__(self, store: Store, log: EventLog[EntryKey]) -> None:
        self.books: dict[str, Book] = {}
        self.register = Register()
        self._store, self._log = store, log
        self._pending: dict[str, asyncio.Future[None]] = {}
        self._flushing: dict[str, asyncio.TimerHandle] = {}

    async def recover(self) -> None:
        """Restore all books as they were last stored; call once, before serving."""
        for book in await self._store.books():
            self.adopt(book)
            self._log.recover(book.cursor.environment_id, book.cursor.ledger_sequence)

    async def settled(self, environment_id: str) -> None:
        """Returns when all that memory holds of an environment is stored."""
        while (pending := self._pending.get(environment_id)) is not None:
            await asyncio.shield(pending)

    async def all_settled(self, environment_id: str = "") -> None:
        """As `settled`, of one environment or of all."""
        while busy := [key for key in self._pending if environment_id in {"", key}]:
            await self.settled(busy[0])

    def adopt(self, book: Book) -> Book:
        """Takes an environment's books in, in place of those there were."""
        self.books[book.cursor.environment_id] = book
        for kept in book.kept.values():
            self.register.add(kept.portfolio)
        return book

    async def commit(self, book: Book, change: Change) -> None:
        """Stores a change; returns when that is done."""
        self.enqueue(book, change)
        await self.settled(book.cursor.environment_id)

    def enqueue(self, book: Book, change: Change) -> None:
        """Stores a change and publishes its entries, in the order of the calls."""
        key = book.cursor.environment_id
        unit, entries = self._store.unit(change)

        def publish() -> None:
            self._log.publish(key, entries)
            if self._pending.get(key) is done:
                del self._pending[key]

        done = self._pending[key] = self._store.writer.enqueue(unit, publish)

    def flush_soon(self, environment_id: str) -> None:
        """Stores equity points in a while."""
        if environment_id not in self._flushing:
            loop = asyncio.get_running_loop()
            self._flushing[environment_id] = loop.call_later(FLUSH_SECONDS, self.flush, environment_id)

    def flush(self, environment_id: str) -> None:
        """Stores equity points that wait for it."""
        if (timer := self._flushing.pop(environment_id, None)) is not None:
            timer.cancel()
        book = self.books[environment_id]
        if book.unstored:
            self.enqueue(book, book.flush())

    def reload(self, book: Book) -> None:
        """Forget what memory holds of an environment; whoever asks waits until it is restored."""
        key = book.cursor.environment_id
        book.unstored.clear()
        stored = self._pending.get(key)

        async def reload() -> None:
            if stored is not None:
                await stored
            books = await self._store.books(key)
            self.adopt(books[0] if books else Book(Cursor(key)))
            del self._pending[key]

        self._pending[key] = deadline.detach(reload(), name=f"reload:{key}")
