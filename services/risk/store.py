"""The tables of the risk service: gates with their cursors, epochs, limits, kill switches and the changes' journal.

A gate is stored in parts, each only when it changed, in one transaction with its cursor: a restart takes it from there
and folds the rest again, each event once. Checks that no event has confirmed are not stored: a restart breaks the
caller's stream, which voids them (rule 4). So what is reserved is never stored as a sum, but made anew of the claims.
"""

import json
from collections import defaultdict
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import sqlalchemy as sa

from services.chassis.database import Database, DecimalText, upsert
from services.domain.buying_power import Claim
from services.risk.controls import Journalled, KillRecord, LimitRecord, Scope

PAYLOAD_VERSION = 1


class Cursor(NamedTuple):
    """Where an environment's gate stands: the last event, entry, position and cycle that count in it."""

    order_sequence: int = 0
    ledger_sequence: int = 0
    tape_sequence: int = 0
    cycle: int = 0
    ended: bool = False


@dataclass(frozen=True, slots=True)
class Part:
    """What changed in one environment since the part before; or, as loaded, everything.

    Attributes:
        marks: last prices by symbol, always all of them.
        portfolios: JSON-able state by portfolio id.
        claims: confirmed ones by order id.
        gone: ids of stored claims that are no more.
    """

    environment_id: str
    cursor: Cursor
    marks: Mapping[str, str]
    portfolios: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    claims: Mapping[str, Claim] = field(default_factory=dict)
    gone: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Stored:
    """All that was stored; `epochs` and `sequences` (the journals' last numbers) by environment."""

    parts: list[Part]
    epochs: dict[str, int]
    limits: list[LimitRecord]
    kill_switches: list[KillRecord]
    sequences: dict[str, int]


_metadata = sa.MetaData()
_text, _big = sa.Text, sa.BigInteger


def _table(name: str, key: tuple[str, ...], **columns: Any) -> sa.Table:
    keys = [sa.Column(each, _big if each == "sequence" else _text, primary_key=True) for each in key]
    return sa.Table(name, _metadata, *keys, *(sa.Column(each, kind) for each, kind in columns.items()))


_environments = _table(
    "environments",
    ("environment_id",),
    order_sequence=_big,
    ledger_sequence=_big,
    tape_sequence=_big,
    cycle=_big,
    ended=sa.Boolean,
    marks=_text,
)
_epochs = _table("epochs", ("environment_id",), epoch=_big)
_portfolios = _table("portfolios", ("environment_id", "portfolio_id"), state=_text)
_claims = _table(
    "claims",
    ("environment_id", "order_id"),
    portfolio_id=_text,
    symbol=_text,
    quantity=DecimalText,
    cash=DecimalText,
)
_change = {"version": _big, "tape_sequence": _big, "update_time": _big, "principal": _text, "owner": _text}
_limits = _table("limits", ("environment_id", "portfolio_id", "name"), bound=DecimalText, deleted=sa.Boolean, **_change)
_kill_switches = _table(
    "kill_switches",
    ("environment_id", "scope", "target_id"),
    engaged=sa.Boolean,
    allow_reducing=sa.Boolean,
    reason=_text,
    **_change,
)
_events = _table(
    "events",
    ("environment_id", "sequence"),
    kind=_text,
    payload=_text,
    payload_version=sa.Integer,
    tape_sequence=_big,
    create_time=_big,
    traceparent=_text,
    principal=_text,
    owner=_text,
)


class Store:
    """Reads everything once, at the start; writes what changed."""

    def __init__(self, database: Database) -> None:
        self._database = database
        make = database.dialect
        self._put_environment = upsert(_environments, make)
        self._put_epoch = upsert(_epochs, make)
        self._put_portfolio = upsert(_portfolios, make)
        self._put_claim = upsert(_claims, make)
        self._put_limit = upsert(_limits, make)
        self._put_kill_switch = upsert(_kill_switches, make)
        self._add_event = _events.insert()
        self._drop_claim = _claims.delete().where(
            _claims.c.environment_id == sa.bindparam("e"), _claims.c.order_id == sa.bindparam("o")
        )

    async def load(self) -> Stored:
        """All that was stored, as of one moment."""
        return await self._database.read(_load)

    async def save(self, part: Part) -> None:
        """Store what changed of a gate, with its cursor."""
        name = part.environment_id
        cursor = {**part.cursor._asdict(), "environment_id": name, "marks": json.dumps(dict(part.marks))}
        portfolios = [
            {"environment_id": name, "portfolio_id": i, "state": json.dumps(state)}
            for i, state in part.portfolios.items()
        ]
        claims = [
            {
                "environment_id": name,
                "order_id": order_id,
                "portfolio_id": claim.portfolio_id,
                "symbol": claim.symbol,
                "quantity": claim.quantity,
                "cash": claim.cash,
            }
            for order_id, claim in part.claims.items()
        ]
        await self._database.writer.commit(
            [
                (self._put_portfolio, portfolios),
                (self._drop_claim, [{"e": name, "o": order_id} for order_id in part.gone]),
                (self._put_claim, claims),
                (self._put_environment, [cursor]),
            ]
        )

    async def raise_epoch(self, environment_id: str, epoch: int) -> None:
        """Store the epoch of a connection before it is answered."""
        await self._database.writer.commit([(self._put_epoch, [{"environment_id": environment_id, "epoch": epoch}])])

    async def change(self, record: LimitRecord | KillRecord, entry: Journalled, then: Callable[[], None]) -> None:
        """Store a limit or kill switch and the journal's entry of it; `then` runs right after the commit."""
        put = self._put_limit if isinstance(record, LimitRecord) else self._put_kill_switch
        event = {**_values(entry), "payload_version": PAYLOAD_VERSION}
        await self._database.writer.commit([(put, [_values(record)]), (self._add_event, [event])], then)


def _values(record: LimitRecord | KillRecord | Journalled) -> dict[str, Any]:
    return {name: getattr(record, name) for name in record.__dataclass_fields__}


def _load(connection: sa.Connection) -> Stored:
    def rows(table: sa.Table) -> list[Any]:
        return list(connection.execute(sa.select(table)).mappings())

    portfolios: dict[str, dict[str, Any]] = defaultdict(dict)
    for row in rows(_portfolios):
        portfolios[row["environment_id"]][row["portfolio_id"]] = json.loads(row["state"])
    claims: dict[str, dict[str, Claim]] = defaultdict(dict)
    for row in rows(_claims):
        claim = Claim(row["portfolio_id"], row["symbol"], row["quantity"], row["cash"], confirmed=True)
        claims[row["environment_id"]][row["order_id"]] = claim
    parts = [
        Part(
            row["environment_id"],
            Cursor(*(row[name] for name in Cursor._fields)),
            json.loads(row["marks"]),
            portfolios[row["environment_id"]],
            claims[row["environment_id"]],
        )
        for row in rows(_environments)
    ]
    heads = sa.select(_events.c.environment_id, sa.func.max(_events.c.sequence)).group_by(_events.c.environment_id)
    return Stored(
        parts,
        {row["environment_id"]: row["epoch"] for row in rows(_epochs)},
        [LimitRecord(**row) for row in rows(_limits)],
        [KillRecord(**{**row, "scope": Scope(row["scope"])}) for row in rows(_kill_switches)],
        {row[0]: row[1] for row in connection.execute(heads)},
    )
