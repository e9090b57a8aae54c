"""Strategies that use every type, time in force and instruction: a replay of them comes to what their backtest does."""

from __future__ import annotations

import asyncio
import random
from collections import Counter
from dataclasses import replace
from pathlib import Path

import pytest

from services.console.scenario import Trader
from services.domain.orders.order import CancelReason, ExecType, OrderType, TimeInForce
from tests.e2e.conftest import Meshes
from tests.e2e.mesh import NAMES, Clients, Mesh
from tests.e2e.scenarios import SHORT, day
from tests.e2e.trading import Replayed, Trial, trial

TRADER = Trader("Variety", "variety", "vary", "variety", {})
# AAPL's split lies inside.
VARIETY = replace(SHORT, traders=(TRADER,), end_time=day("2005-03-10"))
USED = {OrderType.STOP_LIMIT, OrderType.TRAILING_STOP, OrderType.MARKET_IF_TOUCHED, OrderType.LIMIT_IF_TOUCHED}
ENDS = {
    CancelReason.IOC_REMAINDER,
    CancelReason.FOK_UNFILLED,
    CancelReason.POST_ONLY,
    CancelReason.NOTHING_TO_REDUCE,
    CancelReason.END_OF_TIME,
    CancelReason.END_OF_SESSION,
    CancelReason.REQUESTED,
}


@pytest.fixture
def strategy_path(tmp_path: Path) -> str:
    file = tmp_path / "variety.py"
    file.write_text(SOURCE)
    return str(file)


def check(wanted: Trial) -> None:
    """That the backtest has what it is about."""
    events = wanted.result.events
    filled = {event.order.order_type for event in wanted.result.fills}
    assert USED | {OrderType.LIMIT, OrderType.STOP, OrderType.MARKET} == filled
    # With a bar a day, nothing begins inside a session that could fill what may not wait for the next.
    at_once = {TimeInForce.IOC, TimeInForce.FOK}
    assert {event.order.time_in_force for event in wanted.result.fills} == set(TimeInForce) - at_once
    assert {event.order.cancel_reason for event in events} >= ENDS, Counter(e.order.cancel_reason for e in events)
    assert any(event.exec_type is ExecType.RESTATED for event in events)
    replaced = {event.order.order_id for event in events if event.exec_type is ExecType.REPLACED}
    by_cash = {event.order.cash_quantity for event in wanted.result.fills if event.order.order_id in replaced}
    assert by_cash == {700, 2100}, "new terms of orders by cash"


async def same(mesh: Mesh, clients: Clients, wanted: Trial, suffix: str, strategy_path: str) -> Replayed:
    replay = Replayed(clients, wanted.scenario, suffix, strategy_path)
    await replay.make()
    await replay.start()
    return replay


async def test_rule_31_orders_of_every_kind_come_to_what_the_backtest_gives(meshes: Meshes, strategy_path: str) -> None:
    async with meshes(strategy_path=strategy_path) as mesh, mesh.clients() as clients:
        wanted = await trial(VARIETY, mesh, strategy_path)
        check(wanted)
        replay = await same(mesh, clients, wanted, "variety", strategy_path)
        await replay.ended()
        assert await replay.digest(mesh) == wanted.digest
        assert await replay.repeats(mesh)


@pytest.mark.timeout(300)
async def test_rule_33_so_they_do_through_kills(meshes: Meshes, strategy_path: str) -> None:
    chance = random.Random(4)
    async with meshes(strategy_path=strategy_path) as mesh, mesh.clients() as clients:
        wanted = await trial(VARIETY, mesh, strategy_path)
        replay = await same(mesh, clients, wanted, "killed", strategy_path)
        for names in [*chance.sample([(name,) for name in NAMES], k=len(NAMES)), NAMES]:
            await asyncio.sleep(chance.uniform(0.1, 0.5))
            await asyncio.to_thread(mesh.kill, *names)
        await replay.ended()
        await mesh.serving()
        assert await replay.digest(mesh) == wanted.digest


SOURCE = """
from decimal import Decimal

from services.domain.orders.order import OrderType as Type
from services.domain.orders.order import TimeInForce as Tif
from services.domain.strategy import Strategy, Wake

HOUR = 3_600_000_000_000
DAY = 24 * HOUR
LIMIT = {"order_type": Type.LIMIT}


class Variety(Strategy):
    "Each day another kind of order."
    kind = "variety"

    def __init__(self, parameters, symbols):
        super().__init__(parameters, symbols)
        self.days = self.noon = 0

    def on_bar(self, context, bar):
        self.days += 1
        # The next noon is counted from here, not day by day from 1970 on.
        self.noon = max(self.noon, context.now)
        symbol, held = bar.symbol, context.position(bar.symbol)

        def at(factor):
            return Decimal(str(round(bar.close * factor, 2)))

        buy, sell = context.buy, context.sell
        match self.days % 17:
            case 0:
                buy(symbol, Decimal(40), **LIMIT, limit_price=at(0.99), time_in_force=Tif.DAY)
            case 1:
                buy(symbol, Decimal(30), order_type=Type.STOP_LIMIT, stop_price=at(1.005), limit_price=at(1.02))
            case 2:
                # Outside the session they are refused.
                buy(symbol, Decimal(50), time_in_force=Tif.IOC)
                buy(symbol, Decimal(20), time_in_force=Tif.FOK)
            case 4:
                percent = Decimal("1.5")
                sell(symbol, Decimal(9), order_type=Type.TRAILING_STOP, trailing_percent=percent, reduce_only=True)
            case 5:
                until = {"time_in_force": Tif.GTD, "expire_time": (context.now // DAY + 3) * DAY}
                buy(symbol, Decimal(7), **LIMIT, limit_price=at(0.97), **until)
                buy(symbol, Decimal(8), **LIMIT, limit_price=at(0.995), **until)
            case 6 if held > 0:
                terms = {"stop_price": at(1.01), "limit_price": at(1.0)}
                sell(symbol, Decimal(11), order_type=Type.LIMIT_IF_TOUCHED, **terms)
            case 7:
                sell(symbol, Decimal(1000), order_type=Type.STOP, stop_price=at(0.995), reduce_only=True)
            case 8:
                buy(symbol, Decimal(12), time_in_force=Tif.OPG)
            case 9 if held > 0:
                sell(symbol, Decimal(5), time_in_force=Tif.CLS)
            case 10:
                buy(symbol, Decimal(15), **LIMIT, limit_price=at(1.05), post_only=True)
                buy(symbol, Decimal(14), **LIMIT, limit_price=at(0.995), display_quantity=Decimal(4))
                buy(symbol, Decimal(6), **LIMIT, limit_price=at(0.995), post_only=True)
            case 11:
                buy(symbol, Decimal(13), order_type=Type.MARKET_IF_TOUCHED, stop_price=at(0.99))
            case 12:
                buy(symbol, Decimal(3), order_type=Type.TRAILING_STOP, trailing_amount=Decimal("0.75"))
            case 13:
                sell(symbol, Decimal(2000), reduce_only=True)
            case 14:
                for cash in (700, 2100):
                    order_id = buy(symbol, cash_quantity=Decimal(1500), **LIMIT, limit_price=at(0.998))
                    context.replace(order_id, cash_quantity=Decimal(cash))
            case 15:
                buy(symbol, Decimal(1_000_000), order_type=Type.STOP, stop_price=at(1.1))
            case 16:
                for order in context.working(symbol)[:2]:
                    context.cancel(order.client_order_id)

    def on_time(self, context):
        self.noon = context.now
        if self.days % 6 == 0:
            for symbol in self.symbols:
                # No bar begins between noon and the close.
                context.buy(symbol, Decimal(5), time_in_force=Tif.IOC)
                context.buy(symbol, Decimal(5), time_in_force=Tif.FOK)

    def next_wake(self):
        return Wake(bars=super().next_wake().bars, time=(self.noon // DAY + 1) * DAY + 17 * HOUR)

    def state(self):
        return {"days": self.days, "noon": self.noon}

    def restore(self, state):
        self.days, self.noon = state["days"], state["noon"]
"""
