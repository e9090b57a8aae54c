"""The database as services use it, on SQLite and on each real PostgreSQL that there is, by one suite."""

import asyncio
import re
from collections.abc import AsyncIterator
from decimal import Decimal
from pathlib import Path

import pytest
import sqlalchemy as sa
from sqlalchemy.util import await_only

from services.chassis.storage.database import Database, DecimalText, upsert
from services.chassis.streams.event_log import EventLog, Events
from services.chassis.streams.ring import Entry
from tests.integration.conftest import fresh_database, runs_system_postgres

FIRST = '''
"""Makes the orders and their events."""
import sqlalchemy as sa
from alembic import op
from services.chassis.storage.database import DecimalText
revision = "0001"
down_revision = None
def upgrade():
    op.create_table("orders", sa.Column("id", sa.BigInteger, primary_key=True, autoincrement=False),
                    sa.Column("price", DecimalText()), sa.Column("state", sa.Text))
    op.create_table("events", sa.Column("partition", sa.Text, primary_key=True),
                    sa.Column("sequence", sa.BigInteger, primary_key=True, autoincrement=False),
                    sa.Column("order_id", sa.BigInteger, sa.ForeignKey("orders.id")),
                    sa.Column("data", sa.LargeBinary))
'''
SECOND = '''
"""Gives them an owner."""
import sqlalchemy as sa
from alembic import op
revision = "0002"
down_revision = "0001"
def upgrade():
    op.add_column("orders", sa.Column("owner", sa.Text, server_default="local"))
'''
BROKEN = SECOND.replace("0002", "0003").replace('"0001"', '"0002"').replace('"owner"', '"other"')
BROKEN += '    raise RuntimeError("half done")\n'
# As the two say it: UNIQUE constraint failed, duplicate key value violates unique constraint.
BROKEN_KEY = re.compile("unique constraint", re.IGNORECASE)

metadata = sa.MetaData()
orders = sa.Table(
    "orders",
    metadata,
    sa.Column("id", sa.BigInteger, primary_key=True),
    sa.Column("price", DecimalText()),
    sa.Column("state", sa.Text),
)
events = sa.Table(
    "events",
    metadata,
    sa.Column("partition", sa.Text, primary_key=True),
    sa.Column("sequence", sa.BigInteger, primary_key=True),
    sa.Column("order_id", sa.BigInteger, sa.ForeignKey("orders.id")),
    sa.Column("data", sa.LargeBinary),
)
insert_order = sa.insert(orders)
insert_event = sa.insert(events)
by_id = sa.select(orders).order_by(orders.c.id)


@pytest.fixture(scope="module", params=["sqlite", "wheel", *(["system"] if runs_system_postgres() else [])])
def server(request: pytest.FixtureRequest) -> str:
    """The URI of each PostgreSQL that there is, as their versions differ; none for SQLite."""
    match request.param:
        case "wheel":
            return str(request.getfixturevalue("postgres").get_uri())
        case "system":
            return str(request.getfixturevalue("system_postgres"))
    return ""


@pytest.fixture
async def url(server: str, tmp_path: Path) -> str:
    """A database of the test's own."""
    return await fresh_database(server) if server else f"sqlite:///{tmp_path}/data/order.db"


@pytest.fixture
def migrations(tmp_path: Path) -> Path:
    folder = tmp_path / "migrations"
    folder.mkdir()
    (folder / "0001_orders.py").write_text(FIRST)
    return folder


@pytest.fixture
def failures() -> list[BaseException]:
    """Of commits; where one is told of, its database takes no more."""
    return []


@pytest.fixture
async def database(url: str, migrations: Path, failures: list[BaseException]) -> AsyncIterator[Database]:
    async with await Database.open(url, migrations, on_failure=failures.append) as database:
        yield database


async def columns(database: Database) -> set[str]:
    found = await database.run(lambda connection: sa.inspect(connection).get_columns("orders"))
    return {column["name"] for column in found}


async def test_the_schema_is_brought_up_to_date_at_every_start(url: str, migrations: Path) -> None:
    async with await Database.open(url, migrations) as database:
        await database.writer.commit([(insert_order, [{"id": 1, "price": None, "state": "NEW"}])])
        assert "owner" not in await columns(database)
    (migrations / "0002_owner.py").write_text(SECOND)
    for _ in range(2):
        async with await Database.open(url, migrations) as database:
            assert "owner" in await columns(database)
            assert len(await database.fetch_all(by_id)) == 1


async def test_a_migration_that_fails_leaves_the_schema_as_it_was(url: str, migrations: Path) -> None:
    await (await Database.open(url, migrations)).close()
    (migrations / "0002_owner.py").write_text(SECOND)
    (migrations / "0003_broken.py").write_text(BROKEN)
    with pytest.raises(RuntimeError, match="half done"):
        await Database.open(url, migrations)
    async with await Database.open(url) as database:
        assert await columns(database) == {"id", "price", "state"}


@pytest.mark.parametrize("text", ["678.123456789", "123456789012345678.123456789", "-0.000000001", "1.50", "0"])
async def test_decimals_come_back_exactly(database: Database, text: str) -> None:
    await database.writer.commit([(insert_order, [{"id": 1, "price": Decimal(text), "state": None}])])
    by_key = sa.select(orders.c.price).where(orders.c.id == sa.bindparam("id"))
    read, [found] = await database.fetch_one(by_id), await database.lookup(by_key, {"id": 1})
    for price in (read.price, found.price):
        assert isinstance(price, Decimal)
        assert format(price, "f") == text


async def test_units_of_many_callers_are_grouped_and_stay_in_order(database: Database) -> None:
    done: list[int] = []

    async def place(n: int) -> None:
        unit = [
            (insert_order, [{"id": n, "price": Decimal(n), "state": "NEW"}]),
            (insert_event, [{"partition": "r1", "sequence": n, "order_id": n, "data": b"x"}]),
        ]
        await database.writer.commit(unit, then=lambda: done.append(n))

    await asyncio.gather(*(place(n) for n in range(1, 1001)))
    assert done == list(range(1, 1001))
    assert [row.id for row in await database.fetch_all(by_id)] == done


async def test_a_unit_is_stored_whole_or_not_at_all(database: Database, failures: list[BaseException]) -> None:
    row = {"id": 1, "price": None, "state": "NEW"}
    with pytest.raises(RuntimeError, match="commit failed"):
        await database.writer.commit([(insert_order, [row, {**row, "id": 2}]), (sa.insert(orders), [row])])
    assert BROKEN_KEY.search(repr(failures))
    assert await database.fetch_all(by_id) == []


async def test_a_unit_of_several_tables_is_stored_whole_or_not_at_all(
    database: Database, failures: list[BaseException]
) -> None:
    """On PostgreSQL it is one statement, whose parts know nothing of each other."""
    put_order = upsert(orders, database.dialect, keep=("price",))
    row, event = {"id": 1, "price": Decimal("1.50"), "state": None}, {"partition": "r1", "order_id": 1, "data": b"\0x"}
    told = [{**event, "sequence": n} for n in (1, 2)]
    await database.writer.commit([(put_order, [row]), (insert_event, told), (put_order, [{**row, "state": "NEW"}])])
    assert await database.fetch_all(by_id) == [(1, Decimal("1.50"), "NEW")]
    assert [row.data for row in await database.fetch_all(sa.select(events))] == [b"\0x", b"\0x"]
    with pytest.raises(RuntimeError, match="commit failed"):
        await database.writer.commit([(put_order, [{**row, "state": "FILLED"}]), (insert_event, told[:1])])
    assert BROKEN_KEY.search(repr(failures))
    assert await database.fetch_all(by_id) == [(1, Decimal("1.50"), "NEW")]


async def test_an_upsert_inserts_then_replaces_and_keeps_what_it_is_told_to(database: Database) -> None:
    statement = upsert(orders, database.dialect, keep=("price",))
    row = {"id": 1, "price": Decimal("1.5"), "state": "NEW"}
    await database.writer.commit([(statement, [row])])
    await database.writer.commit([(statement, [{**row, "price": Decimal(9), "state": "FILLED"}])])
    assert await database.fetch_all(by_id) == [(1, Decimal("1.5"), "FILLED")]


async def test_a_lookup_sees_what_was_committed_just_before_it(database: Database) -> None:
    by_key = sa.select(orders.c.state).where(orders.c.id.in_(sa.bindparam("ids", expanding=True)))
    for n in range(1, 4):
        assert await database.lookup(by_key, {"ids": [n]}) == []
        await database.writer.commit([(insert_order, [{"id": n, "price": Decimal(n), "state": f"S{n}"}])])
        assert await database.lookup(by_key, {"ids": [n]}) == [(f"S{n}",)]
    assert await database.lookup(by_key, {"ids": []}) == []


async def test_a_lookup_finds_each_row_once_however_many_are_asked_for(database: Database) -> None:
    rows = [{"id": n, "price": Decimal(n), "state": f"S{n}"} for n in range(1, 21)]
    await database.writer.commit([(insert_order, rows)])
    wanted = sa.bindparam("ids", expanding=True)
    by_key = sa.select(orders.c.id).where(orders.c.state != sa.bindparam("not"), orders.c.id.in_(wanted))
    for count in (1, 2, 3, 5, 8, 13, 20, 30):
        found = await database.lookup(by_key.order_by(orders.c.id), {"ids": list(range(1, count + 1)), "not": "S3"})
        assert [tuple(row) for row in found] == [(n,) for n in range(1, min(count, 20) + 1) if n != 3]


async def test_a_read_sees_one_snapshot_while_the_writer_goes_on(database: Database) -> None:
    rows = [{"id": n, "price": None, "state": None} for n in (1, 2)]
    await database.writer.commit([(insert_order, rows[:1])])
    loop = asyncio.get_running_loop()

    def twice(connection: sa.Connection) -> list[int]:
        first = len(connection.execute(by_id).fetchall())
        commit = database.writer.commit([(insert_order, rows[1:])])
        if database.dialect == "sqlite":
            # The read has a thread of its own; on PostgreSQL it is a greenlet of the loop.
            asyncio.run_coroutine_threadsafe(commit, loop).result(30)
        else:
            await_only(commit)
        return [first, len(connection.execute(by_id).fetchall())]

    assert await database.read(twice) == [1, 1]
    assert len(await database.fetch_all(by_id)) == 2


async def test_a_stream_over_the_event_table_has_every_event_once(database: Database) -> None:
    async def read(partition: str, after: int, limit: int) -> list[Entry[int]]:
        query = (
            sa.select(events)
            .where(events.c.partition == partition, events.c.sequence > after)
            .order_by(events.c.sequence)
            .limit(limit)
        )
        return [Entry(row.sequence, row.order_id, row.data) for row in await database.fetch_all(query)]

    log: EventLog[int] = EventLog(read, ring=16, batch=10)
    await database.writer.commit([(insert_order, [{"id": 1, "price": None, "state": None}])])

    async def write() -> None:
        for n in range(1, 201):
            row = {"partition": "r1", "sequence": n, "order_id": 1, "data": b"%d," % n}
            entry = Entry(n, 1, row["data"])
            await database.writer.commit([(insert_event, [row])], then=lambda e=entry: log.publish("r1", [e]))

    async def follow() -> bytes:
        seen = b""
        async with asyncio.timeout(20):
            async for item in log.subscribe("r1"):
                if isinstance(item, Events):
                    seen += item.data
                    # A consumer slower than the writer falls out of the ring now and then.
                    await asyncio.sleep(0.01)
                    if item.scanned == 200:
                        break
        return seen

    _, *seen = await asyncio.gather(write(), follow(), follow())
    assert seen == [b"".join(b"%d," % n for n in range(1, 201))] * 2
