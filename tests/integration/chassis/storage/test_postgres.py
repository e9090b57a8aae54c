"""The same database code on a real PostgreSQL."""

import asyncio
from collections.abc import AsyncIterator
from decimal import Decimal
from pathlib import Path

import pytest
import sqlalchemy as sa
from sqlalchemy.engine import make_url

from services.chassis.storage.database import Database, DecimalText, upsert
from services.chassis.streams.event_log import EventLog, Events
from services.chassis.streams.ring import Entry
from tests.integration.conftest import runs_system_postgres

MIGRATION = '''
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


@pytest.fixture(scope="module", params=["wheel", *(["system"] if runs_system_postgres() else [])])
def server(request: pytest.FixtureRequest) -> str:
    """The URI of each PostgreSQL that there is: their versions differ."""
    if request.param == "wheel":
        return str(request.getfixturevalue("postgres").get_uri())
    return str(request.getfixturevalue("system_postgres"))


@pytest.fixture
def url(server: str, request: pytest.FixtureRequest) -> str:
    """A database of the test's own."""
    parsed = make_url(server).set(drivername="postgresql+asyncpg")
    name = f"t{abs(hash(request.node.name))}"

    async def create() -> None:
        from sqlalchemy.ext.asyncio import create_async_engine

        engine = create_async_engine(parsed, isolation_level="AUTOCOMMIT")
        async with engine.connect() as connection:
            await connection.exec_driver_sql(f"CREATE DATABASE {name}")
        await engine.dispose()

    asyncio.run(create())
    return parsed.set(database=name).render_as_string(hide_password=False)


@pytest.fixture
def migrations(tmp_path: Path) -> Path:
    (tmp_path / "0001_orders.py").write_text(MIGRATION)
    return tmp_path


@pytest.fixture
async def database(url: str, migrations: Path) -> AsyncIterator[Database]:
    async with await Database.open(url, migrations) as database:
        yield database


async def test_the_schema_is_brought_up_to_date_once(url: str, migrations: Path) -> None:
    for n in range(2):
        async with await Database.open(url, migrations) as database:
            await database.writer.commit([(insert_order, [{"id": n, "price": None, "state": "NEW"}])])
            assert len(await database.fetch_all(by_id)) == n + 1


@pytest.mark.parametrize("text", ["678.123456789", "123456789012345678.123456789", "-0.000000001", "1.50", "0"])
async def test_decimals_come_back_exactly(database: Database, text: str) -> None:
    await database.writer.commit([(insert_order, [{"id": 1, "price": Decimal(text), "state": None}])])
    assert format((await database.fetch_one(by_id)).price, "f") == text


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


async def test_a_unit_is_stored_whole_or_not_at_all(url: str, migrations: Path) -> None:
    failures: list[BaseException] = []
    database = await Database.open(url, migrations, on_failure=failures.append)
    row = {"id": 1, "price": None, "state": "NEW"}
    with pytest.raises(RuntimeError, match="commit failed"):
        await database.writer.commit([(insert_order, [row, {**row, "id": 2}]), (sa.insert(orders), [row])])
    assert isinstance(failures[0], sa.exc.IntegrityError)
    assert await database.fetch_all(by_id) == []
    await database.close()


async def test_rows_of_several_tables_are_one_statement_whole_or_not_at_all(url: str, migrations: Path) -> None:
    failures: list[BaseException] = []
    database = await Database.open(url, migrations, on_failure=failures.append)
    put_order = upsert(orders, database.dialect, keep=("price",))
    row, event = {"id": 1, "price": Decimal("1.50"), "state": None}, {"partition": "r1", "order_id": 1, "data": b"\0x"}
    told = [{**event, "sequence": n} for n in (1, 2)]
    await database.writer.commit([(insert_event, told), (put_order, [row]), (put_order, [{**row, "state": "NEW"}])])
    assert await database.fetch_all(by_id) == [(1, Decimal("1.50"), "NEW")]
    assert [row.data for row in await database.fetch_all(sa.select(events))] == [b"\0x", b"\0x"]
    with pytest.raises(RuntimeError, match="commit failed"):
        await database.writer.commit([(put_order, [{**row, "state": "FILLED"}]), (insert_event, told[:1])])
    assert "events_pkey" in str(failures[0])
    assert await database.fetch_all(by_id) == [(1, Decimal("1.50"), "NEW")]
    await database.close()


async def test_an_upsert_inserts_then_replaces(database: Database) -> None:
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


async def test_a_read_sees_one_snapshot(database: Database) -> None:
    def twice(connection: sa.Connection) -> list[int]:
        first = len(connection.execute(by_id).fetchall())
        return [first, len(connection.execute(by_id).fetchall())]

    assert await database.read(twice) == [0, 0]


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
