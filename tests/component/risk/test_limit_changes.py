"""Which orders a change of a limit comes between: its journal says it, and a backtest of the journal repeats it."""

import asyncio
import sqlite3
from pathlib import Path

import pytest
from tickmesh.risk.v1 import risk_pb2
from tickmesh.risk.v1 import risk_service_pb2 as messages

from services.chassis.storage.database import Database
from services.risk import migrations
from services.risk.gate import gate
from services.risk.store import Store
from services.wire.versions import UnknownVersion
from tests.component.risk.world import ENVIRONMENT, Desk, World, accepted, risk_of


async def set_limit(desk: Desk, kind: str, bound: str) -> risk_pb2.Limit:
    limit_type = risk_pb2.LimitType.Value(f"LIMIT_TYPE_{kind}")
    whose = {"environment_id": ENVIRONMENT, "portfolio_id": "p1"}
    return await desk.risk.SetLimit(messages.SetLimitRequest(limit_type=limit_type, bound=bound, **whose))


@pytest.fixture(autouse=True)
def patient(monkeypatch: pytest.MonkeyPatch) -> None:
    """A change that nobody tells of an order fails the test."""
    monkeypatch.setattr(gate, "MEETING_SECONDS", 300.0)


async def changed_after(desk: Desk) -> list[str]:
    """The last order before each change of a limit."""
    listed = await desk.risk.ListLimitChanges(messages.ListLimitChangesRequest(environment_id=ENVIRONMENT))
    return [each.after_order_id for each in listed.limit_changes]


async def waits(desk: Desk, setting: asyncio.Task[risk_pb2.Limit]) -> None:
    """Gives it the time of many other calls."""
    for _ in range(50):
        await desk.risk.ListLimits(messages.ListLimitsRequest())
    assert not setting.done()


async def begun(desk: Desk) -> asyncio.Task[risk_pb2.Limit]:
    """A limit that is being set, and waits for what becomes of an order."""
    setting = asyncio.create_task(set_limit(desk, "MAX_ORDER_QUANTITY", "2"))
    await waits(desk, setting)
    return setting


@pytest.mark.parametrize("when", ["before", "meanwhile"])
@pytest.mark.parametrize("how", ["epoch", "batch", "fewer"])
async def test_rule_31_a_limit_is_placed_before_an_order_whose_first_check_came_to_nothing(
    world: World, tmp_path: Path, how: str, when: str
) -> None:
    world.open_portfolio("p1")
    async with risk_of(world, tmp_path) as desk:
        await desk.connect()
        first, order = desk.order(quantity="1"), desk.order(quantity="3")
        [verdict] = await desk.check(first)
        world.commit(accepted(first, verdict, at=10))
        await desk.check(order, *([desk.order()] if how == "fewer" else []))
        if when == "before":
            if how == "epoch":
                await desk.connect()
            else:
                await desk.preview(desk.order())
            await set_limit(desk, "MAX_ORDER_QUANTITY", "2")
        else:
            setting = await begun(desk)
            if how == "epoch":
                await desk.connect()
        [verdict] = await desk.check(order)
        assert verdict.refusal.limit == "max_order_quantity"
        if when == "meanwhile":
            await setting
        assert await changed_after(desk) == [first.order_id]


@pytest.mark.parametrize("standing", [False, True])
async def test_rule_31_a_limit_is_placed_after_an_order_whose_check_counts(
    world: World, tmp_path: Path, standing: bool
) -> None:
    world.open_portfolio("p1")
    async with risk_of(world, tmp_path) as desk:
        await desk.connect()
        order = desk.order(quantity="3")
        [verdict] = await desk.check(order)
        setting = await begun(desk)
        if standing:
            # It may be lost still, and its number be free again: the next waits as the change does.
            await desk.ask(desk.order(quantity="3"), standing=[1])
            await waits(desk, setting)
        world.commit(accepted(order, verdict, at=10))
        await setting
        [verdict] = await desk.answer() if standing else await desk.check(desk.order(quantity="3"))
        assert verdict.refusal.limit == "max_order_quantity"
        assert await changed_after(desk) == [order.order_id]


async def test_rule_31_what_stood_and_was_lost_met_no_limit(world: World, tmp_path: Path) -> None:
    world.open_portfolio("p1")
    async with risk_of(world, tmp_path) as desk:
        await desk.connect()
        order = desk.order(quantity="3")
        await desk.check(order)
        await desk.check(desk.order(quantity="1"), standing=[1])
        setting = await begun(desk)
        await desk.connect()
        await setting
        assert (await desk.check(order))[0].refusal.limit == "max_order_quantity"
        assert await changed_after(desk) == [""]


async def test_rule_5_a_kill_switch_waits_for_no_order_and_behind_no_limit(world: World, tmp_path: Path) -> None:
    world.open_portfolio("p1")
    async with risk_of(world, tmp_path) as desk:
        await desk.connect()
        order = desk.order()
        await desk.check(order)
        setting = await begun(desk)
        scope = risk_pb2.KILL_SWITCH_SCOPE_ENVIRONMENT
        switch = messages.EngageKillSwitchRequest(environment_id=ENVIRONMENT, scope=scope, reason="drill")
        assert (await desk.risk.EngageKillSwitch(switch)).engaged
        assert not setting.done()
        assert (await desk.check(order))[0].refusal.limit == "kill_switch"
        await setting


async def test_rule_31_a_limit_that_is_set_right_after_a_kill_is_placed_after_what_was_checked_before_it(
    world: World, tmp_path: Path
) -> None:
    world.open_portfolio("p1")
    async with risk_of(world, tmp_path) as desk:
        await desk.connect(epoch=1)
        order = desk.order(quantity="1")
        [verdict] = await desk.check(order)
    # It was committed, and risk died before it heard of that.
    world.commit(accepted(order, verdict, at=10))
    world.orders_away = True
    async with risk_of(world, tmp_path) as desk:
        setting = asyncio.create_task(set_limit(desk, "MAX_ORDER_RATE", "2"))
        await asyncio.sleep(0.2)
        world.orders_away = False
        await desk.connect(epoch=2)
        await setting
        assert await changed_after(desk) == [order.order_id]


async def test_rule_32_a_change_is_journalled_between_the_orders_checked_before_and_after_it(
    world: World, tmp_path: Path
) -> None:
    world.open_portfolio("p1")
    async with risk_of(world, tmp_path) as desk:
        await desk.connect()
        first = desk.order(quantity="10")
        [verdict] = await desk.check(first)
        world.commit(accepted(first, verdict, at=10))
        second = desk.order(quantity="10")
        [verdict] = await desk.check(second)
        setting = asyncio.create_task(set_limit(desk, "MAX_ORDER_NOTIONAL", "100"))
        world.commit(accepted(second, verdict, at=10))
        await setting
        assert (await desk.check(desk.order()))[0].refusal.limit == "max_order_notional"
    with sqlite3.connect(tmp_path / "risk.db") as database:
        rows = database.execute("select tape_sequence, order_head, after_order_id from events").fetchall()
        assert rows == [(10, 2, second.order_id)]
        database.execute("update events set payload_version = 99")
    async with await Database.open(f"sqlite:///{tmp_path}/risk.db", migrations) as opened:
        with pytest.raises(UnknownVersion):
            await Store(opened).load()
