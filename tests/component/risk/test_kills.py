"""`kill -9` of a real risk process, at failpoints and anywhere: nothing leaks, nothing counts twice (rules 2 and 4)."""

import asyncio
import os
import random
import signal
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from services.chassis.calls.channel import Channel, connect
from services.chassis.errors import ApiError
from services.domain.orders.order import Order, OrderEvent, OrderState, Side
from services.domain.risk.gate import Gate, Verdict
from tests.component.risk.world import Desk, World, accepted, canceled, filled, replaced
from tests.nursery import Child
from tests.ports import free_port


class Process:
    """A risk service of its own process, started again whenever it dies, with the same environment."""

    def __init__(self, world: World, folder: Path, failpoints: str) -> None:
        self.port = free_port()
        self.deaths = 0
        peers = f"127.0.0.1:{world.port}"
        names = ("MARKETDATA", "ORDER", "PORTFOLIO", "STRATEGY")
        self.environment = {
            **os.environ,
            **{f"TICKMESH_{name}_ADDRESS": peers for name in names},
            "TICKMESH_RISK_ADDRESS": f"127.0.0.1:{self.port}",
            "TICKMESH_DATA_DIRECTORY": str(folder),
            "TICKMESH_RISK_STORE_INTERVAL_MS": "20",
            "TICKMESH_FAILPOINTS": failpoints,
            "TICKMESH_LOG_LEVEL": "WARNING",
        }
        self.process = self._start()

    def _start(self) -> Child:
        return Child("services.risk.main", self.environment)

    def kill(self) -> None:
        self.process.kill()

    def revive(self) -> bool:
        """Whether it was dead and runs again."""
        if self.process.poll() is None:
            return False
        assert self.process.returncode == -signal.SIGKILL
        self.deaths += 1
        self.process = self._start()
        return True

    def stop(self) -> int:
        self.process.terminate()
        return self.process.wait(10)


@asynccontextmanager
async def process_of(world: World, folder: Path, failpoints: str = "") -> AsyncIterator[tuple[Process, Channel]]:
    process = Process(world, folder, failpoints)
    try:
        async with connect(f"127.0.0.1:{process.port}") as channel:
            yield process, channel
    finally:
        if process.process.poll() is None:
            process.process.kill()
        process.process.wait(10)


class Trader:
    """Sends orders as the order service would: what got no verdict is no order, and is asked again in a new epoch."""

    def __init__(self, desk: Desk, process: Process, seed: int) -> None:
        self.desk, self.process = desk, process
        self.rng = random.Random(seed)
        self.expected = Gate()
        self.open: list[OrderEvent] = []

    async def connect(self) -> None:
        while True:
            self.process.revive()
            with suppress(ApiError, AssertionError):
                await self.desk.connect()
                return
            await asyncio.sleep(0.05)

    async def trade(self) -> None:
        """One order through the gate, or a fill, a cancel or new terms of one that is open."""
        if self.open and self.rng.random() < 0.2:
            return await self.replace(self.rng.randrange(len(self.open)))
        if self.open and self.rng.random() < 0.5:
            before = self.open.pop(self.rng.randrange(len(self.open)))
            if self.rng.random() < 0.3:
                return self.commit(canceled(before, at=10))
            units = min(before.order.leaves_quantity, Decimal(self.rng.randint(1, 9)))
            return self.commit(filled(before, str(units), "100", at=10))
        order = self.desk.order(self.rng.choice([Side.BUY, Side.BUY, Side.SELL]), str(self.rng.randint(1, 30)))
        verdict = await self.checked(order)
        expected = self.expected.check(order, self.desk.world.instruments["A"], Decimal(100), 0)
        return self.commit(accepted(order, verdict, at=10)) if passed(verdict, expected) else None

    async def replace(self, number: int) -> None:
        """More units of an open order, or fewer; now and then the verdict is lost, and the order stays what it was."""
        before = self.open[number].order
        units = Decimal(self.rng.randint(1, 30))
        order = before._replace(quantity=before.cum_quantity + units, leaves_quantity=units)
        verdict = await self.checked(order)
        expected = self.expected.check_replacement(order, self.desk.world.instruments["A"], Decimal(100), 0)
        if passed(verdict, expected) and self.rng.random() < 0.7:
            del self.open[number]
            self.commit(replaced(order, verdict, at=10))
            return
        self.expected.drop_unconfirmed()
        if self.rng.random() < 0.5:
            await self.connect()

    async def checked(self, order: Order) -> Any:
        while True:
            with suppress(ApiError, AssertionError):
                return (await self.desk.check(order))[0]
            await self.connect()

    def commit(self, event: OrderEvent) -> None:
        self.desk.world.commit(event)
        self.expected.fold(event, self.desk.world.instruments["A"])
        if event.order.state not in {OrderState.FILLED, OrderState.CANCELED}:
            self.open.append(event)

    async def settle(self) -> None:
        """Everything that was committed counts, exactly once."""
        figures, expected = await self.figures(), self.expected.exposure("p1")
        assert Decimal(figures.cash) == expected.cash
        assert Decimal(figures.reserved_cash) == expected.reserved_cash
        assert Decimal(figures.buying_power) == expected.spendable
        assert figures.reservation_count == len(self.open)
        found = [(s.symbol, s.quantity, s.pending_buy_quantity, s.pending_sell_quantity) for s in figures.symbols]
        counted = [(p.symbol, p.quantity, p.pending_buy, p.pending_sell) for p in expected.positions]
        assert found == [(symbol, *map(str, units)) for symbol, *units in counted]

    async def figures(self) -> Any:
        while True:
            await self.connect()
            with suppress(ApiError):
                return await self.desk.figures()


def passed(verdict: Any, expected: Verdict) -> bool:
    """Whether an order passed, for the same reasons as it should."""
    if verdict.HasField("refusal"):
        told, refusal = verdict.refusal, expected.refusal
        assert refusal is not None
        assert (told.limit, told.missing) == (refusal.limit, str(refusal.missing))
        return False
    assert expected.reservation is not None
    assert Decimal(verdict.reservation.cash) == expected.reservation.cash
    assert Decimal(verdict.reservation.headroom) == expected.reservation.headroom
    return True


@pytest.mark.parametrize(
    ("seed", "failpoints", "deaths"),
    [
        (2, "risk.mid_fold=kill:40", 2),
        (4, "risk.after_verdict=kill:30", 2),
        (5, "", 3),
    ],
)
async def test_rule_2_what_was_committed_counts_once_whatever_dies_when(
    world: World, tmp_path: Path, seed: int, failpoints: str, deaths: int
) -> None:
    world.open_portfolio("p1", "5000")
    async with process_of(world, tmp_path, failpoints) as (process, channel):
        trader = Trader(Desk(world, channel, ""), process, seed)
        trader.expected.open_portfolio("p1", Decimal(5000))
        await trader.connect()
        for number in range(150):
            if not failpoints and number in {30, 70, 110}:
                process.kill()
            await trader.trade()
        await trader.settle()
        assert process.deaths >= deaths
        assert process.stop() == 0


async def test_rule_2_a_quiet_stop_leaves_nothing_to_fold_again(world: World, tmp_path: Path) -> None:
    world.open_portfolio("p1", "5000")
    async with process_of(world, tmp_path) as (process, channel):
        desk = Desk(world, channel, "")
        await Trader(desk, process, 0).connect()
        order: Order = desk.order(quantity="3")
        world.commit(accepted(order, (await desk.check(order))[0], at=10))
        await desk.figures()
        desk.hang_up()
        assert process.stop() == 0
    world.orders_away = True
    async with process_of(world, tmp_path) as (process, channel):
        await channel.channel_ready()
        assert (await Desk(world, channel, "").figures()).reserved_cash == "300.00"
