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

from services.chassis.database import Database, DecimalText, upsert
from services.domain.calendar import Sessions
from services.domain.instrument import Instrument
from services.marketdata.environment import Control, Enrolment, Pace, Plan, Position, State, Stored
from services.marketdata.sessions import Calendar

_metadata = sa.MetaData()
_identity = sa.Table(
    "identity", _metadata, sa.Column("singleton", sa.Integer, primary_key=True), sa.Column("epoch", sa.Text)
)
_instruments = sa.Table(
    "instruments",
    _metadata,
    sa.Column("symbol", sa.Text, primary_key=True),
    sa.Column("display_name", sa.Text),
    sa.Column("currency_code", sa.Text),
    sa.Column("calendar", sa.Text),
    sa.Column("price_increment", DecimalText),
    sa.Column("quantity_increment", DecimalText),
    sa.Column("lot_size", DecimalText),
    sa.Column("contract_multiplier", DecimalText),
    sa.Column("create_time", sa.BigInteger),
    sa.Column("principal", sa.Text),
    sa.Column("owner", sa.Text),
)
_calendars = sa.Table(
    "calendars",
    _metadata,
    sa.Column("calendar", sa.Text, primary_key=True),
    sa.Column("opens", sa.LargeBinary),
    sa.Column("closes", sa.LargeBinary),
    sa.Column("dates", sa.LargeBinary),
    sa.Column("known_from", sa.BigInteger),
    sa.Column("known_until", sa.BigInteger),
    sa.Column("library", sa.Text),
    sa.Column("compile_time", sa.BigInteger),
)
_environments = sa.Table(
    "environments",
    _metadata,
    sa.Column("environment_id", sa.Text, primary_key=True),
    sa.Column("number", sa.BigInteger),
    sa.Column("display_name", sa.Text),
    sa.Column("data_set_id", sa.Text),
    sa.Column("symbols", sa.Text),
    sa.Column("start_time", sa.BigInteger),
    sa.Column("end_time", sa.BigInteger),
    sa.Column("tape_digest", sa.Text),
    sa.Column("start_sequence", sa.BigInteger),
    sa.Column("end_sequence", sa.BigInteger),
    sa.Column("seed", sa.BigInteger),
    sa.Column("volume_share", sa.Double),
    sa.Column("fill_on_touch", sa.Boolean),
    sa.Column("request_id", sa.Text),
    sa.Column("request_digest", sa.Text),
    sa.Column("create_time", sa.BigInteger),
    sa.Column("principal", sa.Text),
    sa.Column("owner", sa.Text),
)
_controls = sa.Table(
    "controls",
    _metadata,
    sa.Column("environment_id", sa.Text, sa.ForeignKey("environments.environment_id"), primary_key=True),
    sa.Column("state", sa.Text),
    sa.Column("stopping", sa.Boolean),
    sa.Column("multiple", sa.Double),
    sa.Column("sessions_per_second", sa.Double),
    sa.Column("principal", sa.Text),
    sa.Column("owner", sa.Text),
)
_positions = sa.Table(
    "positions",
    _metadata,
    sa.Column("environment_id", sa.Text, sa.ForeignKey("environments.environment_id"), primary_key=True),
    sa.Column("cycle", sa.BigInteger),
    sa.Column("tape_sequence", sa.BigInteger),
    sa.Column("order_head", sa.BigInteger),
    sa.Column("ledger_head", sa.BigInteger),
    sa.Column("market_time", sa.BigInteger),
    sa.Column("granted_through", sa.BigInteger),
    sa.Column("final", sa.Boolean),
    sa.Column("principal", sa.Text),
    sa.Column("owner", sa.Text),
)
_enrolments = sa.Table(
    "enrolments",
    _metadata,
    sa.Column("environment_id", sa.Text, sa.ForeignKey("environments.environment_id"), primary_key=True),
    sa.Column("deployment_id", sa.Text, primary_key=True),
    sa.Column("number", sa.BigInteger),
    sa.Column("start_sequence", sa.BigInteger),
    sa.Column("seat_digest", sa.Text),
    sa.Column("strategy_id", sa.Text),
    sa.Column("portfolio_id", sa.Text),
    sa.Column("left", sa.Boolean),
    sa.Column("principal", sa.Text),
    sa.Column("owner", sa.Text),
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
        self._put_control = upsert(_controls, dialect, keep=("principal", "owner"))
        self._put_position = upsert(_positions, dialect, keep=("principal", "owner"))
        self._put_enrolment = upsert(_enrolments, dialect, keep=("principal", "owner"))

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
