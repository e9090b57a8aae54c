"""The service's tables: what a step changes is stored in one transaction with the cursor it brings the books to.

`portfolios` never change; `ledgers`, `balances`, `positions` and `lots` are what a ledger is restored from;
`ledger_entries` are the public entries, encoded once; `environments` are the cursors.
"""

from __future__ import annotations

import json
import uuid
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict
from decimal import Decimal
from typing import Any

import sqlalchemy as sa

from services.chassis.storage.database import Database, DecimalText, upsert
from services.chassis.storage.writer import Writer
from services.chassis.streams.ring import Entry as StreamEntry
from services.chassis.streams.tokens import length_delimited
from services.domain.accounting.books import EquityPoint
from services.domain.accounting.entries import Account, Position
from services.domain.accounting.ledger import Ledger
from services.domain.accounting.lots import Lot
from services.portfolio.book import Book
from services.portfolio.records import Change, Cursor, EntryKey, Kept, Portfolio, Posted

_metadata = sa.MetaData()
_IDENTITY = ("environment_id", "principal", "owner")


def _table(name: str, key: str, integers: str = "", texts: str = "", decimals: str = "") -> sa.Table:
    """A table with the three columns that every row has. Column names are given as words, `name:int` for keys."""
    columns = [
        sa.Column(each.partition(":")[0], sa.BigInteger if each.endswith(":int") else sa.Text, primary_key=True)
        for each in key.split()
    ]
    columns += [sa.Column(each, sa.BigInteger) for each in integers.split()]
    columns += [sa.Column(each, sa.Text) for each in texts.split()]
    columns += [sa.Column(each, DecimalText()) for each in decimals.split()]
    columns += [sa.Column(each, sa.Text) for each in _IDENTITY if each not in key]
    return sa.Table(name, _metadata, *columns)


_streams = sa.Table("streams", _metadata, sa.Column("epoch", sa.Text, primary_key=True))
_environments = _table(
    "environments",
    "environment_id",
    "cycle tape_sequence market_time order_sequence ledger_sequence applied",
    "marks",
)
_environments.append_column(sa.Column("ended", sa.Boolean))
_portfolios = _table(
    "portfolios",
    "portfolio_id",
    "number opening_ledger_sequence create_time",
    "display_name currency_code request_id",
    "initial_cash",
)
_ledgers = _table("ledgers", "portfolio_id", "entry_count last_lot ledger_sequence", decimals="realized_pnl commission")
_balances = _table("balances", "portfolio_id account asset", decimals="amount")
_positions = _table("positions", "portfolio_id symbol", decimals="quantity cost realized_pnl multiplier last_price")
_lots = _table("lots", "portfolio_id lot_id:int", "open_time", "symbol open_exec_id", "quantity cost multiplier")
_entries = _table(
    "ledger_entries", "environment_id sequence:int", "", "portfolio_id kind account asset order_id", "amount"
)
_entries.append_column(sa.Column("payload", sa.LargeBinary))
_points = _table("equity_points", "portfolio_id tape_sequence:int", "time", decimals="cash equity")

_insert_portfolio = sa.insert(_portfolios)
_insert_entry = sa.insert(_entries)
_delete_lot = sa.delete(_lots).where(
    _lots.c.portfolio_id == sa.bindparam("of_portfolio"), _lots.c.lot_id == sa.bindparam("of_lot")
)
_read_log = (
    sa.select(_entries.c.sequence, _entries.c.portfolio_id, _entries.c.kind, _entries.c.account, _entries.c.asset)
    .add_columns(_entries.c.payload)
    .where(_entries.c.environment_id == sa.bindparam("environment_id"), _entries.c.sequence > sa.bindparam("after"))
    .order_by(_entries.c.sequence)
    .limit(sa.bindparam("most"))
)
_read_entries = (
    sa.select(_entries.c.sequence, _entries.c.payload)
    .where(_entries.c.portfolio_id == sa.bindparam("portfolio_id"), _entries.c.sequence > sa.bindparam("after"))
    .order_by(_entries.c.sequence)
    .limit(sa.bindparam("most"))
)
_read_points = (
    sa.select(_points)
    .where(_points.c.portfolio_id == sa.bindparam("portfolio_id"), _points.c.tape_sequence > sa.bindparam("after"))
    .order_by(_points.c.tape_sequence)
    .limit(sa.bindparam("most"))
)
_last_points = sa.select(_points.c.portfolio_id, sa.func.max(_points.c.tape_sequence)).group_by(_points.c.portfolio_id)

Encode = Callable[[Posted], bytes]
Row = dict[str, Any]
Unit = list[tuple[Any, list[Row]]]
LogEntry = StreamEntry[EntryKey]


class Store:
    """The books' rows."""

    def __init__(self, database: Database, encode: Encode) -> None:
        """Takes what encodes an entry as the public message."""
        self._database = database
        self._encode = encode
        self._put = {
            table: upsert(table, database.dialect)
            for table in (_environments, _ledgers, _balances, _positions, _lots, _points)
        }

    @property
    def writer(self) -> Writer:
        """Commits what `unit` makes."""
        return self._database.writer

    async def epoch(self) -> str:
        """The id of this history, which resume tokens carry; made at the first start."""
        row = await self._database.fetch_one(sa.select(_streams))
        if row is not None:
            return str(row.epoch)
        made = uuid.uuid4().hex
        await self._database.writer.commit([(sa.insert(_streams), [{"epoch": made}])])
        return made

    def unit(self, change: Change) -> tuple[Unit, list[LogEntry]]:
        """One transaction's statements and rows, and the entries as the log publishes them after it."""
        put = self._put
        rows, published = self._entries(change.entries)
        identities = {key: _identity(kept.portfolio) for key, kept in change.kept.items()}
        unit: Unit = [
            (put[_environments], [_environment_row(change)]),
            (_insert_portfolio, [asdict(change.opened)] if change.opened else []),
            (_insert_entry, rows),
            (put[_ledgers], [{**_ledger_row(change.kept[key]), **identities[key]} for key in change.changed]),
            (put[_balances], [{**_balance_row(*item), **identities[item[0][0]]} for item in change.balances.items()]),
            (put[_positions], [_held(key, row, identities) for (key, _), row in change.positions.items()]),
            (_delete_lot, [{"of_portfolio": key, "of_lot": lot_id} for key, lot_id in change.closed_lots]),
            (put[_lots], [_held(key, row, identities) for (key, _), row in change.lots.items()]),
            (put[_points], [{**point._asdict(), **identities[point.portfolio_id]} for point in change.points]),
        ]
        return [(statement, rows) for statement, rows in unit if rows], published

    async def books(self, environment_id: str | None = None) -> list[Book]:
        """All books as they were last stored, or those of one environment."""
        return await self._database.read(lambda connection: _restore(connection, environment_id))

    async def log_entries(self, partition: str, after: int, limit: int) -> Sequence[LogEntry]:
        """An environment's entries after a number, for the log."""
        where = {"environment_id": partition, "after": after, "most": limit}
        return [
            StreamEntry(row.sequence, _key(row), length_delimited(1, row.payload))
            for row in await self._database.fetch_all(_read_log, where)
        ]

    async def entries(self, portfolio_id: str, after: int, limit: int, order_id: str = "") -> list[tuple[int, bytes]]:
        """(number, encoded entry) of a portfolio's entries after a number; of an order alone if it is named."""
        where = {"portfolio_id": portfolio_id, "after": after, "most": limit}
        query = _read_entries.where(_entries.c.order_id == order_id) if order_id else _read_entries
        return [(row.sequence, row.payload) for row in await self._database.fetch_all(query, where)]

    async def points(self, portfolio_id: str, after: int, limit: int) -> list[EquityPoint]:
        """A portfolio's equity points behind a tape position."""
        where = {"portfolio_id": portfolio_id, "after": after, "most": limit}
        found = await self._database.fetch_all(_read_points, where)
        return [EquityPoint(row.portfolio_id, row.tape_sequence, row.time, row.cash, row.equity) for row in found]

    def _entries(self, entries: Iterable[Posted]) -> tuple[list[Row], list[LogEntry]]:
        rows: list[Row] = []
        published: list[LogEntry] = []
        for posted in entries:
            entry, payload = posted.entry, self._encode(posted)
            row = {
                "environment_id": posted.environment_id,
                "sequence": posted.sequence,
                "portfolio_id": posted.portfolio_id,
                "kind": entry.kind.value,
                "account": entry.account.value,
                "asset": entry.asset,
                "order_id": entry.order_id,
                "amount": entry.amount,
                "payload": payload,
                "principal": posted.principal,
                "owner": posted.owner,
            }
            rows.append(row)
            symbol = entry.asset if entry.account is Account.POSITION else ""
            key = EntryKey(posted.portfolio_id, entry.kind.value, symbol)
            published.append(StreamEntry(posted.sequence, key, length_delimited(1, payload)))
        return rows, published


def _identity(portfolio: Portfolio) -> Row:
    return {name: getattr(portfolio, name) for name in _IDENTITY}


def _environment_row(change: Change) -> Row:
    marks = json.dumps({symbol: format(mark, "f") for symbol, mark in change.marks.items()})
    return {**asdict(change.cursor), "marks": marks, "principal": "local", "owner": "local"}


def _ledger_row(kept: Kept) -> Row:
    ledger = kept.ledger
    return {
        "portfolio_id": ledger.portfolio_id,
        "entry_count": ledger.sequence,
        "last_lot": kept.last_lot,
        "ledger_sequence": kept.ledger_sequence,
        "realized_pnl": ledger.realized_pnl,
        "commission": ledger.commission,
    }


def _balance_row(key: tuple[str, Account, str], amount: Decimal) -> Row:
    portfolio_id, account, asset = key
    return {"portfolio_id": portfolio_id, "account": account.value, "asset": asset, "amount": amount}


def _held(portfolio_id: str, held: Position | Lot, identities: Mapping[str, Row]) -> Row:
    return {"portfolio_id": portfolio_id, **held._asdict(), **identities[portfolio_id]}


def _key(row: Any) -> EntryKey:
    return EntryKey(row.portfolio_id, row.kind, row.asset if row.account == Account.POSITION.value else "")


def _restore(connection: sa.Connection, environment_id: str | None) -> list[Book]:
    def rows(table: sa.Table, *order: sa.Column[Any]) -> Sequence[Any]:
        query = sa.select(table).order_by(*order)
        if environment_id is not None:
            query = query.where(table.c.environment_id == environment_id)
        return connection.execute(query).fetchall()

    def by_portfolio(table: sa.Table, *order: sa.Column[Any]) -> Mapping[str, list[Any]]:
        grouped = defaultdict(list)
        for row in rows(table, *order):
            grouped[row.portfolio_id].append(row)
        return grouped

    balances, positions = by_portfolio(_balances), by_portfolio(_positions, _positions.c.symbol)
    lots, ledgers = by_portfolio(_lots, _lots.c.lot_id), {row.portfolio_id: row for row in rows(_ledgers)}
    valued: dict[str, int] = {key: at for key, at in connection.execute(_last_points)}  # noqa: C416 a row is a tuple only to Python
    kept = defaultdict(list)
    for row in rows(_portfolios, _portfolios.c.number):
        key = row.portfolio_id
        portfolio = Portfolio(**{name: getattr(row, name) for name in Portfolio.__dataclass_fields__})
        last, ledger = ledgers[key], _ledger(portfolio, ledgers[key], balances[key], positions[key], lots[key])
        kept[row.environment_id].append(
            Kept(portfolio, ledger, last.ledger_sequence, last.last_lot, valued.get(key, 0))
        )
    books = []
    for row in rows(_environments, _environments.c.environment_id):
        cursor = Cursor(**{name: getattr(row, name) for name in Cursor.__dataclass_fields__})
        marks = {symbol: Decimal(text) for symbol, text in json.loads(row.marks).items()}
        books.append(Book(cursor, kept[cursor.environment_id], marks))
    return books


def _ledger(portfolio: Portfolio, row: Any, balances: list[Any], positions: list[Any], lots: list[Any]) -> Ledger:
    return Ledger.restore(
        {
            "portfolio_id": portfolio.portfolio_id,
            "currency_code": portfolio.currency_code,
            "sequence": row.entry_count,
            "last_lot": row.last_lot,
            "realized_pnl": row.realized_pnl,
            "commission": row.commission,
            "balances": [[each.account, each.asset, each.amount] for each in balances],
            "positions": [[getattr(each, name) for name in Position._fields] for each in positions],
            "lots": [[getattr(each, name) for name in Lot._fields] for each in lots],
        }
    )
