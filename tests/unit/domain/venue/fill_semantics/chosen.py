"""What becomes of orders where their queue is known, and by what was chosen for them."""

from dataclasses import replace
from decimal import Decimal

from services.domain.filling import BarPath, VenueSettings
from services.domain.orders.replacing import Replacement
from services.domain.tape import Kind, Tape, merge
from tests.unit.domain.venue.fill_semantics.lists import bracket, limit, oco, stop
from tests.unit.domain.venue.fill_semantics.scenario import ALL, DAY, FLAT, SHARE, SPLIT, Scenario, days, limited, path
from tests.unit.domain.venue.matching_reference import order, series

NINETY_FIVE = order(1, "B", "L", 10, 95)
KNOWN = replace(ALL, bar_path=BarPath.BY_DIRECTION)
REFUSING = replace(ALL, hold_day_orders=False)
# Both go to 95 and to 105: the first to 95 first, the second to 105.
RISING, FALLING = (100, 105, 95, 102, 100), (100, 105, 95, 99.5, 100)


def ticks(*rows: tuple[float, ...]) -> Tape:
    """BBB's quotes (bid, ask, bid size, ask size) and prints (price, size), one a minute from 1 on."""
    quotes = [(at, at, row) for at, row in enumerate(rows, 1) if len(row) == 4]
    prints = [(at, at, row) for at, row in enumerate(rows, 1) if len(row) == 2]
    return merge([series(Kind.QUOTE, "BBB", quotes), series(Kind.TRADE, "BBB", prints)])


def by(settings: VenueSettings) -> dict[str, object]:
    return {"fill_settings": settings}


SCENARIOS = [
    Scenario(
        "what trades at a limit goes to those first who were ahead of it",
        "9",
        ticks((95, 96, 40, 40), (95, 30), (95, 15), (95, 50)),
        [(1, NINETY_FIVE)],
        ["1 5 x 95 #3", "1 5 x 95 #4"],
    ),
    Scenario(
        "a sale at the touch, likewise",
        "9",
        ticks((95, 96, 40, 20), (96, 30), (95, 15)),
        [(1, order(1, "S", "L", 10, 96))],
        ["1 10 x 96 #2"],
    ),
    Scenario(
        "who betters the touch has nobody ahead",
        "9",
        ticks((94, 96, 40, 40), (95, 7), (95, 50)),
        [(1, NINETY_FIVE)],
        ["1 7 x 95 #2", "1 3 x 95 #3"],
    ),
    Scenario(
        "a price behind the touch: who is ahead is known once the touch has come to it",
        "9",
        ticks((96, 97, 40, 40), (95, 50), (95, 97, 20, 40), (95, 10), (95, 97, 90, 40), (95, 12)),
        [(1, NINETY_FIVE)],
        ["1 2 x 95 #6"],
    ),
    Scenario(
        "some of those ahead leave: they are no more than are displayed",
        "9",
        ticks((95, 96, 40, 40), (95, 96, 5, 40), (95, 96, 60, 40), (95, 7)),
        [(1, NINETY_FIVE)],
        ["1 2 x 95 #4"],
    ),
    Scenario(
        "what trades beyond a limit has taken all who were ahead of it",
        "9",
        ticks((95, 96, 400, 40), (94.5, 30), (95, 50)),
        [(1, NINETY_FIVE)],
        ["1 3 x 94.5 #2", "1 5 x 95 #3"],
        SHARE,
    ),
    Scenario(
        "a quote without a size shows nobody, so it is not known who is ahead",
        "9",
        ticks((95, 96, 0, 40), (95, 50), (94.5, 50)),
        [(1, NINETY_FIVE)],
        ["1 10 x 94.5 #3"],
    ),
    Scenario(
        "two at one price share by time what went beyond the queue",
        "9",
        ticks((95, 96, 40, 40), (95, 55)),
        [(1, NINETY_FIVE), (1, order(2, "B", "L", 10, 95))],
        ["1 10 x 95 #2", "2 5 x 95 #2"],
    ),
    Scenario(
        "beyond the queue, within the share of the print",
        "9",
        ticks((94, 96, 40, 40), (95, 30)),
        [(1, NINETY_FIVE)],
        ["1 3 x 95 #2"],
        SHARE,
    ),
    Scenario(
        "new terms go to the back of the queue, fewer units keep their place",
        "9",
        ticks((95, 96, 40, 40), (95, 30), (95, 15)),
        [
            (1, NINETY_FIVE),
            (1, order(2, "B", "L", 10, 95)),
            (2, 1, Replacement(quantity=Decimal(11))),
            (2, 2, Replacement(quantity=Decimal(4))),
        ],
        ["1 replaced 11 #2", "2 replaced 4 #2", "2 4 x 95 #3"],
    ),
    Scenario(
        "an iceberg's slices queue behind nobody knows whom",
        "9",
        ticks((94, 96, 40, 40), (95, 30), (94.5, 30)),
        [(1, order(1, "B", "L", 10, 95, display_quantity=Decimal(4)))],
        ["1 10 x 94.5 #3"],
    ),
    Scenario(
        "post-only: who is hit at its price has not crossed",
        "9",
        ticks((94, 96, 40, 40), (95, 4)),
        [(1, order(1, "B", "L", 10, 95, post_only=True))],
        ["1 4 x 95 #2"],
    ),
    Scenario(
        "after a split the queue is counted anew",
        "9",
        merge(
            [
                series(Kind.QUOTE, "BBB", [(1, 1, (190, 192, 10, 10)), (4, 4, (95, 96, 30, 30))]),
                SPLIT,
                series(Kind.TRADE, "BBB", [(3, 3, (95, 50)), (5, 5, (95, 40))]),
            ]
        ),
        [(1, order(1, "B", "L", 10, 190))],
        ["1 restated 20 #2", "1 10 x 95 #5"],
    ),
    Scenario(
        "a quote of the session before shows nothing",
        "9",
        days(
            series(Kind.QUOTE, "AAA", [(19, 19, (94, 96, 40, 40)), (112, 112, (95, 96, 5, 40))]),
            series(Kind.TRADE, "AAA", [(111, 111, (95, 50)), (113, 113, (95, 7))]),
        ),
        [(3, order(1, "B", "L", 10, 95, symbol="AAA", time_in_force=DAY))],
        ["1 held #3", "1 new #4", "1 2 x 95 #7", "1 expired END_OF_SESSION #8"],
    ),
    Scenario(
        "a touch fills whoever is ahead, where it is chosen for that order",
        "9",
        ticks((95, 96, 40, 40), (95, 30)),
        [(1, order(1, "B", "L", 10, 95, **by(replace(ALL, fill_on_touch=True)))), (1, order(2, "B", "L", 10, 95))],
        ["1 10 x 95 #2"],
    ),
    Scenario(
        "a bar that rises was at its low first, so the stop below it came before the target",
        "10",
        path(RISING),
        [(1, oco(limit(1, 104), stop(2, 96)))],
        ["2 triggered 96 #2", "1 canceled TWIN_FILLED #2", "2 10 x 96 #2"],
        KNOWN,
    ),
    Scenario(
        "a bar that falls was at its high first, so the target above it came before the stop",
        "10",
        path(FALLING),
        [(1, oco(limit(1, 104), stop(2, 96)))],
        ["2 canceled TWIN_FILLED #2", "1 10 x 104 #2"],
        KNOWN,
    ),
    Scenario(
        "the way is known to the orders for which it was chosen",
        "10",
        path(FALLING),
        [(1, oco(limit(1, 104, **by(KNOWN)), stop(2, 96, **by(KNOWN)))), (1, oco(limit(3, 104), stop(4, 96)))],
        [
            "2 canceled TWIN_FILLED #2",
            "1 10 x 104 #2",
            "4 triggered 96 #2",
            "3 canceled TWIN_FILLED #2",
            "4 10 x 96 #2",
        ],
    ),
    Scenario(
        "stop-limit: a bar that falls comes back to the limit after its trigger",
        "10",
        path(FALLING),
        [(1, limited(1, "B", "SL", 103, 99))],
        ["1 triggered 103 #2", "1 10 x 99 #2"],
        KNOWN,
    ),
    Scenario(
        "stop-limit: a bar that rises was at the limit before its trigger",
        "10",
        path(RISING),
        [(1, limited(1, "B", "SL", 103, 99))],
        ["1 triggered 103 #2"],
        KNOWN,
    ),
    Scenario(
        "trailing: a bar that falls moves the trigger up, and then meets it",
        "10",
        path(FALLING),
        [(1, order(1, "S", "TS", 10, 6))],
        ["1 triggered 99 #2", "1 10 x 99 #2"],
        KNOWN,
    ),
    Scenario(
        "trailing: a bar that rises was at its low before it moved the trigger up",
        "10",
        path(RISING),
        [(1, order(1, "S", "TS", 10, 6))],
        [],
        KNOWN,
    ),
    Scenario(
        "entry after the bar's low: its stop below was not met",
        "10, 13",
        path(RISING, FLAT),
        [(1, bracket(stop(1, 103, "B"), limit(2, 110), stop(3, 96)))],
        ["2 held #1", "3 held #1", "1 triggered 103 #2", "1 10 x 103 #2", "2 new #2", "3 new #2"],
        KNOWN,
    ),
    Scenario(
        "entry before the bar's low: its stop below was met",
        "10, 13",
        path(FALLING, FLAT),
        [(1, bracket(stop(1, 103, "B"), limit(2, 110), stop(3, 96)))],
        [
            "2 held #1",
            "3 held #1",
            "1 triggered 103 #2",
            "1 10 x 103 #2",
            "2 new #2",
            "3 new #2",
            "3 triggered 96 #2",
            "2 canceled TWIN_FILLED #2",
            "3 10 x 96 #2",
        ],
        KNOWN,
    ),
    Scenario(
        "each order brings the fills of all to its own share at most",
        "11",
        path((100, 100, 100, 100, 100)),
        [
            (1, order(1, "B", "M", 30, **by(SHARE))),
            (1, order(2, "B", "M", 70, **by(VenueSettings(volume_share=Decimal("0.5"))))),
            (1, order(3, "B", "M", 30, **by(SHARE))),
            (1, order(4, "B", "M", 500)),
        ],
        ["1 10 x 100 #2", "2 40 x 100 #2", "4 500 x 100 #2"],
    ),
    Scenario(
        "outside their session DAY orders are refused where that is chosen",
        "15",
        days(),
        [
            (2, order(1, "B", "M", symbol="AAA", time_in_force=DAY, **by(REFUSING))),
            (2, order(2, "B", "M", symbol="AAA", time_in_force=DAY)),
        ],
        ["1 rejected MARKET_CLOSED #2", "2 held #2", "2 new #3", "2 expired END_OF_SESSION #4"],
    ),
]
