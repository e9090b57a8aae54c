"""Orders and their events (rules 6 and 7); the vocabulary is FIX's. What may happen to an order is in ``lifecycle``.

An ``Order`` is an immutable value. Every change is an ``OrderEvent`` that holds the order as it is after it, so the
events alone tell the whole story and the last one is the order.
"""

from decimal import Decimal
from enum import IntEnum
from typing import NamedTuple

from services.domain.costs import Costs
from services.domain.filling import VenueSettings
from services.domain.money import ZERO, at_most_places
from services.domain.values import quick_replace


class Side(IntEnum):
    """FIX 54."""

    BUY = 1
    SELL = 2


class OrderType(IntEnum):
    """FIX 40."""

    MARKET = 1
    LIMIT = 2
    STOP = 3
    STOP_LIMIT = 4
    TRAILING_STOP = 5
    MARKET_IF_TOUCHED = 6
    LIMIT_IF_TOUCHED = 7


class TimeInForce(IntEnum):
    """FIX 59; OPG and CLS fill at the session's opening and closing auction alone."""

    DAY = 1
    GTC = 2
    IOC = 3
    GTD = 4
    FOK = 5
    OPG = 6
    CLS = 7


class OrderState(IntEnum):
    """FIX 39, plus HELD for an order that waits for its session, or for the order that releases it."""

    PENDING_NEW = 1
    HELD = 2
    NEW = 3
    TRIGGERED = 4
    PARTIALLY_FILLED = 5
    FILLED = 6
    CANCELED = 7
    REJECTED = 8
    EXPIRED = 9


TRIGGERED_STATES = frozenset({OrderState.TRIGGERED, OrderState.PARTIALLY_FILLED})
STOPS = frozenset({OrderType.STOP, OrderType.STOP_LIMIT})
"""Triggered by a price that moved against who waits: a buy by a rising one."""
TOUCHED = frozenset({OrderType.MARKET_IF_TOUCHED, OrderType.LIMIT_IF_TOUCHED})
"""Triggered by a price that moved in favour."""
LIMITED = frozenset({OrderType.LIMIT, OrderType.STOP_LIMIT, OrderType.LIMIT_IF_TOUCHED})
"""Worth no more than their limit, once they are triggered."""


class ExecType(IntEnum):
    """FIX 150: what an event says happened."""

    HELD = 1
    NEW = 2
    TRIGGERED = 3
    TRADE = 4
    CANCELED = 5
    REJECTED = 6
    EXPIRED = 7
    RESTATED = 8
    REPLACED = 9


INITIAL_MARGIN = Decimal("0.5")
"""Of a short sale's value, beside its proceeds, where no other rate is set."""
TERMINAL = frozenset({OrderState.FILLED, OrderState.CANCELED, OrderState.REJECTED, OrderState.EXPIRED})


class CancelReason(IntEnum):
    """Why an order ended without being filled."""

    NONE = 0
    REQUESTED = 1
    IOC_REMAINDER = 2
    INSUFFICIENT_CASH = 3
    KILL_SWITCH = 4
    END_OF_SESSION = 5
    END_OF_TAPE = 6
    CORPORATE_ACTION = 7
    DISCONNECTED = 8
    FOK_UNFILLED = 9
    POST_ONLY = 10
    NOTHING_TO_REDUCE = 11
    TWIN_FILLED = 12
    END_OF_TIME = 13
    AUCTION_OVER = 14
    PARENT_ENDED = 15
    TWIN_ENDED = 16
    CANCEL_TIMER = 17
    CHILD_FILLED = 18
    CHILD_ENDED = 19


class ContingencyType(IntEnum):
    """FIX 1385: what the orders of a list have to do with one another; NONE of an order on its own."""

    NONE = 0
    OCO = 1
    OTO = 2
    BRACKET = 3


class Refusal(NamedTuple):
    """Why a check refused an order: the bound it hit.

    Attributes:
        reason: the error reason on the wire, ``INSUFFICIENT_BUYING_POWER`` for instance.
        limit: the limit's name, ``buying_power``.
        bound, value: what the limit allows and what the order would have made it; both zero where there is nothing to
            measure.
        missing: what would have to be there for it to pass; zero where that says nothing.
        portfolio_id, strategy_id, symbol: what the limit or the kill switch is set for; with none the environment.
        order_id: of a list, the order that was refused, and the others with it.
        kill_switch_reason: of a kill switch, what its engager gave as reason, for people.
    """

    reason: str
    limit: str
    bound: Decimal
    value: Decimal
    missing: Decimal = ZERO
    portfolio_id: str = ""
    strategy_id: str = ""
    symbol: str = ""
    order_id: str = ""
    kill_switch_reason: str = ""

    @property
    def measured(self) -> bool:
        """Whether its figures say anything."""
        return bool(self.bound or self.value)


@quick_replace
class Reservation(NamedTuple):
    """What a passed check sets aside, and what the portfolio can spend beyond it.

    Attributes:
        cash: set aside for the whole order, in the instrument's currency; ``reserved_cash`` says what is left of it.
        quantity: signed units by which the position may change.
        headroom: spendable cash of the portfolio beyond all reservations: at the check what the check found, then what
            the venue knows after each event of the order. So a portfolio's last event holds its present headroom.
        commission: set aside beside the cash for what the order may cost; each fill uses what it is charged.
        margin: of what it sells short, held as collateral beside the proceeds: the rate of its check, whatever is set
            since.
    """

    cash: Decimal = ZERO
    quantity: Decimal = ZERO
    headroom: Decimal = ZERO
    commission: Decimal = ZERO
    margin: Decimal = INITIAL_MARGIN


@quick_replace
class Order(NamedTuple):
    """An order as it is now: what it asks for, then what has become of it.

    Its last four fields change most often. So who changes no others makes it anew of the rest of it and these.

    Attributes:
        quantity: units; zero until the fill sizes an order by ``cash_quantity`` (FIX 152).
        stop_price: the trigger; a TRAILING_STOP has none until it is triggered, at this price then.
        basis_sequence: the tape position it, or what replaced it, was decided at; it is live for later ones (rule 12).
        basis_time: market time of that position, ns.
        avg_price: of the units in ``cum_quantity``, rounded to the wire's nine places.
        gross_amount: money traded so far, the fills' price x quantity x contract multiplier (FIX 381), exact.
        fraction_amount: what of that paid for fractions of units that splits left, which the books close for cash.
        event_count: events the order has had; the last one's exec_id ends in it.
        expire_time: market time, ns, at which a GTD order expires; 0 for any other.
        trailing_amount, trailing_percent: how far behind the best price a TRAILING_STOP's trigger stays; one of them.
        post_only: canceled rather than filled where its first live record would fill it at once.
        reduce_only: fills only what brings the portfolio's position nearer to zero.
        display_quantity: the most units of an iceberg that others of its price wait for at once.
        trail_price: the best price so far of a TRAILING_STOP that was split or replaced while it trailed, up to there;
            what came later is read off the tape.
        priority: its place in the venue's queue, the lower the earlier; 0 before the venue took it.
        costs: the models it was taken on; None for no costs.
        latency: ns from its decision, or its replacement, until it is live (rule 12).
        fill_settings: how it fills, as it was set when it was taken; None where nothing was: as the venue does.
        order_list_id, contingency_type: of its list: the first order's ``order_id``, its kind; empty for one by itself.
        parent_order_id: the order that it waits for, HELD until that is filled; empty where it waits for none.
        commission_quantity: units bought that it did not get, as commission; ``commission`` has what they were worth.
    """

    order_id: str
    client_order_id: str
    portfolio_id: str
    symbol: str
    side: Side
    order_type: OrderType
    time_in_force: TimeInForce
    quantity: Decimal = ZERO
    cash_quantity: Decimal | None = None
    limit_price: Decimal | None = None
    stop_price: Decimal | None = None
    expire_time: int = 0
    trailing_amount: Decimal | None = None
    trailing_percent: Decimal | None = None
    post_only: bool = False
    reduce_only: bool = False
    display_quantity: Decimal | None = None
    trail_price: Decimal | None = None
    strategy_id: str = ""
    deployment_id: str = ""
    label: str = ""
    basis_sequence: int = 0
    basis_time: int = 0
    costs: Costs | None = None
    latency: int = 0
    fill_settings: VenueSettings | None = None
    order_list_id: str = ""
    contingency_type: ContingencyType = ContingencyType.NONE
    parent_order_id: str = ""
    refusal: Refusal | None = None
    cancel_reason: CancelReason = CancelReason.NONE
    fraction_amount: Decimal = ZERO
    cum_quantity: Decimal = ZERO
    avg_price: Decimal = ZERO
    gross_amount: Decimal = ZERO
    commission: Decimal = ZERO
    commission_quantity: Decimal = ZERO
    reservation: Reservation = Reservation()
    state: OrderState = OrderState.PENDING_NEW
    leaves_quantity: Decimal = ZERO
    event_count: int = 0
    priority: int = 0


class OrderEvent(NamedTuple):
    """One thing that happened to one order.

    Attributes:
        order: the order after the event.
        transact_time: market time, ns; a fill at a bar's open has the bar's start.
        tape_sequence: the record that caused it, or the position it was decided at.
        last_commission: money; what ``last_commission_quantity`` was worth, where it was taken in units.
    """

    exec_type: ExecType
    order: Order
    transact_time: int
    tape_sequence: int
    last_quantity: Decimal = ZERO
    last_price: Decimal = ZERO
    last_commission: Decimal = ZERO
    last_commission_quantity: Decimal = ZERO

    @property
    def exec_id(self) -> str:
        """``{order_id}-{n}``, n counting this order's events from 1."""
        return f"{self.order.order_id}-{self.order.event_count}"


def reserved_cash(order: Order) -> Decimal:
    """Cash of the order's reservation that it still holds, as a function of its value alone (rules 4 and 19).

    An order by quantity holds the part of its leaves, an order by cash what it has not traded, a finished one nothing;
    beside that what of the commission has not been charged. An event releases what that falls by: gate and venue both
    say it this way, so that neither can drift from the other and the last event always releases the rest.
    """
    held, fee = order.reservation.cash, order.reservation.commission
    if order.state in TERMINAL:
        return ZERO
    if order.cash_quantity is not None:
        held = max(ZERO, held - order.gross_amount)
    elif order.cum_quantity:
        held = at_most_places(held * order.leaves_quantity / order.quantity, 9)
    return held + max(ZERO, fee - order.commission) if fee else held


def reserved_together(order: Order, twin: Order | None) -> Decimal:
    """What an order and its twin still hold, if it has one: the larger of both, because only one of them can fill."""
    return reserved_cash(order) if twin is None else max(reserved_cash(order), reserved_cash(twin))
