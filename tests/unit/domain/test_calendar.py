"""Sessions as arrays of edges (rules 15 and 24)."""

import numpy as np
import pytest

from services.domain.calendar import Edge, Session, Sessions, UnknownTime
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
    assert TWO.is_open(time) is (expected is not None)


@pytest.mark.parametrize("time", [-1, 100 * HOUR])
def test_rule_24_what_is_not_known_is_refused_not_guessed(time: int) -> None:
    with pytest.raises(UnknownTime, match="XTST is known from"):
        TWO.is_open(time)
    with pytest.raises(UnknownTime):
        TWO.next_edge(time)
    with pytest.raises(UnknownTime):
        TWO.between(0, 101 * HOUR)


def test_rule_24_no_edge_is_made_up_after_the_last() -> None:
    with pytest.raises(UnknownTime, match="no session after"):
        TWO.next_edge(40 * HOUR)


def test_the_next_edge() -> None:
    assert TWO.next_edge(0) == Edge(9 * HOUR, True)
    assert TWO.next_edge(9 * HOUR) == Edge(16 * HOUR, False)
    assert TWO.next_edge(16 * HOUR) == Edge(33 * HOUR, True)
    assert TWO.next_edge(33 * HOUR - 1) == Edge(33 * HOUR, True)


def test_sessions_may_touch_and_the_close_is_the_nearer_edge() -> None:
    touching = sessions((9, 12), (12, 16))
    assert touching.next_edge(10 * HOUR) == Edge(12 * HOUR, False)
    assert touching.session_of(12 * HOUR) == Session(12 * HOUR, 16 * HOUR)


def test_a_part_of_a_calendar_knows_no_more_than_that() -> None:
    part = TWO.between(20 * HOUR, 50 * HOUR)
    assert part.opens.tolist() == [33 * HOUR]
    with pytest.raises(UnknownTime):
        part.is_open(10 * HOUR)


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
