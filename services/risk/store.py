"""The tables of the risk service: gates with their cursors, epochs, limits, kill switches and the journal of events.

A gate is stored in parts, each only when it changed, in one transaction with its cursor: a restart takes it from there
and folds the rest again, each event once. Checks that no event has confirmed are not stored: a restart breaks the
caller's stream, which voids them (rule 4). So what is reserved is never stored as a sum, but made anew of the claims.
"""

import json
import uuid
from collections import defaultdict
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa

from services.chassis.storage.database import Database, DecimalText, upsert
from services.chassis.storage.writer import Unit
from services.domain.orders.claim import Claim
from services.domain.risk.limit import Where
from services.domain.risk.watch import AlarmKind
from services.risk.gate.parts import Cursor, Part
from services.risk.records import Journalled, KillRecord, LimitRecord, RiskKind, Scope
from services.wire.versions import RISK_EVENT, check_version


@dataclass(frozen=True, slots=True)
class Stored:
    """All that was stored; `epochs`, `sequences` (the events' last numbers) and `owners` by environment."""

    parts: list[Part]
    epochs: dict[str, int]
    limits: list[LimitRecord]
    kill_switches: list[KillRecord]
    sequences: dict[str, int]
    owners: dict[str, str]


_metadata = sa.MetaData()
_text, _big = sa.Text, sa.BigInteger


def _table(name: str, key: tuple[str, ...], **columns: Any) -> sa.Table:
    keys = [sa.Column(each, _big if each == "sequence" else _text, primary_key=True) for each in key]
    columns |= {"principal": _text, "owner": _text}
    return sa.Table(name, _metadata, *keys, *(sa.Column(each, kind) for each, kind in columns.items()))


_environments = _table(
    "environments",
    ("environment_id",),
    order_sequence=_big,
    ledger_sequence=_big,
    tape_sequence=_big,
    cycle=_big,
    ended=sa.Boolean,
    valued_sequence=_big,
    last_order_id=_text,
    marks=_text,
    curve=_text,
    warned=_text,
)
_epochs = _table("epochs", ("environment_id",), epoch=_big)
_portfolios = _table("portfolios", ("environment_id", "portfolio_id"), state=_text)
_claims = _table(
    "claims",
    ("environment_id", "order_id"),
    portfolio_id=_text,
    symbol=_text,
    pair=_text,
    quantity=DecimalText,
    cash=DecimalText,
    covering=DecimalText,
    closing=DecimalText,
    strategy_id=_text,
)
_change = {"version": _big, "tape_sequence": _big, "update_time": _big}
_limits = _table(
    "limits",
    ("environment_id", "portfolio_id", "strategy_id", "symbol", "name"),
    bound=DecimalText,
    deleted=sa.Boolean,
    **_change,
)
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
    portfolio_id=_text,
    payload=_text,
    payload_version=sa.Integer,
    tape_sequence=_big,
    market_time=_big,
    order_head=_big,
    after_order_id=_text,
    create_time=_big,
    traceparent=_text,
)
_streams = sa.Table("streams", _metadata, sa.Column("epoch", _text, primary_key=True))


# Those that tell whose an environment is; at least one of them has each that is known here.
_OF_ENVIRONMENTS = (_environments, _epochs, _limits, _kill_switches)


class Store:
    """Reads everything but the events once, at the start; says how what changed is written."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self.writer = database.writer
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
        """All that was stored, as of one moment.

        Raises:
            UnknownVersion: a newer release stored changes that this one cannot read.
        """
        return await self._database.read(_load)

    async def stream_epoch(self) -> str:
        """The id of the events' stream; made with the first start."""
        row = await self._database.fetch_one(sa.select(_streams.c.epoch))
        if row is not None:
            return str(row.epoch)
        epoch = uuid.uuid4().hex
        await self.writer.commit([(sa.insert(_streams), [{"epoch": epoch}])])
        return epoch

    async def events(
        self,
        environment_id: str,
        after: int,
        limit: int,
        portfolio_id: str = "",
        kinds: Collection[RiskKind] = (),
    ) -> list[Journalled]:
        """An environment's events after a number, in order; empty filters let all pass."""
        query = sa.select(_events).where(_events.c.environment_id == environment_id, _events.c.sequence > after)
        if portfolio_id:
            query = query.where(_events.c.portfolio_id == portfolio_id)
        if kinds:
            query = query.where(_events.c.kind.in_(kinds))
        rows = await self._database.fetch_all(query.order_by(_events.c.sequence).limit(limit))
        return [_event(row) for row in rows]

    async def newest(self, environment_id: str, portfolio_id: str, kind: RiskKind) -> Journalled | None:
        """The newest event of a kind that a portfolio has."""
        whose = (_events.c.environment_id == environment_id, _events.c.portfolio_id == portfolio_id)
        query = sa.select(_events).where(*whose, _events.c.kind == kind).order_by(_events.c.sequence.desc()).limit(1)
        row = await self._database.fetch_one(query)
        return None if row is None else _event(row)

    def unit(
        self,
        owner: str,
        part: Part | None = None,
        record: LimitRecord | KillRecord | None = None,
        events: Sequence[Journalled] = (),
    ) -> Unit:
        """What changed of a gate with its cursor, a limit or kill switch, and what is to be told of both.

        Args:
            owner: the environment's.
        """
        rows: list[Any] = [] if part is None else self._part(part, owner)
        if isinstance(record, LimitRecord):
            rows.append((self._put_limit, [_values(record)]))
        elif record is not None:
            rows.append((self._put_kill_switch, [_values(record)]))
        if events:
            rows.append((self._add_event, [{**_values(each), "payload_version": RISK_EVENT} for each in events]))
        return rows

    def _part(self, part: Part, owner: str) -> list[Any]:
        name = part.environment_id
        whose = _whose(name, owner)
        stands = {
            **part.cursor._asdict(),
            **whose,
            "marks": json.dumps(dict(part.marks)),
            "curve": json.dumps(part.curve),
            "warned": json.dumps(part.told),
        }
        portfolios = [{**whose, "portfolio_id": i, "state": json.dumps(state)} for i, state in part.portfolios.items()]
        claims = [
            {
                **whose,
                "order_id": order_id,
                "portfolio_id": claim.portfolio_id,
                "symbol": claim.symbol,
                "pair": claim.pair,
                "quantity": claim.quantity,
                "cash": claim.cash,
                "covering": claim.covering,
                "closing": claim.closing,
                "strategy_id": claim.strategy_id,
            }
            for order_id, claim in part.claims.items()
        ]
        return [
            (self._put_portfolio, portfolios),
            (self._drop_claim, [{"e": name, "o": order_id} for order_id in part.gone]),
            (self._put_claim, claims),
            (self._put_environment, [stands]),
        ]

    async def raise_epoch(self, environment_id: str, epoch: int, owner: str) -> None:
        """Store the epoch of a connection before it is answered."""
        row = {**_whose(environment_id, owner), "epoch": epoch}
        await self.writer.commit([(self._put_epoch, [row])])


def _whose(environment_id: str, owner: str) -> dict[str, Any]:
    return {"environment_id": environment_id, "principal": owner, "owner": owner}


def _values(record: LimitRecord | KillRecord | Journalled) -> dict[str, Any]:
    return {name: getattr(record, name) for name in record.__dataclass_fields__}


def _event(row: Any) -> Journalled:
    values = {name: getattr(row, name) for name in Journalled.__dataclass_fields__}
    return Journalled(**{**values, "kind": RiskKind(row.kind)})


def _load(connection: sa.Connection) -> Stored:
    def rows(table: sa.Table) -> list[Any]:
        return list(connection.execute(sa.select(table)).mappings())

    portfolios: dict[str, dict[str, Any]] = defaultdict(dict)
    for row in rows(_portfolios):
        portfolios[row["environment_id"]][row["portfolio_id"]] = json.loads(row["state"])
    claims: dict[str, dict[str, Claim]] = defaultdict(dict)
    for row in rows(_claims):
        held = (row["quantity"], row["cash"], row["covering"], True, row["pair"], row["strategy_id"], row["closing"])
        claim = Claim(row["portfolio_id"], row["symbol"], *held)
        claims[row["environment_id"]][row["order_id"]] = claim
    parts = [
        Part(
            row["environment_id"],
            Cursor(*(row[name] for name in Cursor._fields)),
            json.loads(row["marks"]),
            portfolios[row["environment_id"]],
            claims[row["environment_id"]],
            curve=tuple(json.loads(row["curve"])),
            told=tuple((name, Where(*where), AlarmKind(kind)) for name, where, kind in json.loads(row["warned"])),
        )
        for row in rows(_environments)
    ]
    newest = connection.execute(sa.select(sa.func.max(_events.c.payload_version))).scalar()
    check_version(newest or 0, RISK_EVENT, "a risk event")
    heads = sa.select(_events.c.environment_id, sa.func.max(_events.c.sequence)).group_by(_events.c.environment_id)
    return Stored(
        parts,
        {row["environment_id"]: row["epoch"] for row in rows(_epochs)},
        [LimitRecord(**row) for row in rows(_limits)],
        [KillRecord(**{**row, "scope": Scope(row["scope"])}) for row in rows(_kill_switches)],
        {row[0]: row[1] for row in connection.execute(heads)},
        {row["environment_id"]: row["owner"] for table in _OF_ENVIRONMENTS for row in rows(table)},
    )
