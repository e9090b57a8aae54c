"""Records as bytes of the contract's messages: columns straight from arrays, rows message by message."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from functools import cached_property
from typing import Final

import numpy as np
from google.protobuf.timestamp_pb2 import Timestamp
from numpy.typing import NDArray
from tickmesh.marketdata.v1 import market_data_pb2, market_data_service_pb2

from services.chassis.streams.event_log import Closed, Reset
from services.chassis.streams.tokens import length_delimited
from services.domain.instrument import Instrument
from services.domain.market import Auction, Bar, Halt
from services.domain.tape import LEVEL_VALUES, Kind, Tape, side_of
from services.domain.timeline import Timeline
from services.marketdata.feed.broadcast import PUBLIC, Encoding, Rows
from services.marketdata.feed.feed import Feed
from services.marketdata.feed.notices import standing
from services.marketdata.feed.streams import Item, Nothing, Records, Snapshot
from services.marketdata.mapping import (
    Writer,
    auction_to_proto,
    bar_to_proto,
    halt_to_proto,
    levels_to_proto,
    quote_to_proto,
)
from services.marketdata.reference.instruments import Instruments
from services.wire.columns import packed, packed_varints
from services.wire.streams import MISSED, Envelopes
from services.wire.values import now as wall_time

Response = market_data_service_pb2.StreamMarketDataResponse
_FIELDS: Final = {name: field.number for name, field in Response.DESCRIPTOR.fields_by_name.items()}
# Positions encoded at a time, so that the loop is never held for more than some ms: 0.3 µs a column, 8 µs a row.
COLUMN_RECORDS: Final = 16_384
ROW_RECORDS: Final = 512


class Tables:
    """The tables that a tape's columns index into; the same for every subscriber and after a restart."""

    def __init__(self, tape: Tape) -> None:
        data = [each for each in tape.sources if each.kind in PUBLIC]
        self.symbols = sorted({each.symbol for each in data})
        self.intervals = sorted({each.interval for each in data if each.interval})
        self.symbol_of = np.array([_index(self.symbols, each.symbol) for each in tape.sources], np.int32)
        self.interval_of = np.array([_index(self.intervals, each.interval) for each in tape.sources], np.int32)
        self.kind_of = np.array([each.kind.value for each in tape.sources], np.int8)


def _index(table: Sequence[str], name: str) -> int:
    return table.index(name) if name in table else 0


class FeedWriter:
    """Encodes the records of feeds."""

    def __init__(self, instruments: Instruments) -> None:
        self._instruments = instruments
        self._tables: dict[str, Tables] = {}

    @cached_property
    def columns(self) -> Encoding:
        """Parallel arrays."""
        return Encoding("COLUMNS", self._columns, COLUMN_RECORDS)

    @cached_property
    def rows(self) -> Encoding:
        """A message a record."""
        return Encoding("ROWS", self._rows, ROW_RECORDS)

    def tables(self, feed: Feed, tape: Tape) -> Tables:
        """The tables of a feed's tape."""
        found = self._tables.get(feed.plan.tape_digest)
        if found is None:
            found = self._tables[feed.plan.tape_digest] = Tables(tape)
        return found

    def snapshot(
        self, feed: Feed, symbols: frozenset[str], timeline: Timeline, *, depth: int = 1
    ) -> market_data_pb2.MarketDataSnapshot:
        """Where a stream begins, at the feed's head."""
        environment_id, now = feed.plan.environment_id, time.time_ns()
        tables = self.tables(feed, timeline.tape)
        wanted = [symbol for symbol in tables.symbols if not symbols or symbol in symbols]
        latest = [each for symbol in wanted if (each := feed.latest(timeline, symbol)) is not None]
        return market_data_pb2.MarketDataSnapshot(
            environment_id=environment_id,
            tape_sequence=feed.head,
            quotes=[quote_to_proto(each, environment_id, self._instrument(each.symbol), now, depth) for each in latest],
            symbols=tables.symbols,
            intervals=tables.intervals,
            halts=self._standing(timeline, wanted, feed.head),
        )

    def _standing(self, timeline: Timeline, symbols: Sequence[str], head: int) -> list[market_data_pb2.Halt]:
        found = [standing(timeline, symbol, head) for symbol in symbols if timeline.index.halts(symbol)]
        return [halt_to_proto(*each) for each in found if each is not None]

    def _instrument(self, symbol: str) -> Instrument:
        return self._instruments.get(symbol)

    def _columns(self, feed: Feed, tape: Tape, rows: Rows, depth: int = 1) -> bytes:
        tables = self.tables(feed, tape)
        source = tape.source[rows]
        kinds = tables.kind_of[source]
        parts = []
        for number, kind, write in _COLUMNS:
            chosen = kinds == kind.value
            if chosen.all():
                own = rows, source
            elif chosen.any():
                own = rows[chosen], source[chosen]
            else:
                continue
            data = write(tape, *own, tables)
            if kind is Kind.QUOTE and depth > 1:
                data += _levels(tape, own[0], depth)
            parts.append(length_delimited(number, data))
            if chosen.all():
                break
        return length_delimited(_FIELDS["columns"], b"".join(parts))

    def _rows(self, feed: Feed, tape: Tape, rows: Rows, depth: int = 1) -> bytes:
        made = market_data_pb2.MarketDataRows()
        writers: dict[str, Writer] = {}
        environment_id, now = feed.plan.environment_id, wall_time()
        indexes, times = tape.source[rows].tolist(), tape.time[rows].tolist()
        starts, values = tape.start[rows].tolist(), tape.values[rows].tolist()
        for row, index, at, start, value in zip(rows.tolist(), indexes, times, starts, values, strict=True):
            source = tape.sources[index]
            symbol = source.symbol
            writer = writers.get(symbol)
            if writer is None:
                writer = writers[symbol] = Writer(self._instrument(symbol))
            match source.kind:
                case Kind.QUOTE:
                    quote = made.quotes.add(symbol=symbol, environment_id=environment_id, publish_time=now)
                    quote.bid_price, quote.ask_price = writer.price(value[0]), writer.price(value[1])
                    quote.bid_size, quote.ask_size = writer.size(value[2]), writer.size(value[3])
                    quote.source, quote.tape_sequence = market_data_pb2.QUOTE_SOURCE_QUOTE, row + 1
                    _set(quote.event_time, at)
                    if depth > 1 and (behind := tape.behind(row)):
                        quote.bids.extend(levels_to_proto(side_of(value, behind, asks=False), writer, depth))
                        quote.asks.extend(levels_to_proto(side_of(value, behind, asks=True), writer, depth))
                case Kind.TRADE:
                    price, size = writer.price(value[0]), writer.size(value[1])
                    trade = made.trades.add(symbol=symbol, price=price, size=size, tape_sequence=row + 1)
                    _set(trade.event_time, at)
                case Kind.AUCTION:
                    auction = Auction(symbol, at, value[0], value[1], opening=value[2] == 1.0)
                    made.auctions.append(auction_to_proto(auction, row + 1, writer))
                case Kind.HALT:
                    made.halts.append(halt_to_proto(Halt(symbol, at, value[0] == 1.0), row + 1))
                case _:
                    made.bars.append(bar_to_proto(Bar(symbol, source.interval, start, at, *value), row + 1, writer))
        return length_delimited(_FIELDS["rows"], made.SerializeToString())


def _set(field: Timestamp, at: int) -> None:
    field.seconds, field.nanos = divmod(at, 1_000_000_000)


def _ticks(columns: int) -> Callable[[Tape, Rows, NDArray[np.int32], Tables], bytes]:
    """Writes quotes or trades, which differ by how many values they have."""

    def write_ticks(tape: Tape, rows: Rows, source: NDArray[np.int32], tables: Tables) -> bytes:
        values = tape.values[rows]
        return b"".join(
            [
                packed(1, rows + 1),
                packed(2, tape.time[rows]),
                packed_varints(3, tables.symbol_of[source]),
                *(packed(4 + column, values[:, column]) for column in range(columns)),
            ]
        )

    return write_ticks


def _bars(tape: Tape, rows: Rows, source: NDArray[np.int32], tables: Tables) -> bytes:
    values = tape.values[rows]
    return b"".join(
        [
            packed(1, rows + 1),
            packed(2, tape.start[rows]),
            packed(3, tape.time[rows]),
            packed_varints(4, tables.symbol_of[source]),
            packed_varints(5, tables.interval_of[source]),
            *(packed(6 + column, values[:, column]) for column in range(5)),
        ]
    )


def _auctions(tape: Tape, rows: Rows, source: NDArray[np.int32], tables: Tables) -> bytes:
    values = tape.values[rows]
    types = np.where(
        values[:, 2] == 1.0, market_data_pb2.AUCTION_TYPE_OPENING, market_data_pb2.AUCTION_TYPE_CLOSING
    ).astype(np.int32)
    return b"".join(
        [
            packed(1, rows + 1),
            packed(2, tape.time[rows]),
            packed_varints(3, tables.symbol_of[source]),
            packed_varints(4, types),
            packed(5, values[:, 0]),
            packed(6, values[:, 1]),
        ]
    )


def _halts(tape: Tape, rows: Rows, source: NDArray[np.int32], tables: Tables) -> bytes:
    halted = (tape.values[rows, 0] == 1.0).astype(np.int32)
    return b"".join(
        [
            packed(1, rows + 1),
            packed(2, tape.time[rows]),
            packed_varints(3, tables.symbol_of[source]),
            packed_varints(4, halted),
        ]
    )


def _levels(tape: Tape, rows: Rows, depth: int) -> bytes:
    """The price levels behind the best ones of quotes, at most `depth` less one of each."""
    own = tape.levels.rows.searchsorted(rows)
    counts = np.minimum(tape.levels.rows.searchsorted(rows + 1) - own, depth - 1).astype(np.int32)
    # Of each quote the first ones: where its own begin, and so many on from there.
    chosen = np.repeat(own - np.cumsum(counts) + counts, counts) + np.arange(counts.sum())
    values = tape.levels.values[chosen]
    prices_and_sizes = [packed(9 + column, values[:, column]) for column in range(LEVEL_VALUES)]
    return b"".join([packed_varints(8, counts), *prices_and_sizes])


# Their fields in MarketDataColumns.
_COLUMNS: Final = (
    (1, Kind.QUOTE, _ticks(4)),
    (2, Kind.TRADE, _ticks(2)),
    (3, Kind.BAR, _bars),
    (4, Kind.AUCTION, _auctions),
    (5, Kind.HALT, _halts),
)


def write(
    envelopes: Envelopes, item: Item, snapshot: Callable[[Timeline], market_data_pb2.MarketDataSnapshot]
) -> bytes:
    """A message of a subscription: its own head, then bytes that may be shared; `snapshot` makes one at this moment."""
    match item:
        case Records(position, data):
            return envelopes.around(data, position)
        case Nothing(position):
            return envelopes.heartbeat(position)
        case Snapshot(position, timeline):
            return envelopes.wrap("snapshot", snapshot(timeline).SerializeToString(), position)
        case Reset(reason, head):
            return envelopes.reset(reason, head, MISSED)
        case Closed(error):
            return envelopes.closed(error)
