"""What a strategy implements, is given and may do."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

import numpy as np
import pytest

from services.domain.backtest.plans import DeploymentPlan, order_from
from services.domain.deployment.commands import CancelOrder, NewOrder
from services.domain.deployment.context import Context
from services.domain.deployment.holdings import Holdings
from services.domain.deployment.parameters import BadParameter, parameter_specs, parameters_from
from services.domain.deployment.runner import StrategyRunner, acknowledgement
from services.domain.instrument import Instrument
from services.domain.market import Auction, Bar, Halt, Quote, Split, Trade
from services.domain.orders.order import ExecType, OrderEvent, OrderState, Side
from services.domain.strategies import BUILT_IN, MeanReversion, SmaCross
from services.domain.strategy import Registry, Strategy, Wake, parameter
from services.domain.tape import Kind, Series, Source, merge
from services.domain.timeline import Timeline
from tests.unit.domain.markets import CLOSE, DAY, OPEN, daily, splits

ROW = [10.0, 11.0, 9.0, 10.0, 100.0]
INSTRUMENTS = {"A": Instrument("A"), "B": Instrument("B")}


@dataclass(frozen=True)
class Parameters:
    window: int = parameter(20, "Bars in the window.", minimum=2, maximum=100)
    width: float = parameter(1.5, "Standard deviations.")
    cash: Decimal = parameter(Decimal(10), "Cash of an entry.", minimum=0)
    shorts: bool = parameter(False, "Whether to sell short.")
    mode: str = parameter("fast", "How.", choices=("fast", "slow"))

    def __post_init__(self) -> None:
        if self.mode == "slow" and self.window > 50:
            raise ValueError("slow takes at most 50 bars")


def test_parameters_say_what_they_are() -> None:
    window, width, cash, shorts, mode = parameter_specs(Parameters)
    assert (window.name, window.type, window.default) == ("window", "integer", 20)
    assert (window.minimum, window.maximum, window.description) == (2, 100, "Bars in the window.")
    assert [spec.type for spec in (width, cash, shorts, mode)] == ["number", "decimal", "boolean", "string"]
    assert mode.choices == ("fast", "slow")


def test_parameters_are_read_from_text_and_from_values() -> None:
    text = {"window": "30", "width": "2", "cash": "0.10", "shorts": "true", "mode": "slow"}
    values = {"window": 30.0, "width": 2, "cash": Decimal("0.1"), "shorts": True, "mode": "slow"}
    expected = Parameters(30, 2.0, Decimal("0.1"), True, "slow")
    assert parameters_from(Parameters, text) == parameters_from(Parameters, values) == expected
    assert parameters_from(Parameters, {}) == Parameters()


@pytest.mark.parametrize(
    ("values", "named", "problem"),
    [
        ({"windw": "30"}, "windw", "unknown; there are window, width, cash, shorts, mode"),
        ({"window": "1"}, "window", "1 is below its minimum 2"),
        ({"window": "101"}, "window", "101 is above its maximum 100"),
        ({"window": "ten"}, "window", "'ten' is no integer"),
        ({"window": 2.5}, "window", "'2.5' is no integer"),
        ({"window": True}, "window", "'True' is no integer"),
        ({"width": "NaN"}, "width", "'NaN' is no number"),
        ({"width": "1e999"}, "width", "'1e999' is no number"),
        ({"cash": "Infinity"}, "cash", "'Infinity' is no decimal"),
        ({"cash": ""}, "cash", "'' is no decimal"),
        ({"shorts": "yes"}, "shorts", "'yes' is no boolean"),
        ({"mode": "medium"}, "mode", "'medium' is none of fast, slow"),
        ({"mode": "slow", "window": "51"}, "", "slow takes at most 50 bars"),
    ],
)
def test_bad_parameters_are_refused_by_name(values: Mapping[str, object], named: str, problem: str) -> None:
    with pytest.raises(BadParameter) as error:
        parameters_from(Parameters, values)
    assert (error.value.parameter, error.value.problem) == (named, problem)


def test_parameters_without_a_type_we_know_or_a_default_of_it_are_a_mistake_of_the_class() -> None:
    @dataclass(frozen=True)
    class Odd:
        window: list[int] = parameter(None, "What is that?")

    with pytest.raises(TypeError, match="window needs a type"):
        parameter_specs(Odd)


def test_the_registry_knows_kinds_and_refuses_a_second_of_a_name() -> None:
    class Other(Strategy):
        """Not the crossover."""

        kind = "sma_cross"

    class Nameless(Strategy):
        """Forgot its kind."""

    class Odd(Strategy):
        """Its parameters are none."""

        kind = "odd"

        @dataclass(frozen=True)
        class Parameters:
            window: int = parameter(None, "How many?")

    registry = Registry(BUILT_IN)
    registry.add(SmaCross)
    assert [kind.kind for kind in registry.kinds()] == ["mean_reversion", "sma_cross"]
    assert all(kind.description and kind.parameters for kind in registry.kinds())
    with pytest.raises(ValueError, match="'sma_cross' is SmaCross already"):
        registry.add(Other)
    with pytest.raises(ValueError, match="names no kind"):
        registry.add(Nameless)
    with pytest.raises(TypeError, match="window needs a type"):
        registry.add(Odd)
    for kind in ("none", "odd"):
        with pytest.raises(KeyError):
            registry.create(kind, {}, ["A"])
    made = registry.create("mean_reversion", {"window": "5"}, ["A", "B"])
    assert isinstance(made, MeanReversion)
    assert (made.parameters.window, made.symbols) == (5, ("A", "B"))


@pytest.mark.parametrize(
    ("kind", "values"),
    [
        ("sma_cross", {"fast": 30, "slow": 30}),
        ("sma_cross", {"quantity": 1, "capital": 1}),
        ("mean_reversion", {"entry": 1.0, "exit": 1.0}),
        ("mean_reversion", {"short": True, "capital": 1000}),
        ("mean_reversion", {"short": True, "cash_quantity": 1000}),
    ],
)
def test_built_in_strategies_refuse_what_makes_no_sense(kind: str, values: Mapping[str, object]) -> None:
    with pytest.raises(BadParameter):
        Registry(BUILT_IN).create(kind, values, ["A"])


def context() -> Context:
    made = Context(7, Holdings())
    made.at(12, 1_000)
    return made


def test_commands_carry_what_they_were_decided_on() -> None:
    here = context()
    signal = here.signal("A", Side.BUY, strength=0.5, values={"z": -2.0})
    assert here.buy("A", Decimal(3), signal=signal, label="why") == "7-12-1"
    assert here.buy("A", cash_quantity=Decimal(100)) == "7-12-2"
    here.cancel("7-12-1")
    here.cancel("unknown")
    first, second, cancel = here.commands
    assert isinstance(first, NewOrder)
    assert isinstance(second, NewOrder)
    assert (first.signal_id, first.basis_sequence, first.basis_time) == ("7-12-1", 12, 1_000)
    assert (second.side, second.quantity, second.cash_quantity) == (Side.BUY, 0, 100)
    assert cancel == CancelOrder("7-12-1", 12, 1_000)
    assert (signal.signal_id, signal.tape_sequence, signal.values) == ("7-12-1", 12, {"z": -2.0})
    assert [order.state for order in here.working("A")] == [OrderState.PENDING_NEW] * 2
    assert not here.idle("A")
    assert here.idle("B")


def test_ids_count_from_one_at_each_position_and_go_on_at_the_same() -> None:
    here = context()
    here.buy("A", Decimal(1))
    here.at(12, 2_000)
    assert here.buy("A", Decimal(1)) == "7-12-2"
    here.at(13, 3_000)
    assert here.buy("A", Decimal(1)) == "7-13-1"


def test_nothing_is_placed_while_warming() -> None:
    here = context()
    here.at(5, 500, warming=True)
    assert here.buy("A", Decimal(1), signal=here.signal("A", Side.BUY)) == ""
    assert (here.commands, here.signals, here.holdings.working) == ([], [], {})


@pytest.mark.parametrize("size", [{}, {"quantity": Decimal(0)}, {"cash_quantity": Decimal(-1)}])
def test_an_order_needs_one_positive_size(size: dict[str, Decimal]) -> None:
    with pytest.raises(ValueError, match="positive"):
        context().buy("A", **size)
    with pytest.raises(ValueError, match="not both"):
        context().buy("A", Decimal(1), cash_quantity=Decimal(1))


def test_rule_31_a_sale_by_cash_is_refused_here_as_the_order_service_would_refuse_it() -> None:
    here = context()
    with pytest.raises(ValueError, match="cash_quantity is for buys"):
        here.sell("A", cash_quantity=Decimal(1000))
    assert here.commands == []


class Diary(Strategy):
    """Writes down what it was handed, and buys two units at each bar of A."""

    kind = "diary"

    def __init__(self, symbols: list[str], wake: Wake | None = None) -> None:
        super().__init__(None, symbols)
        self.lines: list[Any] = []
        self.wake = wake

    def on_bar(self, context: Context, bar: Bar) -> None:
        self.lines.append(("bar", bar.symbol, context.now, context.warming))
        if bar.symbol == "A":
            context.buy("A", Decimal(2))

    def on_split(self, context: Context, split: Split) -> None:
        self.lines.append(("split", context.position(split.symbol)))

    def on_order_event(self, context: Context, event: OrderEvent) -> None:
        self.lines.append((event.exec_type.name, context.position(event.order.symbol)))

    def on_time(self, context: Context) -> None:
        self.lines.append(("time", context.now))
        self.wake = Wake()

    def next_wake(self) -> Wake:
        return self.wake or super().next_wake()

    def state(self) -> dict[str, Any]:
        return {"lines": len(self.lines)}


TAPE = Timeline(merge([daily("A", [ROW] * 4), daily("B", [ROW] * 4), splits("A", {2: (2.0, 1.0)})]))
"""Bars of A and B at 1 2, 3 4, then a split of A at 5, then 6 7, 8 9."""


def answer(command: NewOrder, exec_type: ExecType, state: OrderState, filled: int = 0) -> OrderEvent:
    plan = DeploymentPlan(1, "d", "s", Diary(["A"]), "p")
    order = order_from(command, plan, "e-1")
    number = {ExecType.NEW: 1, ExecType.REJECTED: 1}.get(exec_type, 2)
    made = order._replace(state=state, event_count=number)
    return OrderEvent(exec_type, made, 0, 0, Decimal(filled), Decimal(10))


def test_a_runner_hands_over_events_then_records_and_only_what_is_its_strategys() -> None:
    diary = Diary(["A"])
    runner = StrategyRunner(1, diary, INSTRUMENTS)
    assert runner.next_sequence(TAPE) == 1
    (command,) = runner.step(TAPE, 1)
    assert isinstance(command, NewOrder)
    assert runner.acknowledge([answer(command, ExecType.NEW, OrderState.NEW)]) == []
    runner.step(TAPE, 3, [answer(command, ExecType.TRADE, OrderState.FILLED, 2)])
    assert diary.lines == [
        ("bar", "A", CLOSE, False),
        ("NEW", 0),
        ("TRADE", 2),
        ("bar", "A", DAY + CLOSE, False),
    ]
    assert runner.holdings.cash == {"A": -20}
    assert runner.next_sequence(TAPE) == 5


def test_a_runner_counts_each_event_once_and_only_those_of_its_own_orders() -> None:
    diary = Diary(["A"])
    runner = StrategyRunner(1, diary, INSTRUMENTS)
    (command,) = runner.step(TAPE, 1)
    assert isinstance(command, NewOrder)
    new, trade = (
        answer(command, ExecType.NEW, OrderState.NEW),
        answer(command, ExecType.TRADE, OrderState.FILLED, 2),
    )
    runner.acknowledge([new, new])
    runner.step(TAPE, 3, [new, trade, trade])
    assert runner.holdings.positions == {"A": 2}
    assert [line for line in diary.lines if line[0] != "bar"] == [("NEW", 0), ("TRADE", 2)]


def test_an_answered_order_makes_the_same_event_as_the_venue() -> None:
    (command,) = StrategyRunner(1, Diary(["A"]), INSTRUMENTS).step(TAPE, 1)
    assert isinstance(command, NewOrder)
    for exec_type, state in ((ExecType.NEW, OrderState.NEW), (ExecType.REJECTED, OrderState.REJECTED)):
        event = answer(command, exec_type, state)
        made = acknowledgement(event.order, event.transact_time, event.tape_sequence)
        assert (made.exec_id, made.exec_type, made.order) == (event.exec_id, event.exec_type, event.order)


def test_a_split_ends_the_wait_and_positions_are_in_new_units_before_the_strategy_hears_of_it() -> None:
    diary = Diary(["A"], Wake())
    runner = StrategyRunner(1, diary, INSTRUMENTS)
    runner.holdings.positions["A"] = Decimal(3)
    assert runner.next_sequence(TAPE) == 5
    runner.step(TAPE, 5)
    assert diary.lines[-1] == ("split", 6)


def test_history_is_handed_over_before_anything_and_nothing_can_be_done_about_it() -> None:
    diary = Diary(["A", "B"])
    runner = StrategyRunner(1, diary, INSTRUMENTS, start_sequence=3)
    runner.warm_up(TAPE)
    runner.warm_up(TAPE)
    assert [line[3] for line in diary.lines] == [True] * 3
    assert runner.next_sequence(TAPE) == 4
    assert len(runner.step(TAPE, 6)) == 1


def test_a_timer_sits_between_two_records() -> None:
    noon = 2 * DAY + (OPEN + CLOSE) // 2
    diary = Diary(["A"], Wake(time=noon))
    runner = StrategyRunner(1, diary, INSTRUMENTS)
    assert TAPE.before(noon) == 5
    runner.step(TAPE, 5)
    assert diary.lines[-1] == ("time", noon)
    again = Diary(["A"], Wake(time=noon))
    again.on_time = lambda context: None  # type: ignore[method-assign]
    with pytest.raises(ValueError, match="which has come"):
        StrategyRunner(1, again, INSTRUMENTS).step(TAPE, 5)


def test_rule_23_a_time_that_has_passed_already_is_now() -> None:
    diary = Diary(["A"], Wake(time=DAY))
    runner = StrategyRunner(1, diary, INSTRUMENTS, start_sequence=3)
    runner.warm_up(TAPE)
    assert runner.next_sequence(TAPE) == 3
    runner.step(TAPE, 3)
    assert diary.lines[-1] == ("time", TAPE.time(3))


def test_a_runners_state_is_json_and_restores_exactly() -> None:
    runner = StrategyRunner(1, Diary(["A"]), INSTRUMENTS)
    (command,) = runner.step(TAPE, 1)
    assert isinstance(command, NewOrder)
    runner.acknowledge([answer(command, ExecType.NEW, OrderState.NEW)])
    state = json.loads(json.dumps(runner.state()))
    other = StrategyRunner(1, Diary(["A"]), INSTRUMENTS)
    other.restore(state)
    assert {**other.state(), "strategy": {}} == {**state, "strategy": {}}
    assert other.holdings == runner.holdings
    trade = answer(command, ExecType.TRADE, OrderState.FILLED, 2)
    assert other.step(TAPE, 3, [trade]) == runner.step(TAPE, 3, [trade])


def test_auctions_and_halts_are_handed_over_and_waited_for() -> None:
    class Listener(Strategy):
        kind = "listener"

        def __init__(self) -> None:
            super().__init__(None, ["A"])
            self.told: list[object] = []

        def on_auction(self, context: Context, auction: Auction) -> None:
            self.told.append(auction)

        def on_halt(self, context: Context, halt: Halt) -> None:
            self.told.append(halt)

    def series(kind: Kind, symbol: str, time: int, *values: float) -> Series:
        at = np.array([time], np.int64)
        return Series(Source(kind, symbol), at, at, np.array([[*values, *[0.0] * (5 - len(values))]]))

    timeline = Timeline(
        merge(
            [
                series(Kind.AUCTION, "A", 1, 10.0, 5.0, 1.0),
                series(Kind.HALT, "B", 2, 1.0),
                series(Kind.HALT, "A", 3, 1.0),
                series(Kind.AUCTION, "A", 4, 11.0),
                series(Kind.CLOCK, "A", 5, 1.0),
            ]
        )
    )
    listener = Listener()
    runner = StrategyRunner(1, listener, INSTRUMENTS)
    for sequence in (1, 3, 4):
        assert runner.next_sequence(timeline) == sequence
        runner.step(timeline, sequence)
    assert runner.next_sequence(timeline) > timeline.end
    assert listener.told == [
        Auction("A", 1, 10.0, 5.0, opening=True),
        Halt("A", 3, halted=True),
        Auction("A", 4, 11.0, 0.0, opening=False),
    ]


def test_what_is_waited_for_by_default() -> None:
    class Quotes(Strategy):
        kind = "quotes"

        def on_quote(self, context: Context, quote: Quote) -> None: ...

    class Trades(Strategy):
        kind = "trades"

        def on_trade(self, context: Context, trade: Trade) -> None: ...

    bars = frozenset({("A", "")})
    assert Strategy(None, ["A"]).next_wake() == Wake(bars=bars)
    assert Quotes(None, ["A"]).next_wake() == Trades(None, ["A"]).next_wake() == Wake(frozenset({"A"}), bars)
