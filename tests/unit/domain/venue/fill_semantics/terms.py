"""What an order may say beside its price, what it costs, and when it is live."""

from decimal import Decimal

from services.domain.costs import Commission, Costs, Slippage
from services.domain.tape import Kind, merge
from services.domain.venue.matching import Replacement
from tests.unit.domain.venue.fill_semantics.lists import KEPT
from tests.unit.domain.venue.fill_semantics.scenario import (
    CLOSING,
    FLAT,
    FOK,
    ONE_FOR_TWO,
    SHARE,
    Scenario,
    path,
    quotes,
)
from tests.unit.domain.venue.matching_reference import MINUTE, order, series

SCENARIOS = [
    Scenario(
        "decided at a bar's close: not filled by a bar that began before it",
        "12",
        merge(
            [
                series(Kind.BAR, "BBB", [(59, 60, FLAT)], "1m"),
                series(Kind.BAR, "BBB", [(0, 60, FLAT), (60, 120, (110, 110, 110, 110, 100))], "1h"),
            ]
        ),
        [(1, order(1, "B", "M"))],
        ["1 10 x 110 #3 t60"],
    ),
    Scenario(
        "latency: live at the first record that begins at least that long after the decision",
        "12",
        quotes((1, 99, 100), (2, 99, 101), (4, 99, 102)),
        [(1, order(1, "B", "M", latency=MINUTE)), (1, order(2, "B", "M", latency=MINUTE + 1))],
        ["1 10 x 101 #2", "2 10 x 102 #3"],
    ),
    Scenario(
        "cash that buys not one increment",
        "12",
        path(FLAT),
        [(1, order(1, "B", "M", 0, cash_quantity=Decimal("49.99")))],
        ["1 canceled INSUFFICIENT_CASH #2"],
    ),
    Scenario(
        "a split that leaves less than an increment",
        "20",
        merge([series(Kind.SPLIT, "BBB", [(1, 1, (1, 50))])]),
        [(0, order(1, "B", "L", 5, 98))],
        ["1 canceled CORPORATE_ACTION #1"],
    ),
    Scenario(
        "a sale larger than the long, without leave to be short: refused before the venue",
        "17",
        path(FLAT, FLAT, FLAT),
        [(1, order(1, "B", "M", 10)), (2, order(2, "S", "M", 25))],
        ["1 10 x 100 #2", "2 rejected SHORT_NOT_ALLOWED, 15 missing #2"],
        cash=10_000,
        equity=Decimal(10_000),
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
        "commission: its minimum is paid once, with the first part, until the rate has outgrown it",
        "14",
        path((100, 100, 100, 100, 40), (100, 100, 100, 100, 40), (100, 100, 100, 100, 40)),
        [(1, order(1, "B", "M", 12, costs=Costs(Commission(per_unit=Decimal("0.2"), minimum=Decimal("1.5")))))],
        ["1 4 x 100 for 1.5 #2", "1 4 x 100 for 0.1 #3", "1 4 x 100 for 0.8 #4"],
        SHARE,
    ),
    Scenario(
        "commission in units: a cover trades what it keeps beside the short, and FOK counts on as much",
        "21",
        path(FLAT, FLAT, FLAT, FLAT, FLAT),
        [
            (1, order(1, "S", "M", 10)),
            (2, order(2, "B", "M", 20, reduce_only=True, costs=KEPT)),
            (3, order(3, "S", "M", 10)),
            (4, order(4, "B", "M", 11, reduce_only=True, time_in_force=FOK, costs=KEPT)),
        ],
        [
            "1 10 x 100 #2",
            "2 11 x 100 for 100 #3",
            "2 canceled NOTHING_TO_REDUCE #3",
            "3 10 x 100 #4",
            "4 11 x 100 for 100 #5",
        ],
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
]
