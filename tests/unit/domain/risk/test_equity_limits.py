"""Stops that look at the equity, and margin: functions of tape and events (rules 19, 31, 32c)."""

from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from services.domain.orders.order import ExecType, Order, Side
from services.domain.risk.curve import Curve
from services.domain.risk.limit import Standing, Where
from services.domain.risk.limits import make_limit
from services.domain.risk.valued import Usage
from services.domain.risk.valuing import Valuing
from services.domain.risk.watch import Alarm, AlarmKind, Watch
from services.domain.tape import merge
from services.domain.timeline import Timeline
from tests.unit.domain.markets import clock, daily
from tests.unit.domain.risk.gates import restarted, state
from tests.unit.domain.risk.room import INSTRUMENTS, Room

D = Decimal


def at(**prices: int) -> Any:
    return lambda symbol: D(prices.get(symbol, 0))


class Day(Room):
    """A room whose prices move, in which days end."""

    def marks(self, **prices: int) -> None:
        for symbol, price in prices.items():
            self.gate.mark(symbol, D(price))

    def held(self, quantity: int, side: Side = Side.BUY, **of: Any) -> Order:
        order = self.fill(self.place(quantity, side=side, **of))
        self.gate.point(order.portfolio_id, at(A=100, B=20, F=3))
        return order

    def refused(self, quantity: int = 1, **of: Any) -> tuple[str, Decimal, Decimal] | None:
        refusal = self.asks(quantity, **of).refusal
        return refusal and (refusal.limit, refusal.bound, refusal.value)


@pytest.mark.parametrize("where", [{}, {"portfolio_id": "p"}, {"strategy_id": "s"}], ids=str)
def test_a_days_loss_stops_what_does_not_reduce(where: dict[str, str]) -> None:
    day = Day()
    day.held(10, strategy_id="s")
    day.limit("max_daily_loss", "100", **where)
    day.marks(A=90)
    assert day.refused(strategy_id="s") is None
    day.marks(A=89)
    assert day.refused(strategy_id="s") == ("max_daily_loss", 100, 110)
    assert day.refused(10, side=Side.SELL, strategy_id="s") is None
    assert day.refused(11, side=Side.SELL, strategy_id="s") == ("max_daily_loss", 100, 110)
    assert day.refused(symbol="B", strategy_id="s") == ("max_daily_loss", 100, 110)
    assert (day.refused(portfolio_id="q", strategy_id="t") is None) == bool(where)
    assert (day.refused(strategy_id="t") is None) == ("strategy_id" in where)
    # The next day begins with what is left.
    day.gate.close(at(A=89))
    assert day.refused(strategy_id="s") is None
    day.marks(A=78)
    assert day.refused(strategy_id="s") == ("max_daily_loss", 100, 110)


def test_a_deposit_is_no_gain_and_a_withdrawal_no_loss() -> None:
    day = Day("1000")
    day.held(5)
    day.limit("max_daily_loss", "50", portfolio_id="p")
    day.limit("max_drawdown", "0.2", portfolio_id="p")
    day.marks(A=80)
    assert day.refused() == ("max_daily_loss", 50, 100)
    day.gate.open_portfolio("p", D(500))
    assert day.refused() == ("max_daily_loss", 50, 100)
    day.gate.open_portfolio("p", D(-900))
    assert day.refused() == ("max_daily_loss", 50, 100)
    day.limit("max_daily_loss", "100", portfolio_id="p")
    # 100 of 600 that there were at most.
    assert day.gate.exposure("p").drawdown == D("0.166666667")
    assert day.refused() is None


def test_a_drawdown_counts_from_the_highest_point_whatever_came_between() -> None:
    day = Day("1000")
    day.held(5)
    day.limit("max_drawdown", "0.1", portfolio_id="p")
    day.gate.close(at(A=200))
    day.marks(A=170)
    assert day.refused() is None
    day.marks(A=169)
    assert day.refused() == ("max_drawdown", D("0.1"), D("0.103333334"))
    day.gate.close(at(A=169))
    assert day.refused() == ("max_drawdown", D("0.1"), D("0.103333334"))
    assert day.refused(5, side=Side.SELL) is None
    # A price that is only seen is no point of the curve.
    day.marks(A=400)
    day.marks(A=170)
    assert day.refused() is None


def test_the_environments_drawdown_sums_all_portfolios_at_session_closes() -> None:
    day = Day("1000")
    day.held(5)
    day.limit("max_drawdown", "0.1")
    day.gate.close(at(A=200))
    day.marks(A=150)
    assert day.refused(portfolio_id="q") is None
    day.marks(A=149)
    assert day.refused(portfolio_id="q") == ("max_drawdown", D("0.1"), D("0.102"))


def test_rule_19_a_portfolio_below_maintenance_margin_may_only_reduce() -> None:
    day = Day("1000")
    day.limit("short_sale", "1")
    day.held(10, Side.SELL)
    day.marks(A=160)
    # 2000 of cash, 1600 owed; a quarter of them is needed.
    assert day.refused() is None
    day.marks(A=161)
    assert day.refused(symbol="B") == ("maintenance_margin", 390, D("402.5"))
    refusal = day.asks(1, "B").refusal
    assert refusal is not None
    assert (refusal.reason, refusal.missing) == ("LIMIT_EXCEEDED", D("12.5"))
    assert day.refused(10) is None
    assert day.refused(portfolio_id="q") is None
    exposure = day.gate.exposure("p")
    assert (exposure.maintenance_margin, exposure.equity) == (D("402.5"), 390)
    day.limit("maintenance_margin", "0.2")
    assert day.refused(symbol="B") is None
    day.limit("maintenance_margin", "0.3", portfolio_id="p")
    assert day.refused(symbol="B") == ("maintenance_margin", 390, 483)


def test_rule_19_a_short_reserves_the_initial_margin_that_is_set_the_narrowest_first() -> None:
    day = Day("1000")
    day.limit("short_sale", "1")
    for bound, where, cash in (
        (None, {}, 50),
        ("0.4", {}, 40),
        ("0.6", {"symbol": "A"}, 60),
        ("0.7", {"portfolio_id": "p"}, 70),
        ("0.8", {"portfolio_id": "p", "symbol": "A"}, 80),
    ):
        if bound is not None:
            day.limit("initial_margin", bound, **where)
        reservation = day.asks(1, side=Side.SELL).reservation
        assert reservation is not None
        assert reservation.cash == cash
    assert day.refused(13, side=Side.SELL) == ("buying_power", 1000, 1040)
    day.held(10, Side.SELL)
    assert day.gate.exposure("p").collateral == 1800


class TestWatch:
    """It warns once, and again only after the figure has calmed down."""

    def alarms(self, day: Day, watch: Watch) -> list[tuple[AlarmKind, str, Decimal, Decimal]]:
        found = watch.look(day.gate.usages(), day.gate.margins())
        return [(each.kind, each.symbol, each.bound, each.value) for each in found]

    def test_it_warns_beyond_its_share_and_clears_below_nine_tenths_of_that(self) -> None:
        day, watch = Day(), Watch(D("0.8"))
        day.limit("max_position_quantity", "100", portfolio_id="p")
        day.held(80)
        assert self.alarms(day, watch) == []
        day.held(1)
        assert self.alarms(day, watch) == [(AlarmKind.NEAR_BREACH, "A", 100, 81)]
        for quantity, side, alarms in (
            (5, Side.BUY, []),
            (10, Side.SELL, []),
            (8, Side.BUY, []),
            (12, Side.SELL, []),
            (1, Side.SELL, [(AlarmKind.CLEARED, "A", 100, 71)]),
            (9, Side.BUY, []),
            (1, Side.BUY, [(AlarmKind.NEAR_BREACH, "A", 100, 81)]),
        ):
            day.held(quantity, side)
            assert self.alarms(day, watch) == alarms

    def test_a_figure_beyond_its_bound_is_told_as_that_and_where_it_comes_back_to(self) -> None:
        day, watch = Day(), Watch(D("0.8"))
        day.limit("max_position_quantity", "100", portfolio_id="p")
        day.held(100)
        assert self.alarms(day, watch) == [(AlarmKind.NEAR_BREACH, "A", 100, 100)]
        # A split, or a lower bound, brings what is held beyond it.
        for bound, kinds in (
            ("99", [AlarmKind.EXCEEDED]),
            ("98", []),
            ("100", []),
            ("111", []),
            ("112", [AlarmKind.NEAR_BREACH]),
            ("99", [AlarmKind.EXCEEDED]),
            ("139", [AlarmKind.CLEARED]),
            ("99", [AlarmKind.EXCEEDED]),
        ):
            day.limit("max_position_quantity", bound, portfolio_id="p")
            assert [each[0] for each in self.alarms(day, watch)] == kinds, bound

    @given(st.lists(st.integers(0, 130), max_size=40), st.decimals("0.05", 1, places=2))
    def test_the_last_alarm_says_where_a_figure_stands_and_none_is_told_twice(
        self, values: list[int], share: Decimal
    ) -> None:
        watch, limit, last = Watch(share), make_limit("max_order_quantity", D(100)), AlarmKind.CLEARED
        for value in values:
            watch = Watch(share, watch.told)
            for alarm in watch.look([Usage(limit, Standing(D(value)))], []):
                assert alarm.kind is not last
                last = alarm.kind
            if value > 100:
                assert last is AlarmKind.EXCEEDED
            elif value > share * 100:
                assert last is not AlarmKind.CLEARED
            elif value < D("0.9") * share * 100 or value == 0:
                assert last is AlarmKind.CLEARED
            if value < 90:
                assert last is not AlarmKind.EXCEEDED

    def test_a_margin_call_comes_once_and_is_cleared(self) -> None:
        day, watch = Day("1000"), Watch(D("0.8"))
        day.limit("short_sale", "1")
        day.held(10, Side.SELL)
        assert self.alarms(day, watch) == []
        day.marks(A=161)
        assert self.alarms(day, watch) == [(AlarmKind.MARGIN_CALL, "", 390, D("402.5"))]
        assert self.alarms(day, watch) == []
        day.marks(A=160)
        assert self.alarms(day, watch) == [(AlarmKind.CLEARED, "", 400, 400)]

    def test_a_bound_of_zero_is_passed_by_anything_and_calms_at_nothing(self) -> None:
        day, watch = Day(), Watch(D("0.8"))
        day.limit("max_daily_loss", "0", portfolio_id="p")
        day.held(1)
        assert self.alarms(day, watch) == []
        day.marks(A=99)
        assert [each[0] for each in self.alarms(day, watch)] == [AlarmKind.EXCEEDED]
        day.marks(A=100)
        assert [each[0] for each in self.alarms(day, watch)] == [AlarmKind.CLEARED]

    def test_what_was_stored_goes_on_and_what_is_deleted_is_forgotten(self) -> None:
        day, watch = Day(), Watch(D("0.8"))
        day.limit("max_position_quantity", "10", portfolio_id="p", symbol="A")
        day.held(9)
        where = Where("p", "", "A")
        assert [each[:3] for each in watch.look(day.gate.usages(), [])] == [
            (AlarmKind.NEAR_BREACH, "max_position_quantity", where)
        ]
        again = Watch(D("0.8"), watch.told)
        assert again.look(day.gate.usages(), []) == []
        again.forget("max_position_quantity", where)
        assert len(again.look(day.gate.usages(), [])) == 1

    def test_only_the_limits_that_count_a_portfolio_are_looked_at(self) -> None:
        day = Day()
        for where in ({}, {"portfolio_id": "p"}, {"portfolio_id": "q"}, {"strategy_id": "s"}, {"portfolio_id": "z"}):
            day.limit("max_gross_exposure", "10", **where)
        day.limit("max_order_quantity", "10")
        looked = [each.limit.where for each in day.gate.usages({"q"})]
        assert looked == [Where(), Where("", "s"), Where("q")]


class TestValuing:
    """A record's fills are valued together at its marks, closes in their place, whoever asks and however often."""

    def told(self, asks: bool) -> list[tuple[int, list[str] | None, Decimal]]:
        # Four days at 100, 110, 90 and 120; a close after each bar.
        bars = [(100.0, 100.0, 100.0, 100.0, 1e6), (110.0, 110.0, 110.0, 110.0, 1e6)]
        bars += [(90.0, 90.0, 90.0, 90.0, 1e6), (120.0, 120.0, 120.0, 120.0, 1e6)]
        timeline = Timeline(merge([daily("A", bars), clock(4)]))
        places = timeline.bars("A").tolist()
        room, seen = Room("1000"), []

        def observe(sequence: int, portfolios: Any, mark: Any) -> None:
            seen.append((sequence, portfolios and list(portfolios), mark("A")))

        valuing = Valuing(room.gate, timeline, 0, observe)
        order = room.place(5)
        for place, quantity in ((places[1], 2), (places[1], 1), (places[2], 2)):
            valuing.advance(place)
            order = room.fill(order, D(quantity), place)
            if asks and quantity != 2:
                valuing.settle(place)
        for position in range(places[2], len(timeline.tape) + 1) if asks else [len(timeline.tape)]:
            valuing.settle(position)
        self.curve = room.gate._funds["p"].curve
        return seen

    def test_it_is_the_same_however_often_somebody_asks(self) -> None:
        often, curve = self.told(asks=True), self.curve
        once = self.told(asks=False)
        assert often == once
        assert curve == self.curve
        assert [each[1:] for each in once if each[1]] == [(["p"], 110), (["p"], 90)]
        assert [each[2] for each in once if not each[1]] == [100, 110, 90, 120]

    def test_the_curve_stands_where_the_closes_left_it(self) -> None:
        self.told(asks=False)
        # Bought at 100 each: 5 of 120.
        assert self.curve == Curve(D(1100), D(1100))


@settings(max_examples=100, deadline=None)
@given(
    moves=st.lists(
        st.tuples(st.sampled_from("st*"), st.sampled_from(list(Side)), st.integers(1, 5), st.integers(60, 140)),
        max_size=10,
    )
)
def test_a_gate_that_was_stored_says_what_it_said(moves: list[tuple[str, Side, int, int]]) -> None:
    day = Day("5000")
    day.limit("short_sale", "1")
    day.limit("max_daily_loss", "60", strategy_id="s")
    day.limit("max_drawdown", "0.02", portfolio_id="p")
    day.limit("max_position_quantity", "8", strategy_id="t", symbol="A")
    for strategy_id, side, quantity, price in moves:
        order = day.order(quantity, strategy_id=strategy_id, side=side)
        verdict = day.check(order)
        if verdict.reservation is None:
            continue
        if price % 2:
            # It counts although its check is forgotten: the event says all of it.
            day.gate = restarted(day.gate, INSTRUMENTS)
        order = order._replace(reservation=verdict.reservation, leaves_quantity=order.quantity)
        day.tell(ExecType.NEW, order)
        if price % 3:
            day.fill(order)
        day.marks(A=price)
        if not price % 4:
            day.gate.close(at(A=price))
        before = state(day.gate)
        day.gate = restarted(day.gate, INSTRUMENTS)
        assert state(day.gate) == before
        assert day.gate.usages() == restarted(day.gate, INSTRUMENTS).usages()
    assert make_limit("max_drawdown", D("0.02"), "p") in day.gate.limits()
    assert all(isinstance(each, Alarm) for each in Watch(D("0.8")).look(day.gate.usages(), day.gate.margins()))
