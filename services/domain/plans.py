"""What a simulation, or a replay, is asked to do: which portfolios to open, and which strategies trade for them."""

from dataclasses import dataclass
from decimal import Decimal

from services.domain.context import NewOrder
from services.domain.limits import Limit
from services.domain.order import Order
from services.domain.strategy import Strategy


@dataclass(frozen=True, slots=True)
class PortfolioPlan:
    """A portfolio to open: its display name, its first deposit, and limits beyond the defaults."""

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


def order_from(command: NewOrder, plan: DeploymentPlan, order_id: str) -> Order:
    """The order that a strategy's command asks for, as a desk receives it."""
    return Order(
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
        basis_sequence=command.basis_sequence,
        basis_time=command.basis_time,
    )
