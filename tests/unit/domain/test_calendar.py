"""Sessions as arrays of edges (rules 15 and 24)."""

import numpy as np
import pytest

from services.domain.calendar import Session, Sessions, UnknownTime
from services.domain.tape import Kind, Series, Source, merge

HOUR = 3_600_000_000_000


def sessions(*edges: tuple[int, int], known: tuple[int, int] = (0, 100)) -> Sessions:
    opens, closes = (np.array([edge[i] * HOUR for edge in edges], np.int64) for i in (0, 1))
    return Sessions("XTST", opens, closes, known[0] * HOUR, known[1] * HOUR)


TWO = sessions((9, 16), (33, 40))


@pytest.mark.parametrize(
    ("time", "expected"),
    [
        (8 * HOUR, None),
        (9 * HOUR - 1, None),
        (9 * HOUR, Session(9 * HOUR, 16 * HOUR)),
        (16 * HOUR - 1, Session(9 * HOUR, 16 * HOUR)),
        (16 * HOUR, None),
        (39 * HOUR, Session(33 * HOUR, 40 * HOUR)),
        (99 * HOUR, None),
    ],
)
def test_rule_15_a_session_begins_with_its_open_and_is_over_at_its_close(time: int, expected: Session | None) -> None:
    assert TWO.session_of(time) == expected


@pytest.mark.parametrize("time", [-1, 100 * HOUR])
def test_rule_24_what_is_not_known_is_refused_not_guessed(time: int) -> None:
    with pytest.raises(UnknownTime, match="XTST is known from"):
        TWO.session_of(time)
    with pytest.raises(UnknownTime):
        TWO.between(0, 101 * HOUR)


def test_where_sessions_touch_the_instant_is_the_second_ones() -> None:
    touching = sessions((9, 12), (12, 16))
    assert touching.session_of(12 * HOUR) == Session(12 * HOUR, 16 * HOUR)


def test_a_part_of_a_calendar_knows_no_more_than_that() -> None:
    part = TWO.between(20 * HOUR, 50 * HOUR)
    assert part.opens.tolist() == [33 * HOUR]
    with pytest.raises(UnknownTime):
        part.session_of(10 * HOUR)


@pytest.mark.parametrize("edges", [((9, 9),), ((16, 9),), ((9, 16), (15, 20)), ((33, 40), (9, 16))])
def test_edges_out_of_order_are_refused(edges: tuple[tuple[int, int], ...]) -> None:
    with pytest.raises(ValueError, match="out of order"):
        sessions(*edges)


def test_sessions_outside_of_the_known_range_are_refused() -> None:
    with pytest.raises(ValueError, match="known range"):
        sessions((9, 16), known=(10, 20))


def test_clock_records_stand_around_the_data_of_their_session() -> None:
    close = np.array([16 * HOUR], np.int64)
    bar = Series(Source(Kind.BAR, "A", "1d"), close, np.array([9 * HOUR], np.int64), np.ones((1, 5)))
    tape = merge([bar, sessions((9, 16)).clock()])
    assert [tape.sources[i].kind for i in tape.source] == [Kind.CLOCK, Kind.BAR, Kind.CLOCK]
    assert tape.values[:, 0].tolist() == [1.0, 1.0, 0.0]
    assert len(sessions().clock().time) == 0
