"""The RPCs of OrderBookService: proto to domain, a call, domain to proto."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from decimal import Decimal
from typing import Any, Final

import grpc
from tickmesh.order.v1 import order_book_service_pb2, order_book_service_pb2_grpc

from services.chassis.streams.event_log import Closed, Heartbeat, Item, Subscription
from services.chassis.streams.tokens import ResumeTokens
from services.domain.instrument import Instrument
from services.domain.market import sides_of
from services.domain.orders.order import Side
from services.domain.venue.telling.order_book import order_book
from services.order.book_mapping import Scene, book_to_proto
from services.order.desk.desk import Desk
from services.order.desk.replay import Desks
from services.order.entry.intake import traded
from services.order.journal.log import Seen
from services.wire.streams import MISSED, Cursor, Envelopes

Context = grpc.aio.ServicerContext[Any, Any]

DEFAULT_DEPTH: Final = 50
# Ten a second are as many as a person can follow.
DEFAULT_DELAY_SECONDS: Final = 0.1
# The market moves without telling anybody, so it is looked at, in 20 us, and never more often than this.
MARKET_SECONDS: Final = 0.1


class OrderBookServicer(order_book_service_pb2_grpc.OrderBookServiceServicer):
    """The paper venue's book."""

    def __init__(self, desks: Desks, tokens: ResumeTokens) -> None:
        self._desks = desks
        self._tokens = tokens

    async def GetOrderBook(self, request: order_book_service_pb2.GetOrderBookRequest, context: Context) -> Any:
        """Returns the book as it is now."""
        environment_id = await self._desks.peers.home(request.environment_id, request.portfolio_id)
        desk, instrument = await self._found(environment_id, request.symbol)
        return _book(desk, instrument, request)

    async def StreamOrderBook(
        self, request: order_book_service_pb2.StreamOrderBookRequest, context: Context
    ) -> AsyncIterator[Any]:
        """Streams the book: whole at first, and whole again after changes of its orders or of the market."""
        cursor = Cursor(request, self._tokens, "max_delay", "depth")
        environment_id = cursor.partition or await self._desks.peers.home(request.environment_id, request.portfolio_id)
        desk, instrument = await self._found(environment_id, request.symbol)
        envelopes = Envelopes(order_book_service_pb2.StreamOrderBookResponse, environment_id, cursor)
        given = request.HasField("max_delay")
        delay = request.max_delay.ToTimedelta().total_seconds() if given else DEFAULT_DELAY_SECONDS
        subscription = self._desks.log.subscribe(environment_id, desk.journal.committed_head, _of(request.symbol))
        if cursor.expired or envelopes.told > desk.journal.committed_head:
            yield envelopes.reset("TOKEN_EXPIRED", desk.journal.committed_head, MISSED)
        seen, message = _market(desk, request.symbol), _message(envelopes, desk, instrument, request)
        yield message
        async for item in _or_nothing(aiter(subscription), max(delay, MARKET_SECONDS)):
            match item:
                case None if seen == _market(desk, request.symbol):
                    continue
                case None:
                    pass
                case Heartbeat():
                    yield envelopes.heartbeat(item.scanned)
                    continue
                case Closed():
                    yield envelopes.closed(item.error)
                    raise item.error
                case _:
                    # Whatever changed meanwhile is in the book that follows; a cursor that broke has missed nothing.
                    await asyncio.sleep(delay)
            _catch_up(subscription, desk)
            seen, message = _market(desk, request.symbol), _message(envelopes, desk, instrument, request)
            yield message

    async def _found(self, environment_id: str, symbol: str) -> tuple[Desk, Instrument]:
        desk = await self._desks.get(environment_id)
        return desk, await traded(self._desks.peers, desk, symbol)


async def _or_nothing(items: AsyncIterator[Item[Seen]], seconds: float) -> AsyncIterator[Item[Seen] | None]:
    """Items as they come, and None whenever none has come for so long."""
    coming = asyncio.ensure_future(anext(items))
    try:
        while True:
            if not (await asyncio.wait({coming}, timeout=seconds))[0]:
                yield None
                continue
            yield (item := coming.result())
            if isinstance(item, Closed):
                return
            coming = asyncio.ensure_future(anext(items))
    finally:
        coming.cancel()


def _market(desk: Desk, symbol: str) -> tuple[Any, ...]:
    """What a book shows that no order event tells of."""
    quote, references = desk.venue.market(symbol), _references(desk, symbol)
    return (*references, quote and sides_of(quote))


def _references(desk: Desk, symbol: str) -> tuple[Decimal | None, Decimal | None]:
    return desk.venue.reference_price(symbol, Side.BUY), desk.venue.reference_price(symbol, Side.SELL)


def _of(symbol: str) -> Any:
    """Events of one symbol; those read back from the store do not say which."""
    return lambda seen: seen.symbol in {"", symbol}


def _catch_up(subscription: Subscription[Seen], desk: Desk) -> None:
    subscription.seek(desk.journal.committed_head)


def _message(envelopes: Envelopes, desk: Desk, instrument: Instrument, request: Any) -> bytes:
    book = _book(desk, instrument, request)
    return envelopes.wrap("snapshot", book.SerializeToString(), book.sequence)


def _book(desk: Desk, instrument: Instrument, request: Any) -> Any:
    row, venue, symbol = desk.row, desk.venue, instrument.symbol
    head, market = desk.journal.committed_head, venue.market(symbol)
    scene = Scene(row.environment_id, head, row.tape_sequence, row.market_time, _references(desk, symbol), market)
    return book_to_proto(
        order_book(desk.journal.open_orders(symbol), request.portfolio_id),
        scene,
        instrument,
        portfolio_id=request.portfolio_id,
        depth=request.depth or DEFAULT_DEPTH,
    )
