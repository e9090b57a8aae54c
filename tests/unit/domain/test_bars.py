"""Bars on the exchange's clock (rule 25)."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.domain.bars import DAY, SECOND, TimeBars, TimedBar, interval_length
from services.domain.calendar import Sessions
from services.domain.market import Bar, Quote, Trade

MINUTE = 60 * SECOND
OPEN, CLOSE = 9 * 60 * MINUTE + 30 * MINUTE, 16 * 60 * MINUTE
XTST = Sessions("XTST", np.array([OPEN], np.int64), np.array([CLOSE], np.int64), 0, 2 * DAY)


def trade(time: int, price: float, size: float = 1.0) -> Trade:
    return Trade("A", time, price, size)


def test_trades_become_a_bar_labelled_by_its_start() -> None:
    bars = TimeBars("A", "1m")
    assert bars.update(trade(5 * SECOND, 10.0, 2.0)) == [
        TimedBar(Bar("A", "1m", 0, MINUTE, 10.0, 10.0, 10.0, 10.0, 2.0), final=False)
    ]
    bars.update(trade(6 * SECOND, 12.0, 3.0))
    bars.update(trade(59 * SECOND, 9.0, 1.0))
    ended, begun = bars.update(trade(MINUTE, 11.0, 4.0))
    assert ended == TimedBar(Bar("A", "1m", 0, MINUTE, 10.0, 12.0, 9.0, 9.0, 6.0), final=True)
    assert begun == TimedBar(Bar("A", "1m", MINUTE, 2 * MINUTE, 11.0, 11.0, 11.0, 11.0, 4.0), final=False)


def test_time_alone_ends_a_bar_and_an_interval_without_trades_has_none() -> None:
    bars = TimeBars("A", "1m")
    bars.update(trade(0, 10.0))
    assert bars.advance(MINUTE - 1) == []
    assert [timed.final for timed in bars.advance(MINUTE)] == [True]
    assert bars.current is None
    assert bars.advance(10 * MINUTE) == []
    assert bars.update(trade(10 * MINUTE, 11.0))[0].bar.start == 10 * MINUTE


def test_rule_25_a_late_tick_is_counted_and_never_changes_a_final_bar() -> None:
    bars = TimeBars("A", "1m")
    bars.update(trade(0, 10.0))
    bars.update(trade(MINUTE, 11.0))
    assert bars.update(trade(30 * SECOND, 99.0)) == []
    assert bars.counts.late == 1
    bars.advance(5 * MINUTE)
    assert bars.update(trade(3 * MINUTE, 99.0)) == []
    assert bars.counts.late == 2
    assert bars.current is None


def test_out_of_order_inside_an_open_bar_counts_for_the_extremes_but_not_for_the_close() -> None:
    bars = TimeBars("A", "1m")
    bars.update(trade(10 * SECOND, 10.0))
    bars.update(trade(20 * SECOND, 11.0))
    (open_bar,) = bars.update(trade(15 * SECOND, 15.0))
    assert open_bar.bar[4:] == (10.0, 15.0, 10.0, 11.0, 3.0)
    assert bars.counts.late == 0


def test_rule_25_intervals_count_from_the_open_and_the_last_bar_ends_with_the_session() -> None:
    bars = TimeBars("A", "1h", XTST)
    (first,) = bars.update(trade(OPEN + 1, 10.0))
    assert (first.bar.start, first.bar.end) == (OPEN, OPEN + 60 * MINUTE)
    last = bars.update(trade(CLOSE - 1, 10.0))[-1].bar
    assert (last.start, last.end) == (CLOSE - 30 * MINUTE, CLOSE)
    day = TimeBars("A", "1d", XTST).update(trade(OPEN, 10.0))[-1].bar
    assert (day.start, day.end) == (OPEN, CLOSE)


def test_prints_outside_of_the_session_are_counted_and_left_out() -> None:
    bars = TimeBars("A", "1d", XTST)
    assert bars.update(trade(OPEN - 1, 10.0)) == []
    assert bars.update(trade(CLOSE, 10.0)) == []
    assert bars.counts.outside == 2


def test_smaller_bars_become_larger_ones_which_end_with_their_last() -> None:
    bars = TimeBars("A", "5m")
    made = []
    for i in range(5):
        start = i * MINUTE
        made += bars.update(Bar("A", "1m", start, start + MINUTE, 10.0 + i, 20.0 + i, 5.0 - i, 11.0 + i, 100.0))
    assert made[-1] == TimedBar(Bar("A", "5m", 0, 5 * MINUTE, 10.0, 24.0, 1.0, 15.0, 500.0), final=True)
    assert bars.update(Bar("A", "1h", 0, 60 * MINUTE, 1.0, 1.0, 1.0, 1.0, 1.0)) == []
    assert bars.counts.outside == 1


def test_quotes_count_by_their_middle() -> None:
    (made,) = TimeBars("A", "1m").update(Quote("A", 0, 10.0, 11.0))
    assert made.bar[4:] == (10.5, 10.5, 10.5, 10.5, 0.0)


@given(st.lists(st.tuples(st.integers(0, 600), st.integers(1, 1_000), st.integers(0, 50)), max_size=60))
def test_bars_hold_every_trade_once_in_whatever_order_they_come(ticks: list[tuple[int, int, int]]) -> None:
    bars = TimeBars("A", "1m")
    made = [timed for second, price, size in ticks for timed in bars.update(trade(second * SECOND, price, size))]
    final = [timed.bar for timed in [*made, *bars.advance(DAY)] if timed.final]
    assert [bar.start for bar in final] == sorted({bar.start for bar in final})
    taken = len(ticks) - bars.counts.late
    assert taken == len([timed for timed in made if not timed.final])
    if ticks == sorted(ticks, key=lambda tick: tick[0]):
        assert bars.counts.late == 0
        assert sum(bar.volume for bar in final) == sum(size for _, _, size in ticks)
    assert all(bar.low <= min(bar.open, bar.close) <= max(bar.open, bar.close) <= bar.high for bar in final)


@pytest.mark.parametrize(
    ("interval", "length"), [("1s", SECOND), ("90s", 90 * SECOND), ("4h", 240 * MINUTE), ("1d", DAY)]
)
def test_intervals_by_name(interval: str, length: int) -> None:
    assert interval_length(interval) == length


@pytest.mark.parametrize("interval", ["", "m", "0m", "1", "1w", "-1m", "1.5h", "1M", "01m"])
def test_what_is_no_interval(interval: str) -> None:
    with pytest.raises(ValueError, match="no interval"):
        interval_length(interval)


def test_no_interval_of_several_days_on_an_exchanges_clock() -> None:
    with pytest.raises(ValueError, match="a day is the longest"):
        TimeBars("A", "2d", XTST)
