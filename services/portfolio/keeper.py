"""Keeps the books of all environments: opens portfolios, folds what is asked for, stores, then publishes."""

from __future__ import annotations

import asyncio
import logging
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace

import grpc

from services.chassis import deadline
from services.chassis.errors import ApiError
from services.chassis.failpoints import failpoint
from services.chassis.streams.event_log import EventLog
from services.chassis.telemetry import tracing
from services.domain.accounting.books import EquityPoint
from services.domain.timeline import Timeline
from services.portfolio.book import Book
from services.portfolio.clients import OrderFeed
from services.portfolio.records import Cursor, EntryKey, Fill, Kept, Opening, Portfolio
from services.portfolio.shelf import Shelf
from services.portfolio.store import Store
from services.wire.cycle import Fold
from services.wire.environments import Environment
from services.wire.market import Market

_log = logging.getLogger(__name__)


class Keeper:
    """The one writer of the books.

    A step moves memory in one synchronous call and takes its place in the writer's queue before anything else can run;
    who asks waits in `settled` until what memory holds is stored. So an answer never tells of what a crash could undo.
    """

    def __init__(
        self, store: Store, log: EventLog[EntryKey], market: Market, feed: Callable[[str, int], OrderFeed]
    ) -> None:
        """Takes what opens an environment's feed of order events behind a number."""
        self._store, self._market, self._feed = store, market, feed
        self._shelf = Shelf(store, log)
        self._feeds: dict[str, tuple[OrderFeed, asyncio.Task[None]]] = {}
        self._starting: dict[str, asyncio.Task[None]] = {}
        self._watchers: dict[str, set[asyncio.Event]] = defaultdict(set)

    async def recover(self) -> None:
        """Restore all books as they were last stored; call once, before serving."""
        await self._shelf.recover()

    async def find(self, portfolio_id: str) -> tuple[Book, Kept]:
        """A portfolio and its environment's books, with nothing in them that is not stored.

        Raises:
            ApiError: NOT_FOUND `PORTFOLIO_NOT_FOUND`.
        """
        environment_id = self._shelf.register.find(portfolio_id).environment_id
        await self._shelf.settled(environment_id)
        book = self._shelf.books[environment_id]
        return book, book.kept[portfolio_id]

    async def portfolios(self, environment_id: str = "") -> list[tuple[Book, Kept]]:
        """All portfolios, or an environment's, oldest first."""
        await self._shelf.all_settled(environment_id)
        books = [book for key, book in self._shelf.books.items() if environment_id in {"", key}]
        found = [(book, kept) for book in books for kept in book.kept.values()]
        return sorted(found, key=lambda each: each[1].portfolio.number)

    async def entries(self, portfolio_id: str, after: int, limit: int, order_id: str) -> list[tuple[int, bytes]]:
        """(number, encoded entry) of a portfolio's entries after a number; of an order if named; fails as `find`."""
        await self.find(portfolio_id)
        return await self._store.entries(portfolio_id, after, limit, order_id)

    async def points(self, portfolio_id: str, after: int, limit: int) -> list[EquityPoint]:
        """A portfolio's equity points behind a tape position; fails as `find`."""
        book, _ = await self.find(portfolio_id)
        self._shelf.flush(book.cursor.environment_id)
        await self._shelf.settled(book.cursor.environment_id)
        return await self._store.points(portfolio_id, after, limit)

    async def require_environment(self, environment_id: str) -> None:
        """Makes sure that there is such an environment; fails as marketdata does, or when marketdata is away."""
        if environment_id not in self._shelf.books:
            await self._market.environment(environment_id)

    async def create(self, opening: Opening) -> tuple[Book, Kept]:
        """Opens a portfolio with its deposit; the same request again finds the same portfolio.

        Raises:
            ApiError: ALREADY_EXISTS, FAILED_PRECONDITION `ENVIRONMENT_COMPLETED`, INVALID_ARGUMENT for a currency that
                the environment does not trade in, or what marketdata says of the environment.
        """
        found = self._shelf.register.answer(opening)
        if found is None:
            environment = await self._market.environment(opening.environment_id)
            book = None if environment.ended else await self._started(environment)
            # Somebody else may have been faster while we waited.
            found = self._shelf.register.answer(opening)
            if found is None:
                if book is None or book.cursor.ended:
                    ended = f"The environment {opening.environment_id} has ended."
                    raise ApiError.failed_precondition("ENVIRONMENT_COMPLETED", ended, subject=opening.environment_id)
                found = self._open(book, opening)
        return await self.find(found.portfolio_id)

    async def announced(self, environment: Environment) -> tuple[int, int] | None:
        """Makes the books ready for an environment, or closes them when it has ended.

        Returns:
            The tape position and cycle at which they stand; None where there is nothing left to take part in.
        """
        if not environment.ended:
            cursor = (await self._started(environment)).cursor
            return cursor.tape_sequence, cursor.cycle
        book = self._shelf.books.get(environment.environment_id)
        if book is not None and not book.cursor.ended:
            await self._shelf.commit(book, book.end(environment.tape_sequence, time.time_ns()))
            self._release(book)
        return None

    async def close_ended(self) -> None:
        """Closes the books of environments that ended while we were away: those are not announced again."""
        waiting = [key for key, book in self._shelf.books.items() if not book.cursor.ended]
        while waiting:
            for key in list(waiting):
                try:
                    environment = await self._market.environment(key)
                    if environment.ended:
                        await self._started(environment)
                        await self.announced(environment)
                    waiting.remove(key)
                except Exception as error:  # noqa: BLE001 those books stay as they were stored
                    if not isinstance(error, ApiError) or error.code is not grpc.StatusCode.UNAVAILABLE:
                        _log.warning("books stay open", extra={"environment_id": key, "error": str(error)})
                        waiting.remove(key)
            await asyncio.sleep(1.0)

    async def fold(self, step: Fold) -> int:
        """Folds a step and returns the last entry's number then; a step that was folded before gets the same answer.

        Raises:
            RuntimeError: the environment was not announced, so there is no tape to stand on.
        """
        book = self._shelf.books.get(step.environment_id)
        if book is None or not book.started:
            raise RuntimeError(f"{step.environment_id} is to be folded, but was not announced")
        if not book.cursor.covers(step):
            await self._fold(book, step)
        # The head that is told may be a deposit's, which came in between: a crash must not undo it either.
        await self._shelf.settled(step.environment_id)
        return book.cursor.applied

    @contextmanager
    def watch(self, portfolio_id: str) -> Iterator[asyncio.Event]:
        """An event that is set whenever the portfolio was valued anew without an entry."""
        event = asyncio.Event()
        self._watchers[portfolio_id].add(event)
        try:
            yield event
        finally:
            self._watchers[portfolio_id].discard(event)

    async def _fold(self, book: Book, step: Fold) -> None:
        feed, _ = self._feeds[step.environment_id]
        fills = await feed.take(step.order_head)
        begun = time.time_ns()
        try:
            change, points = book.fold(step, fills, begun)
        except Exception:
            # Half a step is in memory. What is stored is whole, and the step will come again.
            self._release(book)
            self._shelf.reload(book)
            raise
        if change is not None:
            failpoint("portfolio.mid_fold")
            await self._shelf.commit(book, change)
            failpoint("portfolio.after_commit")
            _trace(fills, begun)
        elif points:
            self._shelf.flush_soon(step.environment_id)
        told = change.changed if change is not None else {}
        for portfolio_id in {point.portfolio_id for point in points} - told.keys():
            for event in self._watchers.get(portfolio_id, ()):
                event.set()

    def _open(self, book: Book, opening: Opening) -> Portfolio:
        if book.currencies and book.currencies != {opening.currency_code}:
            traded = ", ".join(sorted(book.currencies))
            raise ApiError.invalid_field(
                "initial_cash.currency_code", f"the instruments of {opening.environment_id} trade in {traded}"
            )
        number, portfolio_id = self._shelf.register.next(opening.portfolio_id)
        named = replace(opening, portfolio_id=portfolio_id, display_name=opening.display_name or portfolio_id)
        change = book.open(named, number, time.time_ns())
        portfolio = book.kept[portfolio_id].portfolio
        self._shelf.register.add(portfolio)
        self._shelf.enqueue(book, change)
        return portfolio

    async def _started(self, environment: Environment) -> Book:
        """The books of an environment, standing on its tape; who comes meanwhile waits for the same."""
        key = environment.environment_id
        await self._shelf.settled(key)
        book = self._shelf.books.get(key)
        if book is None:
            book = self._shelf.adopt(Book(Cursor(key)))
        if not book.started and not book.cursor.ended:
            task = self._starting.get(key)
            if task is None:
                task = self._starting[key] = deadline.detach(self._start(environment, book), name=f"start:{key}")
                task.add_done_callback(lambda done: self._starting.pop(key, None))
            await asyncio.shield(task)
        return book

    async def _start(self, environment: Environment, book: Book) -> None:
        instruments = await self._market.instruments(environment.symbols)
        tape = await self._market.tape(environment)
        book.start(Timeline(tape), instruments, environment.start_sequence)
        feed = self._feed(environment.environment_id, book.cursor.order_sequence)
        following = feed.run(lambda: self._pass_over(book, feed))
        self._feeds[environment.environment_id] = feed, deadline.detach(following, name="order-events")

    def _pass_over(self, book: Book, feed: OrderFeed) -> None:
        """Stores how far there is nothing to fold, so that a restart does not ask for all of it again."""
        change = book.pass_over(feed.counted)
        if change is not None:
            self._shelf.enqueue(book, change)

    async def stop(self) -> None:
        """Follows no events any more: to be called while there still is a channel that they come by."""
        tasks = [*self._starting.values(), *(task for _, task in self._feeds.values())]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def _release(self, book: Book) -> None:
        book.release()
        if (feed := self._feeds.pop(book.cursor.environment_id, None)) is not None:
            feed[1].cancel()


def _trace(fills: list[Fill], begun: int) -> None:
    """The posting joins the trace of the order that filled."""
    for fill in fills:
        if fill.traceparent:
            order = fill.event.order
            exec_id = fill.event.exec_id
            attributes = {"portfolio_id": order.portfolio_id, "order_id": order.order_id, "exec_id": exec_id}
            with tracing.span_from(fill.traceparent, "ledger posting", attributes, start_time_ns=begun):
                pass
