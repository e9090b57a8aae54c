"""Orders that come in while those before them are being made durable (rules 2 and 4)."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest
from tickmesh.order.v1 import order_pb2

from services.chassis.storage.sqlite import Sqlite
from services.chassis.storage.writer import Groups
from tests.component.order.calls import cancel, refused
from tests.component.order.support import Mesh, limit, request

STATE = order_pb2.OrderState


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


async def test_the_next_are_checked_while_one_is_being_made_durable_and_none_is_acknowledged_before(
    brake: Brake, mesh: Mesh
) -> None:
    first = await begun(mesh, brake, limit("a"))
    second = asyncio.ensure_future(mesh.orders.CreateOrder(limit("b")))
    await until(lambda: len(mesh.gate.stood) == 3)
    third = asyncio.ensure_future(mesh.orders.CreateOrder(limit("c")))
    await asyncio.sleep(0.05)
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
    same = [asyncio.ensure_future(mesh.orders.CreateOrder(limit("a"))) for _ in range(3)]
    other = asyncio.ensure_future(mesh.orders.CreateOrder(limit("a", "49")))
    await asyncio.sleep(0.05)
    brake.release()
    assert [await each for each in same] == [await first] * 3
    assert (await refused(other)).reason == "CLIENT_ORDER_ID_REUSED"
    assert [each.order.order_id for each in await mesh.events()] == ["replay-1-1", "replay-1-2"]


async def test_risk_hears_of_what_the_venue_refused_before_it_is_asked_again(brake: Brake, mesh: Mesh) -> None:
    end = len(mesh.market.tape)
    await mesh.market.run(1, end)
    mesh.market.idle(end)
    first = await begun(mesh, brake, request("a", time_in_force=order_pb2.TIME_IN_FORCE_IOC))
    second = asyncio.ensure_future(mesh.orders.CreateOrder(limit("b")))
    await asyncio.sleep(0.05)
    assert mesh.gate.stood == [(0, []), (1, [])]
    brake.release()
    assert (await refused(first)).reason == "MARKET_CLOSED"
    assert (await second).reservation.headroom == "99000.00"
    assert mesh.gate.stood[-1] == (2, [])


async def test_what_is_no_new_order_waits_until_all_is_durable(brake: Brake, mesh: Mesh) -> None:
    first = await begun(mesh, brake, limit("a"))
    preview = asyncio.ensure_future(mesh.orders.PreviewOrder(limit("")))
    await asyncio.sleep(0.05)
    assert (preview.done(), len(mesh.gate.stood)) == (False, 2)
    brake.release()
    assert (await preview).passes
    assert mesh.gate.stood[-1] == (2, [])
    order = await first
    assert (await mesh.orders.CancelOrder(cancel(order.order_id))).state == STATE.ORDER_STATE_CANCELED


async def test_time_goes_on_once_all_is_durable(brake: Brake, mesh: Mesh) -> None:
    first = await begun(mesh, brake, request("a"))
    reached = asyncio.ensure_future(mesh.market.run(1, 4))
    await asyncio.sleep(0.05)
    assert not reached.done()
    brake.release()
    assert (await reached).order_head == 3
    assert (await first).state == STATE.ORDER_STATE_NEW
    assert (await mesh.get("a")).state == STATE.ORDER_STATE_FILLED
