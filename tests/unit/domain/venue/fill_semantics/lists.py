"""What becomes of orders in lists."""

from decimal import Decimal

from services.domain.costs import Commission, Costs
from services.domain.orders.lists import listed
from services.domain.orders.order import ContingencyType, Order
from services.domain.tape import Kind
from tests.unit.domain.venue.fill_semantics.scenario import (
    DAY,
    FLAT,
    SHARE,
    Scenario,
    aaa,
    days,
    expiring,
    limited,
    of_aaa,
    path,
    quotes,
)
from tests.unit.domain.venue.matching_reference import order, series

KEPT = Costs(Commission(basis_points=Decimal(1000), in_units=True))
THIN = (100, 100, 100, 100, 40)
UP, DOWN, BOTH = (100, 106, 99, 105, 100), (100, 101, 94, 96, 100), (100, 106, 94, 100, 100)


def oco(*orders: Order) -> list[Order]:
    return listed(ContingencyType.OCO, orders)


def oto(*orders: Order) -> list[Order]:
    return listed(ContingencyType.OTO, orders)


def bracket(entry: Order, target: Order, stop: Order) -> list[Order]:
    """Its children are for what the entry fills."""
    return listed(ContingencyType.BRACKET, [entry, *(each._replace(quantity=Decimal(0)) for each in (target, stop))])


def kept(orders: list[Order]) -> list[Order]:
    """Who of them buys gets a tenth less, as commission."""
    return [each._replace(costs=KEPT) for each in orders]


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
