"""The scenarios of the reference data, `fill_semantics.json`, by their names there, with the same figures.

Other engines ran them; actions are sent at a bar's close, bars counted from 0.
"""

from dataclasses import dataclass
from decimal import Decimal

from services.domain.filling import VenueSettings
from services.domain.orders.lists import listed
from services.domain.orders.order import ContingencyType, Order
from services.domain.tape import merge
from tests.unit.domain.venue.fill_semantics.scenario import ALL, TOUCH, Scenario
from tests.unit.domain.venue.matching_reference import bars, order

Bar = tuple[int, int, int, int, int]
Action = tuple[str, str, int] | tuple[str, str, int, int] | tuple[str, str, int, int, int]


@dataclass(frozen=True)
class Reference:
    """A scenario as the reference data states it, and what it comes to here.

    Attributes:
        actions: (type, side, quantity, prices) by bar; a bracket's prices are its stop's and its target's.
        differently: how nautilus_trader 1.221.0 goes about it, where that is another way than ours.
    """

    name: str
    rule: str
    bars: list[Bar]
    actions: dict[int, list[Action]]
    outcome: list[str]
    equity: int
    settings: VenueSettings = ALL
    shorts: bool = False
    differently: str = ""

    @property
    def scenario(self) -> Scenario:
        """As a line of the table."""
        touch = ", where a touch fills" if self.settings is TOUCH else ""
        tape, cash, equity = merge([bars(self.bars)]), 10_000, Decimal(self.equity)
        sent, number = [], 1
        for bar, actions in self.actions.items():
            for action in actions:
                orders = orders_of(number, action)
                sent.append((bar + 1, orders if len(orders) > 1 else orders[0]))
                number += len(orders)
        return Scenario(
            self.name + touch, self.rule, tape, sent, self.outcome, self.settings, cash, equity, self.shorts
        )


def orders_of(number: int, action: Action) -> list[Order]:
    """The orders that an action sends, numbered from ``number`` on."""
    kind, side, quantity, *prices = action
    if kind == "bracket":
        stop, target = prices
        exits = [order(number + 1, "S", "L", 0, target), order(number + 2, "S", "S", 0, stop)]
        return listed(ContingencyType.BRACKET, [order(number, side, "M", quantity), *exits])
    return [order(number, side, {"mkt": "M", "lim": "L", "stop": "S"}[kind], quantity, *prices)]


FLAT, UP, DOWN = ((price, price, price, price, 100_000) for price in (100, 110, 105))
GAP, AFTER = (90, 92, 88, 91, 100_000), (91, 91, 91, 91, 100_000)
TOUCHED, THEN = (98, 99, 95, 97, 100_000), (97, 97, 97, 97, 100_000)

REFERENCES = [
    Reference(
        "A_sell_stop_gap_down",
        "8",
        [FLAT, FLAT, FLAT, GAP, AFTER],
        {0: [("mkt", "B", 10)], 1: [("stop", "S", 10, 95)]},
        ["1 10 x 100 #2", "2 triggered 95 #4 t3", "2 10 x 90 #4 t3"],
        equity=9_900,
        differently="a stop that is jumped fills at its trigger",
    ),
    Reference(
        "C_buy_limit_favourable_gap",
        "8",
        [FLAT, FLAT, GAP, AFTER],
        {0: [("lim", "B", 10, 95)]},
        ["1 10 x 90 #3 t2"],
        equity=10_010,
        differently="a limit that is bettered fills at the limit",
    ),
    Reference(
        "D_buy_limit_exact_touch",
        "9",
        [FLAT, FLAT, TOUCHED, THEN],
        {0: [("lim", "B", 10, 95)]},
        [],
        equity=10_000,
    ),
    Reference(
        "D_buy_limit_exact_touch",
        "9",
        [FLAT, FLAT, TOUCHED, THEN],
        {0: [("lim", "B", 10, 95)]},
        ["1 10 x 95 #3 t3"],
        equity=10_020,
        settings=TOUCH,
    ),
    Reference(
        "E_bracket_both_hit_same_bar",
        "10",
        [FLAT, FLAT, (100, 106, 94, 100, 100_000), FLAT],
        {0: [("bracket", "B", 10, 95, 105)]},
        [
            "2 held #1",
            "3 held #1",
            "1 10 x 100 #2",
            "2 new #2",
            "3 new #2",
            "3 triggered 95 #3",
            "2 canceled TWIN_FILLED #3",
            "3 10 x 95 #3",
        ],
        equity=9_950,
        differently="a bar goes to its high first, unless its order is adapted to the open",
    ),
    Reference(
        "G_flip_long_to_short",
        "17",
        [FLAT, FLAT, UP, UP, DOWN, DOWN, DOWN],
        {0: [("mkt", "B", 10)], 2: [("mkt", "S", 25)], 4: [("mkt", "B", 15)]},
        ["1 10 x 100 #2", "2 25 x 110 #4", "3 15 x 105 #6"],
        equity=10_175,
        shorts=True,
    ),
    Reference(
        "I_buy_more_than_cash",
        "19",
        [FLAT, FLAT, FLAT, FLAT],
        {0: [("mkt", "B", 150)]},
        ["1 rejected INSUFFICIENT_BUYING_POWER, 5000 missing #1"],
        equity=10_000,
        differently="an account with margin buys it",
    ),
]
SCENARIOS = [each.scenario for each in REFERENCES]
