"""The RPCs of the portfolio service: from the contract to the books and back."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Callable
from contextlib import aclosing
from typing import Any, TypeVar

import grpc
from tickmesh.portfolio.v1 import portfolio_pb2, portfolio_service_pb2
from tickmesh.portfolio.v1.portfolio_service_pb2_grpc import PortfolioServiceServicer as Base

from services.chassis.calls.handlers import principal
from services.chassis.streams.event_log import Closed, EventLog, Events, Reset
from services.chassis.streams.tokens import ResumeTokens, length_delimited
from services.portfolio import mapping
from services.portfolio.keeper import Keeper
from services.portfolio.records import EntryKey
from services.wire.pages import Page
from services.wire.streams import MISSED, Cursor, Envelopes

Context = grpc.aio.ServicerContext[Any, Any]
_ENTRY_OF_UPDATE = length_delimited(3, b"")[:1]
T = TypeVar("T")


class PortfolioServicer(Base):
    """Answers from the keeper's books."""

    def __init__(self, keeper: Keeper, log: EventLog[EntryKey], tokens: ResumeTokens) -> None:
        self._keeper, self._log, self._tokens = keeper, log, tokens

    async def CreatePortfolio(
        self, request: portfolio_service_pb2.CreatePortfolioRequest, context: Context
    ) -> portfolio_pb2.Portfolio:
        """Opens a portfolio."""
        return mapping.portfolio_to_proto(*await self._keeper.create(mapping.opening_from_proto(request, principal())))

    async def GetPortfolio(
        self, request: portfolio_service_pb2.GetPortfolioRequest, context: Context
    ) -> portfolio_pb2.Portfolio:
        """A portfolio at the latest marks."""
        return mapping.portfolio_to_proto(*await self._keeper.find(request.portfolio_id))

    async def ListPortfolios(
        self, request: portfolio_service_pb2.ListPortfoliosRequest, context: Context
    ) -> portfolio_service_pb2.ListPortfoliosResponse:
        """Portfolios, oldest first."""
        page = Page(request)
        if request.environment_id:
            await self._keeper.require_environment(request.environment_id)
        found, after = await self._keeper.portfolios(request.environment_id), page.number or 0
        later = [each for each in found if each[1].portfolio.number > after]
        shown, token = page.cut(later, lambda each: (each[1].portfolio.number,))
        portfolios = [mapping.portfolio_to_proto(*each) for each in shown]
        return portfolio_service_pb2.ListPortfoliosResponse(portfolios=portfolios, next_page_token=token)

    async def ListPositions(
        self, request: portfolio_service_pb2.ListPositionsRequest, context: Context
    ) -> portfolio_service_pb2.ListPositionsResponse:
        """Positions by symbol."""
        page = Page(request)
        book, kept = await self._keeper.find(request.portfolio_id)
        last = page.after[0] if page.after else ""
        shown, token = page.cut([each for each in sorted(kept.ledger.positions) if each > last], lambda each: (each,))
        positions = mapping.positions_to_proto(book, kept, shown)
        return portfolio_service_pb2.ListPositionsResponse(positions=positions, next_page_token=token)

    async def ListLots(
        self, request: portfolio_service_pb2.ListLotsRequest, context: Context
    ) -> portfolio_service_pb2.ListLotsResponse:
        """Open lots, oldest first."""
        page = Page(request)
        book, kept = await self._keeper.find(request.portfolio_id)
        symbols = [request.symbol] if request.symbol else list(kept.ledger.positions)
        after = page.number or 0
        lots = [lot for symbol in symbols for lot in kept.ledger.lots(symbol) if lot.lot_id > after]
        shown, token = page.cut(sorted(lots, key=lambda lot: lot.lot_id), lambda lot: (lot.lot_id,))
        found = [mapping.lot_to_proto(book, kept, lot) for lot in shown]
        return portfolio_service_pb2.ListLotsResponse(lots=found, next_page_token=token)

    async def ListLedgerEntries(self, request: portfolio_service_pb2.ListLedgerEntriesRequest, context: Context) -> Any:
        """Ledger entries, oldest first, as they were encoded once."""
        page = Page(request)
        entries = await self._keeper.entries(request.portfolio_id, page.number or 0, page.size + 1, request.order_id)
        shown, token = page.cut(entries, lambda numbered: (numbered[0],))
        response = portfolio_service_pb2.ListLedgerEntriesResponse(next_page_token=token)
        return b"".join(length_delimited(1, entry) for _, entry in shown) + response.SerializeToString()

    async def ListEquityPoints(
        self, request: portfolio_service_pb2.ListEquityPointsRequest, context: Context
    ) -> portfolio_service_pb2.ListEquityPointsResponse:
        """What the portfolio was worth, oldest first."""
        page = Page(request)
        found = await self._keeper.points(request.portfolio_id, page.number or 0, page.size + 1)
        shown, token = page.cut(found, lambda point: (point.tape_sequence,))
        points = [mapping.point_to_proto(point) for point in shown]
        return portfolio_service_pb2.ListEquityPointsResponse(equity_points=points, next_page_token=token)

    async def StreamLedgerEntries(
        self, request: portfolio_service_pb2.StreamLedgerEntriesRequest, context: Context
    ) -> AsyncIterator[Any]:
        """Entries from the named point on."""
        await self._keeper.require_environment(request.environment_id)
        cursor = Cursor(request, self._tokens)
        subscription = self._log.subscribe(request.environment_id, cursor.after, _accept(request))
        envelopes = Envelopes(portfolio_service_pb2.StreamLedgerEntriesResponse, request.environment_id, cursor)
        async for message in envelopes.follow(subscription, "ledger_entries"):
            yield message

    async def StreamPortfolio(
        self, request: portfolio_service_pb2.StreamPortfolioRequest, context: Context
    ) -> AsyncIterator[Any]:
        """A snapshot, then what changes: with its entries, or as it is worth at a session's close."""
        book, _ = await self._keeper.find(request.portfolio_id)
        partition, cursor = book.cursor.environment_id, Cursor(request, self._tokens)
        envelopes = Envelopes(portfolio_service_pb2.StreamPortfolioResponse, partition, cursor)
        if cursor.expired:
            yield envelopes.reset("TOKEN_EXPIRED", self._log.head(partition), MISSED)
        following = self._follow(request.portfolio_id, partition, envelopes, resumes=cursor.after is not None)
        async for message in envelopes.closing(following):
            yield message

    async def _follow(
        self, portfolio_id: str, partition: str, envelopes: Envelopes, *, resumes: bool
    ) -> AsyncGenerator[bytes]:
        if not resumes:
            # The snapshot tells of all entries up to the head, as nothing can happen between the two.
            snapshot = await self._snapshot(portfolio_id)
            yield envelopes.wrap("snapshot", snapshot, self._log.head(partition))
        subscription = self._log.subscribe(partition, envelopes.told, lambda key: key.portfolio_id == portfolio_id)
        with self._keeper.watch(portfolio_id) as valued:
            if resumes:
                # Its worth may have changed since, which no entry tells.
                valued.set()
            async with aclosing(_either(aiter(subscription), valued)) as items:
                async for item in items:
                    if item is None:
                        yield envelopes.wrap("update", await self._update(portfolio_id), envelopes.told)
                    elif isinstance(item, Events):
                        yield envelopes.wrap("update", await self._update(portfolio_id, item), item.scanned)
                    else:
                        yield envelopes.other(item, MISSED)
                    if isinstance(item, Closed):
                        raise item.error
                    if isinstance(item, Reset):
                        snapshot = await self._snapshot(portfolio_id)
                        subscription.seek(self._log.head(partition))
                        yield envelopes.wrap("snapshot", snapshot, subscription.position)

    async def _snapshot(self, portfolio_id: str) -> bytes:
        book, kept = await self._keeper.find(portfolio_id)
        return portfolio_service_pb2.PortfolioSnapshot(
            portfolio=mapping.portfolio_to_proto(book, kept),
            positions=mapping.positions_to_proto(book, kept, sorted(kept.ledger.positions)),
        ).SerializeToString()

    async def _update(self, portfolio_id: str, item: Events[EntryKey] | None = None) -> bytes:
        """The portfolio as it is now; with entries also these, and the positions that they changed."""
        book, kept = await self._keeper.find(portfolio_id)
        entries = () if item is None else item.entries
        symbols = sorted({entry.event.symbol for entry in entries})
        update = portfolio_service_pb2.PortfolioUpdate(
            portfolio=mapping.portfolio_to_proto(book, kept), positions=mapping.positions_to_proto(book, kept, symbols)
        )
        # The log has the entries as field 1 of its own messages; a field's first byte says its number.
        return update.SerializeToString() + b"".join(_ENTRY_OF_UPDATE + entry.data[1:] for entry in entries)


def _accept(request: portfolio_service_pb2.StreamLedgerEntriesRequest) -> Callable[[EntryKey], bool] | None:
    portfolio_id, kinds = request.portfolio_id, mapping.kind_names(request.kinds)
    if not portfolio_id and not kinds:
        return None
    return lambda key: portfolio_id in {"", key.portfolio_id} and (not kinds or key.kind in kinds)


async def _either(items: AsyncIterator[T], valued: asyncio.Event) -> AsyncGenerator[T | None]:
    """The items as they come, and None when the event was set between them."""
    coming: asyncio.Future[T] | None = None
    rings: asyncio.Future[Any] | None = None
    try:
        while True:
            coming = coming or asyncio.ensure_future(anext(items))
            rings = asyncio.ensure_future(valued.wait())
            waited: set[asyncio.Future[Any]] = {coming, rings}
            await asyncio.wait(waited, return_when=asyncio.FIRST_COMPLETED)
            rings.cancel()
            if coming.done():
                item, coming = coming.result(), None
                yield item
            else:
                valued.clear()
                yield None
    finally:
        if rings is not None:
            rings.cancel()
        if coming is not None:
            coming.cancel()
