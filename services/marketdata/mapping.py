"""The contract's resources ↔ this service's values: pure."""

from __future__ import annotations

import datetime
from collections.abc import Iterable, Sequence
from dataclasses import replace
from decimal import Decimal
from typing import Final

import numpy as np
from tickmesh.marketdata.v1 import (
    environment_pb2,
    environment_service_pb2,
    instrument_pb2,
    market_data_pb2,
)

from services.chassis.errors import ApiError
from services.domain.instrument import Instrument
from services.domain.market import Auction, Bar, Halt, PriceLevel
from services.domain.money import format_decimal, places
from services.domain.tape import Kind
from services.marketdata.environment import FULL_SPEED, Pace, Request, State, View, Wanted
from services.marketdata.feed.feed import Latest
from services.marketdata.providers import DataSet
from services.wire.instruments import instrument_from_proto
from services.wire.values import numbers, time_from, timestamp

_STATES: Final[dict[State, environment_pb2.EnvironmentState.ValueType]] = numbers(
    environment_pb2.EnvironmentState, "ENVIRONMENT_STATE_", State
)
_SOURCES: Final = {
    Kind.QUOTE: market_data_pb2.QUOTE_SOURCE_QUOTE,
    Kind.TRADE: market_data_pb2.QUOTE_SOURCE_TRADE,
    Kind.BAR: market_data_pb2.QUOTE_SOURCE_BAR,
}


def date_from(field: str, text: str) -> int:
    """The days since 1970-01-01 of a civil date.

    Raises:
        ApiError: INVALID_ARGUMENT for a date that does not exist.
    """
    try:
        return datetime.date.fromisoformat(text).toordinal() - 719_163
    except ValueError:
        raise ApiError.invalid_field(field, "is no date") from None


def date_to(day: int) -> str:
    """The civil date of days since 1970-01-01."""
    return str(np.datetime64(day, "D"))


def state_to_proto(state: State | str) -> environment_pb2.EnvironmentState.ValueType:
    """The contract's number of a state."""
    return _STATES[State(state)]


def pace_from_proto(pace: environment_pb2.Pace) -> Pace:
    """How fast; nothing set is full speed."""
    match pace.WhichOneof("kind"):
        case "multiple":
            return Pace(multiple=pace.multiple)
        case "sessions_per_second":
            return Pace(sessions_per_second=pace.sessions_per_second)
        case _:
            return FULL_SPEED


def pace_to_proto(pace: Pace) -> environment_pb2.Pace:
    """How fast; empty for full speed."""
    if pace.multiple is not None:
        return environment_pb2.Pace(multiple=pace.multiple)
    if pace.sessions_per_second is not None:
        return environment_pb2.Pace(sessions_per_second=pace.sessions_per_second)
    return environment_pb2.Pace()


def environment_to_proto(view: View) -> environment_pb2.Environment:
    """An environment as it stands."""
    plan, pace = view.plan, view.pace
    return environment_pb2.Environment(
        environment_id=plan.environment_id,
        display_name=plan.display_name,
        state=state_to_proto(view.state),
        blocked_on=view.blocked_on,
        data_set_id=plan.data_set_id,
        symbols=plan.symbols,
        tape_digest=plan.tape_digest,
        start_sequence=plan.start_sequence,
        end_sequence=plan.end_sequence,
        tape_sequence=view.tape_sequence,
        market_time=None if view.market_time is None else timestamp(view.market_time),
        cycle=view.cycle,
        pace=pace_to_proto(pace),
        seed=plan.seed,
        create_time=timestamp(plan.create_time),
        owner=plan.owner,
    )


def request_from_proto(request: environment_service_pb2.CreateReplayRequest) -> Request:
    """A replay as it is asked for.

    Raises:
        ApiError: INVALID_ARGUMENT for times that are none, or in the wrong order.
    """
    start = time_from("start_time", request.start_time) if request.HasField("start_time") else None
    end = time_from("end_time", request.end_time) if request.HasField("end_time") else None
    if start is not None and end is not None and end < start:
        raise ApiError.invalid_field("end_time", "is before start_time")
    wanted = Wanted(request.data_set_id, tuple(sorted(request.symbols)), start, end)
    return Request(
        environment_id=request.environment_id,
        display_name=request.display_name,
        wanted=wanted,
        warm_up_sessions=request.warm_up_sessions,
        pace=pace_from_proto(request.pace),
        seed=request.seed,
        request_id=request.request_id.lower(),
    )


def data_set_to_proto(data_set: DataSet) -> environment_pb2.DataSet:
    """A data set as it is listed."""
    return environment_pb2.DataSet(
        data_set_id=data_set.data_set_id,
        display_name=data_set.display_name,
        description=data_set.description,
        symbols=data_set.symbols,
        kinds=data_set.kinds,
        start_time=timestamp(data_set.start_time),
        end_time=timestamp(data_set.end_time),
        record_count=data_set.record_count,
    )


def new_instrument(message: instrument_pb2.Instrument) -> Instrument:
    """An instrument to create, its amounts without trailing zeros, so that equal ones are stored and shown alike."""
    asked = instrument_from_proto(message)
    return replace(
        asked,
        price_increment=_plain(asked.price_increment),
        quantity_increment=_plain(asked.quantity_increment),
        lot_size=_plain(asked.lot_size),
        contract_multiplier=_plain(asked.contract_multiplier),
    )


def _plain(amount: Decimal) -> Decimal:
    return Decimal(format_decimal(amount))


def instrument_to_proto(instrument: Instrument, create_time: int) -> instrument_pb2.Instrument:
    """An instrument."""
    return instrument_pb2.Instrument(
        symbol=instrument.symbol,
        display_name=instrument.name,
        currency_code=instrument.currency_code,
        calendar=instrument.calendar,
        price_increment=format_decimal(instrument.price_increment),
        quantity_increment=format_decimal(instrument.quantity_increment),
        lot_size=format_decimal(instrument.lot_size),
        contract_multiplier=format_decimal(instrument.contract_multiplier),
        create_time=timestamp(create_time),
    )


def session_to_proto(calendar: str, session: tuple[int, int, int]) -> instrument_pb2.TradingSession:
    """A session: its day, its open, its close."""
    day, opens, closes = session
    return instrument_pb2.TradingSession(
        calendar=calendar, session_date=date_to(day), open_time=timestamp(opens), close_time=timestamp(closes)
    )


class Writer:
    """Writes one instrument's prices and sizes with its increments' places."""

    def __init__(self, instrument: Instrument) -> None:
        self._price = f".{places(instrument.price_increment)}f"
        self._size = f".{places(instrument.quantity_increment)}f"

    def price(self, value: float | None) -> str:
        """A tape's double stands for one decimal of no more places, so rounding to them gives exactly it."""
        return "" if value is None else format(value, self._price)

    def size(self, value: float | None) -> str:
        """Units; the tape's 0 is "unknown" for quotes and trades."""
        return "" if value is None or value == 0 else format(value, self._size)

    def volume(self, value: float) -> str:
        """Units traded, 0 too."""
        return format(value, self._size)


def levels_to_proto(levels: Sequence[PriceLevel], writer: Writer, depth: int) -> list[market_data_pb2.PriceLevel]:
    """As many price levels as are asked for; none for a depth of 1, the best alone."""
    shown = levels[:depth] if depth > 1 else ()
    return [market_data_pb2.PriceLevel(price=writer.price(price), size=writer.size(size)) for price, size in shown]


def quote_to_proto(
    latest: Latest, environment_id: str, instrument: Instrument, publish_time: int, depth: int
) -> market_data_pb2.Quote:
    """The latest price of a symbol."""
    writer = Writer(instrument)
    return market_data_pb2.Quote(
        symbol=latest.symbol,
        environment_id=environment_id,
        bid_price=writer.price(latest.bid),
        ask_price=writer.price(latest.ask),
        bid_size=writer.size(latest.bid_size),
        ask_size=writer.size(latest.ask_size),
        last_price=writer.price(latest.last),
        source=_SOURCES[latest.kind],
        event_time=timestamp(latest.time),
        publish_time=timestamp(publish_time),
        tape_sequence=latest.tape_sequence,
        bids=levels_to_proto(latest.bids, writer, depth),
        asks=levels_to_proto(latest.asks, writer, depth),
    )


def bar_to_proto(bar: Bar, tape_sequence: int, writer: Writer, *, final: bool = True) -> market_data_pb2.Bar:
    """A bar; `tape_sequence` 0 for one that was derived."""
    return market_data_pb2.Bar(
        symbol=bar.symbol,
        interval=bar.interval,
        start_time=timestamp(bar.start),
        end_time=timestamp(bar.end),
        open=writer.price(bar.open),
        high=writer.price(bar.high),
        low=writer.price(bar.low),
        close=writer.price(bar.close),
        volume=writer.volume(bar.volume),
        final=final,
        tape_sequence=tape_sequence,
    )


def auction_to_proto(auction: Auction, tape_sequence: int, writer: Writer) -> market_data_pb2.Auction:
    """What an auction came to."""
    return market_data_pb2.Auction(
        symbol=auction.symbol,
        auction_type=market_data_pb2.AUCTION_TYPE_OPENING if auction.opening else market_data_pb2.AUCTION_TYPE_CLOSING,
        price=writer.price(auction.price),
        size=writer.size(auction.size),
        event_time=timestamp(auction.time),
        tape_sequence=tape_sequence,
    )


def halt_to_proto(halt: Halt, tape_sequence: int) -> market_data_pb2.Halt:
    """Trading that stops or goes on."""
    return market_data_pb2.Halt(
        symbol=halt.symbol, halted=halt.halted, event_time=timestamp(halt.time), tape_sequence=tape_sequence
    )


def bar_columns(bars: Sequence[Bar], tape_sequences: Iterable[int]) -> market_data_pb2.BarColumns:
    """Bars of one series as parallel arrays."""
    return market_data_pb2.BarColumns(
        tape_sequences=tape_sequences,
        start_times=[bar.start for bar in bars],
        end_times=[bar.end for bar in bars],
        symbols=[0] * len(bars),
        intervals=[0] * len(bars),
        opens=[bar.open for bar in bars],
        highs=[bar.high for bar in bars],
        lows=[bar.low for bar in bars],
        closes=[bar.close for bar in bars],
        volumes=[bar.volume for bar in bars],
    )
