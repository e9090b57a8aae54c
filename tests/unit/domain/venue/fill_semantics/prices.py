"""What bars, quotes and prints reach, and at what price it fills: limits, stops, triggers and trails."""

from decimal import Decimal

from services.domain.tape import Kind, Tape, merge
from services.domain.venue.matching import Replacement
from tests.unit.domain.venue.fill_semantics.scenario import (
    FLAT,
    IOC,
    SPLIT,
    TOUCH,
    Scenario,
    limited,
    path,
    quotes,
)
from tests.unit.domain.venue.matching_reference import order, series, type_of

# On a bar of 100, 103, 97 and 101, and on a quote of 99 and 101: side, type, price, and what it fills at.
ON_A_BAR = [
    ("B", "M", None, 100),
    ("S", "M", None, 100),
    ("B", "L", 99, 99),
    ("B", "L", 101, 100),
    ("B", "L", 97, None),
    ("S", "L", 102, 102),
    ("S", "L", 98, 100),
    ("S", "L", 103, None),
    ("B", "S", 103, 103),
    ("B", "S", 104, None),
    ("B", "S", 99, 100),
    ("S", "S", 97, 97),
    ("S", "S", 96, None),
    ("S", "S", 100, 100),
]
ON_A_QUOTE = [
    ("B", "M", None, 101),
    ("S", "M", None, 99),
    ("B", "L", 102, 101),
    ("B", "L", 101, None),
    ("S", "L", 98, 99),
    ("S", "L", 99, None),
    ("B", "S", 101, 101),
    ("B", "S", 101.5, None),
    ("S", "S", 99, 99),
    ("S", "S", 98.5, None),
]


def alone(side: str, kind: str, price: float | None, filled_at: int | None, record: str, tape: Tape) -> Scenario:
    """One order that meets one record."""
    name = " ".join([{"B": "buy", "S": "sell"}[side], type_of[kind].name, *([] if price is None else [f"{price:g}"])])
    triggered = [f"1 triggered {price:g} #2"] if kind == "S" else []
    outcome = [] if filled_at is None else [*triggered, f"1 10 x {filled_at} #2"]
    return Scenario(f"{name} on {record}", "8, 9", tape, [(1, order(1, side, kind, 10, price))], outcome)


SCENARIOS = [
    *(alone(*each, "a bar", path((100, 103, 97, 101, 100))) for each in ON_A_BAR),
    *(alone(*each, "a quote", quotes((1, 90, 110), (2, 99, 101))) for each in ON_A_QUOTE),
    Scenario(
        "a quote whose ask comes to a buy limit, where a touch fills",
        "9",
        quotes((1, 99, 101), (2, 94, 95)),
        [(1, order(1, "B", "L", 10, 95))],
        ["1 10 x 95 #2"],
        TOUCH,
    ),
    Scenario(
        "prints: one beyond a limit's price fills it, at the print's; one at it does not",
        "9",
        merge([series(Kind.TRADE, "BBB", [(at, at, (price, 50)) for at, price in ((1, 96), (2, 95), (3, 94.5))])]),
        [(0, order(1, "B", "L", 10, 95))],
        ["1 10 x 94.5 #3"],
    ),
    Scenario(
        "prints: one at a limit's price fills it, where a touch fills",
        "9",
        merge([series(Kind.TRADE, "BBB", [(at, at, (price, 50)) for at, price in ((1, 96), (2, 95), (3, 94.5))])]),
        [(0, order(1, "B", "L", 10, 95))],
        ["1 10 x 95 #2"],
        TOUCH,
    ),
    Scenario(
        "a side of a quote without a price fills nothing",
        "29",
        quotes((1, 0, 101), (2, 99, 101)),
        [(0, order(1, "S", "M"))],
        ["1 10 x 99 #2"],
    ),
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
        "stop and target of one position, each by itself, in one bar, the target nearer to the open: the stop",
        "10",
        path(FLAT, (100, 106, 94, 100, 100)),
        [
            (1, order(1, "B", "M", 10)),
            (2, order(2, "S", "L", 10, 102, reduce_only=True)),
            (2, order(3, "S", "S", 10, 95, reduce_only=True)),
        ],
        ["1 10 x 100 #2", "3 triggered 95 #3", "3 10 x 95 #3", "2 canceled NOTHING_TO_REDUCE #3"],
        cash=10_000,
        equity=Decimal(9_950),
    ),
    Scenario(
        "a position with room for its stop and both its targets: the stop first, then the nearer target",
        "10",
        path(FLAT, (100, 106, 94, 100, 100)),
        [
            (1, order(1, "B", "M", 10)),
            (2, order(2, "S", "L", 4, 105, reduce_only=True)),
            (2, order(3, "S", "L", 4, 102, reduce_only=True)),
            (2, order(4, "S", "S", 4, 95, reduce_only=True)),
        ],
        [
            "1 10 x 100 #2",
            "4 triggered 95 #3",
            "4 4 x 95 #3",
            "3 4 x 102 #3",
            "2 2 x 105 #3",
            "2 canceled NOTHING_TO_REDUCE #3",
        ],
    ),
    Scenario(
        "a stop-limit and a target of one position, the limit on the way from one to the other: the worse of both",
        "10",
        path(FLAT, (100, 106, 94, 94.5, 100)),
        [
            (1, order(1, "B", "M", 10)),
            (2, order(2, "S", "L", 10, 102, reduce_only=True)),
            (2, limited(3, "S", "SL", 95, 96, reduce_only=True)),
        ],
        ["1 10 x 100 #2", "3 triggered 95 #3", "3 10 x 96 #3", "2 canceled NOTHING_TO_REDUCE #3"],
    ),
    Scenario(
        "stop and target of two positions: each as if it were alone, the nearer first",
        "9",
        path(FLAT, (100, 106, 94, 100, 100)),
        [
            (1, order(1, "B", "M", 10)),
            (2, order(2, "S", "L", 10, 102, reduce_only=True)),
            (2, order(3, "S", "S", 10, 95)),
        ],
        ["1 10 x 100 #2", "2 10 x 102 #3", "3 triggered 95 #3", "3 10 x 95 #3"],
    ),
]
