"""Market data and instruments over gRPC."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Sequence
from functools import partial
from typing import Any, Final

import grpc
from tickmesh.marketdata.v1 import (
    instrument_pb2,
    instrument_service_pb2,
    market_data_pb2,
    market_data_service_pb2,
)
from tickmesh.marketdata.v1.instrument_service_pb2_grpc import InstrumentServiceServicer
from tickmesh.marketdata.v1.market_data_service_pb2_grpc import MarketDataServiceServicer

from services.chassis.calls.handlers import principal
from services.chassis.errors import ApiError
from services.chassis.streams.event_log import Closed
from services.chassis.streams.tokens import ResumeTokens
from services.domain.calendar import UnknownTime
from services.domain.market import Auction, Halt
from services.domain.tape import Kind
from services.marketdata import mapping
from services.marketdata.environments import Environments
from services.marketdata.feed.bars import BarPage, Bars
from services.marketdata.feed.broadcast import Selection, Terms
from services.marketdata.feed.feed import Latest
from services.marketdata.feed.mapping import FeedWriter, write
from services.marketdata.feed.notices import N, NoticePage, Notices
from services.marketdata.feed.quotes import Quotes
from services.marketdata.feed.streams import Streams, Subscription
from services.marketdata.reference.instruments import Instruments
from services.marketdata.reference.sessions import DAY_NS, Calendars
from services.wire.pages import Page
from services.wire.streams import Cursor, Envelopes
from services.wire.values import time_range

Context = grpc.aio.ServicerContext[Any, Any]

DEFAULT_DELAY_SECONDS: Final = 0.005
_KINDS: Final = {
    market_data_pb2.DATA_KIND_QUOTE: Kind.QUOTE,
    market_data_pb2.DATA_KIND_TRADE: Kind.TRADE,
    market_data_pb2.DATA_KIND_BAR: Kind.BAR,
    market_data_pb2.DATA_KIND_AUCTION: Kind.AUCTION,
    market_data_pb2.DATA_KIND_HALT: Kind.HALT,
}


class MarketDataServicer(MarketDataServiceServicer):
    """Prices, as far as time has come."""

    def __init__(
        self,
        environments: Environments,
        quotes: Quotes,
        bars: Bars,
        notices: Notices,
        streams: Streams,
        *,
        tokens: ResumeTokens,
    ) -> None:
        self._environments = environments
        self._feeds = environments.feeds
        self._quotes = quotes
        self._bars = bars
        self._notices = notices
        self._instruments = environments.instruments
        self._tokens = tokens
        self._streams = streams
        self._writer = FeedWriter(environments.instruments)

    async def GetQuote(
        self, request: market_data_service_pb2.GetQuoteRequest, context: Context
    ) -> market_data_pb2.Quote:
        """The latest price of a symbol."""
        environment_id = self._environment_id(request.environment_id)
        (latest,) = await self._quotes.get(environment_id, [request.symbol])
        if latest is None:
            raise ApiError.not_found("quote", request.symbol, "QUOTE_NOT_FOUND")
        return self._quote(latest, environment_id, request.depth)

    async def BatchGetQuotes(
        self, request: market_data_service_pb2.BatchGetQuotesRequest, context: Context
    ) -> market_data_service_pb2.BatchGetQuotesResponse:
        """The latest prices of several symbols."""
        environment_id = self._environment_id(request.environment_id)
        found = await self._quotes.get(environment_id, request.symbols)
        missing = [symbol for symbol, latest in zip(request.symbols, found, strict=True) if latest is None]
        quotes = [self._quote(latest, environment_id, request.depth) for latest in found if latest is not None]
        return market_data_service_pb2.BatchGetQuotesResponse(quotes=quotes, missing_symbols=missing)

    async def ListQuotes(
        self, request: market_data_service_pb2.ListQuotesRequest, context: Context
    ) -> market_data_service_pb2.ListQuotesResponse:
        """The latest prices of all symbols, by symbol."""
        page = Page(request, 2)
        environment_id, after = page.after or (self._environment_id(request.environment_id), "")
        symbols = [symbol for symbol in self._feeds.get(environment_id).plan.symbols if symbol > after]
        found = [each for each in await self._quotes.get(environment_id, symbols) if each is not None]
        shown, token = page.cut(found, lambda latest: (environment_id, latest.symbol))
        quotes = [self._quote(each, environment_id, request.depth) for each in shown]
        return market_data_service_pb2.ListQuotesResponse(quotes=quotes, next_page_token=token)

    async def ListBars(
        self, request: market_data_service_pb2.ListBarsRequest, context: Context
    ) -> market_data_service_pb2.ListBarsResponse:
        """A symbol's bars by time."""
        instrument = self._instruments.get(request.symbol)
        page = Page(request, 2)
        environment_id = page.after[0] if page.after else self._environment_id(request.environment_id)
        wanted = BarPage(request.symbol, request.interval, *time_range(request), page.size)
        bars, more = await self._bars.page(environment_id, instrument, wanted, page.signed)
        response = market_data_service_pb2.ListBarsResponse()
        if request.encoding == market_data_pb2.ENCODING_COLUMNS:
            columns = mapping.bar_columns([bar for bar, _ in bars], [sequence for _, sequence in bars])
            response.columns.CopyFrom(columns)
        else:
            writer = mapping.Writer(instrument)
            response.bars.extend(mapping.bar_to_proto(bar, sequence, writer) for bar, sequence in bars)
        if more:
            response.next_page_token = page.token(environment_id, bars[-1][0].start)
        return response

    async def ListAuctions(
        self, request: market_data_service_pb2.ListAuctionsRequest, context: Context
    ) -> market_data_service_pb2.ListAuctionsResponse:
        """What a symbol's auctions came to, by time."""
        writer = mapping.Writer(self._instruments.get(request.symbol))
        found, token = await self._noticed(Auction, request)
        made = [mapping.auction_to_proto(auction, sequence, writer) for auction, sequence in found]
        return market_data_service_pb2.ListAuctionsResponse(auctions=made, next_page_token=token)

    async def ListHalts(
        self, request: market_data_service_pb2.ListHaltsRequest, context: Context
    ) -> market_data_service_pb2.ListHaltsResponse:
        """When trading in a symbol stopped and went on, by time."""
        self._instruments.get(request.symbol)
        found, token = await self._noticed(Halt, request)
        made = [mapping.halt_to_proto(halt, sequence) for halt, sequence in found]
        return market_data_service_pb2.ListHaltsResponse(halts=made, next_page_token=token)

    async def _noticed(self, kind: type[N], request: Any) -> tuple[Sequence[tuple[N, int]], str]:
        page = Page(request, 2)
        environment_id = page.after[0] if page.after else self._environment_id(request.environment_id)
        wanted = NoticePage(request.symbol, *time_range(request), page.size)
        found = await self._notices.page(kind, environment_id, wanted, page.number or 0)
        return page.cut(found, lambda each: (environment_id, each[1]))

    async def StreamMarketData(
        self, request: market_data_service_pb2.StreamMarketDataRequest, context: Context
    ) -> AsyncIterator[Any]:
        """A snapshot, then records as time reaches them."""
        subscription, envelopes = self._subscribe(request)
        terms = subscription.terms
        snapshot = partial(
            self._writer.snapshot, subscription.feed, terms.selection.symbols, depth=terms.encoding.depth
        )
        async for item in subscription.items():
            yield write(envelopes, item, snapshot)
            if isinstance(item, Closed):
                raise item.error

    def _subscribe(self, request: market_data_service_pb2.StreamMarketDataRequest) -> tuple[Subscription, Envelopes]:
        cursor = Cursor(request, self._tokens, "encoding", "max_delay", "depth")
        feed = self._feeds.get(cursor.partition or request.environment_id or self._environment_id(""))
        columns = request.encoding == market_data_pb2.ENCODING_COLUMNS
        delay = (
            round(request.max_delay.ToTimedelta().total_seconds(), 3)
            if request.HasField("max_delay")
            else DEFAULT_DELAY_SECONDS
        )
        encoding = (self._writer.columns if columns else self._writer.rows).deep(max(1, request.depth))
        selection = Selection(
            frozenset(request.symbols),
            frozenset(_KINDS[kind] for kind in request.kinds),
            frozenset(request.intervals),
        )
        envelopes = Envelopes(market_data_service_pb2.StreamMarketDataResponse, feed.plan.environment_id, cursor)
        terms = Terms(selection, encoding, delay)
        return Subscription(self._streams, feed, terms, cursor.after, cursor.expired), envelopes

    def _environment_id(self, asked: str) -> str:
        found = self._environments.get(asked) if asked else self._environments.default()
        return found.plan.environment_id

    def _quote(self, latest: Latest, environment_id: str, depth: int) -> market_data_pb2.Quote:
        instrument = self._instruments.get(latest.symbol)
        return mapping.quote_to_proto(latest, environment_id, instrument, time.time_ns(), depth)


class InstrumentServicer(InstrumentServiceServicer):
    """Instruments and sessions."""

    def __init__(self, instruments: Instruments, calendars: Calendars) -> None:
        self._instruments = instruments
        self._calendars = calendars

    async def GetInstrument(
        self, request: instrument_service_pb2.GetInstrumentRequest, context: Context
    ) -> instrument_pb2.Instrument:
        """One instrument."""
        found = self._instruments.get(request.symbol)
        return mapping.instrument_to_proto(found, self._instruments.create_time(found.symbol))

    async def ListInstruments(
        self, request: instrument_service_pb2.ListInstrumentsRequest, context: Context
    ) -> instrument_service_pb2.ListInstrumentsResponse:
        """Instruments by symbol."""
        page = Page(request)
        found = self._instruments.page(page.after[0] if page.after else "", page.size + 1)
        shown, token = page.cut(found, lambda instrument: (instrument.symbol,))
        made = [mapping.instrument_to_proto(each, self._instruments.create_time(each.symbol)) for each in shown]
        return instrument_service_pb2.ListInstrumentsResponse(instruments=made, next_page_token=token)

    async def CreateInstrument(
        self, request: instrument_service_pb2.CreateInstrumentRequest, context: Context
    ) -> instrument_pb2.Instrument:
        """A new instrument, or the same one again."""
        made = await self._instruments.create(mapping.new_instrument(request.instrument), principal())
        return mapping.instrument_to_proto(made, self._instruments.create_time(made.symbol))

    async def ListTradingSessions(
        self, request: instrument_service_pb2.ListTradingSessionsRequest, context: Context
    ) -> instrument_service_pb2.ListTradingSessionsResponse:
        """Sessions, oldest first."""
        first = mapping.date_from("start_date", request.start_date)
        last = mapping.date_from("end_date", request.end_date)
        if last < first:
            raise ApiError.invalid_field("end_date", "is before start_date")
        page = Page(request)
        after = page.signed
        calendar = await self._calendars.get(request.calendar, (last + 1) * DAY_NS)
        try:
            found = calendar.between(first, last)
        except UnknownTime as error:
            raise ApiError.not_found("calendar", request.calendar, "CALENDAR_NOT_FOUND", str(error)) from error
        # By their opens: a day may have two.
        found = [session for session in found if after is None or session[1] > after]
        shown, token = page.cut(found, lambda session: (session[1],))
        made = [mapping.session_to_proto(request.calendar, session) for session in shown]
        return instrument_service_pb2.ListTradingSessionsResponse(trading_sessions=made, next_page_token=token)
