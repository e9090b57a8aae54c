"""A replay through the five processes comes to what a backtest of its tape comes to (rules 31 to 34)."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from decimal import Decimal

import pytest
from tickmesh.marketdata.v1 import market_data_service_pb2

from services.domain.costs import Commission, Latency, ModelChange, Scope, Slippage, Tier, VenueModel
from services.domain.filling import BarPath, FillModel
from services.domain.market import Quote
from services.domain.orders.order import Side
from tests.e2e.conftest import Meshes
from tests.e2e.mesh import NAMES
from tests.e2e.replaying import replay_under_blows, replayed
from tests.e2e.scenarios import (
    DEEP,
    LIMITED,
    QUOTED,
    QUOTING,
    REFUSED,
    SHORT,
    SHORTING,
    WHOLE,
    write_deep_quotes,
    write_quotes,
)
from tests.e2e.trading import Replayed, trial

# Every named point of the code, and at which of its passings to die: late enough that trading is under way.
POINTS = {
    "order.after_reserve": 7,
    "order.before_commit": 11,
    "order.after_commit": 5,
    "order.after_reached_commit": 6,
    "risk.mid_fold": 9,
    "risk.after_verdict": 8,
    "portfolio.mid_fold": 5,
    "portfolio.after_commit": 4,
    "strategy.before_command": 6,
    "strategy.after_command": 5,
    "strategy.before_done": 9,
    "marketdata.after_reached": 12,
    "marketdata.after_fold": 15,
    "marketdata.before_store": 18,
    "marketdata.after_store": 21,
}
COSTLY = replace(
    SHORT,
    models=(
        ModelChange(
            0,
            Scope(),
            VenueModel(Commission(per_unit=Decimal("0.01"), minimum=Decimal(1), maximum_basis_points=Decimal(2))),
        ),
        ModelChange(0, Scope("trend"), VenueModel(None, Slippage(basis_points=Decimal(4), impact=Decimal("0.1")))),
        ModelChange(0, Scope("reversion"), VenueModel(latency=Latency(10**9, 23 * 3600 * 10**9, 7))),
        ModelChange(0, Scope("", "IBM"), VenueModel(Commission(basis_points=Decimal(5), maximum=Decimal(20)))),
        ModelChange(0, Scope("trend", "GOOG"), VenueModel(Commission(tiers=(Tier(Decimal(0), Decimal(8)),)))),
        ModelChange(0, Scope("", "AAPL"), VenueModel(Commission(basis_points=Decimal(150), in_units=True))),
        ModelChange(0, Scope("", "MSFT"), VenueModel(fills=FillModel(bar_path=BarPath.BY_DIRECTION))),
    ),
)
CHANGES = (
    ModelChange(0, Scope("trend"), VenueModel(Commission(per_order=Decimal(2)), Slippage(basis_points=Decimal(30)))),
    ModelChange(0, Scope("", "IBM"), None),
    ModelChange(0, Scope("reversion"), VenueModel(Commission(basis_points=Decimal(20)))),
    ModelChange(0, Scope("", "MSFT"), VenueModel(fills=FillModel(volume_share=Decimal("0.00001")))),
    ModelChange(0, Scope("trend"), None),
)
DELAYS = ("order.after_reserve=delay:3", "risk.mid_fold=delay:2", "portfolio.mid_fold=delay:4")
DELAYS += ("strategy.before_command=delay:5", "marketdata.after_reached=delay:1")


@pytest.mark.timeout(300)
async def test_rule_31_all_that_is_packaged_trades_as_in_a_backtest(meshes: Meshes) -> None:
    async with meshes() as mesh, mesh.clients() as clients:
        wanted = await trial(WHOLE, mesh)
        wanted.check()
        await replayed(mesh, clients, wanted, "whole")
        assert not mesh.deaths


async def test_rule_31_strategies_on_quotes_that_share_a_portfolio_trade_as_in_a_backtest(meshes: Meshes) -> None:
    async with meshes(strategy_path=QUOTING) as mesh, mesh.clients() as clients:
        write_quotes(mesh)
        wanted = await trial(QUOTED, mesh, QUOTING)
        await replayed(mesh, clients, wanted, "quoted")
        assert not mesh.deaths


@pytest.mark.timeout(300)
async def test_rules_11_and_31_orders_walk_the_levels_of_quotes_as_in_a_backtest(meshes: Meshes) -> None:
    async with meshes(strategy_path=QUOTING) as mesh, mesh.clients() as clients:
        write_deep_quotes(mesh)
        wanted = await trial(DEEP, mesh, QUOTING)
        wanted.check_deep()

        async def kill(_: Replayed) -> None:
            for name in ("order", "strategy", "marketdata"):
                await asyncio.to_thread(mesh.kill, name)
                await mesh.serving()

        await replayed(mesh, clients, wanted, "deep", kill)
        assert await Replayed(clients, DEEP, "deep").reserved() == wanted.reserved()
        # What the tape shows of a side at last is what anybody is shown.
        tape = wanted.simulation.timeline.tape
        records = (tape.record(sequence) for sequence in range(len(tape), 0, -1))
        last = next(each for each in records if isinstance(each, Quote))
        request = {"symbols": [last.symbol], "environment_id": "replay-deep", "depth": 2}
        stream = clients.market.StreamMarketData(market_data_service_pb2.StreamMarketDataRequest(**request))
        [shown] = (await anext(aiter(stream))).snapshot.quotes
        stream.cancel()
        assert [(float(each.price), float(each.size)) for each in shown.asks] == list(last.asks)
        assert len(last.asks) == 2


async def test_rule_34_delays_change_nothing(meshes: Meshes) -> None:
    async with meshes() as mesh, mesh.clients() as clients:
        for points in DELAYS:
            mesh.arm(points.partition(".")[0], points)
        await mesh.serving()
        wanted = await trial(SHORT, mesh)
        await replayed(mesh, clients, wanted, "slow")


@pytest.mark.timeout(300)
async def test_rules_12_and_14_what_trading_costs_is_the_same_in_a_backtest(meshes: Meshes) -> None:
    async with meshes() as mesh, mesh.clients() as clients:
        wanted = await trial(COSTLY, mesh)
        fills = wanted.result.fills
        assert wanted.digest != (await trial(SHORT, mesh)).digest
        assert {bool(fill.last_commission) for fill in fills} == {True}
        assert len({fill.order.latency for fill in fills}) > 10
        assert {fill.order.costs.slippage is None for fill in fills if fill.order.costs} == {True, False}
        await replayed(mesh, clients, wanted, "costly")
        # Set while time goes on, at whatever position that is: only a repeat can say what it came to.
        moving = Replayed(clients, COSTLY, "moving")
        await moving.make()
        await moving.start()
        for _ in range(3):
            for change in CHANGES:
                await moving.set_model(change)
                await asyncio.to_thread(mesh.kill, "order")
        await moving.ended()
        assert await moving.repeats(mesh)


@pytest.mark.timeout(300)
async def test_rules_4_and_31_limits_stop_the_same_orders_in_a_backtest_however_they_change(meshes: Meshes) -> None:
    async with meshes() as mesh, mesh.clients() as clients:
        wanted = await trial(LIMITED, mesh)
        refused = {each.refusal.limit for each in wanted.result.refusals if each.refusal}
        assert refused >= REFUSED, refused

        async def kill(_: Replayed) -> None:
            for _ in range(3):
                await asyncio.to_thread(mesh.kill, "risk")
                await mesh.serving()

        await replayed(mesh, clients, wanted, "limited", kill)
        # Set and deleted while time goes on, at whatever position that is: only a repeat can say what it came to.
        moving = Replayed(clients, LIMITED, "moving-limits")
        await moving.make()
        await moving.start()
        for change in LIMITED.limits:
            await moving.set_limit(change._replace(deleted=True))
            await asyncio.to_thread(mesh.kill, "risk")
            await moving.set_limit(change._replace(limit=replace(change.limit, bound=change.limit.bound / 2)))
        await moving.ended()
        assert await moving.repeats(mesh)


@pytest.mark.timeout(300)
async def test_rules_19_and_31_shorts_are_sold_and_covered_as_in_a_backtest(meshes: Meshes) -> None:
    async with meshes() as mesh, mesh.clients() as clients:
        wanted = await trial(SHORTING, mesh)
        short = [
            each.order for each in wanted.result.fills if each.order.side is Side.SELL and each.order.reservation.cash
        ]
        assert {each.reservation.margin for each in short} == {Decimal("0.5"), Decimal("0.3")}
        assert "AAPL" in {each.symbol for each in short}

        async def kill(_: Replayed) -> None:
            for name in ("order", "risk"):
                await asyncio.to_thread(mesh.kill, name)
                await mesh.serving()

        await replayed(mesh, clients, wanted, "shorting", kill)


@pytest.mark.timeout(300)
async def test_rule_33_a_kill_at_any_point_of_the_cycle_changes_nothing(meshes: Meshes) -> None:
    async with meshes() as mesh, mesh.clients() as clients:
        wanted = await trial(SHORT, mesh)
        wanted.check()
        # A few at a time, so that four replays pass them all.
        for number in range(4):
            points = list(POINTS)[number::4]
            for name in NAMES:
                own = [point for point in points if point.startswith(f"{name}.")]
                mesh.arm(name, ",".join(f"{point}=kill-once:{POINTS[point]}" for point in own))
            await mesh.serving()
            mesh.deaths.clear()
            await replayed(mesh, clients, wanted, f"point-{number}")
            assert sum(mesh.deaths.values()) == len(points), (points, mesh.deaths)


@pytest.mark.timeout(300)
async def test_rule_33_kills_and_halts_at_any_moment_change_nothing(meshes: Meshes) -> None:
    async with meshes(strategy_path=QUOTING) as mesh, mesh.clients() as clients:
        write_quotes(mesh)
        quoted = await trial(QUOTED, mesh, QUOTING)
        quoted.check_quoted()
        for seed, wanted in enumerate((await trial(SHORT, mesh), quoted, quoted)):
            await replay_under_blows(mesh, clients, wanted, seed)
        assert all(mesh.deaths[name] >= 6 for name in NAMES)
