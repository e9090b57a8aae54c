"""How far a grant may go and when; what happens never depends on it."""

import numpy as np
import pytest

from services.domain.tape import Kind, Series, Source, Tape, merge
from services.marketdata.environment import Pace
from services.marketdata.replay.pacing import Pacer
from services.marketdata.tapes.cutting import session_ends

SECOND = 1_000_000_000
OPENS = np.array([0, 100, 200], np.int64) * SECOND
CLOSES = OPENS + 60 * SECOND


def tape() -> Tape:
    """Three sessions of a minute, a trade at each tenth second: open, five trades, close."""
    edges = np.column_stack((OPENS, CLOSES)).ravel()
    values = np.zeros((6, 5))
    values[::2, 0] = 1
    clock = Series(Source(Kind.CLOCK, "X"), edges, edges, values)
    times = (OPENS[:, None] + np.arange(1, 6) * 10 * SECOND).ravel()
    prices = np.ones((len(times), 5))
    return merge([clock, Series(Source(Kind.TRADE, "A"), times, times, prices)])


class Clock:
    """Wall time, moved by hand."""

    now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


def pacer(clock: Clock, **pace: float) -> Pacer:
    made = tape()
    return Pacer(made, session_ends(made), Pace(**pace), clock)


def test_sessions_end_after_their_closes_and_days_without_a_clock() -> None:
    assert session_ends(tape()).tolist() == [7, 14, 21]
    times = np.array([0.5, 1.0, 1.5, 2.5]) * 86_400 * SECOND
    days = merge([Series(Source(Kind.TRADE, "A"), times.astype(np.int64), times.astype(np.int64), np.ones((4, 5)))])
    assert session_ends(days).tolist() == [2, 3]


def test_full_speed_waits_for_nothing(clock: Clock) -> None:
    assert pacer(clock).leave(0, 21) == (21, 0.0)


def test_a_session_runs_at_full_speed_up_to_its_close_which_comes_when_due(clock: Clock) -> None:
    paced = pacer(clock, sessions_per_second=2)
    assert paced.leave(0, 3) == (3, 0.0)
    assert paced.leave(0, 21) == (6, 0.0)
    assert paced.leave(6, 21) == (7, 0.5)
    clock.now += 0.5
    assert paced.leave(6, 21) == (7, 0.0)
    paced.granted(6, 7)
    assert paced.leave(7, 21) == (13, 0.0)
    through, wait = paced.leave(13, 21)
    assert (through, wait) == (14, pytest.approx(0.5))


def test_a_slow_cycle_is_caught_up_but_not_a_long_stop(clock: Clock) -> None:
    paced = pacer(clock, sessions_per_second=2)
    paced.leave(6, 21)
    clock.now += 0.7
    paced.granted(6, 7)
    assert paced.leave(13, 21).wait == pytest.approx(0.3)
    clock.now += 100
    paced.granted(13, 14)
    assert paced.leave(20, 21).wait == 0.0
    paced.granted(20, 21)
    paced.restart()
    assert paced.leave(20, 21).wait == 0.5


def test_market_time_at_a_multiple(clock: Clock) -> None:
    paced = pacer(clock, multiple=10)
    assert paced.leave(0, 21) == (1, 0.0)  # the open is now
    assert paced.leave(1, 21) == (2, pytest.approx(1.0))
    clock.now += 1.0
    assert paced.leave(1, 21) == (2, 0.0)
    clock.now += 2.5
    assert paced.leave(2, 21) == (4, 0.0)
    clock.now += 1.5
    assert paced.leave(4, 21) == (6, 0.0)
    # The night is waited through.
    assert paced.leave(7, 21) == (8, pytest.approx(5.0))


def test_a_new_pace_begins_now(clock: Clock) -> None:
    paced = pacer(clock, multiple=1)
    paced.leave(1, 21)
    paced.change(Pace(sessions_per_second=1))
    assert paced.leave(6, 21) == (7, 1.0)
    paced.change(Pace())
    assert paced.leave(6, 21) == (21, 0.0)


def test_a_cycle_without_a_record_needs_no_wait(clock: Clock) -> None:
    assert pacer(clock, multiple=1e-6).leave(5, 5) == (5, 0.0)
