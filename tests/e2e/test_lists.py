"""A strategy that trades by brackets, OCOs and OTOs: a replay comes to what its backtest does, through kills too."""

from __future__ import annotations

import asyncio
import random
from collections import Counter
from dataclasses import replace
from pathlib import Path

import pytest

from services.console.scenario import Trader
from services.domain.orders.order import CancelReason, ContingencyType, ExecType, OrderState
from tests.e2e.conftest import Meshes
from tests.e2e.mesh import NAMES
from tests.e2e.scenarios import SHORT, day
from tests.e2e.trading import Replayed, Trial, trial

TRADER = Trader("Lists", "lists", "lists", "lists", {})
# AAPL's split lies inside.
LISTS = replace(SHORT, traders=(TRADER,), end_time=day("2005-03-10"))
ENDS = {
    CancelReason.TWIN_FILLED,
    CancelReason.TWIN_ENDED,
    CancelReason.PARENT_ENDED,
    CancelReason.CHILD_ENDED,
    CancelReason.END_OF_TIME,
    CancelReason.REQUESTED,
}


@pytest.fixture
def strategy_path(tmp_path: Path) -> str:
    file = tmp_path / "lists.py"
    file.write_text(SOURCE)
    return str(file)


def check(wanted: Trial) -> None:
    """That the backtest has what it is about."""
    events = wanted.result.events
    assert {event.order.cancel_reason for event in events} >= ENDS, Counter(e.order.cancel_reason for e in events)
    kinds = {event.order.contingency_type for event in wanted.result.fills}
    assert kinds >= {ContingencyType.OCO, ContingencyType.OTO, ContingencyType.BRACKET}
    children = [event.order for event in wanted.result.fills if event.order.parent_order_id]
    exits = [order for order in children if order.contingency_type is ContingencyType.BRACKET]
    assert len(children) > len(exits), "an OTO's child"
    assert {order.limit_price is None for order in exits} == {True, False}, "targets and stops"
    assert {ExecType.REPLACED, ExecType.RESTATED} <= {event.exec_type for event in events}
    lists = [order for order in wanted.result.refusals if order.order_list_id]
    assert lists, "one that was refused whole"
    held = {event.order.order_id: event.order for event in events}.values()
    assert all(order.state is not OrderState.HELD for order in held)


async def test_rule_31_lists_come_to_what_the_backtest_gives(meshes: Meshes, strategy_path: str) -> None:
    async with meshes(strategy_path=strategy_path) as mesh, mesh.clients() as clients:
        wanted = await trial(LISTS, mesh, strategy_path)
        check(wanted)
        replay = Replayed(clients, wanted.scenario, "lists", strategy_path)
        await replay.make()
        await replay.start()
        await replay.ended()
        assert await replay.digest(mesh) == wanted.digest
        assert await replay.repeats(mesh)


@pytest.mark.timeout(300)
async def test_rule_33_so_they_do_through_kills(meshes: Meshes, strategy_path: str) -> None:
    chance = random.Random(5)
    async with meshes(strategy_path=strategy_path) as mesh, mesh.clients() as clients:
        wanted = await trial(LISTS, mesh, strategy_path)
        replay = Replayed(clients, wanted.scenario, "killed", strategy_path)
        await replay.make()
        await replay.start()
        for names in [*chance.sample([(name,) for name in NAMES], k=len(NAMES)), NAMES]:
            await asyncio.sleep(chance.uniform(0.1, 0.5))
            await asyncio.to_thread(mesh.kill, *names)
        await replay.ended()
        await mesh.serving()
        assert await replay.digest(mesh) == wanted.digest


SOURCE = """
from decimal import Decimal

from services.domain.orders.order import OrderType as Type
from services.domain.orders.order import Side
from services.domain.orders.order import TimeInForce as Tif
from services.domain.strategy import Strategy, Wake

HOUR = 3_600_000_000_000
DAY = 24 * HOUR


class Lists(Strategy):
    "Each day another list, or something else for one."
    kind = "lists"

    def __init__(self, parameters, symbols):
        super().__init__(parameters, symbols)
        self.days = self.noon = 0
        self.last = ""

    def on_bar(self, context, bar):
        self.days += 1
        self.noon = self.noon or context.now
        symbol = bar.symbol

        def at(factor):
            return Decimal(str(round(bar.close * factor, 2)))

        match self.days % 12:
            case 0 | 5:
                exits = {"target": {"limit_price": at(1.012)}, "stop": {"stop_price": at(0.988)}}
                self.last = context.bracket(Side.BUY, symbol, Decimal(40), **exits)[2]
            case 1:
                terms = {"order_type": Type.LIMIT, "limit_price": at(0.995)}
                exits = {"target": {"limit_price": at(1.03)}, "stop": {"trailing_percent": Decimal("1.5")}}
                context.bracket(Side.BUY, symbol, Decimal(25), **terms, **exits)
            case 2 if self.last:
                context.replace(self.last, stop_price=at(0.995))
            case 3:
                context.oco(Side.BUY, symbol, Decimal(12), {"limit_price": at(0.985)}, {"stop_price": at(1.015)})
            case 4:
                for order in context.working(symbol)[:1]:
                    context.cancel(order.client_order_id)
            case 6:
                limited = {"limit_price": at(1.01), "order_type": Type.LIMIT_IF_TOUCHED, "stop_price": at(1.012)}
                exits = {"target": limited, "stop": {"stop_price": at(0.99), "limit_price": at(0.98)}}
                context.bracket(Side.BUY, symbol, cash_quantity=Decimal(2500), **exits)
            case 7 if context.position(symbol) > 0:
                legs = {"limit_price": at(1.008), "reduce_only": True}, {"stop_price": at(0.992), "reduce_only": True}
                context.oco(Side.SELL, symbol, Decimal(20), *legs)
            case 8:
                exits = {"target": {"limit_price": at(1.3)}, "stop": {"stop_price": at(0.7)}}
                terms = {"order_type": Type.LIMIT, "limit_price": at(0.8)}
                entry, target, _ = context.bracket(Side.BUY, symbol, Decimal(10), **terms, **exits)
                context.cancel(entry if self.days % 24 == 8 else target)
            case 9:
                context.oco(Side.BUY, symbol, Decimal(1_000_000), {"limit_price": at(0.9)}, {"stop_price": at(1.1)})
                until = {"time_in_force": Tif.GTD, "expire_time": (context.now // DAY + 2) * DAY}
                exits = {"target": {"limit_price": at(1.3), **until}, "stop": {"stop_price": at(0.7), **until}}
                terms = {"order_type": Type.LIMIT, "limit_price": at(0.8)}
                context.bracket(Side.BUY, symbol, Decimal(10), **terms, **exits)
            case 10:
                for order in context.working(symbol):
                    if order.order_type is Type.LIMIT:
                        context.replace(order.client_order_id, limit_price=at(1.004))
            case 11:
                limited = {"symbol": symbol, "quantity": Decimal(5), "order_type": Type.LIMIT}
                entry = limited | {"side": Side.BUY, "limit_price": at(0.999)}
                closing = limited | {"side": Side.SELL, "reduce_only": True}
                context.oto(entry, closing | {"limit_price": at(1.005)}, closing | {"limit_price": at(1.01)})

    def on_time(self, context):
        self.noon = context.now
        if self.days % 4 == 0 and self.last:
            context.replace(self.last, stop_price=Decimal(30))

    def on_order_event(self, context, event):
        if event.order.client_order_id == self.last and event.order.state >= 6:
            self.last = ""

    def next_wake(self):
        # Before its first bar it knows no day.
        noon = (self.noon // DAY + 1) * DAY + 17 * HOUR if self.noon else None
        return Wake(bars=super().next_wake().bars, time=noon)

    def state(self):
        return {"days": self.days, "noon": self.noon, "last": self.last}

    def restore(self, state):
        self.days, self.noon, self.last = state["days"], state["noon"], state["last"]
"""
