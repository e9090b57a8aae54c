"""What a strategy's own orders have made so far."""

from dataclasses import dataclass, field
from decimal import Decimal

from services.domain.orders.order import OrderState, OrderType, Side


@dataclass(slots=True)
class WorkingOrder:
    """One order of the strategy that may still fill. ``PENDING_NEW`` until its acknowledgement came.

    Attributes:
        events: how many of its events were seen, so that none counts twice.
    """

    client_order_id: str
    symbol: str
    side: Side
    order_type: OrderType
    leaves_quantity: Decimal
    state: OrderState = OrderState.PENDING_NEW
    order_id: str = ""
    events: int = 0


@dataclass(slots=True)
class Holdings:
    """What a strategy's own orders made: positions in units, cash flows by symbol, and orders that work.

    Attributes:
        cash: what its fills in a symbol paid (negative) or brought, commission included.
    """

    positions: dict[str, Decimal] = field(default_factory=dict)
    cash: dict[str, Decimal] = field(default_factory=dict)
    working: dict[str, WorkingOrder] = field(default_factory=dict)
