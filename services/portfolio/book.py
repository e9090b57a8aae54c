"""The books of one environment: the domain's ledgers at a position of its tape, and what each step changes in them.

Nothing here waits: a step is one synchronous call that moves memory and says what is to be stored, so that steps happen
in one order and are stored in that order.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from decimal import Decimal
from itertools import groupby
from typing import Final

from services.domain.accounting.books import Books, EquityPoint
from services.domain.accounting.entries import Account, Entry, EntryKind, Posting, as_decimal
from services.domain.accounting.ledger import Ledger
from services.domain.instrument import Instrument
from services.domain.market import Split
from services.domain.money import places
from services.domain.timeline import Timeline
from services.portfolio.records import Change, Cursor, Fill, Kept, Opening, Portfolio, Posted
from services.wire.cycle import Fold

# Order events, none of them a fill, that a restart may ask for again.
PASSED_OVER: Final = 8192


class Book:
    """The books of one environment.

    Restored from the store they answer questions at once; they move only after `start` gave them the tape.
    """

    def __init__(self, cursor: Cursor, kept: Iterable[Kept] = (), marks: Mapping[str, Decimal] | None = None) -> None:
        self.cursor = cursor
        self.kept = {each.portfolio.portfolio_id: each for each in kept}
        self.unstored: list[EquityPoint] = []
        self._marks = dict(marks or {})
        self._marked = cursor.tape_sequence
        self._noted = cursor.order_sequence
        self._timeline: Timeline | None = None
        self._instruments: Mapping[str, Instrument] = {}
        self._books: Books | None = None

    @property
    def started(self) -> bool:
        """Whether the tape is here."""
        return self._books is not None

    def start(self, timeline: Timeline, instruments: Mapping[str, Instrument], start_sequence: int) -> None:
        """Stand on the tape. Records up to `start_sequence` are history: nothing is folded before it."""
        position = max(self.cursor.tape_sequence, start_sequence)
        self.cursor = replace(self.cursor, tape_sequence=position, market_time=timeline.time(position))
        self._timeline, self._instruments, self._marked = timeline, instruments, -1
        self._books = Books(timeline, instruments, position)
        self._books.ledgers.update((key, kept.ledger) for key, kept in self.kept.items())

    def release(self) -> None:
        """Leave the tape, which takes the most memory; the last marks stay."""
        self.marks()
        self._timeline = self._books = None

    @property
    def currencies(self) -> set[str]:
        """What the instruments of the environment trade in."""
        return {instrument.currency_code for instrument in self._instruments.values()}

    def fold(self, step: Fold, fills: Sequence[Fill], now: int) -> tuple[Change | None, list[EquityPoint]]:
        """Move to the step's position and apply `fills`.

        Returns:
            What is to be stored before anybody is told, and the new points of the equity curves. Where no entry was
            made there is nothing: after a crash the tape gives the same marks and points again, from whatever position
            was stored. So points wait for the next change, or for `flush`.
        """
        books, timeline = self._started()
        postings: list[tuple[str, Posting]] = []
        points: list[EquityPoint] = []
        # A venue stops at its first event, so a step's fills are all of one position, its last. Should that ever be
        # otherwise, each is still folded at its own.
        stops = [(at, list(group)) for at, group in groupby(fills, lambda fill: fill.event.tape_sequence)]
        for at, group in [*stops, (step.tape_sequence, [])]:
            folded = books.fold(max(at, books.position), [fill.event for fill in group])
            postings += folded.postings
            points += folded.points
        if books.position == timeline.end:
            points += self._last_points(points)
        entries = self._post(postings, {fill.event.exec_id: fill for fill in fills}, now)
        self._advance(step, books.position, timeline.time(books.position))
        for point in points:
            self.kept[point.portfolio_id].valued = point.tape_sequence
        self.unstored += points
        return (self._change(postings, entries) if entries else None), points

    def open(self, opening: Opening, number: int, now: int) -> Change:
        """Open a portfolio and deposit its cash at the position the books stand at."""
        books, _ = self._started()
        ledger = Ledger(opening.portfolio_id, opening.currency_code)
        portfolio = Portfolio(
            portfolio_id=opening.portfolio_id,
            environment_id=opening.environment_id,
            number=number,
            display_name=opening.display_name,
            currency_code=opening.currency_code,
            initial_cash=opening.initial_cash,
            request_id=opening.request_id,
            opening_ledger_sequence=self.cursor.ledger_sequence + 1,
            create_time=now,
            principal=opening.principal,
            owner=opening.principal,
        )
        self.kept[portfolio.portfolio_id] = Kept(portfolio, ledger)
        books.ledgers[portfolio.portfolio_id] = ledger
        at, time = self.cursor.tape_sequence, self.cursor.market_time
        posting = ledger.deposit(opening.initial_cash, time, at, f"{opening.portfolio_id}-deposit")
        postings = [(portfolio.portfolio_id, posting)]
        change = self._change(postings, self._post(postings, {}, now))
        change.opened = portfolio
        return change

    def end(self, position: int, now: int) -> Change:
        """The environment has ended at `position`: a last equity point for portfolios that have none there."""
        if self._books is not None:
            cursor = self.cursor
            self.fold(Fold(cursor.environment_id, cursor.cycle, position, cursor.order_sequence), (), now)
            self.unstored += self._last_points(())
        self.cursor = replace(self.cursor, ended=True)
        return self._change([], [])

    def flush(self) -> Change:
        """What is stored when there is time: the points that wait, and the position they belong to."""
        return self._change([], [])

    def pass_over(self, order_sequence: int) -> Change | None:
        """Counts order events up to this one, none of them a fill to be folded; what is stored once they are many."""
        if order_sequence - self._noted < PASSED_OVER:
            return None
        self.cursor = replace(self.cursor, order_sequence=max(order_sequence, self.cursor.order_sequence))
        return self._change([], [])

    def marks(self) -> dict[str, Decimal]:
        """The last price, at the books' position, of every symbol that was ever held, with its instrument's places."""
        timeline, at = self._timeline, self.cursor.tape_sequence
        if timeline is not None and self._marked != at:
            symbols = {symbol for kept in self.kept.values() for symbol in kept.ledger.positions}
            found = {symbol: timeline.mark(symbol, at) for symbol in sorted(symbols)}
            self._marks = {s: self._padded(s, mark) for s, mark in found.items() if mark is not None}
            self._marked = at
        return self._marks

    def _started(self) -> tuple[Books, Timeline]:
        if self._books is None or self._timeline is None:
            raise RuntimeError(f"{self.cursor.environment_id} has no tape yet")
        return self._books, self._timeline

    def _advance(self, step: Fold, position: int, time: int) -> None:
        cursor = self.cursor
        self.cursor = replace(
            cursor,
            cycle=step.cycle,
            tape_sequence=position,
            market_time=time,
            order_sequence=max(step.order_head, cursor.order_sequence),
            applied=cursor.ledger_sequence,
        )

    def _last_points(self, made: Iterable[EquityPoint]) -> list[EquityPoint]:
        books, _ = self._started()
        here = {point.portfolio_id for point in made if point.tape_sequence == books.position}
        here |= {key for key, kept in self.kept.items() if kept.valued == books.position}
        return [books.point(portfolio_id, books.position) for portfolio_id in self.kept if portfolio_id not in here]

    def _post(self, postings: list[tuple[str, Posting]], causes: Mapping[str, Fill], now: int) -> list[Posted]:
        """Number the entries and say each one's balance, which is found backwards from the balances there are now."""
        made = [(portfolio_id, entry) for portfolio_id, posting in postings for entry in posting.entries]
        sequence = self.cursor.ledger_sequence + len(made)
        self.cursor = replace(self.cursor, ledger_sequence=sequence)
        before: dict[tuple[str, Account, str], Decimal] = {}
        posted: list[Posted] = []
        for portfolio_id, entry in reversed(made):
            kept = self.kept[portfolio_id]
            key = (portfolio_id, entry.account, entry.asset)
            balance = before[key] if key in before else kept.ledger.balance(entry.account, entry.asset)
            before[key] = balance - entry.amount
            owner, cause = kept.portfolio.owner, causes.get(entry.exec_id)
            traceparent, principal = ("", owner) if cause is None else (cause.traceparent, cause.principal)
            posted.append(
                Posted(
                    self.cursor.environment_id,
                    sequence,
                    portfolio_id,
                    entry,
                    balance,
                    now,
                    traceparent,
                    principal,
                    owner,
                    self._ratio(entry),
                )
            )
            kept.ledger_sequence = max(kept.ledger_sequence, sequence)
            sequence -= 1
        return posted[::-1]

    def _ratio(self, entry: Entry) -> tuple[Decimal, Decimal] | None:
        if entry.kind is not EntryKind.SPLIT:
            return None
        _, timeline = self._started()
        record = timeline.tape.record(entry.tape_sequence)
        return (as_decimal(record.numerator), as_decimal(record.denominator)) if isinstance(record, Split) else None

    def _change(self, postings: list[tuple[str, Posting]], entries: list[Posted]) -> Change:
        points, self.unstored = self.unstored, []
        self._noted = self.cursor.order_sequence
        change = Change(self.cursor, self.marks(), self.kept, entries=entries, points=points)
        for portfolio_id, posting in postings:
            kept = self.kept[portfolio_id]
            change.changed[portfolio_id] = None
            kept.last_lot = max([kept.last_lot, *(lot.lot_id for lot in posting.lots)])
            if posting.position is not None:
                change.positions[portfolio_id, posting.position.symbol] = posting.position
            for lot in posting.lots:
                change.lots[portfolio_id, lot.lot_id] = lot
            for lot in posting.closed_lots:
                change.lots.pop((portfolio_id, lot.lot_id), None)
                change.closed_lots[portfolio_id, lot.lot_id] = None
            for entry in posting.entries:
                key = (portfolio_id, entry.account, entry.asset)
                change.balances[key] = kept.ledger.balance(entry.account, entry.asset)
        return change

    def _padded(self, symbol: str, mark: Decimal) -> Decimal:
        """`mark` with at least its instrument's places; its exponent is where the places of prices are kept."""
        instrument = self._instruments.get(symbol)
        least = places(instrument.price_increment) if instrument else 0
        return mark.quantize(Decimal(1).scaleb(-least)) if places(mark) <= least else mark
