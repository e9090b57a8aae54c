"""A deployment decides the same however often it dies in between (rule 33), and stores no more than it must."""

from __future__ import annotations

import json
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from functools import partial
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tickmesh.strategy.v1 import strategy_pb2

from services.domain.backtest.simulation import DeploymentPlan, PortfolioPlan, Simulation
from services.domain.deployment.commands import NewOrder, NewOrderList, ReplaceOrder
from services.domain.deployment.context import Context
from services.domain.deployment.parameters import parameters_from
from services.domain.market import Bar
from services.domain.orders.order import Order, OrderEvent, OrderState, OrderType, Side
from services.domain.strategies import MeanReversion, SmaCross
from services.domain.strategy import Strategy
from services.domain.tape import Tape, merge
from services.domain.timeline import Timeline, next_through
from services.strategy.host.runner import Decider
from services.strategy.mapping import number_signal
from services.strategy.records import Deployment, Moment, Progress, State
from services.strategy.workshop import mind
from services.strategy.workshop.mind import Decision, Mind, StrategyFailed
from tests.unit.domain.markets import clock, daily, instrument, splits, walk

INSTRUMENTS = {symbol: instrument(symbol) for symbol in ("A", "B")}
DEPLOYMENT = Deployment("d1", 1, "s1", "p1", "r1", "", 0, "local", "local", deployment_number=1, state=State.RUNNING)
PLAN = DeploymentPlan(1, "d1", "s1", None, "p1")  # type: ignore[arg-type]


def cross() -> Strategy:
    return SmaCross(parameters_from(SmaCross.Parameters, {"fast": 2, "slow": 5, "cash_quantity": 9_000}), ("A", "B"))


def reversion() -> Strategy:
    parameters = {"window": 5, "entry": 1.0, "capital": 4_000}
    return MeanReversion(parameters_from(MeanReversion.Parameters, parameters), ("A", "B"))


class Ladder(Strategy):
    """Orders a bar, takes back what rests, and goes on from its acknowledgements: several commands a decision."""

    kind = "ladder"

    def __init__(self, symbols: Sequence[str] = ("A",)) -> None:
        super().__init__(None, symbols)
        self.bars = 0

    def on_bar(self, context: Context, bar: Bar) -> None:
        self.bars += 1
        for order in context.working("A"):
            context.cancel(order.client_order_id)
        if self.bars % 3 == 0:
            signal = context.signal("A", Side.BUY, values={"bars": self.bars})
            context.buy("A", Decimal(1), signal=signal)

    def on_order_event(self, context: Context, event: OrderEvent) -> None:
        if event.order.client_order_id.endswith("-1") and event.order.event_count == 1:
            context.sell("A", Decimal(1), label="again")

    def state(self) -> dict[str, Any]:
        return {"bars": self.bars}

    def restore(self, state: Any) -> None:
        self.bars = state["bars"]


class Lists(Ladder):
    """Brackets, OCOs and OTOs, of which some are replaced and some canceled before anything fills."""

    kind = "lists"

    def on_bar(self, context: Context, bar: Bar) -> None:
        self.bars += 1
        near = [Decimal(str(round(bar.close * factor, 2))) for factor in (0.97, 0.99, 1.01, 1.03)]
        working = context.working("A")
        match self.bars % 6:
            case 0:
                target, stop = {"limit_price": near[2]}, {"stop_price": near[1]}
                context.bracket(Side.BUY, "A", Decimal(5), target=target, stop=stop)
            case 1:
                terms = {"order_type": OrderType.LIMIT, "limit_price": near[1]}
                exits = {"target": {"limit_price": near[3]}, "stop": {"trailing_percent": Decimal(2)}}
                context.bracket(Side.BUY, "A", Decimal(4), **terms, **exits)
            case 2:
                context.oco(Side.BUY, "A", Decimal(3), {"limit_price": near[0]}, {"stop_price": near[3]})
            case 3 if limits := [each for each in working if each.order_type is OrderType.LIMIT]:
                context.replace(limits[0].client_order_id, limit_price=near[1])
            case 4 if working:
                context.cancel(working[len(working) // 2].client_order_id)
            case 5:
                entry = {"side": Side.BUY, "symbol": "A", "quantity": Decimal(2)}
                closing = entry | {"side": Side.SELL, "reduce_only": True, "order_type": OrderType.LIMIT}
                context.oto(entry, closing | {"limit_price": near[2]})


class Killed(Exception):
    """The process died."""


@dataclass
class Desk:
    """An order service that dies with its caller where it is told to."""

    simulation: Simulation
    kills: set[int] = field(default_factory=set)
    sent: int = 0
    known: dict[str, Order] = field(default_factory=dict)
    replaced: dict[str, list[OrderEvent]] = field(default_factory=dict)

    async def create(self, command: NewOrder, deployment: Deployment) -> Order:
        return (await self._create(command, [command]))[0]

    async def create_list(self, command: NewOrderList, deployment: Deployment) -> list[Order]:
        return await self._create(command, command.orders)

    async def cancel(self, order_id: str) -> list[Order]:
        self._die()
        at = self.simulation.position
        self._take(self.simulation.venue.cancel(order_id, at, self.simulation.timeline.time(at)))
        self._die()
        found = next(order for order in self.known.values() if order.order_id == order_id)
        canceled = [order for order in self.known.values() if order.state is OrderState.CANCELED]
        listed = [order for order in canceled if order.order_list_id and order.order_list_id == found.order_list_id]
        others = sorted((order for order in listed if order is not found), key=lambda order: order.priority)
        return [found, *others] if found in canceled else []

    async def replace(self, order_id: str, command: ReplaceOrder, deployment: Deployment) -> list[Order]:
        self._die()
        if command.command_id not in self.replaced:
            self.replaced[command.command_id] = self.simulation.trading.carry_out(PLAN, command)
            self._take(self.replaced[command.command_id])
        self._die()
        return [event.order for event in self.replaced[command.command_id]]

    async def _create(self, command: NewOrder | NewOrderList, orders: Sequence[NewOrder]) -> list[Order]:
        self._die()
        if orders[0].client_order_id not in self.known:
            self._take(self.simulation.trading.carry_out(PLAN, command))
        self._die()
        return [self.known[each.client_order_id] for each in orders]

    def _take(self, events: list[OrderEvent]) -> None:
        self.simulation._fold(events)
        self.known.update({event.order.client_order_id: event.order for event in events})

    def _die(self) -> None:
        self.sent += 1
        if self.sent in self.kills:
            raise Killed


class Mesh:
    """The cycle around one decider, with a store that keeps what it is given."""

    def __init__(self, tape: Tape, make: Callable[[], Strategy], kills: set[int], scanning: bool) -> None:
        plans = [PortfolioPlan("p1", "P", Decimal(20_000))]
        self.simulation = Simulation(tape, INSTRUMENTS, plans, environment_id="r1")
        self.timeline = Timeline(tape)
        self.desk = Desk(self.simulation, kills)
        self.make, self.scanning = make, scanning
        self.stored = Progress()
        self.commits = 0
        self.signals: list[bytes] = []
        self.decider: Decider | None = None

    async def run(self, deaths: Collection[int] = ()) -> None:
        simulation, cycle = self.simulation, 0
        wake = await (await self.ready()).wake()
        while not simulation.done:
            cycle += 1
            through = next_through(self.timeline, simulation.position, [wake])
            simulation.position, events = simulation.venue.advance(self.timeline.tape, simulation.position, through)
            simulation.result.position = simulation.position
            self.desk._take(events)
            head = len(simulation.result.events)
            while True:
                try:
                    decision = await self.decide(cycle, head)
                    break
                except Killed:
                    self.decider = None
            wake = decision.wake
            if decision.state is not None:
                self.commits += 1
                self.stored = Progress(cycle, simulation.position, head, 0, decision.state)
            self.signals += [made.body for made in decision.signals]
            if cycle in deaths:
                self.decider = None
        at = simulation.position
        simulation._fold(simulation.venue.expire_all(at, self.timeline.time(at)))

    async def decide(self, cycle: int, head: int) -> Decision:
        events = self.simulation.result.events[self.stored.order_head : head]
        moment = Moment("r1", cycle, self.simulation.position, head)
        return await (await self.ready()).decide(moment, events, 0)

    async def ready(self) -> Decider:
        if self.decider is None:
            think = partial(
                Mind,
                DEPLOYMENT,
                self.stored,
                self.make,
                timeline=self.timeline,
                instruments=INSTRUMENTS,
                scanning=self.scanning,
            )
            self.decider = Decider(DEPLOYMENT, think, self.desk)
            await self.decider.start()
        return self.decider


def market(seed: int, length: int = 50) -> Tape:
    bars = [daily("A", walk(seed, length)), daily("B", walk(seed + 1, length, 40))]
    return merge([clock(length), *bars, splits("A", {20: (3.0, 2.0)})])


def backtest(tape: Tape, make: Callable[[], Strategy]) -> Any:
    plans = [PortfolioPlan("p1", "P", Decimal(20_000))]
    deployed = [DeploymentPlan(1, "d1", "s1", make(), "p1")]
    return Simulation(tape, INSTRUMENTS, plans, deployed, environment_id="r1").run()


@settings(max_examples=25)
@given(
    seed=st.integers(0, 999),
    make=st.sampled_from([cross, reversion, Ladder, Lists]),
    kills=st.sets(st.integers(1, 60), max_size=8),
    deaths=st.sets(st.integers(1, 150), max_size=20),
    scanning=st.booleans(),
)
async def test_rule_33_a_decision_that_was_cut_off_is_taken_again(
    seed: int, make: Callable[[], Strategy], kills: set[int], deaths: set[int], scanning: bool
) -> None:
    tape = market(seed)
    expected = backtest(tape, make)
    mesh = Mesh(tape, make, kills, scanning)
    await mesh.run(deaths)
    assert mesh.simulation.result.events == expected.events
    told = [strategy_pb2.Signal.FromString(number_signal(n, body)) for n, body in enumerate(mesh.signals, 1)]
    assert [(each.sequence, each.signal_id) for each in told] == [
        (n, signal.signal_id) for n, (_, signal) in enumerate(expected.signals, 1)
    ]


async def test_a_decision_that_came_to_nothing_is_not_stored(monkeypatch: pytest.MonkeyPatch) -> None:
    tape = market(3)
    mesh = Mesh(tape, cross, set(), scanning=False)
    await mesh.run()
    happened = {event.tape_sequence for event in mesh.simulation.result.events}
    bars = len(mesh.timeline.bars("A")) + len(mesh.timeline.bars("B"))
    assert 0 < mesh.commits <= len(happened) < bars
    monkeypatch.setattr(mind, "MOST_UNSTORED", 4)
    often = Mesh(tape, cross, set(), scanning=False)
    await often.run()
    assert often.commits > mesh.commits
    assert often.simulation.result.events == mesh.simulation.result.events


class Moody(Strategy):
    """Decides by what it has seen of the world, which is no state."""

    kind = "moody"
    moods = 0

    def on_bar(self, context: Context, bar: Bar) -> None:
        if Moody.moods:
            context.buy("A", Decimal(1))


async def test_a_strategy_that_decides_otherwise_when_it_decides_again_fails() -> None:
    mesh = Mesh(market(3), lambda: Moody(None, ("A",)), set(), scanning=False)
    quiet = await mesh.ready()
    first, second, third = mesh.timeline.bars("A")[:3].tolist()
    assert (await quiet.decide(Moment("r1", 1, first, 0), [], 0)).state is None
    assert (await quiet.decide(Moment("r1", 2, second, 0), [], 0)).state is None
    Moody.moods = 1
    mesh.decider = None
    with pytest.raises(StrategyFailed, match=f"at position {first} it decides otherwise"):
        await (await mesh.ready()).decide(Moment("r1", 3, third, 0), [], 0)


async def test_the_state_is_plain_json() -> None:
    mesh = Mesh(market(3), Ladder, set(), scanning=False)
    await mesh.run()
    state = json.loads(mesh.stored.runner)
    assert state["strategy"]["bars"] > 0
    assert set(state) >= {"position", "positions", "working", "strategy"}
