"""The books of an environment along a tape: ledgers folded from order events and splits, and equity (rule 32c)."""

from collections.abc import Iterable, Mapping
from decimal import Decimal
from typing import NamedTuple, cast

from services.domain.accounting.ledger import Ledger, Posting
from services.domain.instrument import Instrument
from services.domain.market import Split
from services.domain.orders.order import ExecType, OrderEvent
from services.domain.timeline import Timeline
from services.domain.values import new


class EquityPoint(NamedTuple):
    """What a portfolio was worth at a position; ``time`` is its market time, ns."""

    portfolio_id: str
    tape_sequence: int
    time: int
    cash: Decimal
    equity: Decimal


class Folded(NamedTuple):
    """What one fold did: (portfolio, posting) pairs in their order, and points of the equity curves."""

    postings: list[tuple[str, Posting]]
    points: list[EquityPoint]


_TRADE = ExecType.TRADE


class Books:
    """The ledgers of all portfolios of one environment, at one position of its tape.

    Equity points come at each session close and after fills, never from how often somebody asked.
    """

    def __init__(self, timeline: Timeline, instruments: Mapping[str, Instrument], position: int = 0) -> None:
        self.ledgers: dict[str, Ledger] = {}
        self.position = position
        self._timeline = timeline
        self._instruments = instruments

    def fold(self, through: int, events: Iterable[OrderEvent] = ()) -> Folded:
        """Move to ``through``: splits and closes up to there, then ``events``, all of which happened there."""
        postings: list[tuple[str, Posting]] = []
        points: list[EquityPoint] = []
        if through != self.position:
            for sequence, is_close in self._timeline.edges(self.position, through):
                if is_close:
                    points += [self.point(portfolio_id, sequence) for portfolio_id in self.ledgers]
                else:
                    postings += self._split(sequence)
            self.position = through
        filled: dict[str, None] = {}
        for event in events:
            if event.exec_type is _TRADE:
                order = event.order
                posting = self.ledgers[order.portfolio_id].apply(event, self._instruments[order.symbol])
                postings.append((order.portfolio_id, posting))
                filled[order.portfolio_id] = None
        for portfolio_id in filled:
            points.append(self.point(portfolio_id, through))
        return new(Folded, (postings, points))

    def point(self, portfolio_id: str, sequence: int) -> EquityPoint:
        """The portfolio's worth as it is, at the prices of ``sequence``."""
        ledger = self.ledgers[portfolio_id]
        marks = {}
        for symbol, position in ledger.positions.items():
            if position.quantity and (mark := self._timeline.mark(symbol, sequence)) is not None:
                marks[symbol] = mark
        cash, equity = ledger.cash, ledger.equity(marks)
        return new(EquityPoint, (portfolio_id, sequence, self._timeline.time(sequence), cash, equity))

    def _split(self, sequence: int) -> list[tuple[str, Posting]]:
        split = cast("Split", self._timeline.tape.record(sequence))
        mark = self._timeline.mark(split.symbol, sequence - 1)
        made = []
        for portfolio_id, ledger in self.ledgers.items():
            if split.symbol in ledger.positions:
                posting = ledger.split(
                    split.symbol,
                    split.numerator,
                    split.denominator,
                    time=split.time,
                    tape_sequence=sequence,
                    instrument=self._instruments[split.symbol],
                    mark=mark,
                )
                made.append((portfolio_id, posting))
        return made
