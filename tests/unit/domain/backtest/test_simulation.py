"""The cycle that moves venue, books and strategies along a tape (rules 31 to 35)."""

import json
from collections.abc import Callable, Sequence
from dataclasses import replace
from decimal import Decimal
from typing import Any

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from services.domain.backtest.digest import EntryLine, FillLine, History, RefusalLine, digest
from services.domain.backtest.simulation import DeploymentPlan, PortfolioPlan, Result, Simulation, next_through
from services.domain.deployment.context import Context
from services.domain.deployment.parameters import parameters_from
from services.domain.deployment.runner import StrategyRunner
from services.domain.market import Bar, Quote
from services.domain.orders.order import CancelReason, ExecType, OrderEvent, OrderState, OrderType
from services.domain.risk.limits import Limit, make_limit
from services.domain.strategies import MeanReversion
from services.domain.strategy import Strategy, Wake
from services.domain.tape import Kind, Series, Source, Tape, merge
from services.domain.venue.matching import VenueSettings
from tests.unit.domain.backtest.simulations import INSTRUMENTS, Make, OnBars, anything, cross, market, simulate
from tests.unit.domain.markets import CLOSE, DAY, OPEN, clock, daily, splits, walk

FLAT = [100.0, 101.0, 99.0, 100.0, 10_000.0]


def reversion(symbols: Sequence[str] = ("A", "B"), **parameters: Any) -> Make:
    values = {"window": 5, "entry": 1.0, "capital": 4_000, **parameters}
    return lambda: MeanReversion(parameters_from(MeanReversion.Parameters, values), symbols)


def buy_once(quantity: int = 10, **terms: Any) -> Callable[[Context, Bar], object]:
    def act(context: Context, bar: Bar) -> None:
        if context.idle(bar.symbol) and not context.position(bar.symbol):
            context.buy(bar.symbol, Decimal(quantity), **terms)

    return act


def told(result: Result) -> tuple[Any, ...]:
    return result.events, result.equity, result.signals, dict(result.entries), result.digest()


def kept(simulation: Simulation) -> tuple[Any, ...]:
    """What venue, gate and ledgers are left with."""
    gate, ledgers = simulation.gate, simulation.books.ledgers.values()
    books = [{name: value for name, value in vars(ledger).items() if name != "_matching"} for ledger in ledgers]
    venue = simulation.venue
    return venue.headroom, venue.position, venue.positions, venue.collateral, gate._funds, gate._claims, books


SHORTS = (make_limit("short_sale", Decimal(1)),)
MARKETS = st.builds(market, st.integers(0, 9_999), st.just(60), st.booleans(), st.sampled_from([None, 20, 45]))
MAKES = st.lists(
    st.sampled_from(
        [
            cross(),
            reversion(),
            cross(["B"], quantity=30, cash_quantity=0, time_in_force="DAY"),
            cross(["A"], quantity=3, cash_quantity=0),
            cross(["B"], quantity=25, cash_quantity=0),
            reversion(["A"], quantity=150, capital=0),
            reversion(["A"], quantity=4, capital=0, short=True),
            lambda: OnBars(anything, ["A", "B"]),
        ]
    ),
    min_size=1,
    max_size=3,
)


@settings(max_examples=60)
@given(tape=MARKETS, makes=MAKES, start=st.integers(0, 30), limits=st.sampled_from([(), SHORTS]))
# A fill at the tape's last bar.
@example(tape=market(1753, sessions=False), makes=[cross(), reversion()], start=0, limits=())
def test_rule_34_skipping_what_nobody_acts_on_is_the_same_as_looking_at_each_record(
    tape: Tape, makes: list[Make], start: int, limits: tuple[Limit, ...]
) -> None:
    how = {"start_sequence": start, "limits": limits}
    runs = [simulate(tape, *makes, **how, express=express) for express in (True, False)]
    assert told(runs[0].run()) == told(runs[1].run())
    assert kept(runs[0]) == kept(runs[1])
    for skipping, looking in zip(runs[0].runners, runs[1].runners, strict=True):
        for runner in (skipping, looking):
            runner.step(runs[0].timeline, runs[0].timeline.end)
        assert skipping.state() == looking.state()


@pytest.mark.parametrize("seed", range(4))
def test_rule_19_the_venue_holds_what_risk_holds_against_shorts_also_where_a_split_meets_no_order(seed: int) -> None:
    short = reversion(["A"], quantity=3, capital=0, short=True)
    simulation = simulate(market(seed, split_day=20), short, limits=SHORTS)
    while not simulation.done:
        simulation.cycle()
        held = simulation.gate._funds["p1"].holdings.items()
        collateral = {("p1", symbol): each.collateral for symbol, each in held if each.collateral}
        assert simulation.venue.collateral == collateral
        assert simulation.venue.headroom.get("p1", 0) <= simulation.gate.exposure("p1").spendable + Decimal("1e-6")


@settings(max_examples=30)
@given(tape=MARKETS, makes=MAKES, kills=st.lists(st.integers(0, 120), max_size=6), scanning=st.booleans())
def test_rule_33_a_strategy_that_died_goes_on_from_its_stored_state(
    tape: Tape, makes: list[Make], kills: list[int], scanning: bool
) -> None:
    expected = simulate(tape, *makes).run()
    killed = simulate(tape, *makes, express=scanning)
    cycle = 0
    while not killed.done:
        killed.cycle()
        if cycle in kills:
            for i, make in enumerate(makes):
                state = json.loads(json.dumps(killed.runners[i].state()))
                killed.runners[i] = StrategyRunner(i + 1, make(), INSTRUMENTS, scanning=scanning)
                killed.runners[i].restore(state)
        cycle += 1
    assert told(killed.run()) == told(expected)


@settings(max_examples=30)
@given(tape=MARKETS, makes=MAKES, steps=st.lists(st.integers(1, 9), min_size=1, max_size=7), scanning=st.booleans())
def test_rule_34_how_far_a_grant_goes_at_once_changes_nothing(
    tape: Tape, makes: list[Make], steps: list[int], scanning: bool
) -> None:
    expected, paced = simulate(tape, *makes), simulate(tape, *makes, express=scanning)
    advance, cycle = paced.venue.advance, 0

    def some_of_it(tape: Tape, after: int, through: int) -> tuple[int, list[OrderEvent]]:
        return advance(tape, after, min(through, after + steps[cycle % len(steps)]))

    paced.venue.advance = some_of_it  # type: ignore[method-assign]
    while not paced.done:
        paced.cycle()
        cycle += 1
    assert told(paced.run()) == told(expected.run())


@settings(max_examples=30)
@given(tape=MARKETS, makes=MAKES, scanning=st.booleans())
def test_rule_32_a_cycle_ends_where_the_wakes_told_to_the_coordinator_say(
    tape: Tape, makes: list[Make], scanning: bool
) -> None:
    simulation = simulate(tape, *makes, express=scanning)
    while not simulation.done:
        wakes = [runner.next_wake(simulation.timeline) for runner in simulation.runners]
        through = next_through(simulation.timeline, simulation.position, wakes)
        filled = simulation.cycle()
        assert filled.through <= through
        if filled.through < through:
            assert any(event.tape_sequence == filled.through for event in filled.events)


@settings(max_examples=25)
@given(tape=MARKETS, make=st.sampled_from([cross(), reversion()]))
def test_rule_34_another_deployment_changes_nothing_for_this_one(tape: Tape, make: Make) -> None:
    how = {"venue_settings": VenueSettings(volume_share=None)}
    busy: Make = lambda: OnBars(buy_once(1), ["A", "B"])  # noqa: E731
    alone, beside = simulate(tape, make, **how).run(), simulate(tape, make, busy, **how).run()
    assert alone.entries["p1"] == [
        replaced_ids(entry, alone.entries["p1"][i]) for i, entry in enumerate(beside.entries["p1"])
    ]
    assert [signal for number, signal in beside.signals if number == 1] == [signal for _, signal in alone.signals]


def replaced_ids(entry: Any, like: Any) -> Any:
    """Order ids count all orders of an environment; nothing else tells of the others."""
    return entry._replace(transaction_id=like.transaction_id, order_id=like.order_id, exec_id=like.exec_id)


def test_certain_fills_are_taken_at_once_and_only_by_run() -> None:
    tape = merge([daily("A", [[*row[:4], 5_000.0] for row in walk(1, 200)])])
    make = cross(["A"], quantity=3, cash_quantity=0)
    by_cycle, by_run = simulate(tape, make, cash=100_000), simulate(tape, make, cash=100_000)
    cycles = 0
    while not by_cycle.done:
        by_cycle.cycle()
        cycles += 1
    taken = []
    fill_at_once = by_run.venue.fill_at_once
    by_run.venue.fill_at_once = lambda new, fill: taken.append(fill) or fill_at_once(new, fill)  # type: ignore
    result = by_run.run()
    assert len(taken) == len(result.fills) > 20
    assert cycles > len(taken)
    assert told(by_cycle.run()) == told(result)


def test_the_same_run_gives_the_same_digest_and_any_difference_another() -> None:
    tape = market(3)
    expected = simulate(tape, cross(), reversion()).run().digest()
    assert simulate(tape, cross(), reversion()).run().digest() == expected
    assert simulate(tape, cross(), reversion(), environment_id="other").run().digest() == expected
    others = [
        simulate(market(4), cross(), reversion()),
        simulate(tape, reversion(), cross()),
        simulate(tape, cross(cash_quantity=2_900), reversion()),
        simulate(tape, cross(), reversion(), cash=19_999),
        simulate(tape, cross(), reversion(), venue_settings=VenueSettings(volume_share=Decimal("0.2"))),
        simulate(tape, cross(), reversion(), limits=(make_limit("max_order_notional", Decimal(2_000)),)),
        simulate(tape, cross(), reversion(), start_sequence=40),
    ]
    digests = [simulation.run().digest() for simulation in others]
    assert len({expected, *digests}) == len(others) + 1


HISTORY = History(
    "A",
    [FillLine(5, "1-4-1", "A", "BUY", Decimal(10), Decimal("100.50"), 50)],
    [RefusalLine("1-6-1", "SHORT_NOT_ALLOWED", "short_sale", Decimal(0), Decimal(5))],
    [EntryLine(1, "DEPOSIT", "CASH", "USD", Decimal(1_000), 0, 0)],
)


def test_a_digest_is_of_values_and_does_not_depend_on_the_order_of_portfolios() -> None:
    other = replace(HISTORY, label="B")
    assert digest([HISTORY, other]) == digest([other, HISTORY])
    (fill,) = HISTORY.fills
    same = replace(HISTORY, fills=[fill._replace(quantity=Decimal("10.000"), price=Decimal("100.5"))])
    assert digest([same]) == digest([HISTORY])
    # A label is a name that two may have.
    namesake = replace(HISTORY, fills=[])
    assert digest([HISTORY, namesake]) == digest([namesake, HISTORY]) != digest([HISTORY, HISTORY])


@pytest.mark.parametrize("lines", ["fills", "refusals", "entries"])
def test_a_digest_changes_with_every_field(lines: str) -> None:
    (line,) = getattr(HISTORY, lines)
    for name, value in line._asdict().items():
        changed = line._replace(**{name: value + 1 if not isinstance(value, str) else value + "x"})
        assert digest([replace(HISTORY, **{lines: [changed]})]) != digest([HISTORY]), name
    assert digest([replace(HISTORY, **{lines: []})]) != digest([HISTORY])
    assert digest([replace(HISTORY, **{lines: [line, line]})]) != digest([HISTORY])


def test_rule_32_d_acknowledgements_return_within_the_cycle_and_fills_with_the_next() -> None:
    strategy = OnBars(buy_once())
    tape = merge([daily("A", [FLAT] * 3)])
    result = simulate(tape, lambda: strategy).run()
    assert strategy.diary == [
        ("bar", 1, "A"),
        ("event", 1, "NEW"),
        ("event", 2, "TRADE"),
        ("bar", 2, "A"),
        ("bar", 3, "A"),
    ]
    (fill,) = result.fills
    assert (fill.order.client_order_id, fill.order.order_id) == ("1-1-1", "backtest-1")
    assert (fill.transact_time, fill.tape_sequence) == (DAY + OPEN, 2)


def test_rule_32_d_a_refusal_returns_within_the_cycle_and_may_be_answered_there() -> None:
    class Humble(OnBars):
        def on_order_event(self, context: Context, event: OrderEvent) -> None:
            super().on_order_event(context, event)
            if event.exec_type is ExecType.REJECTED:
                context.buy("A", event.order.quantity / 2)

    strategy = Humble(buy_once(800))
    result = simulate(merge([daily("A", [FLAT] * 2)]), lambda: strategy).run()
    assert strategy.diary[:4] == [
        ("bar", 1, "A"),
        ("event", 1, "REJECTED"),
        ("event", 1, "REJECTED"),
        ("event", 1, "NEW"),
    ]
    assert [order.client_order_id for order in result.refusals] == ["1-1-1", "1-1-2"]
    assert result.fills[0].order.client_order_id == "1-1-3"


def test_rule_32_d_strategies_decide_in_order_of_their_number_whatever_the_order_they_came_in() -> None:
    tape = merge([daily("A", [FLAT] * 3)])
    portfolio = PortfolioPlan("p", "p", Decimal(1_500))
    plans = [DeploymentPlan(number, f"d{number}", "s", OnBars(buy_once(10)), "p") for number in (2, 1)]
    result = Simulation(tape, INSTRUMENTS, [portfolio], plans).run()
    assert [fill.order.deployment_id for fill in result.fills] == ["d1"]
    assert {order.deployment_id for order in result.refusals} == {"d2"}


def test_commands_of_one_step_are_carried_out_in_their_order() -> None:
    def act(context: Context, bar: Bar) -> None:
        first = context.buy("A", Decimal(10), order_type=OrderType.LIMIT, limit_price=Decimal(50))
        context.cancel(first)
        context.buy("A", Decimal(200))

    result = simulate(merge([daily("A", [FLAT])]), lambda: OnBars(act)).run()
    states = [(event.order.client_order_id, event.order.state) for event in result.events]
    assert states == [
        ("1-1-1", OrderState.NEW),
        ("1-1-1", OrderState.CANCELED),
        ("1-1-2", OrderState.NEW),
        ("1-1-2", OrderState.EXPIRED),
    ]


def test_what_strategies_ask_for_at_random_comes_to_every_end_there_is() -> None:
    """Else the laws above would say less than they seem to."""
    ends = set()
    for seed in range(40):
        tape = market(seed, sessions=seed % 2 == 0)
        result = simulate(tape, lambda: OnBars(anything, ["A", "B"]), cash=2_500).run()
        ends |= {(event.exec_type, event.order.cancel_reason) for event in result.events}
        for portfolio in result.ledgers.values():
            assert portfolio.cash >= 0
    reached = {reason for _, reason in ends}
    # What a service does, not a strategy.
    later = {CancelReason.DISCONNECTED, CancelReason.KILL_SWITCH, CancelReason.CANCEL_TIMER}
    # Bars open here where the last one closed, so what was reserved is enough.
    never = {CancelReason.CORPORATE_ACTION, CancelReason.INSUFFICIENT_CASH}
    assert set(CancelReason) - reached - later <= never
    assert {kind for kind, _ in ends} == set(ExecType)


def test_rule_33_what_rests_at_the_tapes_end_expires() -> None:
    make: Make = lambda: OnBars(buy_once(order_type=OrderType.LIMIT, limit_price=Decimal(50)))  # noqa: E731
    result = simulate(merge([daily("A", [FLAT] * 3)]), make).run()
    last = result.events[-1]
    assert (last.exec_type, last.order.cancel_reason) == (ExecType.EXPIRED, CancelReason.END_OF_TAPE)
    assert (last.tape_sequence, last.transact_time) == (3, 2 * DAY + CLOSE)


def test_history_is_not_traded() -> None:
    strategy = OnBars(buy_once())
    result = simulate(merge([daily("A", [FLAT] * 5)]), lambda: strategy, start_sequence=3).run()
    assert [entry[1] for entry in strategy.diary if entry[0] == "bar"] == [3, 3, 3, 4, 5]
    assert [event.tape_sequence for event in result.events] == [4, 5]
    assert {entry.tape_sequence for entry in result.entries["p1"]} == {3, 5}


def test_a_deployment_may_begin_later_than_the_environment() -> None:
    tape = merge([daily("A", [FLAT] * 5)])
    plan = DeploymentPlan(1, "d", "s", OnBars(buy_once()), "p", start_sequence=3)
    result = Simulation(tape, INSTRUMENTS, [PortfolioPlan("p", "p", Decimal(5_000))], [plan]).run()
    assert [fill.tape_sequence for fill in result.fills] == [5]


def test_rule_20_a_split_changes_positions_orders_and_history_alike() -> None:
    rows = [FLAT] * 6 + [[50.0, 50.5, 49.5, 50.0, 20_000.0]] * 6
    tape = merge([daily("A", rows), clock(12), splits("A", {6: (2.0, 1.0)})])
    strategy = OnBars(buy_once(10))
    simulation = simulate(tape, lambda: strategy, cross(["A"], fast=1, slow=2), cash=20_000)
    result = simulation.run()
    assert result.ledgers["p1"].positions["A"].quantity == 20
    assert simulation.runners[0].holdings.positions["A"] == 20
    worth = [point.equity for point in result.equity if point.portfolio_id == "p1"]
    assert set(worth) == {Decimal(20_000)}
    assert [signal for number, signal in result.signals if number == 2] == []


def test_rule_20_cash_in_lieu_reaches_books_and_gate() -> None:
    rows = [FLAT] * 3 + [[200.0, 200.0, 200.0, 200.0, 20_000.0]] * 3
    tape = merge([daily("A", rows), splits("A", {3: (1.0, 2.0)})])
    simulation = simulate(tape, lambda: OnBars(buy_once(11)), cash=1_200)
    result = simulation.run()
    assert result.ledgers["p1"].positions["A"].quantity == simulation.runners[0].holdings.positions["A"] == 5
    assert result.ledgers["p1"].cash == simulation.gate.exposure("p1").cash == 1_200 - 1_100 + 100


def test_rule_32_c_equity_is_taken_at_each_close_and_after_fills_only() -> None:
    tape = merge([daily("A", [FLAT] * 3), clock(3)])
    result = simulate(tape, lambda: OnBars(buy_once())).run()
    closes = [sequence for sequence in range(1, len(tape) + 1) if tape.source[sequence - 1] == 1][1::2]
    (fill,) = result.fills
    assert [point.tape_sequence for point in result.equity] == sorted([*closes, fill.tape_sequence])
    assert [point.time for point in result.equity][-1] == 2 * DAY + CLOSE


def test_a_tape_without_sessions_is_valued_at_its_end() -> None:
    result = simulate(merge([daily("A", [FLAT] * 3)]), cross(["A"])).run()
    assert [(point.tape_sequence, point.equity) for point in result.equity] == [(3, 20_000)]


@pytest.mark.parametrize(
    ("limit", "refused"),
    [
        (make_limit("max_order_notional", Decimal(999)), "max_order_notional"),
        (make_limit("max_position_quantity", Decimal(9)), "max_position_quantity"),
        (make_limit("max_gross_exposure", Decimal(999)), "max_gross_exposure"),
    ],
)
def test_limits_hold_in_a_backtest(limit: Limit, refused: str) -> None:
    result = simulate(merge([daily("A", [FLAT] * 2)]), lambda: OnBars(buy_once()), limits=(limit,)).run()
    assert result.fills == []
    assert {order.refusal.limit for order in result.refusals if order.refusal} == {refused}


def test_an_order_of_what_has_no_price_is_refused() -> None:
    make: Make = lambda: OnBars(lambda context, bar: context.buy("C", Decimal(1)))  # noqa: E731
    result = simulate(merge([daily("A", [FLAT])]), make).run()
    assert [order.refusal.reason for order in result.refusals if order.refusal] == ["NO_REFERENCE_PRICE"]


def test_a_timer_runs_between_two_records_and_what_it_decides_is_decided_then() -> None:
    noon = DAY + (OPEN + CLOSE) // 2

    class Clockwork(Strategy):
        kind = "clockwork"

        def on_time(self, context: Context) -> None:
            context.buy("A", Decimal(1))
            self.parameters = None

        def next_wake(self) -> Wake:
            return Wake(time=self.parameters)

    tape = merge([daily("A", [FLAT] * 4), clock(4)])
    (fill,) = simulate(tape, lambda: Clockwork(noon, ["A"])).run().fills
    order = fill.order
    assert (order.basis_time, order.basis_sequence) == (noon, 4)
    assert fill.transact_time == 2 * DAY + OPEN, "the bar of that day began before the decision"


def test_a_strategy_on_quotes() -> None:
    class Quoted(Strategy):
        kind = "quoted"

        def on_quote(self, context: Context, quote: Quote) -> None:
            if not context.position("A") and context.idle("A"):
                context.buy("A", Decimal(1))

    times = np.arange(1, 5, dtype=np.int64) * 1_000
    quotes = np.array([[99.0 + i, 100.0 + i, 500.0, 500.0, 0.0] for i in range(4)])
    tape = merge([Series(Source(Kind.QUOTE, "A"), times, times, quotes)])
    result = simulate(tape, lambda: Quoted(None, ["A"])).run()
    assert [(fill.tape_sequence, fill.last_price) for fill in result.fills] == [(2, 101)]
    assert result.equity[-1].equity == 20_000 - 101 + Decimal("102.5")
