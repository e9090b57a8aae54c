"""What prices and quantities an instrument allows."""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal
from functools import lru_cache
from typing import Any

from services.chassis.errors import ApiError
from services.domain.instrument import Instrument
from services.domain.money import MAX_PRICE_DIGITS, format_decimal, is_multiple, significant_digits


def check_increments(fields: Mapping[str, Any], instrument: Instrument, path: str = "") -> None:
    """Refuses prices and quantities off the instrument's increments, and prices that no double stands for.

    Args:
        fields: of an order, by name.
        path: where they are in the request.

    Raises:
        ApiError: INVALID_ARGUMENT `OFF_INCREMENT` with the increment, or `INVALID_ARGUMENT`.
    """
    for name, increment in (
        ("quantity", instrument.quantity_increment),
        ("limit_price", instrument.price_increment),
        ("stop_price", instrument.price_increment),
        ("trailing_amount", instrument.price_increment),
        ("display_quantity", instrument.quantity_increment),
    ):
        value = fields.get(name)
        if value and (fault := _fault(value, increment, not name.endswith("quantity"))):
            reason, message = fault
            off = {"increment": format_decimal(increment), "symbol": instrument.symbol}
            metadata = off if reason == "OFF_INCREMENT" else {}
            raise ApiError.invalid_field(f"{path}{name}", message, reason, metadata=metadata)


@lru_cache(8192)
def _fault(value: Decimal, increment: Decimal, is_price: bool) -> tuple[str, str] | None:
    """What is wrong with a price or quantity, if anything: reason and message. Kept, as the same come again."""
    if is_price and significant_digits(value) > MAX_PRICE_DIGITS:
        return "INVALID_ARGUMENT", f"has more than {MAX_PRICE_DIGITS} significant digits"
    if not is_multiple(value, increment):
        return "OFF_INCREMENT", f"is no multiple of {format_decimal(increment)}"
    return None
