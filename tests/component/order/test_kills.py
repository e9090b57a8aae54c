"""`kill -9` at any point: what was acknowledged is there, nothing is twice, no reservation leaks (rules 2 to 4)."""

import asyncio
import contextlib
import random
import signal
from collections.abc import AsyncIterator, Awaitable, Callable
from decimal import Decimal
from pathlib import Path
from typing import Any, Final

import pytest
from tickmesh.order.v1 import order_pb2, order_service_pb2

from services.chassis.errors import ApiError
from services.domain.orders.order import TERMINAL, OrderState, reserved_cash
from services.wire.orders import order_from_proto
from tests.component.order.calls import cancel
from tests.component.order.support import Mesh, limit, request, running

pytestmark = pytest.mark.timeout(180)

# A disk as slow as a busy one: the next orders are checked while some are being made durable.
SLOW: Final = "sqlite.before_commit=delay:20"


@contextlib.asynccontextmanager
async def supervised(folder: Path, failpoints: str = "") -> AsyncIterator[tuple[Mesh, list[int]]]:
    """The service as a process that is started again whenever it dies; the list holds how it died."""
    deaths: list[int] = []
    async with running(folder, start=False) as mesh:
        mesh.spawn(TICKMESH_FAILPOINTS=failpoints)

        async def supervise() -> None:
            while True:
                assert mesh.process is not None
                deaths.append(await mesh.process.ended())
                mesh.spawn(TICKMESH_FAILPOINTS=failpoints)

        supervising = asyncio.create_task(supervise())
        try:
            yield mesh, deaths
        finally:
            supervising.cancel()


class Coordinator:
    """Runs cycles over whatever dies: a venue that comes back gets the grant again (rule 33)."""

    def __init__(self, mesh: Mesh) -> None:
        self.market = mesh.market
        self.cycle = 0
        self.position = 3
        self.reached: list[tuple[int, int, int]] = []

    async def hear(self, which: str, *, ask: Any = None) -> Any:
        while True:
            message = await asyncio.wait_for(self.market.heard.get(), 60)
            heard = message.WhichOneof("message")
            if heard == which:
                return getattr(message, which)
            if heard == "join" and ask is not None:
                ask()

    async def run(self, records: int) -> None:
        self.cycle += 1
        through = min(self.position + records, len(self.market.tape))

        def ask() -> None:
            self.market.grant(self.cycle, through)

        ask()
        reached = await self.hear("reached", ask=ask)
        if reached.cycle != self.cycle:
            reached = await self.hear("reached", ask=ask)
        assert reached.tape_sequence >= self.position
        self.position = reached.tape_sequence
        self.reached.append((reached.cycle, reached.tape_sequence, reached.order_head))
        self.market.idle(self.position)

    async def run_until(self, done: asyncio.Event) -> None:
        await self.hear("join")
        self.market.idle(self.position)
        while not done.is_set():
            await self.run(2 if self.position < len(self.market.tape) - 4 else 0)
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(0.05):
                    while True:
                        # A venue that came back while time stood still is told so.
                        await self.hear("join")
                        self.market.grant(self.cycle, self.position)
                        await self.hear("reached")
                        self.market.idle(self.position)


async def load(mesh: Mesh, name: str, count: int) -> list[order_pb2.Order]:
    """One client: orders that rest, that fill, and cancels; every call repeated until it is answered."""
    placed = []
    for n in range(count):
        order = limit(f"{name}-{n}", "50") if n % 2 else request(f"{name}-{n}", quantity="1")
        placed.append(await mesh.place(order, 60))
        if n % 4 == 1:
            # More than it had set aside: risk must neither free what it holds nor keep what it will not.
            await until_done(lambda: mesh.orders.ReplaceOrder(more(placed[-1]), wait_for_ready=True))
        if n % 4 == 3:
            await until_done(lambda: mesh.orders.CancelOrder(cancel(placed[-1].order_id), wait_for_ready=True))
    return placed


async def flow(mesh: Mesh, name: str, count: int) -> list[order_pb2.Order]:
    """One client that does nothing but send orders that rest."""
    return [await mesh.place(limit(f"{name}-{n}", "20"), 60) for n in range(count)]


async def until_done(call: Callable[[], Awaitable[order_pb2.Order]]) -> None:
    """Repeats a call until it is answered."""
    async with asyncio.timeout(60):
        while True:
            try:
                await call()
                return
            except ApiError:
                await asyncio.sleep(0.05)


def more(order: order_pb2.Order) -> order_service_pb2.ReplaceOrderRequest:
    """Three units more, at another price."""
    quantity = str(Decimal(order.quantity) + 3)
    return order_service_pb2.ReplaceOrderRequest(order_id=order.order_id, quantity=quantity, limit_price="51")


async def check(mesh: Mesh, placed: list[order_pb2.Order], coordinator: Coordinator) -> None:
    """Everything acknowledged is there, nothing twice; events, orders and risk agree."""
    await mesh.ready()
    events = await mesh.events()
    assert [event.sequence for event in events] == list(range(1, len(events) + 1))
    now: dict[str, order_pb2.Order] = {}
    for event in events:
        order = event.order
        assert event.exec_id == f"{order.order_id}-{order.event_count}"
        assert order.event_count == (now[order.order_id].event_count if order.order_id in now else 0) + 1
        if OrderState(order.state) not in TERMINAL:
            assert Decimal(order.leaves_quantity) + Decimal(order.cum_quantity) == Decimal(order.quantity)
        now[order.order_id] = order
    assert sorted(int(order_id.rpartition("-")[2]) for order_id in now) == list(range(1, len(now) + 1))
    by_client = [order.client_order_id for order in now.values()]
    assert len(set(by_client)) == len(by_client)
    for order in placed:
        assert now[order.order_id].client_order_id == order.client_order_id
        assert await mesh.get(order.client_order_id) == now[order.order_id]
    filled = [event for event in events if event.exec_type == order_pb2.ExecType.EXEC_TYPE_TRADE]
    assert len({event.exec_id for event in filled}) == len(filled)
    assert all(coordinator.cycle >= cycle for cycle, _, _ in coordinator.reached)
    # Risk, which heard of all this only by its stream and its gate, holds what the open orders hold, and no more.
    await mesh.place(limit("last", "1"))
    await mesh.gate.fold(len(events) + 1)
    held = sum((reserved_cash(order_from_proto(each)) for each in now.values()), Decimal(0))
    exposure = mesh.gate.gate.exposure("trend")
    assert exposure.reserved_cash == held + 10
    bought = sum(Decimal(event.last_quantity) for event in filled)
    assert sum(position.quantity for position in exposure.positions) == bought


@pytest.mark.parametrize(
    "failpoint",
    ["order.after_reserve=1", "order.before_commit=3", "order.after_commit=4", "order.after_reached_commit=1"],
)
async def test_a_kill_at_a_failpoint(tmp_path: Path, failpoint: str) -> None:
    async with supervised(tmp_path, failpoint.replace("=", "=kill-once:")) as (mesh, deaths):
        coordinator, done = Coordinator(mesh), asyncio.Event()
        running_cycles = asyncio.create_task(coordinator.run_until(done))
        clients = [load(mesh, f"c{n}", 8) for n in range(4)]
        placed = [order for orders in await asyncio.gather(*clients) for order in orders]
        done.set()
        await running_cycles
        assert deaths == [-signal.SIGKILL]
        await check(mesh, placed, coordinator)


@pytest.mark.parametrize("seconds", [0, 0.005, 0.015, 0.03], ids=["checked", "decided", "queued", "durable"])
async def test_a_kill_while_orders_are_checked_behind_some_that_are_not_durable_yet(
    tmp_path: Path, seconds: float
) -> None:
    async with supervised(tmp_path, SLOW) as (mesh, deaths):
        coordinator, done = Coordinator(mesh), asyncio.Event()
        running_cycles = asyncio.create_task(coordinator.run_until(done))
        overlaps = 0

        async def kill() -> None:
            nonlocal overlaps
            overlaps += bool(mesh.gate.stood[-1][1])
            if overlaps == 3:
                mesh.gate.before_answer, process = None, mesh.process
                assert process is not None
                asyncio.get_running_loop().call_later(seconds, process.kill) if seconds else process.kill()

        mesh.gate.before_answer = kill
        clients = [load(mesh, "c0", 6), *(flow(mesh, f"c{n}", 12) for n in range(1, 8))]
        placed = [order for orders in await asyncio.gather(*clients) for order in orders]
        done.set()
        await running_cycles
        assert deaths == [-signal.SIGKILL]
        await check(mesh, placed, coordinator)


async def test_kills_at_random_moments(tmp_path: Path) -> None:
    dice = random.Random(1)
    async with supervised(tmp_path) as (mesh, deaths):
        coordinator, done = Coordinator(mesh), asyncio.Event()
        running_cycles = asyncio.create_task(coordinator.run_until(done))

        async def kill() -> None:
            for _ in range(4):
                await mesh.ready()
                await asyncio.sleep(dice.uniform(0.05, 0.6))
                assert mesh.process is not None
                mesh.process.kill()
                await asyncio.sleep(0.1)

        killing = asyncio.create_task(kill())
        placed = []
        while not killing.done():
            clients = [load(mesh, f"c{len(placed)}-{n}", 20) for n in range(4)]
            placed += [order for orders in await asyncio.gather(*clients) for order in orders]
        await killing
        done.set()
        await running_cycles
        assert deaths == [-signal.SIGKILL] * 4
        await check(mesh, placed, coordinator)
