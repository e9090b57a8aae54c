"""What a strategy asks for: orders, lists of them, their ends and other terms."""

from decimal import Decimal
from typing import NamedTuple

from services.domain.money import ZERO
from services.domain.orders.order import ContingencyType, OrderType, Side, TimeInForce
from services.domain.orders.replacing import Replacement


class NewOrder(NamedTuple):
    """A command to place an order, decided at ``basis_sequence`` and market time ``basis_time`` (ns)."""

    client_order_id: str
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
    label: str = ""
    signal_id: str = ""
    basis_sequence: int = 0
    basis_time: int = 0


class CancelOrder(NamedTuple):
    """A command to cancel what is left of an order."""

    client_order_id: str
    basis_sequence: int = 0
    basis_time: int = 0


class NewOrderList(NamedTuple):
    """A command to place orders that belong together, decided as each of them."""

    contingency_type: ContingencyType
    orders: tuple[NewOrder, ...]
    basis_sequence: int = 0
    basis_time: int = 0

    @property
    def signal_id(self) -> str:
        """What it came from."""
        return self.orders[0].signal_id


class ReplaceOrder(NamedTuple):
    """A command to put an order on other terms; ``command_id`` is its own."""

    client_order_id: str
    terms: Replacement
    command_id: str
    basis_sequence: int = 0
    basis_time: int = 0


Command = NewOrder | NewOrderList | CancelOrder | ReplaceOrder
