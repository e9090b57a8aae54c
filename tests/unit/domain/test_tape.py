"""One tape: merged once, in one order, whatever the order of its making (rule 31)."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from services.domain.market import Bar, Clock, Quote, Split, Trade
from services.domain.orders.order import Side
from services.domain.tape import Kind, Levels, Source, Tape, merge
from services.domain.tape_index import NEVER, TapeIndex
from tests.unit.domain.venue.matching_reference import MINUTE, bars, series, tapes

FLAT = (100, 100, 100, 100, 1)


def kinds(tape: Tape) -> list[str]:
    return [tape.sources[i].kind.name for i in tape.source]


def test_rule_31_at_one_time_opens_come_first_then_splits_then_data_by_rank_then_closes() -> None:
    clock = series(Kind.CLOCK, "XNYS", [(1, 1, (0,)), (1, 1, (1,))])
    trade = series(Kind.TRADE, "A", [(1, 1, (10, 1))])
    quote = series(Kind.QUOTE, "A", [(1, 1, (9, 11))])
    split = series(Kind.SPLIT, "A", [(1, 1, (2, 1))])
    tape = merge([clock, trade, quote, split, bars([FLAT], "A")])
    assert kinds(tape) == ["CLOCK", "SPLIT", "TRADE", "QUOTE", "BAR", "CLOCK"]
    assert tape.record(1) == Clock("XNYS", MINUTE, True)
    assert tape.record(6) == Clock("XNYS", MINUTE, False)


def test_rule_31_a_row_is_its_record() -> None:
    rows = [
        series(Kind.BAR, "A", [(0, 1, (1, 4, 0.5, 2, 7))], "1m"),
        series(Kind.QUOTE, "A", [(2, 2, (9, 11, 3, 4))]),
        series(Kind.TRADE, "A", [(3, 3, (10, 5))]),
        series(Kind.SPLIT, "A", [(4, 4, (3, 2))]),
    ]
    tape = merge(rows)
    assert [tape.record(i) for i in range(1, 5)] == [
        Bar("A", "1m", 0, MINUTE, 1, 4, 0.5, 2, 7),
        Quote("A", 2 * MINUTE, 9, 11, 3, 4),
        Trade("A", 3 * MINUTE, 10, 5),
        Split("A", 4 * MINUTE, 3, 2),
    ]


@given(tapes())
def test_rule_31_time_never_runs_back_and_a_bar_is_ordered_by_its_end(tape: Tape) -> None:
    assert (np.diff(tape.time) >= 0).all()
    assert (tape.start <= tape.time).all()


@given(tapes())
def test_rule_34_equal_tapes_have_equal_digests_and_any_change_another(tape: Tape) -> None:
    levels = Levels(tape.levels.rows.copy(), tape.levels.values.copy())
    same = Tape(tape.sources, tape.source.copy(), tape.time.copy(), tape.start.copy(), tape.values.copy(), levels)
    assert same.digest() == tape.digest()
    for column in (same.source, same.time, same.start, same.values, *((levels.rows, levels.values) if levels else ())):
        first = (0,) * column.ndim
        column[first] += 1
        assert same.digest() != tape.digest()
        column[first] -= 1


def test_an_empty_tape_is_a_tape() -> None:
    tape = merge([])
    assert len(tape) == 0
    assert TapeIndex(tape).last_price("A", Side.BUY, 0) is None


@given(tapes(), st.sampled_from(["AAA", "BBB"]), st.integers(0, 150))
def test_rule_4_the_last_price_is_that_of_the_last_record_seen(tape: Tape, symbol: str, position: int) -> None:
    position = min(position, len(tape))
    expected: dict[Side, float | None] = dict.fromkeys(Side)
    for sequence in range(1, position + 1):
        match tape.record(sequence):
            case Bar() as bar if bar.symbol == symbol:
                expected = dict.fromkeys(Side, bar.close)
            case Trade() as trade if trade.symbol == symbol:
                expected = dict.fromkeys(Side, trade.price)
            case Quote() as quote if quote.symbol == symbol:
                expected = {Side.BUY: quote.ask, Side.SELL: quote.bid}
            case Split() as split if split.symbol == symbol:
                ratio = (split.denominator, split.numerator)
                expected = {s: None if p is None else p * ratio[0] / ratio[1] for s, p in expected.items()}
    index = TapeIndex(tape)
    assert {side: index.last_price(symbol, side, position) for side in Side} == expected


def test_an_index_finds_rows() -> None:
    tape = merge([bars([FLAT] * 3, "A"), bars([FLAT] * 3, "B")])
    index = TapeIndex(tape)
    assert [index.next_row(1, row) for row in range(7)] == [1, 1, 3, 3, 5, 5, NEVER]
    assert index.data_sources("A") == [0]
    assert index.data_sources("C") == []
    assert tape.sources[1] == Source(Kind.BAR, "B", "1m")
    assert index.next_split("A", 0) == NEVER
