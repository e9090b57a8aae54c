"""What becomes of orders in lists."""

from decimal import Decimal

from services.domain.orders.lists import listed
from services.domain.orders.order import ContingencyType, Order
from services.domain.orders.replacing import Replacement
from services.domain.tape import Kind, merge
from tests.unit.domain.fill_semantics.scenario import (
    CLS,
    DAY,
    FLAT,
    FOK,
    IOC,
    SHARE,
    SPLIT,
    Scenario,
    aaa,
    days,
    expiring,
    limited,
    of_aaa,
    path,
    quotes,
)
from tests.unit.domain.matching_reference import order, series

THIN = (100, 100, 100, 100, 40)
UP, DOWN, BOTH = (100, 106, 99, 105, 100), (100, 101, 94, 96, 100), (100, 106, 94, 100, 100)


def oco(*orders: Order) -> list[Order]:
    return listed(ContingencyType.OCO, orders)


def oto(*orders: Order) -> list[Order]:
    return listed(ContingencyType.OTO, orders)


def bracket(entry: Order, target: Order, stop: Order) -> list[Order]:
    """Its children are for what the entry fills."""
    return listed(ContingencyType.BRACKET, [entry, *(each._replace(quantity=Decimal(0)) for each in (target, stop))])


def market(number: int, side: str = "B", **terms: object) -> Order:
    return order(number, side, "M", **terms)


def limit(number: int, price: float, side: str = "S", **terms: object) -> Order:
    return order(number, side, "L", 10, price, **terms)


def stop(number: int, price: float, side: str = "S", **terms: object) -> Order:
    return order(number, side, "S", 10, price, **terms)


LONG = bracket(market(1), limit(2, 105), stop(3, 95))
"""A purchase at the market, to be sold at 105 or else at 95."""
SHORT = bracket(market(1, "S"), limit(2, 95, "B"), stop(3, 105, "B"))
DIP = bracket(limit(1, 95, "B"), limit(2, 105), stop(3, 90))
EITHER = oco(limit(1, 105), stop(2, 95))
HELD = ["2 held #1", "3 held #1"]
ENTERED = [*HELD, "1 10 x 100 #2", "2 new #2", "3 new #2"]
STOPPED, REACHED = "3 canceled TWIN_FILLED #3", "2 canceled TWIN_FILLED #3"

SCENARIOS = [
    Scenario("the target", "13", path(FLAT, UP), [(1, LONG)], [*ENTERED, STOPPED, "2 10 x 105 #3"]),
    Scenario("the stop", "13", path(FLAT, DOWN), [(1, LONG)], [*ENTERED, "3 triggered 95 #3", REACHED, "3 10 x 95 #3"]),
    Scenario(
        "gap through the stop: at the open",
        "8",
        path(FLAT, (90, 92, 88, 91, 100)),
        [(1, LONG)],
        [*ENTERED, "3 triggered 95 #3", REACHED, "3 10 x 90 #3"],
    ),
    Scenario(
        "gap through the target: the better price",
        "8",
        path(FLAT, (110, 112, 108, 111, 100)),
        [(1, LONG)],
        [*ENTERED, STOPPED, "2 10 x 110 #3"],
    ),
    Scenario(
        "stop and target in one bar: the stop",
        "10",
        path(FLAT, BOTH),
        [(1, LONG)],
        [*ENTERED, "3 triggered 95 #3", REACHED, "3 10 x 95 #3"],
    ),
    Scenario(
        "stop and target in one bar, the target nearer to the open: the stop",
        "10",
        path(FLAT, (104, 106, 94, 100, 100)),
        [(1, LONG)],
        [*ENTERED, "3 triggered 95 #3", REACHED, "3 10 x 95 #3"],
    ),
    Scenario(
        "the target at the open, the stop later in the bar: the open was first",
        "10",
        path(FLAT, (107, 108, 94, 95, 100)),
        [(1, LONG)],
        [*ENTERED, STOPPED, "2 10 x 107 #3"],
    ),
    Scenario(
        "a short's stop and target in one bar: the stop",
        "10",
        path(FLAT, BOTH),
        [(1, SHORT)],
        [*ENTERED, "3 triggered 105 #3", REACHED, "3 10 x 105 #3"],
    ),
    Scenario(
        "a trailing stop reached only behind the high that the target lies below: the target",
        "10",
        path(FLAT, (100, 106, 99, 101, 100)),
        [(1, bracket(market(1), limit(2, 105), order(3, "S", "TS", 10, 3)))],
        [*ENTERED, STOPPED, "2 10 x 105 #3"],
    ),
    Scenario(
        "a stop-limit whose limit lies on the way from its stop to the target: the worse of both",
        "10",
        path(FLAT, (100, 106, 94, 94.5, 100)),
        [(1, bracket(market(1), limit(2, 105), limited(3, "S", "SL", 95, 96)))],
        [*ENTERED, "3 triggered 95 #3", REACHED, "3 10 x 96 #3"],
    ),
    Scenario(
        "a target out of reach says nothing of a stop-limit: the bar's close does, which only touches",
        "9, 10",
        path(FLAT, (101, 101, 98, 99.5, 100), (99.5, 102, 99.5, 101.5, 100)),
        [(1, oco(limit(1, 105), limited(2, "S", "SL", 99, 99.5)))],
        ["2 triggered 99 #3", "1 canceled TWIN_FILLED #4", "2 10 x 99.5 #4"],
    ),
    Scenario(
        "nor does one that is touched and whose limit is out of reach",
        "9, 10",
        path((99.5, 100.5, 92, 92, 100), (97, 97, 97, 97, 100)),
        [(1, oco(limited(1, "S", "SL", 93.5, 98), limited(2, "S", "LIT", 95.5, 101.5)))],
        ["2 triggered 95.5 #2", "1 triggered 93.5 #2"],
    ),
    Scenario(
        "the parent's own bar reaches the stop, and the target, which never fills there",
        "13",
        path(BOTH, FLAT),
        [(1, LONG)],
        [*ENTERED, "3 triggered 95 #2", "2 canceled TWIN_FILLED #2", "3 10 x 95 #2"],
    ),
    Scenario(
        "the parent's own bar reaches the target alone: not in that bar",
        "13",
        path(UP, (104, 104, 104, 104, 100), UP),
        [(1, LONG)],
        [*ENTERED, "3 canceled TWIN_FILLED #4", "2 10 x 105 #4"],
    ),
    Scenario(
        "entered inside a bar that goes on to the stop",
        "13",
        path((100, 106, 89, 100, 100)),
        [(1, DIP)],
        [*HELD, "1 10 x 95 #2", *ENTERED[3:], "3 triggered 90 #2", "2 canceled TWIN_FILLED #2", "3 10 x 90 #2"],
    ),
    Scenario(
        "entered at a price beyond the stop: out at the same",
        "13",
        path((88, 90, 85, 89, 100)),
        [(1, DIP)],
        [*HELD, "1 10 x 88 #2", *ENTERED[3:], "3 triggered 90 #2", "2 canceled TWIN_FILLED #2", "3 10 x 88 #2"],
    ),
    Scenario(
        "entered by a quote: what it shows of the other side is for the next one",
        "13",
        quotes((1, 99, 100), (2, 94, 95)),
        [(0, LONG)],
        [
            "2 held #0",
            "3 held #0",
            "1 10 x 100 #1",
            "2 new #1",
            "3 new #1",
            "3 triggered 95 #2",
            "2 canceled TWIN_FILLED #2",
            "3 10 x 94 #2",
        ],
    ),
    Scenario(
        "entered in the closing auction: nothing of that bar comes after it",
        "13",
        days(aaa(Kind.BAR, (19, 20, (100, 103, 90, 101, 1000)), (110, 111, (94, 94, 94, 94, 1000)))),
        [(1, bracket(of_aaa(1, "B", "M", time_in_force=CLS), of_aaa(2, "S", "L", 105), of_aaa(3, "S", "S", 95)))],
        [*HELD, "1 10 x 101 #2", *ENTERED[3:], "3 triggered 95 #5", "2 canceled TWIN_FILLED #5", "3 10 x 94 #5"],
    ),
    Scenario(
        "each part of the parent's fill raises its children",
        "13",
        path(THIN, THIN, (100, 100, 94, 94, 1000)),
        [(1, LONG)],
        [
            *HELD,
            "1 4 x 100 #2",
            *ENTERED[3:],
            "1 4 x 100 #3",
            "2 restated 8.0 #3",
            "3 restated 8.0 #3",
            "1 2 x 100 #4",
            "2 restated 10.0 #4",
            "3 restated 10.0 #4",
            "3 triggered 95 #4",
            "2 canceled TWIN_FILLED #4",
            "3 10 x 95 #4",
        ],
        SHARE,
    ),
    Scenario(
        "the target of what has filled ends what is left of the parent",
        "13",
        path(THIN, (106, 106, 106, 106, 1000)),
        [(1, bracket(limit(1, 100.5, "B"), limit(2, 105), stop(3, 95)))],
        [*HELD, "1 4 x 100 #2", *ENTERED[3:], STOPPED, "2 4 x 106 #3", "1 canceled CHILD_FILLED #3"],
        SHARE,
    ),
    Scenario(
        "a bar that fills more of the parent fills no target",
        "13",
        path(THIN, (100, 106, 99, 106, 1000)),
        [(1, bracket(limit(1, 100.5, "B"), limit(2, 105), stop(3, 95)))],
        [*HELD, "1 4 x 100 #2", *ENTERED[3:], "1 6 x 100 #3", "2 restated 10.0 #3", "3 restated 10.0 #3"],
        SHARE,
    ),
    Scenario(
        "the target partly filled, then the stop: for what is left",
        "13",
        path(FLAT, (105.5, 106, 105.5, 105.5, 40), (100, 100, 94, 95, 1000)),
        [(1, LONG)],
        [
            *ENTERED,
            "3 restated 6.0 #3",
            "2 4 x 105.5 #3",
            "3 triggered 95 #4",
            "2 canceled TWIN_FILLED #4",
            "3 6 x 95 #4",
        ],
        SHARE,
    ),
    Scenario(
        "the stop partly filled: what is left of it goes at the next price, wherever the target is",
        "13",
        path(FLAT, (94, 94, 94, 94, 40), (94, 94, 94, 94, 0), (106, 106, 106, 106, 1000)),
        [(1, LONG)],
        [
            *ENTERED,
            "3 triggered 95 #3",
            "2 restated 6.0 #3",
            "3 4 x 94 #3",
            "2 canceled TWIN_FILLED #5",
            "3 6 x 106 #5",
        ],
        SHARE,
    ),
    Scenario(
        "an IOC parent filled in part: children for that part",
        "13",
        path(THIN, UP),
        [(1, bracket(market(1, time_in_force=IOC), limit(2, 105), stop(3, 95)))],
        [*HELD, "1 4 x 100 #2", *ENTERED[3:], "1 canceled IOC_REMAINDER #2", STOPPED, "2 4 x 105 #3"],
        SHARE,
    ),
    Scenario(
        "the parent ends with nothing filled: so do its children",
        "13",
        path(FLAT),
        [(1, DIP), (2, 1)],
        [*HELD, "1 canceled REQUESTED #2", "2 canceled PARENT_ENDED #2", "3 canceled PARENT_ENDED #2"],
    ),
    Scenario(
        "an exit is canceled before the entry fills: nothing enters without it",
        "13",
        path(FLAT, (94, 94, 94, 94, 100)),
        [(1, DIP), (2, 2)],
        [*HELD, "2 canceled REQUESTED #2", "3 canceled TWIN_ENDED #2", "1 canceled CHILD_ENDED #2"],
    ),
    Scenario(
        "an exit's time comes before the entry fills: nothing enters without it",
        "13, 15",
        path(FLAT, FLAT, (94, 94, 94, 94, 100)),
        [(1, bracket(limit(1, 95, "B"), limit(2, 105), stop(3, 90, **expiring(2))))],
        [*HELD, "3 expired END_OF_TIME #1 t2", "2 canceled TWIN_ENDED #1 t2", "1 canceled CHILD_ENDED #1 t2"],
    ),
    Scenario(
        "an exit is canceled when the entry has filled in part: no more of it enters",
        "13",
        path(THIN, THIN),
        [(1, bracket(limit(1, 100.5, "B"), limit(2, 105), stop(3, 95))), (2, 3)],
        [
            *HELD,
            "1 4 x 100 #2",
            *ENTERED[3:],
            "3 canceled REQUESTED #2",
            "2 canceled TWIN_ENDED #2",
            "1 canceled CHILD_ENDED #2",
        ],
        SHARE,
    ),
    Scenario(
        "the session ends that the exits were for, the entry filled in part: no more of it enters",
        "13, 15",
        days(aaa(Kind.BAR, (15, 16, (100, 100, 100, 100, 40)), (115, 116, (100, 100, 100, 100, 40)))),
        [
            (
                1,
                bracket(
                    of_aaa(1, "B", "L", 100.5),
                    of_aaa(2, "S", "L", 105, time_in_force=DAY),
                    of_aaa(3, "S", "S", 95, time_in_force=DAY),
                ),
            )
        ],
        [
            *HELD,
            "1 4 x 100 #2",
            *ENTERED[3:],
            "2 expired END_OF_SESSION #3 t20",
            "3 expired END_OF_SESSION #3 t20",
            "1 canceled CHILD_ENDED #3 t20",
        ],
        SHARE,
    ),
    Scenario(
        "another order closes what a part of the entry opened: nothing to reduce, and no more of it enters",
        "13",
        path(THIN, THIN, (106, 106, 106, 106, 1000)),
        [(1, bracket(limit(1, 100.5, "B"), limit(2, 105), stop(3, 95))), (2, market(4, "S", reduce_only=True))],
        [
            *HELD,
            "1 4 x 100 #2",
            *ENTERED[3:],
            "4 4 x 100 #3",
            "4 canceled NOTHING_TO_REDUCE #3",
            "2 canceled NOTHING_TO_REDUCE #4",
            "3 canceled TWIN_ENDED #4",
            "1 canceled CHILD_ENDED #4",
        ],
        SHARE,
    ),
    Scenario(
        "an FOK parent that cannot be filled whole",
        "13",
        path(THIN),
        [(1, bracket(market(1, time_in_force=FOK), limit(2, 105), stop(3, 95)))],
        [*HELD, "1 canceled FOK_UNFILLED #2", "2 canceled PARENT_ENDED #2", "3 canceled PARENT_ENDED #2"],
        SHARE,
    ),
    Scenario(
        "a parent by cash: children for what it bought",
        "12",
        path((40, 40, 40, 40, 100), (106, 106, 106, 106, 100)),
        [(1, bracket(order(1, "B", "M", 0, cash_quantity=Decimal(1000)), limit(2, 105), stop(3, 20)))],
        [*HELD, "1 25 x 40 #2", *ENTERED[3:], STOPPED, "2 25 x 106 #3"],
    ),
    Scenario(
        "an iceberg parent: children for all that it fills",
        "11",
        path((100, 101, 94, 95, 90), UP),
        [(1, bracket(limit(1, 95, "B", display_quantity=Decimal(2)), limit(2, 105), stop(3, 90)))],
        [*HELD, "1 9 x 95 #2", *ENTERED[3:], STOPPED, "2 9 x 105 #3", "1 canceled CHILD_FILLED #3"],
        SHARE,
    ),
    Scenario(
        "the position is closed by another order: nothing to reduce for either child",
        "13",
        path(FLAT, FLAT, UP),
        [(1, LONG), (2, market(4, "S", reduce_only=True))],
        [*ENTERED, "4 10 x 100 #3", "2 canceled NOTHING_TO_REDUCE #4", "3 canceled TWIN_ENDED #4"],
    ),
    Scenario(
        "a child is canceled: its twin too",
        "13",
        path(FLAT, UP),
        [(1, LONG), (2, 2)],
        [*ENTERED, "2 canceled REQUESTED #2", "3 canceled TWIN_ENDED #2"],
    ),
    Scenario(
        "a split of what is held and its children",
        "20",
        merge([SPLIT, series(Kind.QUOTE, "BBB", [(1, 1, (99, 100)), (3, 3, (53, 54))])]),
        [(0, LONG)],
        [
            "2 held #0",
            "3 held #0",
            "1 10 x 100 #1",
            "2 new #1",
            "3 new #1",
            "2 restated 20 #2",
            "3 restated 20 #2",
            STOPPED,
            "2 20 x 53 #3",
        ],
    ),
    Scenario(
        "a split of a bracket that waits",
        "20",
        merge([SPLIT, series(Kind.QUOTE, "BBB", [(1, 1, (99, 100)), (3, 3, (44, 45)), (4, 4, (53, 54))])]),
        [(0, DIP)],
        [
            "2 held #0",
            "3 held #0",
            "1 restated 20 #2",
            "2 restated 20 #2",
            "3 restated 20 #2",
            "1 20 x 45 #3",
            "2 new #3",
            "3 new #3",
            "3 canceled TWIN_FILLED #4",
            "2 20 x 53 #4",
        ],
    ),
    Scenario(
        "a child that is replaced while it waits",
        "13",
        path(FLAT, (103, 104, 103, 103, 100)),
        [(1, LONG), (1, 2, Replacement(limit_price=Decimal(103)))],
        [*HELD, "2 replaced 10 #1", "1 10 x 100 #2", "3 new #2", "2 new #2", STOPPED, "2 10 x 103 #3"],
    ),
    Scenario(
        "one leg fills: the other goes",
        "13",
        path((110, 111, 109, 110, 100)),
        [(1, EITHER)],
        ["2 canceled TWIN_FILLED #2", "1 10 x 110 #2"],
    ),
    Scenario(
        "both legs in one bar: the stop",
        "10",
        path(BOTH),
        [(1, EITHER)],
        ["2 triggered 95 #2", "1 canceled TWIN_FILLED #2", "2 10 x 95 #2"],
    ),
    Scenario(
        "one leg in part, then the other: together no more than one",
        "13",
        path((106, 106, 106, 106, 40), (94, 94, 94, 94, 1000)),
        [(1, EITHER)],
        ["2 restated 6.0 #2", "1 4 x 106 #2", "2 triggered 95 #3", "1 canceled TWIN_FILLED #3", "2 6 x 94 #3"],
        SHARE,
    ),
    Scenario(
        "one leg is canceled: the other too",
        "13",
        path(FLAT),
        [(1, EITHER), (1, 2)],
        ["2 canceled REQUESTED #1", "1 canceled TWIN_ENDED #1"],
    ),
    Scenario(
        "one leg expires: the other ends",
        "15",
        path(FLAT, FLAT),
        [(1, oco(limit(1, 105, **expiring(2)), stop(2, 95)))],
        ["1 expired END_OF_TIME #1 t2", "2 canceled TWIN_ENDED #1 t2"],
    ),
    Scenario(
        "both legs end with the session: each for that reason",
        "15",
        days(),
        [(1, oco(of_aaa(1, "S", "L", 105, time_in_force=DAY), of_aaa(2, "S", "S", 95, time_in_force=DAY)))],
        ["1 expired END_OF_SESSION #2 t20", "2 expired END_OF_SESSION #2 t20"],
    ),
    Scenario(
        "a post-only leg that would cross: neither",
        "9",
        quotes((1, 99, 100), (2, 106, 107)),
        [(1, oco(limit(1, 105, post_only=True), stop(2, 95)))],
        ["1 canceled POST_ONLY #2", "2 canceled TWIN_ENDED #2"],
    ),
    Scenario(
        "one triggers two: live with the record after",
        "13",
        path((100, 106, 89, 100, 100), (94, 94, 94, 94, 100)),
        [(1, oto(market(1), limit(2, 95, "B"), stop(3, 94)))],
        [*ENTERED, "3 triggered 94 #3", "3 10 x 94 #3", "2 10 x 94 #3"],
    ),
    Scenario(
        "one triggers another when it is filled whole",
        "13",
        path(THIN, (100, 100, 90, 90, 40), FLAT, (90, 90, 90, 90, 100)),
        [(1, oto(market(1), limit(2, 95, "B")))],
        ["2 held #1", "1 4 x 100 #2", "1 4 x 100 #3", "1 2 x 100 #4", "2 new #4", "2 10 x 90 #5"],
        SHARE,
    ),
    Scenario(
        "one that ends in part triggers nothing",
        "13",
        path(THIN),
        [(1, oto(market(1), limit(2, 95, "B"))), (2, 1)],
        ["2 held #1", "1 4 x 100 #2", "1 canceled REQUESTED #2", "2 canceled PARENT_ENDED #2"],
        SHARE,
    ),
    Scenario(
        "one triggers another outside that one's session: it goes on waiting, for the open",
        "15",
        days(
            series(Kind.QUOTE, "BBB", [(30, 30, (99, 100))]),
            aaa(Kind.BAR, (110, 111, (105, 105, 105, 105, 1000))),
        ),
        [(2, oto(market(1), of_aaa(2, "B", "M", time_in_force=DAY)))],
        ["2 held #2", "1 10 x 100 #3", "2 restated 10 #3", "2 new #4", "2 10 x 105 #5"],
    ),
]
