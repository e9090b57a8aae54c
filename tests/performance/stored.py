"""Stores of many orders: real ones, multiplied as bulk rows of the same shape in the services' own tables.

Each copy is an order of its own, with its client's id, its events and the ledger entries of its fills; heads and counts
are moved along, and so is what says how far the others have counted. Positions and cash stay as they were: of the
orders that are copied as many buy as sell.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any, NamedTuple

import sqlalchemy as sa
from tickmesh.order.v1 import order_pb2
from tickmesh.portfolio.v1 import portfolio_pb2

from services.chassis.storage.database import Database
from tests.performance.rig import ENVIRONMENT

Row = dict[str, Any]
IN_A_TRANSACTION = 20_000


class Heads(NamedTuple):
    """The last numbers of orders, of their events and of ledger entries."""

    orders: int
    events: int
    entries: int


class Original(NamedTuple):
    """An order that is copied: its row, its events, the entries of its fills; messages are changed copy by copy."""

    order: Row
    events: list[tuple[Row, order_pb2.OrderEvent]]
    entries: list[tuple[Row, portfolio_pb2.LedgerEntry]]

    def copy(self, heads: Heads, into: dict[str, list[Row]]) -> Heads:
        """Adds a copy's rows, numbered behind these heads; the heads then."""
        number, client_order_id = heads.orders + 1, f"copy-{heads.orders + 1}"
        order_id = f"{ENVIRONMENT}-{number}"
        sequence, entry_sequence = heads.events, heads.entries
        for count, (row, event) in enumerate(self.events, 1):
            sequence += 1
            event.sequence, event.exec_id = sequence, f"{order_id}-{count}"
            event.order.order_id, event.order.client_order_id = order_id, client_order_id
            event.order.last_event_sequence = sequence
            into["order_events"].append(
                row | {"sequence": sequence, "number": number, "payload": event.SerializeToString()}
            )
        key = f"{self.order['portfolio_id']}:{client_order_id}"
        into["orders"].append(self.order | {"number": number, "client_key": key, "last_event_sequence": sequence})
        for row, entry in self.entries:
            entry_sequence += 1
            entry.sequence, entry.order_id = entry_sequence, order_id
            entry.exec_id = f"{order_id}-{entry.exec_id.rpartition('-')[2]}"
            entry.transaction_id = entry.exec_id
            into["ledger_entries"].append(row | {"sequence": entry_sequence, "payload": entry.SerializeToString()})
        return Heads(number, sequence, entry_sequence)


async def grow(folder: Path, settings: Mapping[str, str], order_ids: Sequence[str], count: int) -> None:
    """Copies these orders in turn, until there are so many. No service may be running.

    Args:
        folder: the data directory.
        settings: the services', which name their databases where these are not in that folder.
        order_ids: of ended orders.
        count: of all orders then.
    """
    async with AsyncExitStack() as stack:
        opened = {
            name: await stack.enter_async_context(await Database.open(_url(folder, settings, name)))
            for name in ("order", "portfolio", "risk")
        }
        heads = await _heads(opened)
        originals = [await _original(opened, order_id) for order_id in order_ids]
        for rows, reached in _copies(originals, heads, count):
            await _insert(opened["order"], "orders", rows["orders"])
            await _insert(opened["order"], "order_events", rows["order_events"])
            await _insert(opened["portfolio"], "ledger_entries", rows["ledger_entries"])
            heads = reached
        await _set(opened["order"], head=heads.events, order_count=heads.orders)
        counted = {"order_sequence": heads.events, "ledger_sequence": heads.entries}
        await _set(opened["risk"], **counted)
        await _set(opened["portfolio"], **counted)


def _url(folder: Path, settings: Mapping[str, str], name: str) -> str:
    return settings.get(f"TICKMESH_{name.upper()}_DATABASE_URL") or f"sqlite:///{folder / name}.db"


def _copies(originals: Sequence[Original], heads: Heads, count: int) -> Iterator[tuple[dict[str, list[Row]], Heads]]:
    while heads.orders < count:
        rows: dict[str, list[Row]] = {"orders": [], "order_events": [], "ledger_entries": []}
        for _ in range(min(IN_A_TRANSACTION, count - heads.orders)):
            heads = originals[heads.orders % len(originals)].copy(heads, rows)
        yield rows, heads


def _table(connection: sa.Connection, name: str) -> sa.Table:
    return sa.Table(name, sa.MetaData(), autoload_with=connection)


async def _rows(database: Database, name: str, **where: Any) -> list[Row]:
    def read(connection: sa.Connection) -> list[Row]:
        table = _table(connection, name)
        query = sa.select(table).where(*(table.c[column] == value for column, value in where.items()))
        return [dict(row) for row in connection.execute(query).mappings()]

    return await database.run(read)


async def _heads(opened: Mapping[str, Database]) -> Heads:
    [orders] = await _rows(opened["order"], "environments", environment_id=ENVIRONMENT)
    [books] = await _rows(opened["portfolio"], "environments", environment_id=ENVIRONMENT)
    return Heads(orders["order_count"], orders["head"], books["ledger_sequence"])


async def _original(opened: Mapping[str, Database], order_id: str) -> Original:
    number = int(order_id.rpartition("-")[2])
    [order] = await _rows(opened["order"], "orders", environment_id=ENVIRONMENT, number=number)
    events = await _rows(opened["order"], "order_events", environment_id=ENVIRONMENT, number=number)
    entries = await _rows(opened["portfolio"], "ledger_entries", environment_id=ENVIRONMENT)
    decoded = [(row, portfolio_pb2.LedgerEntry.FromString(row["payload"])) for row in entries]
    return Original(
        order,
        [
            (row, order_pb2.OrderEvent.FromString(row["payload"]))
            for row in sorted(events, key=lambda row: int(row["sequence"]))
        ],
        [(row, entry) for row, entry in decoded if entry.order_id == order_id],
    )


async def _insert(database: Database, name: str, rows: list[Row]) -> None:
    if rows:
        await database.run(lambda connection: connection.execute(_table(connection, name).insert(), rows))


async def _set(database: Database, **values: Any) -> None:
    def write(connection: sa.Connection) -> None:
        table = _table(connection, "environments")
        connection.execute(table.update().where(table.c.environment_id == ENVIRONMENT).values(values))

    await database.run(write)
