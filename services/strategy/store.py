"""The service's tables. What a decision changes is stored in one transaction: its signals, and the strategy's state.

`strategies` never change; `deployments` change when they begin and end, `progress` with what they decide; `signals`
are the public ones, encoded once.
"""

from __future__ import annotations

import json
import uuid
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import sqlalchemy as sa

from services.chassis.storage.database import Database, upsert
from services.chassis.streams.ring import Entry
from services.chassis.streams.tokens import length_delimited
from services.strategy.records import Deployment, Progress, SignalKey, State, StrategyRecord

Row = dict[str, Any]
Unit = list[tuple[Any, Sequence[Mapping[str, Any]]]]

_metadata = sa.MetaData()
_INTEGERS = frozenset(
    ("sequence", "number", "create_time", "deployment_number", "start_sequence", "cycle", "tape_sequence")
) | {"order_head", "signal_count"}


def _table(name: str, key: str, columns: str) -> sa.Table:
    """A table of named columns; text, where their names do not say otherwise."""

    def column(each: str, **options: Any) -> sa.Column[Any]:
        special = {"released": sa.Boolean, "payload": sa.LargeBinary}
        return sa.Column(each, sa.BigInteger if each in _INTEGERS else special.get(each, sa.Text), **options)

    keys = [column(each, primary_key=True) for each in key.split()]
    return sa.Table(name, _metadata, *keys, *map(column, columns.split()))


_streams = _table("streams", "epoch", "")
_strategies = _table(
    "strategies",
    "strategy_id",
    "number display_name kind parameters symbols request_id create_time principal owner",
)
_deployments = _table(
    "deployments",
    "deployment_id",
    "number strategy_id portfolio_id environment_id request_id create_time principal owner"
    " deployment_number state error start_sequence released seat_token",
)
_progress = _table(
    "progress", "deployment_id", "cycle tape_sequence order_head signal_count runner environment_id principal owner"
)
_signals = _table("signals", "environment_id sequence", "deployment_id symbol signal_id principal owner payload")

_insert_strategy = sa.insert(_strategies)
_insert_signal = sa.insert(_signals)
_read_signals = (
    sa.select(_signals.c.sequence, _signals.c.deployment_id, _signals.c.symbol, _signals.c.signal_id)
    .add_columns(_signals.c.payload)
    .where(_signals.c.environment_id == sa.bindparam("partition"), _signals.c.sequence > sa.bindparam("after"))
    .order_by(_signals.c.sequence)
    .limit(sa.bindparam("most"))
)
_heads = sa.select(_signals.c.environment_id, sa.func.max(_signals.c.sequence).label("head")).group_by(
    _signals.c.environment_id
)


@dataclass(frozen=True, slots=True)
class Stored:
    """All that is stored, but for the signals: those by their number in each environment."""

    strategies: list[StrategyRecord]
    deployments: list[tuple[Deployment, Progress]]
    heads: dict[str, int]


class Store:
    """Reads at start-up and for lists; writes through the database's one writer."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._put_deployment = upsert(_deployments, database.dialect)
        self._put_progress = upsert(_progress, database.dialect)
        self.writer = database.writer

    async def load(self) -> Stored:
        """All that is stored."""
        return await self._database.read(_load)

    async def epoch(self) -> str:
        """The life of the durable streams: begins with the database."""
        row = await self._database.fetch_one(sa.select(_streams.c.epoch))
        if row is not None:
            return str(row.epoch)
        epoch = uuid.uuid4().hex
        await self.writer.commit([(sa.insert(_streams), [{"epoch": epoch}])])
        return epoch

    async def add_strategy(self, strategy: StrategyRecord, then: Callable[[], None]) -> None:
        """Stores a new strategy."""
        row = asdict(strategy) | {
            "parameters": json.dumps(dict(strategy.parameters)),
            "symbols": json.dumps(strategy.symbols),
        }
        await self.writer.commit([(_insert_strategy, [row])], then)

    async def put_deployments(self, deployments: Iterable[Deployment], then: Callable[[], None]) -> None:
        """Stores deployments as they are now."""
        await self.writer.commit(self.deployments_unit(deployments), then)

    def deployments_unit(self, deployments: Iterable[Deployment]) -> Unit:
        """What stores deployments as they are now."""
        rows = [asdict(each) | {"state": each.state.value} for each in deployments]
        return [(self._put_deployment, rows)]

    def progress_unit(
        self, deployment: Deployment, progress: Progress, signals: Sequence[tuple[int, SignalKey, bytes]]
    ) -> Unit:
        """What stores a decision: the strategy's state and its signals, as (sequence, key, payload)."""
        identity = {
            "environment_id": deployment.environment_id,
            "principal": deployment.principal,
            "owner": deployment.owner,
        }
        state = {
            "deployment_id": deployment.deployment_id,
            "cycle": progress.cycle,
            "tape_sequence": progress.tape_sequence,
            "order_head": progress.order_head,
            "signal_count": progress.signal_count,
            "runner": progress.runner,
        }
        rows = [
            {"sequence": sequence, **key._asdict(), "payload": payload, **identity}
            for sequence, key, payload in signals
        ]
        return [(self._put_progress, [state | identity]), (_insert_signal, rows)]

    async def read_signals(self, partition: str, after: int, limit: int) -> list[Entry[SignalKey]]:
        """An environment's stored signals after a number, for the stream."""
        rows = await self._database.fetch_all(_read_signals, {"partition": partition, "after": after, "most": limit})
        return [
            signal_entry(row.sequence, SignalKey(row.deployment_id, row.symbol, row.signal_id), row.payload)
            for row in rows
        ]

    async def signals_page(
        self, environment_id: str, after: int, limit: int, **filters: str
    ) -> list[tuple[int, bytes]]:
        """(number, encoded signal) of an environment's signals after a number; empty filters let all pass."""
        query = sa.select(_signals.c.sequence, _signals.c.payload).where(
            _signals.c.environment_id == environment_id, _signals.c.sequence > after
        )
        for name, value in filters.items():
            if value:
                query = query.where(_signals.c[name] == value)
        rows = await self._database.fetch_all(query.order_by(_signals.c.sequence).limit(limit))
        return [(row.sequence, bytes(row.payload)) for row in rows]


def signal_entry(sequence: int, key: SignalKey, payload: bytes) -> Entry[SignalKey]:
    """A signal as the stream holds it: field 1 of `Signals`."""
    return Entry(sequence, key, length_delimited(1, payload))


def _load(connection: sa.Connection) -> Stored:
    rows = connection.execute(sa.select(_strategies).order_by(_strategies.c.number)).mappings().all()
    strategies = [
        StrategyRecord(
            **{**row, "parameters": json.loads(row["parameters"]), "symbols": tuple(json.loads(row["symbols"]))}
        )
        for row in rows
    ]
    progress = {row["deployment_id"]: _progress_of(row) for row in connection.execute(sa.select(_progress)).mappings()}
    rows = connection.execute(sa.select(_deployments).order_by(_deployments.c.number)).mappings().all()
    deployments = [
        Deployment(**{**row, "state": State(row["state"]), "released": bool(row["released"])}) for row in rows
    ]
    heads = {row.environment_id: row.head for row in connection.execute(_heads)}
    return Stored(strategies, [(each, progress.get(each.deployment_id, Progress())) for each in deployments], heads)


def _progress_of(row: Mapping[Any, Any]) -> Progress:
    return Progress(row["cycle"], row["tape_sequence"], row["order_head"], row["signal_count"], row["runner"])
