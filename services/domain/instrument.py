"""What can be traded, and in which steps."""

from dataclasses import dataclass
from decimal import Decimal


@dataclass(frozen=True, slots=True)
class Instrument:
    """One tradable thing.

    Attributes:
        symbol: its name everywhere, ``[A-Z0-9][A-Z0-9./_&-]{0,31}``.
        currency_code: ISO 4217; prices and cash flows are in it.
        calendar: the exchange's MIC (``XNYS``), or ``24/7`` for one that never closes.
        price_increment: the tick size, in the currency a unit.
        quantity_increment: the smallest step of a quantity, in units.
        lot_size: units in a round lot; information, quantities are always units.
        contract_multiplier: units of the underlying a unit stands for.
    """

    symbol: str
    name: str = ""
    currency_code: str = "USD"
    calendar: str = "XNYS"
    price_increment: Decimal = Decimal("0.01")
    quantity_increment: Decimal = Decimal(1)
    lot_size: Decimal = Decimal(1)
    contract_multiplier: Decimal = Decimal(1)
