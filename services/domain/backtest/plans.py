"""What a simulation, or a replay, is asked to do: which portfolios to open, and which strategies trade for them."""

from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from services.domain.costs import Terms
from services.domain.deployment.commands import NewOrder
from services.domain.money import ZERO
from services.domain.orders.order import CancelReason, ContingencyType, Order, OrderState, Reservation
from services.domain.risk.limit import Limit
from services.domain.strategy import Strategy
from services.domain.values import new, place_of


@dataclass(frozen=True, slots=True)
class PortfolioPlan:
    """A portfolio to open: its display name, its first deposit, and limits of its own beyond the defaults."""

    portfolio_id: str
    label: str
    cash: Decimal
    limits: tuple[Limit, ...] = ()
    currency_code: str = "USD"


@dataclass(frozen=True, slots=True)
class DeploymentPlan:
    """A strategy that trades for a portfolio.

    Attributes:
        number: its place in every cycle, and the first part of its ids.
        start_sequence: history until then; the simulation's where none is given.
    """

    number: int
    deployment_id: str
    strategy_id: str
    strategy: Strategy
    portfolio_id: str
    start_sequence: int | None = None


_PENDING_NEW, _NEW = OrderState.PENDING_NEW, OrderState.NEW
_NO_RESERVATION, _PLAIN = Reservation(), Terms()
# From ``symbol`` to ``display_quantity`` a command has what its order has.
_ASKED = slice(*place_of(NewOrder, "symbol", "label"))
# Its list, that list's type, its parent, its refusal, why it ended and what splits took of it.
_ALONE = ("", ContingencyType.NONE, "", None, CancelReason.NONE, ZERO)


def order_from(
    command: NewOrder,
    plan: DeploymentPlan,
    order_id: str,
    reservation: Reservation | None = None,
    terms: Terms = _PLAIN,
) -> Order:
    """The order that a strategy's command asks for, as a desk receives it; with a reservation NEW, as a venue takes it.

    Its values by their places, in runs: by names it takes twice as long, and every order of a backtest passes here.
    """
    # Who is NEW at once has the venue for itself: its priority is the first.
    state, leaves, events = (_PENDING_NEW, ZERO, 0) if reservation is None else (_NEW, command.quantity, 1)
    values: tuple[Any, ...] = command
    ids = (order_id, command.client_order_id, plan.portfolio_id)
    whence = (None, plan.strategy_id, plan.deployment_id, command.label, command.basis_sequence, command.basis_time)
    figures = (ZERO, ZERO, ZERO, ZERO, ZERO, reservation or _NO_RESERVATION, state, leaves, events, events)
    return new(Order, ids + values[_ASKED] + whence + terms + _ALONE + figures)
