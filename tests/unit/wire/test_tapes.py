"""Tapes that travel come back as they were, with what their quotes show behind their best prices."""

from hypothesis import given
from hypothesis import strategies as st
from tickmesh.marketdata.v1 import tape_service_pb2

from services.domain.tape import Kind, Tape, merge
from services.wire.tapes import LEVELS, TapeReader, stretches_to_proto
from tests.unit.domain.markets import clock, daily, splits, walk
from tests.unit.domain.venue.matching_reference import deep, series, tapes


def read(tape: Tape, after: int = 0) -> TapeReader:
    reader = TapeReader()
    for data in stretches_to_proto(tape, after, len(tape)):
        reader.add(tape_service_pb2.ReadTapeResponse.FromString(data))
    return reader


def test_a_tape_comes_back_from_its_stretches() -> None:
    tape = merge([clock(2000), daily("A", walk(1, 2000)), splits("A", {3: (2.0, 1.0)})])
    reader = read(tape)
    assert reader.parts == 2
    assert reader.tape().digest() == tape.digest()
    assert len(TapeReader().tape()) == 0
    assert len(read(merge([])).tape()) == 0


@given(tapes(), st.integers(0, 40))
def test_a_tape_comes_back_with_its_levels_from_anywhere(tape: Tape, after: int) -> None:
    found, after = read(tape, min(after, len(tape))).tape(), min(after, len(tape))
    assert [found.behind(row) for row in range(len(found))] == [tape.behind(row) for row in range(after, len(tape))]
    assert after or found.digest() == tape.digest()


def test_a_stretch_holds_no_more_levels_than_a_message_may_unless_one_quote_has_them() -> None:
    many, few = [(0.0, 0.0, 12.0 + n, 1.0) for n in range(LEVELS + 5)], [(0.0, 0.0, 12.0, 1.0)]
    quotes = series(Kind.QUOTE, "A", [(at, at, (10, 11, 1, 1)) for at in range(5)])
    tape = merge([deep(quotes, [few, few, many, few, few])])
    sizes = [
        len(tape_service_pb2.ReadTapeResponse.FromString(data).level_record)
        for data in stretches_to_proto(tape, 0, len(tape))
    ]
    assert sizes == [2, LEVELS + 5, 2]
    assert read(tape).tape().digest() == tape.digest()
