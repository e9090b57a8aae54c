"""What the order service writes, and what it reads of it by key; `listing.py` reads lists.

An event's payload is the public event as it travels on streams, encoded once; an order's row only points at its last
event, which holds the whole order.
"""

from __future__ import annotations

import uuid
from collections.abc import Mapping, Sequence
from typing import Any, Final

import sqlalchemy as sa

from services.chassis.storage.database import Database, upsert
from services.chassis.storage.writer import Unit
from services.order.records import (
    EnvironmentRow,
    EventRow,
    ModelRow,
    OrderRow,
    PortfolioRow,
    PositionRow,
    RequestRow,
    RunawayRow,
    TimerRow,
)
from services.order.tables import (
    CANCEL_TIMERS,
    ENVIRONMENTS,
    EVENTS,
    INSTRUMENTS,
    IS_OPEN,
    LAST_EVENT,
    ORDERS,
    PORTFOLIOS,
    POSITIONS,
    REQUESTS,
    RUNAWAYS,
    STREAMS,
    VENUE_MODELS,
)

ORDER_EVENTS: Final = "order_events"

# What an order's row says of it for good.
_KEPT: Final = ("client_key", "portfolio_id", "symbol", "asked", "first_sequence", "transact_time")
_STREAM = sa.select(STREAMS.c.epoch).where(STREAMS.c.name == sa.bindparam("name"))
_ALL_ENVIRONMENTS = sa.select(ENVIRONMENTS)
_ENVIRONMENT = sa.select(ENVIRONMENTS).where(ENVIRONMENTS.c.environment_id == sa.bindparam("environment_id"))
_PORTFOLIO = sa.select(PORTFOLIOS).where(PORTFOLIOS.c.portfolio_id == sa.bindparam("portfolio_id"))
_PORTFOLIOS = sa.select(PORTFOLIOS).where(PORTFOLIOS.c.environment_id == sa.bindparam("environment_id"))
_POSITIONS = sa.select(POSITIONS).where(POSITIONS.c.environment_id == sa.bindparam("environment_id"))
_REQUESTS = sa.select(REQUESTS).where(
    REQUESTS.c.environment_id == sa.bindparam("environment_id"),
    REQUESTS.c.request_id.in_(sa.bindparam("ids", expanding=True)),
)
_TIMERS = sa.select(CANCEL_TIMERS).where(
    CANCEL_TIMERS.c.environment_id == sa.bindparam("environment_id"), CANCEL_TIMERS.c.trigger_time > 0
)
_MODELS = (
    sa.select(VENUE_MODELS.c.payload)
    .where(VENUE_MODELS.c.environment_id == sa.bindparam("environment_id"))
    .order_by(VENUE_MODELS.c.sequence)
)
_MODEL = (
    sa.select(VENUE_MODELS.c.payload)
    .where(VENUE_MODELS.c.venue_model_id == sa.bindparam("venue_model_id"))
    .order_by(VENUE_MODELS.c.sequence.desc())
    .limit(1)
)
_ALL_RUNAWAYS = sa.select(RUNAWAYS).order_by(RUNAWAYS.c.begin_time)
_DROP_RUNAWAY = sa.delete(RUNAWAYS).where(
    RUNAWAYS.c.environment_id == sa.bindparam("of_environment"),
    RUNAWAYS.c.portfolio_id == sa.bindparam("of_portfolio"),
)
_ALL_INSTRUMENTS = sa.select(INSTRUMENTS)
_OPEN = (
    sa.select(ORDERS.c.client_key, ORDERS.c.asked, EVENTS.c.payload)
    .join_from(ORDERS, EVENTS, LAST_EVENT)
    .where(ORDERS.c.environment_id == sa.bindparam("environment_id"), IS_OPEN)
    .order_by(ORDERS.c.first_sequence)
)
_BY_KEY = (
    sa.select(ORDERS.c.client_key, ORDERS.c.asked, EVENTS.c.payload)
    .join_from(ORDERS, EVENTS, LAST_EVENT)
    .where(ORDERS.c.client_key.in_(sa.bindparam("keys", expanding=True)))
)
_BY_NUMBER = (
    sa.select(EVENTS.c.payload)
    .join_from(ORDERS, EVENTS, LAST_EVENT)
    .where(ORDERS.c.environment_id == sa.bindparam("environment_id"), ORDERS.c.number == sa.bindparam("number"))
)
_FROM_NUMBER = (
    sa.select(EVENTS.c.payload)
    .join_from(ORDERS, EVENTS, LAST_EVENT)
    .where(
        ORDERS.c.environment_id == sa.bindparam("environment_id"),
        ORDERS.c.number.between(sa.bindparam("first"), sa.bindparam("last")),
    )
    .order_by(ORDERS.c.number)
)
_AFTER = (
    sa.select(EVENTS.c.sequence, EVENTS.c.portfolio_id, EVENTS.c.exec_type, EVENTS.c.payload)
    .where(EVENTS.c.environment_id == sa.bindparam("environment_id"), EVENTS.c.sequence > sa.bindparam("after"))
    .order_by(EVENTS.c.sequence)
    .limit(sa.bindparam("many", type_=sa.Integer))
)


class Store:
    """Reads, and the units that the writer commits."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self.writer = database.writer
        self._put_environment = upsert(ENVIRONMENTS, database.dialect)
        self._put_portfolio = upsert(PORTFOLIOS, database.dialect)
        self._put_position = upsert(POSITIONS, database.dialect)
        self._insert_request = sa.insert(REQUESTS)
        self._put_timer = upsert(CANCEL_TIMERS, database.dialect)
        self._insert_runaway = sa.insert(RUNAWAYS)
        self._insert_model = sa.insert(VENUE_MODELS)
        self._put_instrument = upsert(INSTRUMENTS, database.dialect)
        self._put_order = upsert(ORDERS, database.dialect, keep=_KEPT)
        self._insert_event = sa.insert(EVENTS)

    async def stream_epoch(self) -> str:
        """The id of this database's streams, made at its first start: tokens of another are refused."""
        found = await self._database.fetch_one(_STREAM, {"name": ORDER_EVENTS})
        if found is not None:
            return str(found.epoch)
        epoch = uuid.uuid4().hex
        await self.writer.commit([(sa.insert(STREAMS), [{"name": ORDER_EVENTS, "epoch": epoch}])])
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
        return {row.request_id: row for row in (RequestRow(*each) for each in rows)}

    async def timers(self, environment_id: str) -> list[TimerRow]:
        """The cancel timers of an environment that are armed."""
        return [TimerRow(*row) for row in await self._database.fetch_all(_TIMERS, {"environment_id": environment_id})]

    async def runaways(self) -> list[RunawayRow]:
        """Those of which risk has not heard, the oldest first."""
        rows = await self._database.fetch_all(_ALL_RUNAWAYS)
        return [RunawayRow(**row._mapping) for row in rows]  # noqa: SLF001

    async def put_runaway(self, runaway: RunawayRow) -> None:
        """Keeps one until risk has heard of it."""
        await self.writer.commit([(self._insert_runaway, [runaway._asdict()])])

    async def drop_runaway(self, runaway: RunawayRow) -> None:
        """Risk has heard of it."""
        whose = {"of_environment": runaway.environment_id, "of_portfolio": runaway.portfolio_id}
        await self.writer.commit([(_DROP_RUNAWAY, [whose])])

    async def venue_models(self, environment_id: str) -> list[bytes]:
        """Every version of an environment's venue models, encoded, in the order they were set."""
        rows = await self._database.fetch_all(_MODELS, {"environment_id": environment_id})
        return [bytes(row.payload) for row in rows]

    async def venue_model(self, venue_model_id: str) -> bytes | None:
        """The last version of one venue model; None where it was never set."""
        row = await self._database.fetch_one(_MODEL, {"venue_model_id": venue_model_id})
        return None if row is None else bytes(row.payload)

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
        rows = await self._database.lookup(_BY_KEY, {"keys": keys})
        return {row.client_key: row for row in (OrderRow(*each) for each in rows)}

    async def order(self, environment_id: str, number: int) -> bytes | None:
        """An order's last event."""
        row = await self._database.fetch_one(_BY_NUMBER, {"environment_id": environment_id, "number": number})
        return None if row is None else bytes(row.payload)

    async def orders_from(self, environment_id: str, number: int, count: int) -> list[bytes]:
        """The last events of orders by number, up to so many of them."""
        numbers = {"environment_id": environment_id, "first": number, "last": number + count - 1}
        return [bytes(row.payload) for row in await self._database.fetch_all(_FROM_NUMBER, numbers)]

    async def events_after(self, environment_id: str, after: int, limit: int) -> list[EventRow]:
        """Events of an environment in order."""
        parameters = {"environment_id": environment_id, "after": after, "many": limit}
        return [EventRow(*row) for row in await self._database.fetch_all(_AFTER, parameters)]

    def unit(
        self,
        environment: EnvironmentRow,
        events: Sequence[Mapping[str, Any]] = (),
        orders: Sequence[Mapping[str, Any]] = (),
        portfolios: Sequence[PortfolioRow] = (),
        *,
        positions: Sequence[PositionRow] = (),
        request: RequestRow | None = None,
        timer: TimerRow | None = None,
        models: Sequence[ModelRow] = (),
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
        if timer is not None:
            unit.append((self._put_timer, [timer._asdict()]))
        if models:
            unit.append((self._insert_model, [model._asdict() for model in models]))
        unit.append((self._put_environment, [environment.row()]))
        return unit
