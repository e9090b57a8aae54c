"""What a market says besides its prices, up to the stored position: what auctions came to, and halts."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeVar

from services.chassis.errors import ApiError
from services.domain.market import Auction, Halt
from services.domain.tape import Kind
from services.domain.timeline import Timeline
from services.marketdata.feed.feed import Feeds

N = TypeVar("N", Auction, Halt)
_KINDS = {Auction: Kind.AUCTION, Halt: Kind.HALT}


@dataclass(frozen=True, slots=True)
class NoticePage:
    """What is asked for: of one symbol, times in ns of `[start_time, end_time)`, None for no bound."""

    symbol: str
    start_time: int | None
    end_time: int | None
    size: int


class Notices:
    """Reads them from the tapes."""

    def __init__(self, feeds: Feeds) -> None:
        self._feeds = feeds

    async def page(self, kind: type[N], environment_id: str, wanted: NoticePage, after: int) -> list[tuple[N, int]]:
        """Those after a position, with their own; one more than asked for where there are more.

        Raises:
            ApiError: NOT_FOUND, also for a symbol that is not in the environment.
        """
        feed = self._feeds.get(environment_id)
        if wanted.symbol not in feed.plan.symbols:
            message = "It is not in this environment."
            raise ApiError.not_found("instrument", wanted.symbol, "INSTRUMENT_NOT_FOUND", message)
        timeline = await feed.loaded()
        tape, rows = timeline.tape, timeline.index.rows_of(_KINDS[kind], wanted.symbol)
        rows = rows[(rows >= after) & (rows < feed.head)]
        if wanted.start_time is not None:
            rows = rows[tape.time[rows] >= wanted.start_time]
        if wanted.end_time is not None:
            rows = rows[tape.time[rows] < wanted.end_time]
        records = ((tape.record(row + 1), row + 1) for row in rows[: wanted.size + 1].tolist())
        return [(record, sequence) for record, sequence in records if isinstance(record, kind)]


def standing(timeline: Timeline, symbol: str, head: int) -> tuple[Halt, int] | None:
    """The halt that stands in a symbol at a position, and its own; None where it is traded."""
    rows = timeline.index.rows_of(Kind.HALT, symbol)
    seen = int(rows.searchsorted(head))
    record = timeline.tape.record(rows.item(seen - 1) + 1) if seen else None
    return (record, rows.item(seen - 1) + 1) if isinstance(record, Halt) and record.halted else None
