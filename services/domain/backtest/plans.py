"""What a simulation, or a replay, is asked to do: which portfolios to open, and which strategies trade for them."""

from dataclasses import dataclass
from decimal import Decimal

from services.domain.costs import Terms
from services.domain.deployment.commands import NewOrder
from services.domain.money import ZERO
from services.domain.orders.order import CancelReason, Order, OrderState, Reservation
from services.domain.risk.limit import Limit
from services.domain.strategy import Strategy


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
_NO_RESERVATION, _NO_REASON = Reservation(), CancelReason.NONE
_new_order, _PLAIN = Order.__new__, Terms()


def order_from(
    command: NewOrder,
    plan: DeploymentPlan,
    order_id: str,
    reservation: Reservation | None = None,
    terms: Terms = _PLAIN,
) -> Order:
    """The order that a strategy's command asks for, as a desk receives it; with a reservation NEW, as a venue takes it.

    Each value by its place: by names it takes half as long again, and every order of a backtest passes here.
    """
    # Who is NEW at once has the venue for itself: its priority is the first.
    state, leaves, events = (_PENDING_NEW, ZERO, 0) if reservation is None else (_NEW, command.quantity, 1)
    return _new_order(
        Order,
        order_id,
        command.client_order_id,
        plan.portfolio_id,
        command.symbol,
        command.side,
        command.order_type,
        command.time_in_force,
        command.quantity,
        command.cash_quantity,
        command.limit_price,
        command.stop_price,
        plan.strategy_id,
        plan.deployment_id,
        command.label,
        state,
        ZERO,
        leaves,
        ZERO,
        ZERO,
        ZERO,
        command.basis_sequence,
        command.basis_time,
        reservation or _NO_RESERVATION,
        None,
        _NO_REASON,
        events,
        command.expire_time,
        command.trailing_amount,
        command.trailing_percent,
        command.post_only,
        command.reduce_only,
        command.display_quantity,
        None,
        events,
        *terms,
    )
