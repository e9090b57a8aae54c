"""Orders that come in while those before them are being made durable (rules 2 and 4)."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from tickmesh.order.v1 import order_pb2
from tickmesh.risk.v1 import risk_pb2

from services.chassis.storage.sqlite import Sqlite
from services.chassis.storage.writer import Groups
from services.domain.risk.limits import KillScope
from tests.component.order.calls import bracket, cancel, cancel_all, refused
from tests.component.order.support import Mesh, limit, request, running
from tests.component.order.turns import meanwhile, pending, submitted

STATE = order_pb2.OrderState
NEW, CANCELED = order_pb2.EXEC_TYPE_NEW, order_pb2.EXEC_TYPE_CANCELED


class Brake:
    """Holds commits up while it is drawn."""

    def __init__(self) -> None:
        self._free = asyncio.Event()
        self._free.set()
        self.held = 0

    def draw(self) -> None:
        self._free.clear()

    def release(self) -> None:
        self._free.set()

    async def wait(self) -> None:
        self.held += 1
        await self._free.wait()
        self.held -= 1


@pytest.fixture
async def brake(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Brake]:
    """Of the order service's disk."""
    brake, write = Brake(), Sqlite.write

    async def slowly(self: Sqlite, groups: Groups) -> None:
        await brake.wait()
        await write(self, groups)

    monkeypatch.setattr(Sqlite, "write", slowly)
    monkeypatch.setattr(Sqlite, "write_here", lambda self, groups: False)
    yield brake
    brake.release()


async def until(holds: Any) -> None:
    async with asyncio.timeout(10):
        while not holds():  # noqa: ASYNC110 it is told by nobody
            await asyncio.sleep(0.002)


async def begun(mesh: Mesh, brake: Brake, order: Any) -> asyncio.Future[order_pb2.Order]:
    """An order that was decided on and is not durable yet; one before it is."""
    await mesh.orders.CreateOrder(limit("first"))
    brake.draw()
    placing = asyncio.ensure_future(mesh.orders.CreateOrder(order))
    await until(lambda: brake.held)
    return placing


async def numbered(mesh: Mesh) -> list[tuple[str, int]]:
    """All events, of which none is missing or twice: whose each is, and which."""
    events = await mesh.events()
    assert [each.sequence for each in events] == list(range(1, len(events) + 1))
    return [(each.order.order_id.rpartition("-")[2], each.exec_type) for each in events]


async def test_the_next_are_checked_while_one_is_being_made_durable_and_none_is_acknowledged_before(
    brake: Brake, mesh: Mesh
) -> None:
    first = await begun(mesh, brake, limit("a"))
    second = await pending(mesh, mesh.orders.CreateOrder(limit("b")))
    third = await pending(mesh, mesh.orders.CreateOrder(limit("c")))
    assert (first.done(), second.done()) == (False, False)
    assert mesh.gate.stood == [(0, []), (1, []), (1, [2])], "and no more than one"
    brake.release()
    orders = await asyncio.gather(first, second, third)
    assert [each.order_id for each in orders] == ["replay-1-2", "replay-1-3", "replay-1-4"]
    assert [each.reservation.headroom for each in orders] == ["99000.00", "98500.00", "98000.00"]
    await mesh.orders.CreateOrder(limit("d"))
    assert mesh.gate.stood[-1] == (4, [])


async def test_a_repeat_of_what_is_being_made_durable_gets_its_answer(brake: Brake, mesh: Mesh) -> None:
    first = await begun(mesh, brake, limit("a"))
    with submitted() as commands:
        same = [asyncio.ensure_future(mesh.orders.CreateOrder(limit("a"))) for _ in range(3)]
        other = asyncio.ensure_future(mesh.orders.CreateOrder(limit("a", "49")))
        for _ in range(4):
            await commands.get()
    await meanwhile(mesh)
    assert not any(each.done() for each in (first, *same, other))
    brake.release()
    assert [await each for each in same] == [await first] * 3
    assert (await refused(other)).reason == "CLIENT_ORDER_ID_REUSED"
    assert await numbered(mesh) == [("1", NEW), ("2", NEW)]


async def test_risk_hears_of_what_the_venue_refused_before_it_is_asked_again(brake: Brake, mesh: Mesh) -> None:
    end = len(mesh.market.tape)
    await mesh.market.run(1, end)
    mesh.market.idle(end)
    first = await begun(mesh, brake, request("a", time_in_force=order_pb2.TIME_IN_FORCE_IOC))
    second = await pending(mesh, mesh.orders.CreateOrder(limit("b")))
    assert mesh.gate.stood == [(0, []), (1, [])]
    brake.release()
    assert (await refused(first)).reason == "MARKET_CLOSED"
    assert (await second).reservation.headroom == "99000.00"
    assert mesh.gate.stood[-1] == (2, [])


async def test_what_is_no_new_order_waits_until_all_is_durable(brake: Brake, mesh: Mesh) -> None:
    first = await begun(mesh, brake, limit("a"))
    preview = await pending(mesh, mesh.orders.PreviewOrder(limit("")))
    assert len(mesh.gate.stood) == 2
    brake.release()
    assert (await preview).passes
    assert mesh.gate.stood[-1] == (2, [])
    order = await first
    assert (await mesh.orders.CancelOrder(cancel(order.order_id))).state == STATE.ORDER_STATE_CANCELED


async def test_a_list_waits_until_the_orders_before_it_are_durable(brake: Brake, mesh: Mesh) -> None:
    first = await begun(mesh, brake, limit("a"))
    second = await pending(mesh, mesh.orders.CreateOrder(limit("b")))
    placing = await pending(mesh, mesh.orders.CreateOrderList(bracket()))
    assert mesh.gate.stood == [(0, []), (1, []), (1, [2])]
    brake.release()
    listed = await placing
    assert [(await first).order_id, (await second).order_id] == ["replay-1-2", "replay-1-3"]
    assert [each.order_id for each in listed.orders] == ["replay-1-4", "replay-1-5", "replay-1-6"]
    assert mesh.gate.stood[-1] == (3, [])


async def test_time_goes_on_once_all_is_durable(brake: Brake, mesh: Mesh) -> None:
    first = await begun(mesh, brake, request("a"))
    reached = asyncio.ensure_future(mesh.market.run(1, 4))
    await meanwhile(mesh)
    assert not reached.done()
    brake.release()
    assert (await reached).order_head == 3
    assert (await first).state == STATE.ORDER_STATE_NEW
    assert (await mesh.get("a")).state == STATE.ORDER_STATE_FILLED


@pytest.mark.parametrize("how", ["order", "sweep"])
async def test_what_is_being_made_durable_can_be_canceled(brake: Brake, mesh: Mesh, how: str) -> None:
    first = await begun(mesh, brake, limit("a"))
    second = await pending(mesh, mesh.orders.CreateOrder(limit("b")))
    if how == "order":
        ids = ["replay-1-2", "replay-1-3"]
        canceling = [asyncio.ensure_future(mesh.orders.CancelOrder(cancel(each))) for each in ids]
    else:
        canceling = [asyncio.ensure_future(mesh.orders.BatchCancelOrders(cancel_all()))]
    await meanwhile(mesh)
    assert not any(each.done() for each in (first, second, *canceling))
    brake.release()
    assert [(await each).state for each in (first, second)] == [STATE.ORDER_STATE_NEW] * 2
    answers = await asyncio.gather(*canceling)
    if how == "order":
        assert [(each.order_id, each.state) for each in answers] == [(each, STATE.ORDER_STATE_CANCELED) for each in ids]
        left = 50 * 10
    else:
        assert list(answers[0].order_ids) == ["replay-1-1", "replay-1-2", "replay-1-3"]
        left = 0
    events = await numbered(mesh)
    assert events[:3] == [("1", NEW), ("2", NEW), ("3", NEW)]
    assert {number for number, exec_type in events[3:] if exec_type == CANCELED} >= {"2", "3"}
    order = await mesh.orders.CreateOrder(limit("d"))
    assert order.order_id == "replay-1-4"
    assert float(order.reservation.headroom) == 100_000 - left - 500


async def test_rule_5_a_kill_switch_voids_what_is_being_checked_and_ends_what_is_being_made_durable(
    brake: Brake, mesh: Mesh
) -> None:
    first = await begun(mesh, brake, limit("a"))
    answering = asyncio.Event()
    mesh.gate.before_answer = answering.wait
    second = asyncio.ensure_future(mesh.orders.CreateOrder(limit("b")))
    await until(lambda: len(mesh.gate.stood) == 3)
    assert mesh.gate.stood[-1] == (1, [2])
    mesh.gate.gate.engage(KillScope())
    mesh.gate.kill(scope=risk_pb2.KILL_SWITCH_SCOPE_ENVIRONMENT)
    mesh.gate.before_answer = None
    answering.set()
    await meanwhile(mesh)
    assert (first.done(), second.done()) == (False, False)
    brake.release()
    assert (await first).order_id == "replay-1-2"
    assert (await refused(second)).reason == "KILL_SWITCH_ENGAGED"
    assert (await mesh.get("a")).cancel_reason == order_pb2.CANCEL_REASON_KILL_SWITCH
    events = await numbered(mesh)
    assert [number for number, exec_type in events if exec_type == NEW] == ["1", "2"]
    assert ("2", CANCELED) in events
    assert [number for number, exec_type in events if exec_type == order_pb2.EXEC_TYPE_REJECTED] == ["3"]


@pytest.mark.parametrize("answered", [False, True])
async def test_rule_4_a_new_epoch_waits_for_what_is_being_made_durable(
    brake: Brake, mesh: Mesh, answered: bool
) -> None:
    first = await begun(mesh, brake, limit("a"))
    mesh.gate.silent = not answered
    second = asyncio.ensure_future(mesh.orders.CreateOrder(limit("b")))
    await until(lambda: len(mesh.gate.stood) == 3)
    await meanwhile(mesh)
    mesh.gate.hang_up()
    mesh.gate.silent = False
    third = asyncio.ensure_future(mesh.orders.CreateOrder(limit("c")))
    await meanwhile(mesh)
    assert len(mesh.gate.connects) == 1
    assert not any(each.done() for each in (first, second, third))
    brake.release()
    orders = await asyncio.gather(first, second, third)
    assert [each.order_id for each in orders] == ["replay-1-2", "replay-1-3", "replay-1-4"]
    assert [each.reservation.headroom for each in orders] == ["99000.00", "98500.00", "98000.00"]
    assert [head for _, head in mesh.gate.connects] == [0, 3 if answered else 2]
    assert await numbered(mesh) == [("1", NEW), ("2", NEW), ("3", NEW), ("4", NEW)]


async def test_rule_3_the_number_of_what_risk_does_not_answer_while_another_is_being_made_durable_stays_free(
    brake: Brake, tmp_path: Path
) -> None:
    async with running(tmp_path, start=False) as mesh:
        await mesh.start(TICKMESH_ORDER_RISK_DEADLINE_MS="300")
        await mesh.market.joined()
        first = await begun(mesh, brake, limit("a"))
        mesh.gate.silent = True
        assert (await refused(mesh.orders.CreateOrder(limit("b")))).reason == "RISK_UNAVAILABLE"
        assert mesh.gate.stood[-1][1] == [2]
        mesh.gate.silent = False
        assert not first.done()
        brake.release()
        assert (await first).order_id == "replay-1-2"
        order = await mesh.place(limit("c"))
        assert (order.order_id, order.reservation.headroom) == ("replay-1-3", "98500.00")
        assert await numbered(mesh) == [("1", NEW), ("2", NEW), ("3", NEW)]
