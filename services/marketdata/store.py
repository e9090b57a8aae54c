"""The market-data service's tables and the SQL over them."""

from __future__ import annotations

import json
import uuid
from asyncio import Future
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict
from typing import Any

import numpy as np
import sqlalchemy as sa

from services.chassis.storage.database import Database, DecimalText, columns, upsert
from services.domain.calendar import Sessions
from services.domain.instrument import Instrument
from services.marketdata.environment import Control, Enrolment, Pace, Plan, Position, State, Stored
from services.marketdata.reference.sessions import Calendar

_metadata = sa.MetaData()
_OWNED = ("principal", "owner")


def _table(name: str, key: Sequence[sa.Column[Any]], *rest: sa.Column[Any]) -> sa.Table:
    return sa.Table(name, _metadata, *key, *rest)


def _key(*names: str) -> list[sa.Column[Any]]:
    return [sa.Column(name, sa.Text, primary_key=True) for name in names]


_identity = _table("identity", [sa.Column("singleton", sa.Integer, primary_key=True)], *columns(sa.Text, "epoch"))
_instruments = _table(
    "instruments",
    _key("symbol"),
    *columns(sa.Text, "display_name", "currency_code", "calendar"),
    *columns(DecimalText, "price_increment", "quantity_increment", "lot_size", "contract_multiplier"),
    *columns(sa.BigInteger, "create_time"),
    *columns(sa.Text, *_OWNED),
)
_calendars = _table(
    "calendars",
    _key("calendar"),
    *columns(sa.LargeBinary, "opens", "closes", "dates"),
    *columns(sa.BigInteger, "known_from", "known_until", "compile_time"),
    *columns(sa.Text, "library"),
)
_environments = _table(
    "environments",
    _key("environment_id"),
    *columns(sa.BigInteger, "number", "start_sequence", "end_sequence", "seed", "create_time"),
    *(sa.Column(name, sa.BigInteger) for name in ("start_time", "end_time")),
    *columns(sa.Text, "display_name", "data_set_id", "symbols", "tape_digest", "request_id", "request_digest"),
    *columns(sa.Text, *_OWNED),
)
_controls = _table(
    "controls",
    _key("environment_id"),
    *columns(sa.Text, "state"),
    *columns(sa.Boolean, "stopping"),
    *(sa.Column(name, sa.Double) for name in ("multiple", "sessions_per_second")),
    *columns(sa.Text, *_OWNED),
)
_positions = _table(
    "positions",
    _key("environment_id"),
    *columns(sa.BigInteger, "cycle", "tape_sequence", "order_head", "ledger_head", "market_time"),
    sa.Column("granted_through", sa.BigInteger),
    *columns(sa.Boolean, "final"),
    *columns(sa.Text, *_OWNED),
)
_enrolments = _table(
    "enrolments",
    _key("environment_id", "deployment_id"),
    *columns(sa.BigInteger, "number", "start_sequence"),
    *columns(sa.Text, "seat_digest", "strategy_id", "portfolio_id"),
    *columns(sa.Boolean, "left"),
    *columns(sa.Text, *_OWNED),
)

_Parts = Sequence[Control | Position | Enrolment]


class Store:
    """The service's own database. What changes is committed by the one writer, in the order it was given."""

    def __init__(self, database: Database) -> None:
        self._database = database
        dialect = database.dialect
        self._add_environment = sa.insert(_environments)
        self._add_instrument = sa.insert(_instruments)
        self._add_identity = sa.insert(_identity)
        self._put_calendar = upsert(_calendars, dialect)
        self._put_control = upsert(_controls, dialect, keep=_OWNED)
        self._put_position = upsert(_positions, dialect, keep=_OWNED)
        self._put_enrolment = upsert(_enrolments, dialect, keep=_OWNED)

    async def epoch(self) -> str:
        """The id of this store's life: resume tokens of another are not ours."""
        row = await self._database.fetch_one(sa.select(_identity.c.epoch))
        if row is not None:
            return str(row.epoch)
        epoch = uuid.uuid4().hex[:12]
        await self._database.writer.commit([(self._add_identity, [{"singleton": 1, "epoch": epoch}])])
        return epoch

    async def instruments(self) -> list[tuple[Instrument, int]]:
        """Every instrument and when it was created, ns."""
        return [_instrument(row) for row in await self._database.fetch_all(sa.select(_instruments))]

    async def add_instruments(self, made: Iterable[tuple[Instrument, int]], principal: str) -> None:
        """Stores new instruments: each with its creation time, ns."""
        rows = [
            {**asdict(instrument), "create_time": create_time, "principal": principal, "owner": principal}
            for instrument, create_time in made
        ]
        for row in rows:
            row["display_name"] = row.pop("name")
        await self._database.writer.commit([(self._add_instrument, rows)])

    async def calendar(self, name: str) -> Calendar | None:
        """A compiled calendar."""
        row = await self._database.fetch_one(sa.select(_calendars).where(_calendars.c.calendar == name))
        if row is None:
            return None
        opens, closes, dates = (np.frombuffer(each, "<i8") for each in (row.opens, row.closes, row.dates))
        sessions = Sessions(name, opens, closes, row.known_from, row.known_until)
        return Calendar(sessions, dates, row.library, row.compile_time)

    async def put_calendar(self, calendar: Calendar) -> None:
        """Stores a compiled calendar in place of an older one."""
        sessions = calendar.sessions
        row = {
            "calendar": sessions.calendar,
            "opens": sessions.opens.astype("<i8").tobytes(),
            "closes": sessions.closes.astype("<i8").tobytes(),
            "dates": calendar.dates.astype("<i8").tobytes(),
            "known_from": sessions.known_from,
            "known_until": sessions.known_until,
            "library": calendar.library,
            "compile_time": calendar.compile_time,
        }
        await self._database.writer.commit([(self._put_calendar, [row])])

    async def environments(self) -> list[Stored]:
        """Every environment, oldest first."""
        return await self._database.read(_read_environments)

    async def add_environment(self, stored: Stored) -> None:
        """Stores a new environment."""
        plan = stored.plan
        row = {**asdict(plan), "symbols": json.dumps(plan.symbols), "principal": plan.owner}
        unit = [(self._add_environment, [row]), *self._parts(plan, [stored.control, stored.position])]
        await self._database.writer.commit(unit)

    def put(self, plan: Plan, parts: _Parts, then: Callable[[], None] | None = None) -> Future[None]:
        """Replaces what changed about an environment, in one transaction; `then` runs right after it."""
        return self._database.writer.enqueue(self._parts(plan, parts), then)

    def _parts(self, plan: Plan, parts: _Parts) -> list[tuple[Any, list[dict[str, Any]]]]:
        unit: list[tuple[Any, list[dict[str, Any]]]] = []
        for part in parts:
            row: dict[str, Any] = {"environment_id": plan.environment_id}
            row |= {"principal": plan.owner, "owner": plan.owner}
            match part:
                case Position():
                    row |= {name: getattr(part, name) for name in Position.__slots__}
                    unit.append((self._put_position, [row]))
                case Control():
                    pace = part.pace
                    row |= {"state": part.state.value, "stopping": part.stopping}
                    row |= {"multiple": pace.multiple, "sessions_per_second": pace.sessions_per_second}
                    unit.append((self._put_control, [row]))
                case Enrolment():
                    row |= {name: getattr(part, name) for name in Enrolment.__slots__}
                    unit.append((self._put_enrolment, [row]))
        return unit


def _instrument(row: Any) -> tuple[Instrument, int]:
    made = Instrument(
        symbol=row.symbol,
        name=row.display_name,
        currency_code=row.currency_code,
        calendar=row.calendar,
        price_increment=row.price_increment,
        quantity_increment=row.quantity_increment,
        lot_size=row.lot_size,
        contract_multiplier=row.contract_multiplier,
    )
    return made, row.create_time


def _read_environments(connection: sa.Connection) -> list[Stored]:
    enrolments: dict[str, list[Enrolment]] = {}
    for row in connection.execute(sa.select(_enrolments).order_by(_enrolments.c.number)):
        made = Enrolment(**{name: getattr(row, name) for name in Enrolment.__slots__})
        enrolments.setdefault(row.environment_id, []).append(made)
    query = (
        sa.select(_environments, *_controls.c[1:-2], *_positions.c[1:-2])
        .join(_controls, _controls.c.environment_id == _environments.c.environment_id)
        .join(_positions, _positions.c.environment_id == _environments.c.environment_id)
        .order_by(_environments.c.number)
    )
    stored = []
    for row in connection.execute(query):
        values = {name: getattr(row, name) for name in Plan.__slots__ if name != "symbols"}
        plan = Plan(**values, symbols=tuple(json.loads(row.symbols)))
        pace = Pace(row.multiple, row.sessions_per_second)
        control = Control(State(row.state), row.stopping, pace)
        position = Position(**{name: getattr(row, name) for name in Position.__slots__})
        stored.append(Stored(plan, control, position, tuple(enrolments.get(plan.environment_id, ()))))
    return stored
