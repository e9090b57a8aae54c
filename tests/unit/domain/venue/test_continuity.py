"""What is certain by continuity happens, what is only possible does not (rules 8 to 10).

Of a bar nobody knows the path, but it begins at the open, ends at the close and passes everything between. The two
paths that go straight from one extreme to the other are walked here, half a point at a time: what happens on both is
certain, at the worse of both prices.
"""

from collections.abc import Iterator
from decimal import Decimal
from itertools import pairwise

from hypothesis import given, settings
from hypothesis import strategies as st

from services.domain.filling import VenueSettings
from services.domain.orders.order import LIMITED, STOPS, ExecType, Order, OrderType, Side
from services.domain.tape import merge
from services.domain.venue.matching import Venue
from tests.unit.domain.venue.matching_reference import INSTRUMENTS, bars, order

halves = st.integers(190, 210)
KINDS = ["L", "S", "SL", "MIT", "LIT", "TS"]


def walk(*turns: int) -> Iterator[int]:
    """Every half point from turn to turn."""
    yield turns[0]
    for here, there in pairwise(turns):
        step = 1 if there > here else -1
        yield from range(here + step, there + step, step)


def fill_on(path: list[int], sent: Order, touch: bool) -> int | None:
    """Where an order would fill if this were the path: in half points; None if it would not."""
    sign, kind = 1 if sent.side is Side.BUY else -1, sent.order_type
    limit = None if sent.limit_price is None else int(sent.limit_price * 2)
    waiting = kind is not OrderType.LIMIT
    best = path[0]
    for n, price in enumerate(path):
        at_once = n == 0
        if waiting:
            if kind is OrderType.TRAILING_STOP:
                assert sent.trailing_amount is not None
                trigger = best + sign * int(sent.trailing_amount * 2)
                best = min(best, price) if sent.side is Side.BUY else max(best, price)
            else:
                assert sent.stop_price is not None
                trigger = int(sent.stop_price * 2)
            up = sign if kind in STOPS or kind is OrderType.TRAILING_STOP else -sign
            if up * price < up * trigger:
                continue
            waiting, at_once = False, True
        if kind not in LIMITED:
            return price
        assert limit is not None
        if sign * price < sign * limit or (touch and price == limit):
            return price if at_once else limit
    return None


@settings(max_examples=3_000, deadline=None)
@given(
    st.tuples(halves, halves, halves, halves),
    st.sampled_from(KINDS),
    st.sampled_from("BS"),
    st.tuples(halves, halves, st.integers(1, 12)),
    st.booleans(),
)
def test_rules_8_to_10_what_both_paths_of_a_bar_do_is_done_at_the_worse_price(
    prices: tuple[int, int, int, int], kind: str, side: str, terms: tuple[int, int, int], touch: bool
) -> None:
    first, last, low, high = prices[0], prices[1], min(prices), max(prices)
    trigger, limit, distance = (Decimal(each) / 2 for each in terms)
    own = {"L": limit, "TS": distance}.get(kind, trigger)
    sent = order(1, side, kind, 10, own, limit_price=limit if kind in {"L", "SL", "LIT"} else None)
    ends = [fill_on(list(walk(*path)), sent, touch) for path in ((first, high, low, last), (first, low, high, last))]
    certain = [each for each in ends if each is not None]
    expected = None
    if len(certain) == 2:
        expected = Decimal(max(certain) if side == "B" else min(certain)) / 2

    tape = merge([bars([(first / 2, high / 2, low / 2, last / 2, 100)])])
    venue = Venue(INSTRUMENTS, VenueSettings(volume_share=None, fill_on_touch=touch))
    venue.prime(tape, 0)
    venue.accept(sent, 0, 0)
    _, events = venue.advance(tape, 0, 1)
    filled = [event.last_price for event in events if event.exec_type is ExecType.TRADE]
    assert filled == ([] if expected is None else [expected])
