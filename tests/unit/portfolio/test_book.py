"""One environment's books, step by step, without a store."""

from decimal import Decimal

import pytest

from services.domain.accounting.entries import Account
from services.domain.instrument import Instrument
from services.domain.orders.order import ExecType, Order, OrderEvent, OrderType, Side, TimeInForce
from services.domain.tape import merge
from services.domain.timeline import Timeline
from services.portfolio.book import Book
from services.portfolio.records import Change, Cursor, Fill, Opening
from services.wire.cycle import Fold
from tests.unit.domain.markets import clock, daily, instrument, splits

DAYS = 4
BARS = [[10.0, 11.0, 9.0, 10.5, 100.0], [10.5, 12.0, 10.0, 11.5, 100.0], [8.0, 9.0, 7.0, 8.25, 100.0]]
TAPE = Timeline(merge([clock(DAYS), daily("A", BARS), splits("A", {2: (3, 2)})]))
# Each day an open, a bar and a close; before the third day's bar its split.
FIRST_BAR, FIRST_CLOSE, SECOND_BAR, SPLIT, LAST = 2, 3, 5, 8, len(TAPE.tape)
FINE = Instrument("A", calendar="XTST", price_increment=Decimal("0.0001"))
NOW = 1_700_000_000_000_000_000


def opening(portfolio_id: str = "one", cash: int = 1_000) -> Opening:
    return Opening(portfolio_id, "replay-1", portfolio_id, "USD", Decimal(cash))


def book(start: int = 0, of: Instrument | None = None) -> Book:
    made = Book(Cursor("replay-1"))
    made.start(TAPE, {"A": of or instrument("A")}, start)
    return made


def fill(
    sequence: int, quantity: int, price: str = "10", at: int = FIRST_BAR, portfolio: str = "one", commission: str = "0"
) -> Fill:
    side = Side.BUY if quantity > 0 else Side.SELL
    order = Order(f"o{sequence}", f"c{sequence}", portfolio, "A", side, OrderType.MARKET, TimeInForce.DAY)
    event = OrderEvent(ExecType.TRADE, order, 7, at, Decimal(abs(quantity)), Decimal(price), Decimal(commission))
    return Fill(sequence, event, "00-trace", "trader")


def step(cycle: int, at: int, head: int = 0) -> Fold:
    return Fold("replay-1", cycle, at, head)


def folded(of: Book, at: int, *fills: Fill, cycle: int = 1) -> Change:
    change, _ = of.fold(step(cycle, at, max(each.sequence for each in fills)), fills, NOW)
    assert change is not None
    return change


def test_entries_say_the_balance_that_each_leaves_behind() -> None:
    """Also where one step moves the same account several times, as two fills at one record do."""
    made = book()
    made.open(opening(), 1, NOW)
    change = folded(made, FIRST_BAR, fill(1, 5, commission="0.5"), fill(2, -2, "11"))
    cash = [each.balance for each in change.entries if each.entry.account is Account.CASH]
    held = [each.balance for each in change.entries if each.entry.account is Account.POSITION]
    assert cash == [950, Decimal("949.5"), Decimal("971.5")]
    assert held == [5, 3]
    assert [each.sequence for each in change.entries] == list(range(3, 3 + len(change.entries)))
    assert {(each.traceparent, each.principal) for each in change.entries} == {("00-trace", "trader")}
    assert change.cursor == Cursor("replay-1", 1, FIRST_BAR, TAPE.time(FIRST_BAR), 2, 12, 12)
    assert change.balances["one", Account.FEES, "USD"] == Decimal("0.5")


def test_a_lot_that_opens_and_closes_in_one_step_is_not_kept() -> None:
    made = book()
    made.open(opening(), 1, NOW)
    change = folded(made, FIRST_BAR, fill(1, 5), fill(2, -5, "11"), fill(3, 2, "12"))
    assert [lot.lot_id for lot in change.lots.values()] == [2]
    assert list(change.closed_lots) == [("one", 1)]
    assert change.kept["one"].last_lot == 2
    assert change.positions["one", "A"].quantity == 2


def test_a_step_without_entries_stores_nothing_and_its_points_wait() -> None:
    made = book()
    made.open(opening(), 1, NOW)
    change, points = made.fold(step(1, FIRST_CLOSE), (), NOW)
    assert change is None
    assert [(point.tape_sequence, point.equity) for point in points] == [(FIRST_CLOSE, 1_000)]
    later = folded(made, SECOND_BAR, fill(1, 1, at=SECOND_BAR), cycle=2)
    assert [point.tape_sequence for point in later.points] == [FIRST_CLOSE, SECOND_BAR]
    assert not made.flush().points


def test_fills_of_several_positions_are_each_booked_at_their_own() -> None:
    """A venue stops at its first event; should a step ever span several, equity is still that of each."""
    made, one_by_one = book(), book()
    for each in (made, one_by_one):
        each.open(opening(), 1, NOW)
    fills = fill(1, 5), fill(2, -5, "11", at=SECOND_BAR)
    change = folded(made, SECOND_BAR, *fills)
    first, second = folded(one_by_one, FIRST_BAR, fills[0]), folded(one_by_one, SECOND_BAR, fills[1], cycle=2)
    assert change.points == first.points + second.points
    assert change.entries == first.entries + second.entries


def test_history_is_not_folded_and_a_deposit_stands_where_the_books_do() -> None:
    made = book(SECOND_BAR)
    change = made.open(opening(), 1, NOW)
    assert (made.cursor.tape_sequence, made.cursor.cycle) == (SECOND_BAR, 0)
    assert change.opened is not None
    assert change.opened.opening_ledger_sequence == 1
    assert {each.entry.tape_sequence for each in change.entries} == {SECOND_BAR}
    assert {each.entry.time for each in change.entries} == {TAPE.time(SECOND_BAR)}
    _, points = made.fold(step(0, SECOND_BAR), (), NOW)
    assert not points


def test_a_split_says_its_ratio_on_its_own_entries_alone() -> None:
    made = book()
    made.open(opening(), 1, NOW)
    folded(made, FIRST_BAR, fill(1, 5))
    change, _ = made.fold(step(2, SPLIT, 1), (), NOW)
    assert change is not None
    ratios = [(each.entry.kind.value, each.split) for each in change.entries if each.entry.account is Account.POSITION]
    assert ratios == [("SPLIT", (3, 2)), ("CASH_IN_LIEU", None)]
    assert change.positions["one", "A"].quantity == 7


def test_the_tapes_end_values_whoever_has_no_point_there_and_only_once() -> None:
    made = book()
    for number, key in enumerate(("one", "two"), 1):
        made.open(opening(key), number, NOW)
    made.fold(step(1, LAST - 1), (), NOW)
    made.flush()
    _, points = made.fold(step(2, LAST), (), NOW)
    assert [(point.portfolio_id, point.tape_sequence) for point in points] == [("one", LAST), ("two", LAST)]
    _, again = made.fold(step(3, LAST), (), NOW)
    assert not again
    assert made.end(LAST, NOW).cursor.ended
    assert [point.tape_sequence for point in made.flush().points] == []


def test_marks_have_their_instruments_places_and_outlive_the_tape() -> None:
    made = book(of=FINE)
    made.open(opening(), 1, NOW)
    folded(made, FIRST_BAR, fill(1, 5))
    assert str(made.marks()["A"]) == "10.5000"
    made.release()
    assert not made.started
    assert str(made.marks()["A"]) == "10.5000"
    with pytest.raises(RuntimeError, match="no tape"):
        made.fold(step(2, SECOND_BAR), (), NOW)


@pytest.mark.parametrize(
    ("asked", "covered"),
    [
        (step(4, 10, 5), True),
        (step(5, 10, 5), True),
        (step(5, 10, 4), True),
        (step(5, 10, 6), False),
        (step(5, 11, 5), False),
        (step(6, 10, 5), False),
    ],
)
def test_a_step_is_covered_when_it_or_a_later_one_was_folded(asked: Fold, covered: bool) -> None:
    assert Cursor("replay-1", 5, 10, 0, 5).covers(asked) is covered
