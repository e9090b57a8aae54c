"""Risk in a replay's cycles: the backtest's verdicts and figures, through splits and restarts (rules 31 to 34)."""

import asyncio
import random
import sqlite3
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, closing
from decimal import Decimal
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from tickmesh.risk.v1 import risk_gate_service_pb2 as gate_pb2
from tickmesh.risk.v1 import risk_service_pb2

from services.domain.accounting.ledger import Entry
from services.domain.backtest.simulation import DeploymentPlan, PortfolioPlan, Simulation
from services.domain.costs import NO_SLIP, Slip
from services.domain.deployment.context import Context
from services.domain.instrument import Instrument
from services.domain.market import Bar
from services.domain.money import format_decimal
from services.domain.orders.order import Order, OrderEvent, OrderType, Side, TimeInForce
from services.domain.risk.gate import Gate, Verdict
from services.domain.risk.limits import make_limit
from services.domain.strategy import Strategy
from tests.component.risk.conftest import SYMBOLS, market
from tests.component.risk.world import Desk, State, World, accepted, filled, risk_of
from tests.unit.domain.markets import instrument

LIMITS = (make_limit("max_gross_exposure", Decimal(9_000)), make_limit("max_position_quantity", Decimal(120)))
START = 10


class Gambler(Strategy):
    """Buys and sells at random, in every way there is."""

    kind = "gambler"

    def __init__(self, seed: int, symbols: tuple[str, ...]) -> None:
        super().__init__(None, symbols)
        self.rng = random.Random(seed)

    def on_bar(self, context: Context, bar: Bar) -> None:
        if context.warming:
            return
        for _ in range(self.rng.randint(0, 2)):
            self._bet(context, self.rng.choice(self.symbols), bar)
        for working in context.working(bar.symbol):
            if self.rng.random() < 0.3:
                context.cancel(working.client_order_id)

    def _bet(self, context: Context, symbol: str, bar: Bar) -> None:
        rng, side = self.rng, self.rng.choice([Side.BUY, Side.BUY, Side.SELL])
        terms: dict[str, Any] = {"time_in_force": rng.choice([TimeInForce.GTC, TimeInForce.DAY])}
        quantity = Decimal(rng.choice([1, 7, 30, 90]))
        kind = rng.randint(0, 3)
        if kind == 0:
            terms |= {"order_type": OrderType.LIMIT, "limit_price": Decimal(str(round(bar.close * 0.99, 2)))}
        elif kind == 1:
            terms |= {"order_type": OrderType.STOP, "stop_price": Decimal(str(round(bar.close * 1.01, 2)))}
        elif kind == 2 and side is Side.BUY:
            context.buy(symbol, cash_quantity=Decimal(rng.choice([500, 2_500])), **terms)
            return
        context.place(side, symbol, quantity, **terms)


class Asked(NamedTuple):
    """A check as the backtest made it, and its answer."""

    order: Order
    reference: Decimal
    time: int
    position: int
    verdict: Verdict


class Fold(NamedTuple):
    """The books were folded up to a position."""

    position: int


class Posted(NamedTuple):
    """An entry that is no fill's."""

    portfolio_id: str
    entry: Entry


Step = Asked | Fold | OrderEvent | Posted


def record(seed: int) -> tuple[list[Step], Simulation]:
    """What a backtest's gate was told and asked, in order."""
    steps: list[Step] = []
    fold_entry, fold, check = Gate.fold_entry, Gate.fold, Gate.check

    def folded() -> None:
        if Fold(played.position) not in steps[-20:]:
            steps.append(Fold(played.position))

    def recorded_entry(gate: Gate, portfolio_id: str, entry: Entry) -> None:
        steps.append(Posted(portfolio_id, entry))
        fold_entry(gate, portfolio_id, entry)

    def recorded_event(gate: Gate, event: OrderEvent, instrument: Instrument) -> None:
        steps.append(event)
        fold(gate, event, instrument)

    def recorded_check(
        gate: Gate, order: Order, instrument: Instrument, reference: Decimal, time: int, *, slip: Slip
    ) -> Verdict:
        folded()
        assert slip is NO_SLIP, "nothing costs anything here"
        verdict = check(gate, order, instrument, reference, time)
        steps.append(Asked(order, reference, time, played.position, verdict))
        return verdict

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Gate, "fold_entry", recorded_entry)
        patch.setattr(Gate, "fold", recorded_event)
        patch.setattr(Gate, "check", recorded_check)
        shorts = make_limit("short_sale", Decimal(1))
        portfolios = [
            PortfolioPlan("p1", "One", Decimal(10_000), LIMITS),
            PortfolioPlan("p2", "Two", Decimal(10_000), (shorts,)),
        ]
        deployments = [DeploymentPlan(i, f"d{i}", f"s{i}", Gambler(seed + i, SYMBOLS), f"p{i}", START) for i in (1, 2)]
        instruments = {symbol: instrument(symbol) for symbol in SYMBOLS}
        played = Simulation(market(), instruments, portfolios, deployments, start_sequence=START)
        while not played.done:
            played.cycle()
            folded()
    return steps, played


def same(told: gate_pb2.Verdict, verdict: Verdict) -> None:
    if verdict.reservation is not None:
        assert [Decimal(text) for text in (told.reservation.cash, told.reservation.quantity)] == [
            verdict.reservation.cash,
            verdict.reservation.quantity,
        ]
        assert Decimal(told.reservation.headroom) == verdict.reservation.headroom
        return
    assert verdict.refusal is not None
    expected = verdict.refusal
    assert (told.refusal.reason, told.refusal.limit) == (expected.reason, expected.limit)
    assert told.refusal.bound == format_decimal(expected.bound)
    assert told.refusal.value == format_decimal(expected.value)


async def set_limits(desk: Desk) -> None:
    """The backtest's limits, which its portfolios were opened with."""
    types = {"max_gross_exposure": 3, "max_position_quantity": 2, "short_sale": 6}
    for portfolio_id, limits in {"p1": LIMITS, "p2": (make_limit("short_sale", Decimal(1)),)}.items():
        for limit in limits:
            request = risk_service_pb2.SetLimitRequest(
                environment_id="replay-1",
                portfolio_id=portfolio_id,
                limit_type=types[limit.name],  # type: ignore[arg-type]
                bound=format_decimal(limit.bound),
            )
            await desk.risk.SetLimit(request)


class Mesh:
    """Plays steps through the real service, which dies now and then."""

    def __init__(self, world: World, folder: Path) -> None:
        self.world, self.folder = world, folder
        self.stack = AsyncExitStack()
        self.epoch = self.cycles = 0
        self.desk: Desk

    async def start(self) -> None:
        self.desk = await self.stack.enter_async_context(risk_of(self.world, self.folder, risk_store_interval_ms=20))
        self.epoch += 1
        await self.desk.connect(epoch=self.epoch)

    async def restart(self) -> None:
        await self.stack.aclose()
        await self.start()

    async def play(self, step: Step) -> None:
        match step:
            case Asked():
                [told] = await self.desk.check(
                    step.order, price=format_decimal(step.reference), time=step.time, tape_sequence=step.position
                )
                same(told, step.verdict)
            case Fold():
                self.cycles += 1
                await self.world.fold(self.cycles, step.position)
            case OrderEvent():
                self.world.commit(step)
            case Posted(portfolio_id, entry):
                self.world.post(portfolio_id, [entry])
                if entry.kind == "DEPOSIT":
                    self.world.openings[portfolio_id] = self.world.ledger_head


@pytest.fixture
async def mesh(world: World, tmp_path: Path) -> AsyncIterator[Mesh]:
    made = Mesh(world, tmp_path)
    yield made
    await made.stack.aclose()


@pytest.mark.parametrize("seed", range(4))
async def test_rule_34_verdicts_and_figures_are_the_backtests_through_splits_and_kills(mesh: Mesh, seed: int) -> None:
    steps, played = record(seed)
    rng = random.Random(seed)
    await mesh.start()
    count = sum(isinstance(step, Posted) and step.entry.kind == "DEPOSIT" for step in steps)
    for step in steps[:count]:
        await mesh.play(step)
    await set_limits(mesh.desk)
    kills = 0
    for step in steps[count:]:
        if isinstance(step, Asked | Fold) and rng.random() < 0.06:
            await mesh.restart()
            kills += 1
        await mesh.play(step)
    assert kills > 3
    checks = [step for step in steps if isinstance(step, Asked)]
    assert any(step.verdict.refusal for step in checks)
    assert any(step.verdict.reservation for step in checks)
    for portfolio_id, ledger in played.books.ledgers.items():
        expected = played.gate.exposure(portfolio_id)
        figures = await mesh.desk.figures(portfolio_id)
        assert Decimal(figures.cash) == ledger.cash == expected.cash
        assert Decimal(figures.reserved_cash) == expected.reserved_cash
        assert Decimal(figures.collateral) == round(expected.collateral, 9)
        assert {s.symbol: Decimal(s.quantity) for s in figures.symbols if Decimal(s.quantity)} == {
            symbol: position.quantity for symbol, position in ledger.positions.items() if position.quantity
        }
        mine = [order for order in played.venue.open_orders() if order.portfolio_id == portfolio_id]
        assert figures.reservation_count == len(mine)


async def test_rule_32c_what_lies_behind_a_split_counts_with_its_fold_only(mesh: Mesh) -> None:
    world = mesh.world
    await mesh.start()
    world.open_portfolio("p1")
    [verdict] = await mesh.desk.check(order := mesh.desk.order(quantity="10"))
    event = accepted(order, verdict, at=10)
    fill = filled(event, "10", "100", at=11)
    world.commit(event, fill)
    assert (await mesh.desk.figures()).symbols[0].quantity == "10"
    split = next(
        i for i in range(1, len(world.tape) + 1) if world.tape.sources[world.tape.source[i - 1]].kind.name == "SPLIT"
    )
    later = mesh.desk.order(Side.SELL, "15")
    world.commit(accepted(later, gate_pb2.Verdict(), at=split))
    await asyncio.sleep(0.1)
    request = risk_service_pb2.GetPortfolioRiskRequest(portfolio_id="p1")
    assert (await mesh.desk.risk.GetPortfolioRisk(request)).order_sequence == 2
    ledger = world.ledgers["p1"]
    ledger.apply(fill, world.instruments["A"])
    posting = ledger.split("A", 3.0, 2.0, time=0, tape_sequence=split, instrument=world.instruments["A"], mark=100.0)
    world.post("p1", posting.entries)
    await mesh.world.fold(1, split)
    figures = await mesh.desk.figures()
    assert (figures.symbols[0].quantity, figures.symbols[0].pending_sell_quantity) == ("15", "15")
    assert figures.tape_sequence == split


async def test_rule_33_a_repeated_fold_gets_the_same_answer_and_changes_nothing(mesh: Mesh) -> None:
    world = mesh.world
    await mesh.start()
    world.open_portfolio("p1")
    await asyncio.wait_for(world.joins.get(), 30)
    for _ in range(3):
        assert (await world.fold(1, 15)).cycle == 1
    assert (await world.fold(2, 15)).cycle == 2
    figures = await mesh.desk.figures()
    assert (figures.cash, figures.tape_sequence) == ("100000.00", 15)


async def until_stored(folder: Path, tape_sequence: int, cycle: int) -> None:
    """Risk stores where it stands in a moment of its own, after it has answered (the coordinator repeats a fold)."""
    with closing(sqlite3.connect(f"file:{folder}/risk.db?mode=ro", uri=True)) as database:
        for _ in range(1500):
            if database.execute("SELECT tape_sequence, cycle FROM environments").fetchall() == [(tape_sequence, cycle)]:
                return
            await asyncio.sleep(0.02)
    raise AssertionError("half a minute, and it is not stored")


async def test_rule_33_it_rejoins_with_the_cycle_it_has_stored(mesh: Mesh) -> None:
    world = mesh.world
    await mesh.start()
    join = await asyncio.wait_for(world.joins.get(), 30)
    assert (join.tape_sequence, join.cycle) == (START, 0)
    await world.fold(7, 15)
    await until_stored(mesh.folder, 15, 7)
    await mesh.restart()
    join = await asyncio.wait_for(world.joins.get(), 30)
    assert (join.tape_sequence, join.cycle) == (15, 7)


async def test_an_ended_environment_keeps_its_figures_and_takes_no_orders(mesh: Mesh) -> None:
    world = mesh.world
    await mesh.start()
    world.open_portfolio("p1", "777")
    await world.fold(1, len(world.tape))
    world.announce(State.ENVIRONMENT_STATE_COMPLETED, cycle=1)
    with pytest.raises(Exception, match="The environment has ended"):
        await mesh.desk.call.read()
    await asyncio.sleep(0.1)
    await mesh.stack.aclose()
    async with risk_of(world, mesh.folder) as desk:
        with pytest.raises(Exception, match="The environment has ended"):
            await desk.connect(epoch=9)
        figures = await desk.figures()
        assert (figures.cash, figures.tape_sequence) == ("777.00", len(world.tape))


async def test_what_happened_while_it_was_away_at_the_end_counts_too(mesh: Mesh) -> None:
    world = mesh.world
    await mesh.start()
    world.open_portfolio("p1", "500")
    await mesh.desk.figures()
    [verdict] = await mesh.desk.check(order := mesh.desk.order(quantity="2"))
    await asyncio.sleep(0.1)
    await mesh.stack.aclose()
    event = accepted(order, verdict, at=10)
    world.commit(event, filled(event, "2", "100", at=len(world.tape) - 1))
    world.environment.tape_sequence = len(world.tape)
    world.environment.state, world.environment.cycle = State.ENVIRONMENT_STATE_STOPPED, 9
    async with risk_of(world, mesh.folder) as desk:
        figures = await desk.figures()
        assert (figures.cash, figures.reserved_cash) == ("300.00", "0.00")
        assert [(each.symbol, each.quantity) for each in figures.symbols] == [("A", "2")]
