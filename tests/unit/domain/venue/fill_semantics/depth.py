"""What becomes of orders that are larger than what a quote shows at its best price."""

from decimal import Decimal

from services.domain.costs import Costs, Slippage
from services.domain.filling import VenueSettings
from services.domain.orders.lists import listed
from services.domain.orders.order import ContingencyType, Order
from services.domain.tape import Kind, Tape, merge
from tests.unit.domain.venue.fill_semantics.scenario import FOK, IOC, SHARE, TOUCH, Scenario, limited
from tests.unit.domain.venue.matching_reference import deep, order, series

WHOLE = VenueSettings(volume_share=Decimal(1))
BEST = (99, 100, 100, 40)
BEHIND = [(98.5, 200, 100.5, 60), (0, 0, 101, 100)]
LATER = (102, 103, 500, 500)


def book(*quotes: tuple[float, float, float, float]) -> Tape:
    """A quote of BBB with bids 99 x 100 and 98.5 x 200, asks 100 x 40, 100.5 x 60 and 101 x 100; then these.

    Where these have the same best prices, they have the same levels behind them.
    """
    rows = [(at, at, values) for at, values in enumerate((BEST, *quotes), 1)]
    behind = [BEHIND if values == BEST else [] for _, _, values in rows]
    return merge([deep(series(Kind.QUOTE, "BBB", rows), behind)])


def thin(first: float, second: float) -> Tape:
    """Asks of 100 and 101 of these sizes."""
    return merge([deep(series(Kind.QUOTE, "BBB", [(1, 1, (99, 100, 10, first))]), [[(0, 0, 101, second)]])])


def shown(*bids: tuple[tuple[float, float], ...] | tuple[float, float]) -> Tape:
    """Quotes by their bids (price, size), the best first, and prints (price, size), one a minute from 1 on.

    Bids come as pairs in a tuple, a print as one pair.
    """
    quotes, behind, prints = [], [], []
    for at, row in enumerate(bids, 1):
        if not isinstance(row[0], tuple):
            prints.append((at, at, row))
            continue
        (price, size), *others = (each for each in row if isinstance(each, tuple))
        quotes.append((at, at, (price, 97, size, 40)))
        behind.append([(*each, 0, 0) for each in others])
    return merge([deep(series(Kind.QUOTE, "BBB", quotes), behind), series(Kind.TRADE, "BBB", prints)])


def market(quantity: int, side: str = "B", number: int = 1, **terms: object) -> Order:
    return order(number, side, "M", quantity, **terms)


def limit(quantity: int, price: float, number: int = 1, **terms: object) -> Order:
    return order(number, "B", "L", quantity, price, **terms)


def slipping(**model: Decimal | int) -> Costs:
    return Costs(None, Slippage(**{name: Decimal(value) for name, value in model.items()}))


ENTRY = listed(
    ContingencyType.BRACKET,
    [market(12), order(2, "S", "L", 0, 110), order(3, "S", "S", 0, 90)],
)

SCENARIOS = [
    Scenario(
        "a market order larger than the touch walks the book",
        "11",
        book(),
        [(0, market(70))],
        ["1 40 x 100 #1", "1 30 x 100.5 #1"],
        WHOLE,
    ),
    Scenario(
        "a sale walks the bids",
        "11",
        book(),
        [(0, market(150, "S"))],
        ["1 100 x 99 #1", "1 50 x 98.5 #1"],
        WHOLE,
    ),
    Scenario(
        "of each level the share of its size",
        "11",
        book(),
        [(0, market(12))],
        ["1 4 x 100 #1", "1 6 x 100.5 #1", "1 2 x 101 #1"],
        SHARE,
    ),
    Scenario(
        "more than all levels have: what is left waits",
        "11",
        book(LATER),
        [(0, market(250))],
        ["1 40 x 100 #1", "1 60 x 100.5 #1", "1 100 x 101 #1", "1 50 x 103 #2"],
        WHOLE,
    ),
    Scenario(
        "without a limit on units the last level that is known has all that is wanted",
        "11",
        book(),
        [(0, market(250))],
        ["1 40 x 100 #1", "1 60 x 100.5 #1", "1 150 x 101 #1"],
    ),
    Scenario(
        "a level whose share is less than an increment has none",
        "11",
        thin(4, 100),
        [(0, market(3))],
        ["1 3 x 101 #1"],
        SHARE,
    ),
    Scenario(
        "the other side's levels say nothing of this one's",
        "11",
        thin(4, 100),
        [(0, market(3, "S"))],
        ["1 1 x 99 #1"],
        SHARE,
    ),
    Scenario(
        "a limit takes all levels at or better",
        "11",
        book(LATER),
        [(0, limit(150, 100.5))],
        ["1 40 x 100 #1", "1 60 x 100.5 #1"],
        WHOLE,
    ),
    Scenario("a limit at the best price is touched alone", "9", book(), [(0, limit(50, 100))], [], WHOLE),
    Scenario(
        "a limit at the best price, where a touch fills: nothing behind it",
        "9",
        book(),
        [(0, limit(50, 100))],
        ["1 40 x 100 #1"],
        VenueSettings(fill_on_touch=True, volume_share=Decimal(1)),
    ),
    Scenario(
        "a limit that a touch fills, without a limit on units: the level's own",
        "9",
        book(),
        [(0, limit(50, 100))],
        ["1 40 x 100 #1"],
        TOUCH,
    ),
    Scenario(
        "IOC counts all levels",
        "11",
        book(LATER),
        [(0, market(25, time_in_force=IOC))],
        ["1 4 x 100 #1", "1 6 x 100.5 #1", "1 10 x 101 #1", "1 canceled IOC_REMAINDER #1"],
        SHARE,
    ),
    Scenario(
        "FOK at the edge of all levels",
        "11",
        book(),
        [(0, market(20, time_in_force=FOK))],
        ["1 4 x 100 #1", "1 6 x 100.5 #1", "1 10 x 101 #1"],
        SHARE,
    ),
    Scenario(
        "FOK beyond it fills nothing",
        "11",
        book(LATER),
        [(0, market(21, time_in_force=FOK))],
        ["1 canceled FOK_UNFILLED #1"],
        SHARE,
    ),
    Scenario(
        "FOK at a limit counts the levels at or better",
        "11",
        book(),
        [(0, limit(11, 100.5, time_in_force=FOK)), (0, limit(10, 100.5, 2, time_in_force=FOK))],
        ["1 canceled FOK_UNFILLED #1", "2 4 x 100 #1", "2 6 x 100.5 #1"],
        SHARE,
    ),
    Scenario(
        "of two orders the earlier has the better levels",
        "11",
        book(),
        [(0, market(6)), (0, market(6, number=2))],
        ["1 4 x 100 #1", "1 2 x 100.5 #1", "2 4 x 100.5 #1", "2 2 x 101 #1"],
        SHARE,
    ),
    Scenario(
        "what is left of a level is worse than a later order's limit",
        "11",
        book(),
        [(0, market(12)), (0, limit(5, 100.5, 2))],
        ["1 4 x 100 #1", "1 6 x 100.5 #1", "1 2 x 101 #1"],
        SHARE,
    ),
    Scenario(
        "an order by cash is sized anew at each level",
        "12",
        book(),
        [(0, order(1, "B", "M", 0, cash_quantity=Decimal(1000)))],
        ["1 4 x 100 #1", "1 5.5 x 100.5 #1"],
        SHARE,
    ),
    Scenario(
        "an order that only reduces walks as far as the position goes",
        "13",
        book(BEST),
        [(0, market(12)), (1, market(30, "S", 2, reduce_only=True))],
        [
            "1 4 x 100 #1",
            "1 6 x 100.5 #1",
            "1 2 x 101 #1",
            "2 10 x 99 #2",
            "2 2 x 98.5 #2",
            "2 canceled NOTHING_TO_REDUCE #2",
        ],
        SHARE,
    ),
    Scenario(
        "a stop that the best bid triggers walks from there",
        "8",
        book(),
        [(0, order(1, "S", "S", 15, 99))],
        ["1 triggered 99 #1", "1 10 x 99 #1", "1 5 x 98.5 #1"],
        SHARE,
    ),
    Scenario(
        "a stop-limit takes the levels that its limit admits",
        "8",
        book(),
        [(0, limited(1, "B", "SL", 100, 100.5)._replace(quantity=Decimal(15)))],
        ["1 triggered 100 #1", "1 4 x 100 #1", "1 6 x 100.5 #1"],
        SHARE,
    ),
    Scenario(
        "an iceberg goes on at the next level in mid-slice",
        "11",
        book(),
        [(0, limit(9, 100.5, display_quantity=Decimal(3)))],
        ["1 4 x 100 #1", "1 5 x 100.5 #1"],
        SHARE,
    ),
    Scenario(
        "two icebergs take turns through the levels",
        "11",
        book(),
        [(0, limit(6, 100.5, n, display_quantity=Decimal(3))) for n in (1, 2)],
        ["1 3 x 100 #1", "2 1 x 100 #1", "2 2 x 100.5 #1", "1 3 x 100.5 #1", "2 1 x 100.5 #1"],
        SHARE,
    ),
    Scenario(
        "a bracket's children grow with each level that its parent takes",
        "13",
        book(),
        [(0, ENTRY)],
        [
            "2 held #0",
            "3 held #0",
            "1 4 x 100 #1",
            "2 new #1",
            "3 new #1",
            "1 6 x 100.5 #1",
            "2 restated 10.0 #1",
            "3 restated 10.0 #1",
            "1 2 x 101 #1",
            "2 restated 12.0 #1",
            "3 restated 12.0 #1",
        ],
        SHARE,
    ),
    Scenario(
        "slippage comes on top at each level; what an order itself moves is the walk, and no model's impact",
        "14",
        book(),
        [(0, market(6, costs=slipping(basis_points=40, impact=1)))],
        ["1 4 x 100.5 #1", "1 2 x 101 #1"],
        SHARE,
    ),
    Scenario(
        "slippage never passes a limit, at any level",
        "14",
        book(),
        [(0, limit(12, 101, costs=slipping(basis_points=40)))],
        ["1 4 x 100.5 #1", "1 6 x 101 #1", "1 2 x 101 #1"],
        SHARE,
    ),
    Scenario(
        "a limit behind the best price stands behind what its level displays",
        "9",
        shown(((96, 40), (95, 20)), (95, 15), (95, 8)),
        [(1, limit(10, 95))],
        ["1 3 x 95 #3"],
    ),
    Scenario(
        "a sale likewise",
        "9",
        merge(
            [
                deep(series(Kind.QUOTE, "BBB", [(1, 1, (95, 96, 40, 40))]), [[(0, 0, 97, 20)]]),
                series(Kind.TRADE, "BBB", [(2, 2, (97, 25))]),
            ]
        ),
        [(1, order(1, "S", "L", 10, 97))],
        ["1 5 x 97 #2"],
    ),
    Scenario(
        "between two levels it has nobody ahead",
        "9",
        shown(((96, 40), (94, 20)), (95, 7)),
        [(1, limit(10, 95))],
        ["1 7 x 95 #2"],
    ),
    Scenario(
        "beyond the last level nobody knows who is ahead, until a quote displays that",
        "9",
        shown(((96, 40), (95.5, 20)), (95, 50), ((96, 40), (95.5, 20), (95, 30)), (95, 34)),
        [(1, limit(10, 95))],
        ["1 4 x 95 #4"],
    ),
    Scenario(
        "its level becomes the best one: those ahead stay, as far as that quote still displays them",
        "9",
        shown(((96, 40), (95, 20)), ((95, 60),), (95, 22), ((95, 3),), (95, 20)),
        [(1, limit(10, 95)), (3, limit(10, 95, 2))],
        ["1 2 x 95 #3", "1 8 x 95 #5", "2 9 x 95 #5"],
    ),
    Scenario(
        "some leave a level behind the best one, or all of them",
        "9",
        shown(((96, 40), (95, 20)), ((96, 40), (95, 6)), (95, 8), ((96, 40), (94, 9)), (95, 12)),
        [(1, limit(10, 95)), (3, limit(10, 95, 2))],
        ["1 2 x 95 #3", "1 8 x 95 #5", "2 4 x 95 #5"],
    ),
]
