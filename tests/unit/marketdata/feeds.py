"""A tape, a feed of it, its instruments, and what a stream's bytes say."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

from tickmesh.marketdata.v1 import market_data_service_pb2

from services.domain.instrument import Instrument
from services.domain.tape import Tape, merge
from services.domain.timeline import Timeline
from services.marketdata.environment import Plan
from services.marketdata.feed.feed import Feed
from services.marketdata.reference.instruments import Instruments
from tests.unit.domain.markets import clock, daily, walk


class Known(Instruments):
    """Two instruments of a cent."""

    def __init__(self) -> None:
        self._known = {symbol: Instrument(symbol, price_increment=Decimal("0.01")) for symbol in "AB"}


def feed_of(made: Tape) -> Feed:
    plan = Plan("replay-1", 1, "", "x", ("A", "B"), None, None, "d", 0, len(made), 0, "", "", "local", 0)
    return Feed(plan, 0, Timeline(made), None)  # type: ignore[arg-type]


def parse(data: bytes) -> market_data_service_pb2.StreamMarketDataResponse:
    return market_data_service_pb2.StreamMarketDataResponse.FromString(data)


def tape_of(*more: Any) -> Tape:
    return merge([daily("S", walk(1, 8)), clock(8), *more])
