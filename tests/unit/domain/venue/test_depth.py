"""Quotes that show more than their best prices: on the tape, and what their levels cost who has little cash."""

from decimal import Decimal

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.domain.costs import Commission, Costs, Slippage
from services.domain.filling import VenueSettings
from services.domain.market import PriceLevel, Quote, sides_of
from services.domain.orders.order import CancelReason, ExecType, Order, OrderEvent, Reservation, TimeInForce
from services.domain.tape import Kind, Levels, Tape, merge
from services.domain.venue.matching import Venue
from services.domain.venue.telling.reasons import PriceBasis, reason_of
from tests.unit.domain.venue.fill_semantics.depth import book
from tests.unit.domain.venue.matching_reference import (
    INSTRUMENTS,
    MINUTE,
    Command,
    bars,
    deep,
    drive,
    order,
    series,
    tapes,
)

SHARE = VenueSettings()
FLAT = (100, 100, 100, 100, 1)
FIRST, SECOND = (9, 11, 3, 4), (8, 12, 1, 2)
FOK = TimeInForce.FOK


def levels(*pairs: tuple[float, float]) -> tuple[PriceLevel, ...]:
    return tuple(PriceLevel(*pair) for pair in pairs)


def test_a_quote_has_its_levels_wherever_it_comes_to_on_the_tape() -> None:
    quotes = series(Kind.QUOTE, "A", [(2, 2, FIRST), (3, 3, SECOND)])
    other = series(Kind.QUOTE, "B", [(1, 1, FIRST), (2, 2, SECOND)])
    tape = merge([bars([FLAT] * 4, "A"), deep(quotes, [[(8, 5, 0, 0)], [(7, 5, 13, 6), (6, 1, 0, 0)]]), other])
    found = [tape.record(i) for i in range(1, len(tape) + 1)]
    of = {name: [each for each in found if isinstance(each, Quote) and each.symbol == name] for name in "AB"}
    bids, asks = levels((9, 3), (8, 5)), levels((11, 4))
    more_bids, more_asks = levels((8, 1), (7, 5), (6, 1)), levels((12, 2), (13, 6))
    assert of["A"] == [
        Quote("A", 2 * MINUTE, *FIRST, bids, asks),
        Quote("A", 3 * MINUTE, *SECOND, more_bids, more_asks),
    ]
    assert of["B"] == [Quote("B", MINUTE, *FIRST), Quote("B", 2 * MINUTE, *SECOND)]


def test_levels_of_two_sources_are_in_the_tape_s_order() -> None:
    late = deep(series(Kind.QUOTE, "A", [(2, 2, FIRST), (4, 4, FIRST)]), [[(8, 1, 0, 0)], [(8, 2, 0, 0)]])
    early = deep(series(Kind.QUOTE, "B", [(1, 1, FIRST), (3, 3, FIRST)]), [[(8, 3, 0, 0)], [(8, 4, 0, 0)]])
    found = merge([late, early]).levels
    assert found.rows.tolist() == [0, 1, 2, 3]
    assert found.values[:, 1].tolist() == [3, 1, 4, 2]


@given(tapes(), st.integers(0, 40), st.integers(0, 40))
def test_a_stretch_of_a_tape_has_its_records_levels(tape: Tape, first: int, length: int) -> None:
    first = min(first, len(tape))
    stop = min(first + length, len(tape))
    part = tape.levels.between(first, stop)
    assert [part.of(row) for row in range(stop - first)] == [tape.levels.of(row) for row in range(first, stop)]


@given(tapes(), st.randoms(use_true_random=False))
def test_what_is_kept_of_records_keeps_its_levels(tape: Tape, chance: st.DataObject) -> None:
    kept = np.array([chance.random() < 0.5 for _ in range(len(tape))], np.bool_)  # type: ignore[attr-defined]
    part = tape.levels.among(kept)
    assert [part.of(row) for row in range(int(kept.sum()))] == [tape.levels.of(row) for row in np.flatnonzero(kept)]


def test_rule_34_other_levels_are_another_tape_and_none_are_the_tape_without_them() -> None:
    tape = book()
    plain = merge([series(Kind.QUOTE, "BBB", [(1, 1, (99, 100, 100, 40))])])
    moved = Levels(tape.levels.rows, tape.levels.values + 0.5)
    columns = tape.sources, tape.source, tape.time, tape.start, tape.values
    assert Tape(*columns).digest() == plain.digest()
    assert len({plain.digest(), tape.digest(), Tape(*columns, moved).digest()}) == 3


def run(sent: Order) -> list[OrderEvent]:
    return [e for e in drive(Venue(INSTRUMENTS, SHARE), book(), [Command(0, sent)]) if e.exec_type is not ExecType.NEW]


def having(cash: int, headroom: str = "0", commission: int = 0) -> Reservation:
    return Reservation(Decimal(cash), Decimal(10), Decimal(headroom), Decimal(commission))


def test_rule_19_a_walk_is_cut_where_the_cash_ends() -> None:
    # Ten were to cost 1,000; six at 100.5 come to 603, and 600 is left.
    events = run(order(1, "B", "M", 10, reservation=having(1000)))
    assert [(e.last_quantity, e.last_price) for e in events[:2]] == [(4, 100), (Decimal("5.5"), Decimal("100.5"))]
    assert (len(events), events[2].order.cancel_reason) == (3, CancelReason.INSUFFICIENT_CASH)
    assert events[2].order.reservation.headroom == Decimal("47.25")


@pytest.mark.parametrize(("headroom", "filled"), [("3", 10), ("2.99", 0)])
def test_rule_19_a_fok_that_the_cash_ends_fills_nothing_of_any_level(headroom: str, filled: int) -> None:
    events = run(order(1, "B", "M", 10, time_in_force=FOK, reservation=having(1000, headroom)))
    assert sum(e.last_quantity for e in events) == filled
    assert events[-1].order.cancel_reason is (CancelReason.NONE if filled else CancelReason.FOK_UNFILLED)
    assert events[-1].order.reservation.headroom == (0 if filled else Decimal(1000) + Decimal(headroom))


@pytest.mark.parametrize(("headroom", "filled"), [("3", 10), ("2.99", 0)])
def test_rule_14_its_commission_counts_too(headroom: str, filled: int) -> None:
    costs = Costs(Commission(per_order=Decimal(5)))
    reservation = having(1000, headroom, commission=5)
    events = run(order(1, "B", "M", 10, time_in_force=FOK, reservation=reservation, costs=costs))
    assert sum(e.last_quantity for e in events) == filled
    assert sum(e.last_commission for e in events) == (5 if filled else 0)


def test_what_the_market_shows_is_its_last_quote_in_today_s_units() -> None:
    split = series(Kind.SPLIT, "BBB", [(3, 3, (2, 1))])
    tape = merge([deep(series(Kind.QUOTE, "BBB", [(1, 1, FIRST), (2, 2, SECOND)]), [[(8, 5, 12, 6)], []]), split])
    venue = Venue(INSTRUMENTS, SHARE)
    assert venue.market("BBB") is None
    told = []
    for position in range(4):
        venue.prime(tape, position)
        told.append(venue.market("BBB"))
    assert told[0] is None
    assert told[1] == tape.record(1)
    assert told[2] is not None
    assert sides_of(told[2]) == ((PriceLevel(8, 1),), (PriceLevel(12, 2),))
    assert told[3] is not None
    assert sides_of(told[3]) == ((PriceLevel(4, 2),), (PriceLevel(6, 4),))
    assert sides_of(Quote("BBB", 1, 0.0, 11.0, 0.0, 4.0)) == ((), (PriceLevel(11, 4),))


def reasons(sent: Order) -> list[tuple[PriceBasis, str]]:
    """Why each fill by the book is what it is."""
    events, told = run(sent), []
    for previous, event, following in zip([None, *events], events, [*events[1:], None], strict=False):
        if event.exec_type is ExecType.TRADE:
            reason = reason_of(event, previous, book().record(1), Decimal("0.5"), following=following)
            told.append((reason.basis, reason.text))
    return told


def test_an_order_s_story_says_which_level_each_fill_came_from() -> None:
    used_up, left = "What was better was used up: it takes the asks' level", "units left: the level had no more."
    assert reasons(order(1, "B", "M", 12)) == [
        (PriceBasis.FIRST, f"It fills at the first price there is: the ask 100. 4 of the 12 {left}"),
        (PriceBasis.LEVEL, f"{used_up} 2, 100.5. 6 of the 8 {left}"),
        (PriceBasis.LEVEL, f"{used_up} 3, 101."),
    ]
    [_, (basis, text)] = reasons(order(1, "S", "M", 12))
    assert (basis, text) == (PriceBasis.LEVEL, "What was better was used up: it takes the bids' level 2, 98.5.")


def test_an_order_s_story_tells_levels_that_slippage_moved_to_one_price_apart() -> None:
    costs = Costs(slippage=Slippage(basis_points=Decimal(40)))
    found = reasons(order(1, "B", "L", 12, 101, costs=costs))
    assert [basis for basis, _ in found] == [PriceBasis.SLIPPED, PriceBasis.LEVEL, PriceBasis.LEVEL]
    assert "level 2, 100.5, which slippage moved to 101." in found[1][1]
    assert "level 3, 101." in found[2][1]
