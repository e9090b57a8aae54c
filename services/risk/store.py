"""The tables of the risk service: gates with their cursors, epochs, limits, kill switches and the changes' journal.

A gate is stored in parts, each only when it changed, in one transaction with its cursor: a restart takes it from there
and folds the rest again, each event once. Checks that no event has confirmed are not stored: a restart breaks the
caller's stream, which voids them (rule 4). So what is reserved is never stored as a sum, but made anew of the claims.
"""

import json
from collections import defaultdict, deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any, NamedTuple

import sqlalchemy as sa

from services.chassis.database import Database, DecimalText, upsert
from services.domain.buying_power import Claim, Funds, Holding
from services.domain.gate import Gate
from services.domain.instrument import Instrument
from services.domain.ledger import as_decimal
from services.risk.records import Journalled, KillRecord, LimitRecord, Scope
from services.wire.versions import CONTROL_CHANGE, check_version


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
    """All that was stored; `epochs`, `sequences` (the journals' last numbers) and `owners` by environment."""

    parts: list[Part]
    epochs: dict[str, int]
    limits: list[LimitRecord]
    kill_switches: list[KillRecord]
    sequences: dict[str, int]
    owners: dict[str, str]


class OpenGate(Gate):
    """A gate whose funds and claims can be read, and which can be made of stored parts."""

    @property
    def funds(self) -> Mapping[str, Funds]:
        """By portfolio; not to be changed."""
        return self._funds

    @property
    def claims(self) -> Mapping[str, Claim]:
        """By order id; not to be changed."""
        return self._claims

    def marks(self) -> dict[str, str]:
        """The last prices as text."""
        return {symbol: str(as_decimal(price)) for symbol, price in self._marks.items()}

    def knows(self, portfolio_id: str) -> bool:
        """Whether the portfolio's opening entry has come."""
        funds = self._funds.get(portfolio_id)
        return funds is not None and funds.opened

    def symbols(self) -> set[str]:
        """The symbols that are held or claimed."""
        held = {symbol for funds in self._funds.values() for symbol in funds.holdings}
        return held | {claim.symbol for claim in self._claims.values() if claim.symbol}

    def rebuild(self, part: Part) -> None:
        """Take everything that was stored; the gate must be new. Reservations are made anew of their claims."""
        for portfolio_id, state in part.portfolios.items():
            self._funds[portfolio_id] = _funds_of(state)
        for order_id, claim in part.claims.items():
            self._known(claim.portfolio_id)
            self._claim(order_id, claim)
        for symbol, price in part.marks.items():
            self.mark(symbol, Decimal(price))

    def set_multipliers(self, instruments: Mapping[str, Instrument]) -> None:
        """Give holdings their contract multipliers, which are not stored."""
        for funds in self._funds.values():
            for symbol, holding in funds.holdings.items():
                holding.multiplier = instruments[symbol].contract_multiplier


def state_of(funds: Funds) -> dict[str, Any]:
    """What of a portfolio its claims do not tell, as JSON-able values."""
    return {
        "opened": funds.opened,
        "cash": str(funds.cash),
        "collateral": str(funds.collateral),
        "recent": [list(pair) for pair in funds.recent],
        "holdings": {
            symbol: [str(holding.quantity), str(holding.collateral)]
            for symbol, holding in funds.holdings.items()
            if holding.quantity or holding.collateral
        },
    }


def _funds_of(state: Mapping[str, Any]) -> Funds:
    return Funds(
        cash=Decimal(state["cash"]),
        collateral=Decimal(state["collateral"]),
        opened=state["opened"],
        recent=deque(list(pair) for pair in state["recent"]),
        holdings={
            symbol: Holding(quantity=Decimal(quantity), collateral=Decimal(collateral))
            for symbol, (quantity, collateral) in state["holdings"].items()
        },
    )


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
    marks=_text,
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
)
_change = {"version": _big, "tape_sequence": _big, "update_time": _big}
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
    order_head=_big,
    after_order_id=_text,
    create_time=_big,
    traceparent=_text,
)


# Those that tell whose an environment is; at least one of them has each that is known here.
_OF_ENVIRONMENTS = (_environments, _epochs, _limits, _kill_switches)


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
        """All that was stored, as of one moment.

        Raises:
            UnknownVersion: a newer release stored changes that this one cannot read.
        """
        return await self._database.read(_load)

    async def save(self, part: Part, owner: str) -> None:
        """Store what changed of a gate, with its cursor; `owner` is the environment's."""
        name = part.environment_id
        whose = _whose(name, owner)
        cursor = {**part.cursor._asdict(), **whose, "marks": json.dumps(dict(part.marks))}
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

    async def raise_epoch(self, environment_id: str, epoch: int, owner: str) -> None:
        """Store the epoch of a connection before it is answered."""
        row = {**_whose(environment_id, owner), "epoch": epoch}
        await self._database.writer.commit([(self._put_epoch, [row])])

    async def change(self, record: LimitRecord | KillRecord, entry: Journalled, then: Callable[[], None]) -> None:
        """Store a limit or kill switch and the journal's entry of it; `then` runs right after the commit."""
        put = self._put_limit if isinstance(record, LimitRecord) else self._put_kill_switch
        event = {**_values(entry), "payload_version": CONTROL_CHANGE}
        await self._database.writer.commit([(put, [_values(record)]), (self._add_event, [event])], then)


def _whose(environment_id: str, owner: str) -> dict[str, Any]:
    return {"environment_id": environment_id, "principal": owner, "owner": owner}


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
        claim = Claim(row["portfolio_id"], row["symbol"], row["quantity"], row["cash"], True, row["pair"])
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
    newest = connection.execute(sa.select(sa.func.max(_events.c.payload_version))).scalar()
    check_version(newest or 0, CONTROL_CHANGE, "a change of limits or kill switches")
    heads = sa.select(_events.c.environment_id, sa.func.max(_events.c.sequence)).group_by(_events.c.environment_id)
    return Stored(
        parts,
        {row["environment_id"]: row["epoch"] for row in rows(_epochs)},
        [LimitRecord(**row) for row in rows(_limits)],
        [KillRecord(**{**row, "scope": Scope(row["scope"])}) for row in rows(_kill_switches)],
        {row[0]: row[1] for row in connection.execute(heads)},
        {row["environment_id"]: row["owner"] for table in _OF_ENVIRONMENTS for row in rows(table)},
    )
