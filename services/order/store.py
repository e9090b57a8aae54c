"""The order service's tables and its SQL.

An event's payload is the public event as it travels on streams, encoded once; an order's row only points at its last
event, which holds the whole order.
"""

from __future__ import annotations

import uuid
from collections.abc import Mapping, Sequence
from typing import Any, Final

import sqlalchemy as sa

from services.chassis.database import Database, DecimalText, columns, upsert
from services.chassis.writer import Unit
from services.order.records import EnvironmentRow, EventRow, OrderRow, PageRow, PortfolioRow, PositionRow, RequestRow

ORDER_EVENTS: Final = "order_events"

_metadata = sa.MetaData()


def _table(name: str, keys: Sequence[sa.Column[Any]], *columns: sa.Column[Any]) -> sa.Table:
    return sa.Table(name, _metadata, *keys, *columns)


def _keys(**kinds: Any) -> list[sa.Column[Any]]:
    return [sa.Column(name, kind, primary_key=True, autoincrement=False) for name, kind in kinds.items()]


_streams = _table("streams", _keys(name=sa.Text), *columns(sa.Text, "epoch"))
_environments = _table(
    "environments",
    _keys(environment_id=sa.Text),
    *columns(sa.Float, "volume_share"),
    *columns(sa.Boolean, "fill_on_touch", "ended"),
    *columns(sa.BigInteger, "tape_sequence", "market_time", "cycle", "reached_head", "head", "order_count", "epoch"),
    *columns(sa.Text, "principal", "owner"),
)
_portfolios = _table(
    "portfolios",
    _keys(portfolio_id=sa.Text),
    *columns(sa.Text, "environment_id"),
    *columns(sa.BigInteger, "opening_ledger_sequence"),
    *columns(DecimalText, "headroom"),
    *columns(sa.Text, "principal", "owner"),
)
_positions = _table(
    "positions",
    _keys(environment_id=sa.Text, portfolio_id=sa.Text, symbol=sa.Text),
    *columns(DecimalText, "quantity"),
    *columns(sa.BigInteger, "tape_sequence"),
    *columns(sa.Text, "principal", "owner"),
)
_requests = _table(
    "requests",
    _keys(environment_id=sa.Text, request_id=sa.Text),
    *columns(sa.Text, "asked", "principal", "owner"),
)
_instruments = _table("instruments", _keys(symbol=sa.Text), *columns(sa.LargeBinary, "payload"))
_orders = _table(
    "orders",
    _keys(environment_id=sa.Text, number=sa.BigInteger),
    *columns(sa.Text, "client_key", "portfolio_id", "symbol"),
    *columns(sa.SmallInteger, "open"),
    *columns(sa.Text, "asked"),
    *columns(sa.BigInteger, "last_event_sequence"),
    *columns(sa.Text, "principal", "owner"),
)
_events = _table(
    "order_events",
    _keys(environment_id=sa.Text, sequence=sa.BigInteger),
    *columns(sa.BigInteger, "number"),
    *columns(sa.Text, "portfolio_id", "symbol"),
    *columns(sa.SmallInteger, "exec_type"),
    *columns(sa.LargeBinary, "payload"),
    *columns(sa.Text, "principal", "owner"),
)

# Conditions of partial indexes are written as literals: the planner must see them.
_is_open = _orders.c.open == sa.literal_column("1")
_last_event = sa.and_(
    _events.c.environment_id == _orders.c.environment_id, _events.c.sequence == _orders.c.last_event_sequence
)
_STREAM = sa.select(_streams.c.epoch).where(_streams.c.name == sa.bindparam("name"))
_ALL_ENVIRONMENTS = sa.select(_environments)
_ENVIRONMENT = sa.select(_environments).where(_environments.c.environment_id == sa.bindparam("environment_id"))
_PORTFOLIO = sa.select(_portfolios).where(_portfolios.c.portfolio_id == sa.bindparam("portfolio_id"))
_PORTFOLIOS = sa.select(_portfolios).where(_portfolios.c.environment_id == sa.bindparam("environment_id"))
_POSITIONS = sa.select(_positions).where(_positions.c.environment_id == sa.bindparam("environment_id"))
_REQUESTS = sa.select(_requests).where(
    _requests.c.environment_id == sa.bindparam("environment_id"),
    _requests.c.request_id.in_(sa.bindparam("ids", expanding=True)),
)
_ALL_INSTRUMENTS = sa.select(_instruments)
_OPEN = (
    sa.select(_orders.c.client_key, _orders.c.asked, _events.c.payload)
    .join_from(_orders, _events, _last_event)
    .where(_orders.c.environment_id == sa.bindparam("environment_id"), _is_open)
    .order_by(_orders.c.number)
)
_BY_KEY = (
    sa.select(_orders.c.client_key, _orders.c.asked, _events.c.payload)
    .join_from(_orders, _events, _last_event)
    .where(_orders.c.client_key.in_(sa.bindparam("keys", expanding=True)))
)
_BY_NUMBER = (
    sa.select(_events.c.payload)
    .join_from(_orders, _events, _last_event)
    .where(_orders.c.environment_id == sa.bindparam("environment_id"), _orders.c.number == sa.bindparam("number"))
)
_AFTER = (
    sa.select(_events.c.sequence, _events.c.portfolio_id, _events.c.exec_type, _events.c.payload)
    .where(_events.c.environment_id == sa.bindparam("environment_id"), _events.c.sequence > sa.bindparam("after"))
    .order_by(_events.c.sequence)
    .limit(sa.bindparam("many", type_=sa.Integer))
)
_ORDERS_PAGE = sa.select(_orders.c.environment_id, _orders.c.number, _events.c.payload).join_from(
    _orders, _events, _last_event
)
_EVENTS_PAGE = sa.select(_events.c.environment_id, _events.c.sequence, _events.c.payload)


class Store:
    """Reads, and the units that the writer commits."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self.writer = database.writer
        self._put_environment = upsert(_environments, database.dialect)
        self._put_portfolio = upsert(_portfolios, database.dialect)
        self._put_position = upsert(_positions, database.dialect)
        self._insert_request = sa.insert(_requests)
        self._put_instrument = upsert(_instruments, database.dialect)
        self._put_order = upsert(_orders, database.dialect, keep=("client_key", "portfolio_id", "symbol", "asked"))
        self._insert_event = sa.insert(_events)

    async def stream_epoch(self) -> str:
        """The id of this database's streams, made at its first start: tokens of another are refused."""
        found = await self._database.fetch_one(_STREAM, {"name": ORDER_EVENTS})
        if found is not None:
            return str(found.epoch)
        epoch = uuid.uuid4().hex
        await self.writer.commit([(sa.insert(_streams), [{"name": ORDER_EVENTS, "epoch": epoch}])])
        return epoch

    async def environments(self) -> list[EnvironmentRow]:
        """All that were ever traded in."""
        return [EnvironmentRow(**row._mapping) for row in await self._database.fetch_all(_ALL_ENVIRONMENTS)]  # noqa: SLF001

    async def environment(self, environment_id: str) -> EnvironmentRow | None:
        """One environment; None before its first commit."""
        row = await self._database.fetch_one(_ENVIRONMENT, {"environment_id": environment_id})
        return None if row is None else EnvironmentRow(**row._mapping)  # noqa: SLF001

    async def portfolio(self, portfolio_id: str) -> PortfolioRow | None:
        """A portfolio that has traded."""
        row = await self._database.fetch_one(_PORTFOLIO, {"portfolio_id": portfolio_id})
        return None if row is None else PortfolioRow(*row)

    async def portfolios(self, environment_id: str) -> list[PortfolioRow]:
        """The portfolios of an environment that have traded."""
        rows = await self._database.fetch_all(_PORTFOLIOS, {"environment_id": environment_id})
        return [PortfolioRow(*row) for row in rows]

    async def positions(self, environment_id: str) -> list[PositionRow]:
        """What portfolios hold in an environment, closed positions too."""
        rows = await self._database.fetch_all(_POSITIONS, {"environment_id": environment_id})
        return [PositionRow(*row) for row in rows]

    async def requests(self, environment_id: str, ids: Sequence[str]) -> dict[str, RequestRow]:
        """Those of these requests that were done, in one query."""
        rows = await self._database.lookup(_REQUESTS, {"environment_id": environment_id, "ids": ids})
        return {row.request_id: RequestRow(*row) for row in rows}

    async def instruments(self) -> dict[str, bytes]:
        """The instruments that were ever traded, encoded, by symbol."""
        return {row.symbol: row.payload for row in await self._database.fetch_all(_ALL_INSTRUMENTS)}

    async def put_instruments(self, payloads: Mapping[str, bytes]) -> None:
        """Keeps instruments, so that open orders can be served without asking who knows them."""
        rows = [{"symbol": symbol, "payload": payload} for symbol, payload in payloads.items()]
        await self.writer.commit([(self._put_instrument, rows)])

    async def open_orders(self, environment_id: str) -> list[OrderRow]:
        """The orders that have not ended, in the order they came."""
        rows = await self._database.fetch_all(_OPEN, {"environment_id": environment_id})
        return [OrderRow(*row) for row in rows]

    async def orders_by_key(self, keys: Sequence[str]) -> dict[str, OrderRow]:
        """The orders that exist under these clients' keys, in one query."""
        return {row.client_key: OrderRow(*row) for row in await self._database.lookup(_BY_KEY, {"keys": keys})}

    async def order(self, environment_id: str, number: int) -> bytes | None:
        """An order's last event."""
        row = await self._database.fetch_one(_BY_NUMBER, {"environment_id": environment_id, "number": number})
        return None if row is None else bytes(row.payload)

    async def events_after(self, environment_id: str, after: int, limit: int) -> list[EventRow]:
        """Events of an environment in order."""
        parameters = {"environment_id": environment_id, "after": after, "many": limit}
        return [EventRow(*row) for row in await self._database.fetch_all(_AFTER, parameters)]

    async def orders_page(
        self, *, environment_id: str, portfolio_id: str, symbol: str, open_only: bool, before: int | None, limit: int
    ) -> list[PageRow]:
        """Orders, newest first; of an environment or else of a portfolio, which has only one."""
        query = _given(_ORDERS_PAGE, _orders, environment_id=environment_id, portfolio_id=portfolio_id, symbol=symbol)
        if open_only:
            query = query.where(_is_open)
        if before is not None:
            query = query.where(_orders.c.number < before)
        rows = await self._database.fetch_all(query.order_by(_orders.c.number.desc()).limit(limit))
        return [PageRow(*row) for row in rows]

    async def events_page(
        self,
        *,
        environment_id: str,
        portfolio_id: str = "",
        symbol: str = "",
        number: int | None = None,
        exec_type: int | None = None,
        after: int,
        limit: int,
    ) -> list[PageRow]:
        """Events, oldest first; of an environment or else of a portfolio."""
        query = _given(_EVENTS_PAGE, _events, environment_id=environment_id, portfolio_id=portfolio_id, symbol=symbol)
        if number is not None:
            query = query.where(_events.c.number == number)
        if exec_type is not None:
            query = query.where(_events.c.exec_type == sa.literal_column(str(int(exec_type))))
        query = query.where(_events.c.sequence > after).order_by(_events.c.sequence).limit(limit)
        return [PageRow(*row) for row in await self._database.fetch_all(query)]

    def unit(
        self,
        environment: EnvironmentRow,
        events: Sequence[Mapping[str, Any]] = (),
        orders: Sequence[Mapping[str, Any]] = (),
        portfolios: Sequence[PortfolioRow] = (),
        *,
        positions: Sequence[PositionRow] = (),
        request: RequestRow | None = None,
    ) -> Unit:
        """What one decision of a desk writes, all or nothing."""
        unit: list[tuple[Any, Sequence[Mapping[str, Any]]]] = []
        if events:
            unit.append((self._insert_event, events))
        if orders:
            unit.append((self._put_order, orders))
        if portfolios:
            unit.append((self._put_portfolio, [portfolio._asdict() for portfolio in portfolios]))
        if positions:
            unit.append((self._put_position, [position._asdict() for position in positions]))
        if request is not None:
            unit.append((self._insert_request, [request._asdict()]))
        unit.append((self._put_environment, [environment.row()]))
        return unit


def _given(query: sa.Select[Any], table: sa.Table, **filters: str) -> sa.Select[Any]:
    for name, value in filters.items():
        if value:
            query = query.where(table.c[name] == value)
    return query
