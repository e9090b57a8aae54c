"""What the paper venue does, as one table: scenario, rule, outcome. Beside it stand `test_matching_scenarios`' cases.

Tapes are in minutes. Orders are sent at a position: after so many records. The slow model must agree with every line.
"""

import re
from dataclasses import dataclass
from decimal import Decimal

import pytest

from services.domain.costs import Commission, Costs, Slippage
from services.domain.orders.lists import check_list
from services.domain.orders.order import ContingencyType, ExecType, Order, OrderEvent, Reservation, TimeInForce
from services.domain.tape import Kind, Series, Tape, merge
from services.domain.venue.fills import VenueSettings
from services.domain.venue.matching import Replacement, Venue
from tests.unit.domain.matching_reference import INSTRUMENTS, MINUTE, Command, bars, drive, order, series, told
from tests.unit.domain.slow_venue import SlowVenue, merged

FLAT = (100, 100, 100, 100, 100)
ALL, SHARE = VenueSettings(volume_share=None), VenueSettings()
TOUCH = VenueSettings(volume_share=None, fill_on_touch=True)
CLOSING = Reservation(quantity=Decimal(-10), headroom=Decimal(10) ** 9)
IOC, FOK, OPG, CLS, DAY, GTD = (TimeInForce[name] for name in ("IOC", "FOK", "OPG", "CLS", "DAY", "GTD"))


def path(*rows: tuple[float, ...]) -> Tape:
    """One-minute bars of BBB, which never closes, after a flat one."""
    return merge([bars([FLAT, *rows])])


def quotes(*rows: tuple[int, float, float]) -> Tape:
    """Quotes of BBB: minute, bid, ask."""
    return merge([series(Kind.QUOTE, "BBB", [(at, at, (bid, ask)) for at, bid, ask in rows])])


def days(*parts: Series) -> Tape:
    """AAA, whose sessions go from minute 10 to 20 and from 110 to 120."""
    clock = [(m, m, (float(m % 100 == 10),)) for m in (10, 20, 110, 120)]
    return merge([series(Kind.CLOCK, "XNYS", clock), *parts])


def aaa(kind: Kind, *rows: tuple[int, int, tuple[float, ...]]) -> Series:
    return series(kind, "AAA", rows, "1m" if kind is Kind.BAR else "")


def limited(number: int, side: str, kind: str, trigger: float, limit: float, **changes: object) -> Order:
    """A STOP_LIMIT or LIMIT_IF_TOUCHED of ten units."""
    return order(number, side, kind, 10, trigger, limit_price=Decimal(str(limit)), **changes)


def of_aaa(number: int, side: str, kind: str, price: float | None = None, **changes: object) -> Order:
    return order(number, side, kind, 10, price, symbol="AAA", **changes)


def expiring(at: float) -> dict[str, object]:
    return {"time_in_force": GTD, "expire_time": int(at * MINUTE)}


@dataclass(frozen=True)
class Scenario:
    """``sent`` are (position, order or list), (position, number to replace, terms) or (position, number to cancel)."""

    name: str
    rule: str
    tape: Tape
    sent: list[tuple[object, ...]]
    outcome: list[str]
    settings: VenueSettings = ALL


SPLIT = series(Kind.SPLIT, "BBB", [(2, 2, (2, 1))])
ONE_FOR_TWO = series(Kind.SPLIT, "BBB", [(2, 2, (1, 2))])
DAILY = aaa(Kind.BAR, (10, 20, (100, 103, 97, 101, 1000)), (110, 120, (105, 107, 102, 106, 1000)))

SCENARIOS = [
    Scenario(
        "gap through a stop-limit: the price never comes back to the limit",
        "8",
        path((90, 92, 88, 91, 100), (94, 94, 94, 94, 100)),
        [(1, limited(1, "S", "SL", 95, 93))],
        ["1 triggered 95 #2", "1 10 x 94 #3"],
    ),
    Scenario(
        "gap through a stop-limit: the bar comes back to the limit",
        "8",
        path((90, 94, 88, 91, 100)),
        [(1, limited(1, "S", "SL", 95, 93))],
        ["1 triggered 95 #2", "1 10 x 93 #2"],
    ),
    Scenario(
        "gap through a stop-limit whose limit admits the open",
        "8",
        path((90, 94, 88, 91, 100)),
        [(1, limited(1, "S", "SL", 95, 85))],
        ["1 triggered 95 #2", "1 10 x 90 #2"],
    ),
    Scenario(
        "stop-limit triggered inside the bar, its limit admits the stop",
        "8",
        path((100, 101, 90, 92, 100)),
        [(1, limited(1, "S", "SL", 95, 94))],
        ["1 triggered 95 #2", "1 10 x 95 #2"],
    ),
    Scenario(
        "stop-limit jumped: inside the bar the high may have been before the trigger",
        "8",
        path((100, 101, 90, 92, 100), (92, 97, 92, 92, 100)),
        [(1, limited(1, "S", "SL", 95, 96))],
        ["1 triggered 95 #2", "1 10 x 96 #3"],
    ),
    Scenario(
        "stop-limit jumped, and the close is beyond its limit for certain",
        "8",
        path((100, 101, 90, 97, 100)),
        [(1, limited(1, "S", "SL", 95, 96))],
        ["1 triggered 95 #2", "1 10 x 96 #2"],
    ),
    Scenario(
        "stop-limit whose limit is its stop: not for certain",
        "9",
        path((100, 101, 90, 92, 100)),
        [(1, limited(1, "S", "SL", 95, 95))],
        ["1 triggered 95 #2", "1 expired END_OF_TAPE #2"],
    ),
    Scenario(
        "stop-limit whose limit is its stop, where a touch fills",
        "9",
        path((100, 101, 90, 92, 100)),
        [(1, limited(1, "S", "SL", 95, 95))],
        ["1 triggered 95 #2", "1 10 x 95 #2"],
        TOUCH,
    ),
    Scenario(
        "IOC stop-limit: triggered, not filled, canceled",
        "8",
        path((100, 101, 90, 92, 100)),
        [(1, limited(1, "S", "SL", 95, 96, time_in_force=IOC))],
        ["1 triggered 95 #2", "1 canceled IOC_REMAINDER #2"],
    ),
    Scenario(
        "market if touched: touched exactly",
        "9",
        path((100, 101, 95, 97, 100)),
        [(1, order(1, "B", "MIT", 10, 95))],
        ["1 triggered 95 #2", "1 10 x 95 #2"],
    ),
    Scenario(
        "market if touched on a favourable gap: the better price",
        "8",
        path((90, 92, 88, 91, 100)),
        [(1, order(1, "B", "MIT", 10, 95))],
        ["1 triggered 95 #2", "1 10 x 90 #2"],
    ),
    Scenario(
        "limit if touched, its limit beyond the trigger: the low comes after the trigger for certain",
        "8",
        path((100, 101, 93.5, 97, 100)),
        [(1, limited(1, "B", "LIT", 95, 94))],
        ["1 triggered 95 #2", "1 10 x 94 #2"],
    ),
    Scenario(
        "limit if touched, touched but its limit not passed",
        "9",
        path((100, 101, 94, 97, 100), (97, 97, 93, 97, 100)),
        [(1, limited(1, "B", "LIT", 95, 94))],
        ["1 triggered 95 #2", "1 10 x 94 #3"],
    ),
    Scenario(
        "limit if touched on a favourable gap: the better price",
        "8",
        path((90, 92, 88, 91, 100)),
        [(1, limited(1, "B", "LIT", 95, 94))],
        ["1 triggered 95 #2", "1 10 x 90 #2"],
    ),
    Scenario(
        "trailing stop: its first record's open starts it, and the low reaches it",
        "8",
        path((100, 104, 94, 101, 100)),
        [(1, order(1, "S", "TS", 10, 5))],
        ["1 triggered 95 #2", "1 10 x 95 #2"],
    ),
    Scenario(
        "trailing through a gap: at the open, not at the trigger",
        "8",
        path((100, 105, 99, 104, 100), (97, 98, 96, 97, 100)),
        [(1, order(1, "S", "TS", 10, 5))],
        ["1 triggered 100 #3", "1 10 x 97 #3"],
    ),
    Scenario(
        "trailing certain by the close: the high moved the trigger above it",
        "10",
        path((100, 101, 99, 100, 100), (100, 110, 99.5, 104, 100)),
        [(1, order(1, "S", "TS", 10, 3))],
        ["1 triggered 107 #3", "1 10 x 107 #3"],
    ),
    Scenario(
        "trailing not certain: the low may have been before the high",
        "10",
        path((100, 101, 99, 100, 100), (100, 110, 98.5, 109, 100), (109, 109, 106, 108, 100)),
        [(1, order(1, "S", "TS", 10, 3))],
        ["1 triggered 107 #4", "1 10 x 107 #4"],
    ),
    Scenario(
        "trailing by a percentage: snapped away from the market",
        "8",
        quotes((1, 100, 101), (2, 101, 102), (3, 98.5, 99), (4, 98, 99)),
        [(0, order(1, "S", "TS", 10, trailing_percent=Decimal("2.5"), trailing_amount=None))],
        ["1 triggered 98 #4", "1 10 x 98 #4"],
    ),
    Scenario(
        "trailing buy: behind the lowest ask",
        "8",
        quotes((1, 100, 101), (2, 96, 97), (3, 98, 98.5), (4, 98.5, 99)),
        [(0, order(1, "B", "TS", 10, 2))],
        ["1 triggered 99 #4", "1 10 x 99 #4"],
    ),
    Scenario(
        "split on a trailing stop: best price and distance are divided",
        "20",
        merge([SPLIT, series(Kind.QUOTE, "BBB", [(1, 1, (110, 111)), (3, 3, (52.5, 53)), (4, 4, (52, 53))])]),
        [(0, order(1, "S", "TS", 10, 6))],
        ["1 restated 20 #2", "1 triggered 52 #4", "1 20 x 52 #4"],
    ),
    Scenario(
        "replaced while it trails: the new distance from the best price so far",
        "8",
        quotes((1, 110, 111), (2, 108, 109), (3, 107, 108), (4, 106, 107)),
        [(0, order(1, "S", "TS", 10, 9)), (2, 1, Replacement(trailing_amount=Decimal(3)))],
        ["1 replaced 10 #2", "1 triggered 107 #3", "1 10 x 107 #3"],
    ),
    Scenario(
        "IOC over the volume share: what there is, the rest canceled",
        "11",
        path((100, 100, 100, 100, 40)),
        [(1, order(1, "B", "M", 10, time_in_force=IOC))],
        ["1 4 x 100 #2", "1 canceled IOC_REMAINDER #2"],
        SHARE,
    ),
    Scenario(
        "FOK at the edge: exactly what there is",
        "11",
        path((100, 100, 100, 100, 100)),
        [(1, order(1, "B", "M", 10, time_in_force=FOK))],
        ["1 10 x 100 #2"],
        SHARE,
    ),
    Scenario(
        "FOK beyond the edge: nothing",
        "11",
        path((100, 100, 100, 100, 100)),
        [(1, order(1, "B", "M", "10.5", time_in_force=FOK))],
        ["1 canceled FOK_UNFILLED #2"],
        SHARE,
    ),
    Scenario(
        "FOK behind another order that takes some: nothing, and it takes none",
        "11",
        path((100, 100, 100, 100, 100)),
        [
            (1, order(1, "B", "M", 1)),
            (1, order(2, "B", "M", 10, time_in_force=FOK)),
            (1, order(3, "B", "M", 9)),
        ],
        ["1 1 x 100 #2", "2 canceled FOK_UNFILLED #2", "3 9 x 100 #2"],
        SHARE,
    ),
    Scenario(
        "FOK limit that the first record does not reach",
        "11",
        path(FLAT, (90, 90, 90, 90, 100)),
        [(1, order(1, "B", "L", 10, 95, time_in_force=FOK))],
        ["1 canceled FOK_UNFILLED #2"],
    ),
    Scenario(
        "expiry on the same record as a fill: the expiry was before",
        "15",
        quotes((1, 99, 100), (5, 90, 91)),
        [(1, order(1, "B", "L", 10, 95, **expiring(5)))],
        ["1 expired END_OF_TIME #1 t5"],
    ),
    Scenario(
        "good till a moment after the fill",
        "15",
        quotes((1, 99, 100), (5, 90, 91)),
        [(1, order(1, "B", "L", 10, 95, **expiring(5.1)))],
        ["1 10 x 91 #2"],
    ),
    Scenario(
        "a bar that ends at the expiry or after it fills nothing: what of it was before nobody knows",
        "15",
        path((90, 90, 90, 90, 100)),
        [(1, order(1, "B", "L", 10, 95, **expiring(1.5)))],
        ["1 expired END_OF_TIME #1 t1.5"],
    ),
    Scenario(
        "two expiries between two records: each at its time",
        "31",
        quotes((1, 99, 100), (9, 99, 100)),
        [(1, order(1, "B", "L", 10, 50, **expiring(7))), (1, order(2, "B", "L", 10, 50, **expiring(3)))],
        ["2 expired END_OF_TIME #1 t3", "1 expired END_OF_TIME #1 t7"],
    ),
    Scenario(
        "opening auction: the open of a whole-day bar",
        "15",
        days(DAILY),
        [(0, of_aaa(1, "B", "M", time_in_force=OPG))],
        ["1 held #0", "1 new #1", "1 10 x 100 #2 t10"],
    ),
    Scenario(
        "opening auction for which an order comes too late: the next one",
        "15",
        days(aaa(Kind.QUOTE, (12, 12, (99, 101))), aaa(Kind.BAR, (110, 111, (105, 105, 105, 105, 1000)))),
        [(2, of_aaa(1, "B", "M", time_in_force=OPG))],
        ["1 held #2", "1 new #4", "1 10 x 105 #5 t110"],
    ),
    Scenario(
        "no opening auction where the session's first record is a quote",
        "15",
        days(aaa(Kind.QUOTE, (10, 10, (99, 101))), aaa(Kind.BAR, (10, 11, (100, 100, 100, 100, 1000)))),
        [(0, of_aaa(1, "B", "M", time_in_force=OPG))],
        ["1 held #0", "1 new #1", "1 canceled AUCTION_OVER #2"],
    ),
    Scenario(
        "opening auction over the volume share: the rest is canceled",
        "11",
        days(aaa(Kind.BAR, (10, 11, (100, 100, 100, 100, 40)))),
        [(0, of_aaa(1, "B", "M", time_in_force=OPG))],
        ["1 held #0", "1 new #1", "1 4 x 100 #2 t10", "1 canceled AUCTION_OVER #2"],
        SHARE,
    ),
    Scenario(
        "opening auction above a limit that the bar reaches later",
        "15",
        days(DAILY),
        [(0, of_aaa(1, "B", "L", 99, time_in_force=OPG))],
        ["1 held #0", "1 new #1", "1 canceled AUCTION_OVER #2"],
    ),
    Scenario(
        "closing auction: the close of the bar that ends the session",
        "15",
        days(aaa(Kind.BAR, (12, 13, (99, 99, 99, 99, 1000)), (19, 20, (100, 103, 97, 101, 1000)))),
        [(2, of_aaa(1, "B", "M", time_in_force=CLS))],
        ["1 10 x 101 #3 t20"],
    ),
    Scenario(
        "closing auction on a bar that began before the order was live",
        "12",
        days(aaa(Kind.QUOTE, (12, 12, (99, 101))), DAILY),
        [(2, of_aaa(1, "B", "M", time_in_force=CLS))],
        ["1 canceled AUCTION_OVER #4 t20"],
    ),
    Scenario(
        "closing auction above a limit that the bar passed before",
        "15",
        days(DAILY),
        [(0, of_aaa(1, "B", "L", 100, time_in_force=CLS))],
        ["1 canceled AUCTION_OVER #3 t20"],
    ),
    Scenario(
        "closing auction outside the session: the next session's",
        "15",
        days(DAILY),
        [(3, of_aaa(1, "S", "M", time_in_force=CLS))],
        ["1 held #3", "1 new #4", "1 10 x 106 #5 t120"],
    ),
    Scenario(
        "a quote of the closing instant fills nothing, and the day is over",
        "15",
        days(aaa(Kind.QUOTE, (15, 15, (99, 101)), (20, 20, (90, 91)))),
        [(2, of_aaa(1, "B", "L", 95, time_in_force=DAY))],
        ["1 expired END_OF_SESSION #4 t20"],
    ),
    Scenario(
        "post-only that would cross: canceled, nothing traded",
        "9",
        quotes((1, 99, 100), (2, 98, 99)),
        [(1, order(1, "B", "L", 10, 100, post_only=True))],
        ["1 canceled POST_ONLY #2"],
    ),
    Scenario(
        "post-only that rested: fills like any limit",
        "8",
        quotes((1, 99, 100), (2, 99, 100), (3, 90, 91)),
        [(1, order(1, "B", "L", 10, 95, post_only=True))],
        ["1 10 x 91 #3"],
    ),
    Scenario(
        "post-only reached inside its first bar: not at once, so it fills",
        "9",
        path((100, 101, 94, 97, 100)),
        [(1, order(1, "B", "L", 10, 95, post_only=True))],
        ["1 10 x 95 #2"],
    ),
    Scenario(
        "reduce-only shrinks to the position",
        "13",
        path(FLAT, FLAT),
        [(1, order(1, "B", "M", 4)), (2, order(2, "S", "M", 10, reduce_only=True))],
        ["1 4 x 100 #2", "2 4 x 100 #3", "2 canceled NOTHING_TO_REDUCE #3"],
    ),
    Scenario(
        "a sale that was checked as one that closes, after another has closed what it counted on: no short",
        "19",
        path(FLAT, FLAT, (106, 106, 106, 106, 100)),
        [
            (1, order(1, "B", "M", 10)),
            (2, order(2, "S", "L", 10, 105, reservation=CLOSING)),
            (2, order(3, "S", "M", 4, reduce_only=True)),
        ],
        ["1 10 x 100 #2", "3 4 x 100 #3", "2 6 x 106 #4", "2 canceled NOTHING_TO_REDUCE #4"],
    ),
    Scenario(
        "the same, alone in its record",
        "19",
        path(FLAT, FLAT, FLAT),
        [
            (1, order(1, "B", "M", 10)),
            (2, order(2, "S", "M", 10, reduce_only=True)),
            (3, order(3, "S", "M", 10, reservation=CLOSING)),
        ],
        ["1 10 x 100 #2", "2 10 x 100 #3", "3 canceled NOTHING_TO_REDUCE #4"],
    ),
    Scenario(
        "reduce-only without a position: nothing to reduce, when its turn comes",
        "13",
        path(FLAT, (90, 90, 90, 90, 100)),
        [(1, order(1, "B", "L", 10, 95, reduce_only=True))],
        ["1 canceled NOTHING_TO_REDUCE #3"],
    ),
    Scenario(
        "two reduce-only orders of one record: the second finds nothing left",
        "13",
        path(FLAT, FLAT),
        [
            (1, order(1, "B", "M", 4)),
            (2, order(2, "S", "M", 3, reduce_only=True)),
            (2, order(3, "S", "M", 3, reduce_only=True)),
        ],
        ["1 4 x 100 #2", "2 3 x 100 #3", "3 1 x 100 #3", "3 canceled NOTHING_TO_REDUCE #3"],
    ),
    Scenario(
        "reduce-only after a split: of the units that the books have left",
        "20",
        merge([ONE_FOR_TWO, series(Kind.QUOTE, "BBB", [(1, 1, (99, 100)), (3, 3, (199, 200))])]),
        [(0, order(1, "B", "M", "5.5")), (2, order(2, "S", "M", 10, reduce_only=True))],
        ["1 5.5 x 100 #1", "2 2.5 x 199 #3", "2 canceled NOTHING_TO_REDUCE #3"],
    ),
    Scenario(
        "FOK that may only reduce: all of it or nothing",
        "11",
        path(FLAT, FLAT),
        [(1, order(1, "B", "M", 4)), (2, order(2, "S", "M", 5, reduce_only=True, time_in_force=FOK))],
        ["1 4 x 100 #2", "2 canceled FOK_UNFILLED #3"],
    ),
    Scenario(
        "iceberg's turn: its slice, who waits behind it, its next slice",
        "11",
        path((100, 101, 94, 95, 90)),
        [
            (1, order(1, "B", "L", 10, 95, display_quantity=Decimal(2))),
            (1, order(2, "B", "L", 5, 95)),
        ],
        ["1 2 x 95 #2", "2 5 x 95 #2", "1 2 x 95 #2"],
        SHARE,
    ),
    Scenario(
        "an iceberg alone at its price takes all its slices at once",
        "11",
        path((100, 101, 94, 95, 90)),
        [(1, order(1, "B", "L", 10, 95, display_quantity=Decimal(2))), (1, order(2, "B", "L", 5, "94.5"))],
        ["1 9 x 95 #2"],
        SHARE,
    ),
    Scenario(
        "two icebergs take turns",
        "11",
        path((100, 101, 94, 95, 90)),
        [
            (1, order(1, "B", "L", 10, 95, display_quantity=Decimal(1))),
            (1, order(2, "B", "L", 10, 95, display_quantity=Decimal(2))),
        ],
        ["1 1 x 95 #2", "2 2 x 95 #2", "1 2 x 95 #2", "2 4 x 95 #2"],
        SHARE,
    ),
    Scenario(
        "an iceberg's new slice is before who came after it was shown",
        "11",
        path((100, 101, 94, 95, 20), (100, 101, 94, 95, 50)),
        [(1, order(1, "B", "L", 10, 95, display_quantity=Decimal(2))), (2, order(2, "B", "L", 4, 95))],
        ["1 2 x 95 #2", "1 2 x 95 #3", "2 3 x 95 #3"],
        SHARE,
    ),
    Scenario(
        "an iceberg whose new slice was shown after another order came",
        "11",
        path((100, 101, 94, 95, 20), (100, 101, 94, 95, 50)),
        [(1, order(1, "B", "L", 10, 95, display_quantity=Decimal(2))), (1, order(2, "B", "L", 4, 95))],
        ["1 2 x 95 #2", "2 4 x 95 #3", "1 1 x 95 #3"],
        SHARE,
    ),
    Scenario(
        "replaced to another price and back: behind who came meanwhile",
        "11",
        path(FLAT, (100, 101, 94, 95, 60)),
        [
            (1, order(1, "B", "L", 5, 95)),
            (1, order(2, "B", "L", 5, 95)),
            (1, 1, Replacement(limit_price=Decimal(94))),
            (1, 1, Replacement(limit_price=Decimal(95))),
        ],
        ["1 replaced 5 #1", "1 replaced 5 #1", "2 5 x 95 #3", "1 1 x 95 #3"],
        SHARE,
    ),
    Scenario(
        "replaced to fewer units: keeps its priority",
        "11",
        path(FLAT, (100, 101, 94, 95, 60)),
        [
            (1, order(1, "B", "L", 5, 95)),
            (1, order(2, "B", "L", 5, 95)),
            (1, 1, Replacement(quantity=Decimal(4))),
        ],
        ["1 replaced 4 #1", "1 4 x 95 #3", "2 2 x 95 #3"],
        SHARE,
    ),
    Scenario(
        "replaced below what has filled: refused, the order stays as it is",
        "7",
        path((100, 100, 100, 100, 40), FLAT),
        [(1, order(1, "B", "M", 10)), (2, 1, Replacement(quantity=Decimal(4)))],
        ["1 4 x 100 #2", "1 6 x 100 #3"],
        SHARE,
    ),
    Scenario(
        "new terms are live for later records only: a bar that began before is none of theirs",
        "12",
        merge(
            [
                series(Kind.QUOTE, "BBB", [(1, 1, (99, 100)), (5, 5, (99, 100))]),
                series(Kind.BAR, "BBB", [(2, 8, (100, 101, 94, 97, 100)), (8, 9, (97, 97, 96, 97, 100))], "6m"),
            ]
        ),
        [(1, order(1, "B", "L", 10, 90)), (2, 1, Replacement(limit_price=Decimal("96.5")))],
        ["1 replaced 10 #2", "1 10 x 96.5 #4"],
    ),
    Scenario(
        "a cancel after the last fill finds nothing",
        "7",
        path(FLAT),
        [(1, order(1, "B", "M", 10)), (2, 1), (2, 1, Replacement(quantity=Decimal(4)))],
        ["1 10 x 100 #2"],
    ),
    Scenario(
        "stop and target of one bar: the nearer to the open first, and both as they stand alone",
        "10",
        path(FLAT, (100, 106, 94, 100, 100)),
        [
            (1, order(1, "B", "M", 10)),
            (2, order(2, "S", "S", 10, 95, reduce_only=True)),
            (2, order(3, "S", "L", 10, 105.5, reduce_only=True)),
        ],
        ["1 10 x 100 #2", "2 triggered 95 #3", "2 10 x 95 #3", "3 canceled NOTHING_TO_REDUCE #3"],
    ),
    Scenario(
        "commission: its minimum is paid once, with the first part, until the rate has outgrown it",
        "14",
        path((100, 100, 100, 100, 40), (100, 100, 100, 100, 40), (100, 100, 100, 100, 40)),
        [(1, order(1, "B", "M", 12, costs=Costs(Commission(per_unit=Decimal("0.2"), minimum=Decimal("1.5")))))],
        ["1 4 x 100 for 1.5 #2", "1 4 x 100 for 0.1 #3", "1 4 x 100 for 0.8 #4"],
        SHARE,
    ),
    Scenario(
        "slippage: a market order pays it, and a limit that was bettered as far as its limit goes",
        "14",
        path((100, 103, 97, 101, 100)),
        [
            (1, order(1, "B", "M", 10, costs=Costs(None, Slippage(basis_points=Decimal(80))))),
            (1, order(2, "B", "L", 10, 100.5, costs=Costs(None, Slippage(basis_points=Decimal(80))))),
            (1, order(3, "S", "S", 10, 98, costs=Costs(None, Slippage(basis_points=Decimal(80))))),
        ],
        ["1 10 x 101 #2", "2 10 x 100.5 #2", "3 triggered 98 #2", "3 10 x 97 #2"],
    ),
    Scenario(
        "slippage by the spread and by the share of the size, snapped away from the market",
        "14",
        merge([series(Kind.QUOTE, "BBB", [(1, 1, (99, 100, 40, 40)), (2, 2, (99, 101, 40, 40))])]),
        [(1, order(1, "B", "M", 10, costs=Costs(None, Slippage(spread_share=Decimal("0.5"), impact=Decimal("0.1")))))],
        ["1 10 x 103 #2"],
    ),
    Scenario(
        "each slice of an iceberg moves the price by its own share of the size, alone as in company",
        "11, 14",
        path((100, 100, 99, 99, 40)),
        [(1, order(1, "B", "L", 4, 120, display_quantity=Decimal(2), costs=Costs(None, Slippage(impact=Decimal(1)))))],
        ["1 2 x 100.5 #2", "1 2 x 100.5 #2"],
        SHARE,
    ),
    Scenario(
        "opening auction: OPG at its price, a limit at it too, within the share; nobody else trades on it",
        "15",
        days(
            aaa(Kind.TRADE, (1, 1, (90, 100)), (12, 12, (101, 100))),
            aaa(Kind.AUCTION, (5, 5, (95, 100, 1)), (11, 11, (100, 120, 1))),
        ),
        [
            (1, of_aaa(1, "B", "M", time_in_force=OPG)),
            (1, of_aaa(2, "B", "L", 100, time_in_force=OPG)),
            (1, of_aaa(3, "B", "L", 99, time_in_force=OPG)),
            (1, of_aaa(4, "B", "M")),
            (1, of_aaa(5, "B", "M", time_in_force=DAY)),
        ],
        [
            *(f"{n} held #1" for n in (1, 2, 3)),
            *(f"{n} new #3" for n in (1, 2, 3)),
            "1 10 x 100 #4",
            "2 2 x 100 #4",
            "2 canceled AUCTION_OVER #4",
            "3 canceled AUCTION_OVER #4",
            "4 10 x 101 #5",
            "5 expired END_OF_SESSION #6",
        ],
        SHARE,
    ),
    Scenario(
        "where auctions are known, a bar that opens the session is none",
        "15",
        days(aaa(Kind.BAR, (10, 11, (99, 103, 97, 101, 1000))), aaa(Kind.AUCTION, (12, 12, (100, 100, 1)))),
        [(0, of_aaa(1, "B", "M", time_in_force=OPG))],
        ["1 held #0", "1 new #1", "1 10 x 100 #3"],
    ),
    Scenario(
        "closing auction: CLS at its price, a limit at it too; what it leaves ends with the session",
        "15",
        days(aaa(Kind.BAR, (18, 20, (99, 103, 97, 101, 1000))), aaa(Kind.AUCTION, (20, 20, (102, 150, 0)))),
        [
            (1, of_aaa(1, "S", "L", 102, time_in_force=CLS)),
            (1, of_aaa(2, "S", "M", time_in_force=CLS)),
            (1, of_aaa(3, "S", "L", 102.5, time_in_force=CLS)),
        ],
        ["2 10 x 102 #3", "1 5 x 102 #3", "1 canceled AUCTION_OVER #4", "3 canceled AUCTION_OVER #4"],
        SHARE,
    ),
    Scenario(
        "a session whose auction is missing: OPG waits for it until the close",
        "15",
        days(aaa(Kind.TRADE, (12, 12, (101, 100))), aaa(Kind.AUCTION, (110, 110, (100, 100, 1)))),
        [(0, of_aaa(1, "B", "M", time_in_force=OPG))],
        ["1 held #0", "1 new #1", "1 canceled AUCTION_OVER #3"],
    ),
    Scenario(
        "halt: nothing fills while trading stands still, and orders wait",
        "15",
        merge(
            [
                series(Kind.HALT, "BBB", [(2, 2, (1.0,)), (4, 4, (0.0,))]),
                series(Kind.QUOTE, "BBB", [(at, at, (98, 99)) for at in (1, 2, 3, 4)]),
            ]
        ),
        [
            (1, order(1, "B", "M", 10)),
            (1, order(2, "B", "L", 10, 100)),
            (3, order(3, "B", "M", 10, time_in_force=IOC)),
            (3, order(4, "S", "S", 10, 98.5)),
        ],
        ["1 10 x 99 #6", "3 10 x 99 #6", "4 triggered 98.5 #6", "4 10 x 98 #6", "2 10 x 99 #6"],
    ),
    Scenario(
        "halt: a bar that began while trading stood still fills nothing, one that began before it does",
        "15",
        merge([series(Kind.HALT, "BBB", [(3, 3, (1.0,)), (5, 5, (0.0,))]), bars([FLAT, FLAT, FLAT, FLAT], minutes=2)]),
        [(1, order(1, "B", "M", 10)), (3, order(2, "B", "M", 10))],
        ["1 10 x 100 #3", "2 10 x 100 #6"],
    ),
    Scenario(
        "halt: no price met while trading stands still moves a trailing stop",
        "15",
        merge(
            [
                series(Kind.HALT, "BBB", [(2, 2, (1.0,)), (3, 3, (0.0,))]),
                series(Kind.QUOTE, "BBB", [(at, at, (bid, bid + 1)) for at, bid in enumerate((100, 110, 99, 95), 1)]),
            ]
        ),
        [(0, order(1, "S", "TS", 10, 5))],
        ["1 triggered 95 #6", "1 10 x 95 #6"],
    ),
    Scenario(
        "a bar of the time before the open fills nobody, though it is known as the session opens",
        "15",
        days(aaa(Kind.BAR, (9, 10, (90, 90, 90, 90, 1000)), (10, 11, (100, 100, 100, 100, 1000)))),
        [(0, of_aaa(1, "B", "M")), (0, of_aaa(2, "B", "L", 95)), (0, of_aaa(3, "B", "M", time_in_force=OPG))],
        ["3 held #0", "3 new #1", "1 10 x 100 #3", "3 10 x 100 #3"],
    ),
    Scenario(
        "latency: live at the first record that begins at least that long after the decision",
        "12",
        quotes((1, 99, 100), (2, 99, 101), (4, 99, 102)),
        [(1, order(1, "B", "M", latency=MINUTE)), (1, order(2, "B", "M", latency=MINUTE + 1))],
        ["1 10 x 101 #2", "2 10 x 102 #3"],
    ),
]


def _alone(order: Order) -> Order:
    """As it was asked for, before its list."""
    child = order.contingency_type is ContingencyType.BRACKET and order.parent_order_id
    return order._replace(quantity=Decimal(0), reduce_only=False) if child else order


def commands(scenario: Scenario) -> list[Command]:
    made = []
    for position, what, *terms in scenario.sent:
        assert isinstance(position, int)
        if isinstance(what, Order):
            made.append(Command(position, what))
        elif isinstance(what, list):
            check_list(what[0].contingency_type, [_alone(each) for each in what])
            made.append(Command(position, listed=tuple(what)))
        elif terms:
            assert isinstance(terms[0], Replacement)
            made.append(Command(position, replaces=f"env-{what}", terms=terms[0]))
        else:
            made.append(Command(position, cancels=f"env-{what}"))
    return made


def line(event: OrderEvent, with_time: bool) -> str:
    """An event as the table writes it."""
    number, kind = event.order.order_id.removeprefix("env-"), event.exec_type
    if kind is ExecType.TRADE:
        what = f"{event.last_quantity.normalize():f} x {event.last_price.normalize():f}"
        what += f" for {event.last_commission.normalize():f}" if event.last_commission else ""
    elif kind is ExecType.TRIGGERED:
        what = f"triggered {(event.order.stop_price or Decimal(0)).normalize():f}"
    elif kind in {ExecType.CANCELED, ExecType.EXPIRED}:
        what = f"{kind.name.lower()} {event.order.cancel_reason.name}"
    elif kind in {ExecType.REPLACED, ExecType.RESTATED}:
        what = f"{kind.name.lower()} {event.order.quantity:f}"
    else:
        what = kind.name.lower()
    return f"{number} {what} #{event.tape_sequence}" + (f" t{event.transact_time / MINUTE:g}" if with_time else "")


def check(scenario: Scenario) -> None:
    """The venue and the slow model both come to the outcome."""
    events = drive(Venue(INSTRUMENTS, scenario.settings), scenario.tape, commands(scenario))
    # What every order has in common is left out: that it became NEW at once, and that the tape ended.
    ended = [e for e in events if e.order.cancel_reason.name == "END_OF_TAPE"]
    telling = [e for e in events if not (e.exec_id.endswith("-1") and e.exec_type is ExecType.NEW)]
    expected = scenario.outcome
    if not any("END_OF_TAPE" in each for each in expected):
        telling = [e for e in telling if e not in ended]
    timed = [re.search(r" t[\d.]+$", each) is not None for each in expected]
    assert [line(e, with_time) for e, with_time in zip(telling, timed, strict=True)] == expected
    slow = SlowVenue(scenario.tape, scenario.settings).run(commands(scenario))
    assert merged(told(events)) == merged(slow)


@pytest.mark.parametrize("scenario", SCENARIOS, ids=lambda s: f"rule {s.rule}: {s.name}")
def test_rules_7_to_15_and_20_scenario(scenario: Scenario) -> None:
    check(scenario)
