"""The table's form: a scenario, the rule that decides it, its outcome; and how the outcome is looked at.

Tapes are in minutes. Orders are sent at a position: after so many records.
"""

import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from decimal import Decimal
from itertools import zip_longest

from services.domain.backtest.plans import DeploymentPlan, PortfolioPlan
from services.domain.backtest.result import Result
from services.domain.backtest.simulation import Simulation
from services.domain.deployment.context import Context
from services.domain.filling import VenueSettings
from services.domain.market import Bar
from services.domain.orders.lists import check_list
from services.domain.orders.order import ContingencyType, ExecType, Order, OrderEvent, Reservation, TimeInForce
from services.domain.risk.limits import ShortSale
from services.domain.strategy import Strategy
from services.domain.tape import Kind, Series, Tape, merge
from services.domain.venue.matching import Replacement
from tests.unit.domain.venue.matching_reference import INSTRUMENTS, MINUTE, Command, bars, order, series

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
    """What is sent while a tape goes by, and the events that it comes to.

    Attributes:
        sent: (position, order or list), (position, number to replace, terms) or (position, number to cancel).
        outcome: each event's line (see ``line``), but for what orders have in common (see ``told_of``).
        cash: of the portfolio of a backtest that sends the same, through the gate; none is run where this is zero.
        equity: what such a portfolio comes to.
        shorts: whether it may be short.
    """

    name: str
    rule: str
    tape: Tape
    sent: list[tuple[object, ...]]
    outcome: list[str]
    settings: VenueSettings = ALL
    cash: int = 0
    equity: Decimal = Decimal(0)
    shorts: bool = False


SPLIT = series(Kind.SPLIT, "BBB", [(2, 2, (2, 1))])
ONE_FOR_TWO = series(Kind.SPLIT, "BBB", [(2, 2, (1, 2))])


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


def line(event: OrderEvent, number: str, with_time: bool) -> str:
    """An event as the table writes it."""
    kind = event.exec_type
    if kind is ExecType.TRADE:
        what = f"{event.last_quantity.normalize():f} x {event.last_price.normalize():f}"
        what += f" for {event.last_commission.normalize():f}" if event.last_commission else ""
    elif kind is ExecType.TRIGGERED:
        what = f"triggered {(event.order.stop_price or Decimal(0)).normalize():f}"
    elif kind in {ExecType.CANCELED, ExecType.EXPIRED}:
        what = f"{kind.name.lower()} {event.order.cancel_reason.name}"
    elif kind in {ExecType.REPLACED, ExecType.RESTATED}:
        what = f"{kind.name.lower()} {event.order.quantity:f}"
    elif kind is ExecType.REJECTED and event.order.refusal is not None:
        missing = event.order.refusal.missing
        what = f"rejected {event.order.refusal.reason}" + (f", {missing.normalize():f} missing" if missing else "")
    else:
        what = kind.name.lower()
    return f"{number} {what} #{event.tape_sequence}" + (f" t{event.transact_time / MINUTE:g}" if with_time else "")


def told_of(events: Iterable[OrderEvent], outcome: list[str], number: Callable[[Order], str]) -> list[str]:
    """The events' lines; left out is what orders have in common: that one is NEW at once, and that the tape ends.

    The tape's end is told where the outcome tells it, a line's market time where the outcome's line does.
    """
    telling = [e for e in events if e.exec_type is not ExecType.NEW or not e.exec_id.endswith("-1")]
    if not any("END_OF_TAPE" in each for each in outcome):
        telling = [e for e in telling if e.order.cancel_reason.name != "END_OF_TAPE"]
    timed = [re.search(r" t[\d.]+$", each) is not None for each in outcome]
    return [line(e, number(e.order), with_time) for e, with_time in zip_longest(telling, timed) if e is not None]


class Script(Strategy):
    """Sends what a scenario does, each at its position; brackets are the only lists that it knows."""

    kind = "script"

    def __init__(self, scenario: Scenario) -> None:
        super().__init__(None, ["BBB"])
        self.sent = scenario.sent
        self.numbers: dict[str, str] = {}

    def on_bar(self, context: Context, bar: Bar) -> None:
        for position, what in self.sent:
            if position == context.tape_sequence:
                orders = what if isinstance(what, list) else [what]
                self.numbers.update(zip(place(context, orders, "BBB"), map(number_of, orders), strict=True))


TERMS = ("order_type", "time_in_force", "limit_price", "stop_price")


def place(context: Context, orders: Sequence[Order], symbol: str) -> tuple[str, ...]:
    """Sends an order, or a bracket, as a strategy does; the client order ids."""
    first, *exits = orders
    terms, *others = ({name: getattr(each, name) for name in TERMS} for each in orders)
    if not exits:
        return (context.place(first.side, symbol, first.quantity, reduce_only=first.reduce_only, **terms),)
    target, stop = others
    return context.bracket(first.side, symbol, first.quantity, target=target, stop=stop, **terms)


def number_of(order: Order) -> str:
    return order.order_id.removeprefix("env-")


def backtest(scenario: Scenario) -> tuple[Result, list[str]]:
    """Sends the scenario's orders in a backtest: all of the path, gate and books too. Its result, and its lines."""
    limits = (ShortSale(Decimal(1)),) if scenario.shorts else ()
    portfolio = PortfolioPlan("p", "p", Decimal(scenario.cash), limits)
    script = Script(scenario)
    deployment = DeploymentPlan(1, "d", "s", script, "p")
    plans = [portfolio], [deployment]
    result = Simulation(scenario.tape, INSTRUMENTS, *plans, venue_settings=scenario.settings).run()
    lines = told_of(result.events, scenario.outcome, lambda order: script.numbers[order.client_order_id])
    return result, lines
