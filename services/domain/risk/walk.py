"""What an order trades for where it takes more than the best price has: level by level (rule 11)."""

from decimal import Decimal
from typing import NamedTuple

from services.domain.costs import Level, Slip
from services.domain.instrument import Instrument
from services.domain.money import ZERO, floor_to
from services.domain.orders.order import Order, Side


class Part(NamedTuple):
    """Units at a price."""

    units: Decimal
    price: Decimal


def walk(order: Order, price: Decimal, slip: Slip, instrument: Instrument, units: Decimal | None) -> list[Part]:
    """What becomes of so many units, or of the order's cash where ``units`` is None, if the best price is ``price``.

    The levels are as far from it as the last quote's were from that one's best price. Beyond those that are known, what
    is left is at the last one's price.
    """
    if not slip.levels and units is not None:
        return [Part(units, price)]
    levels = slip.levels or (Level(ZERO, ZERO),)
    step, multiplier, buys = instrument.quantity_increment, instrument.contract_multiplier, order.side is Side.BUY
    left, cash, parts = units or ZERO, order.cash_quantity or ZERO, list[Part]()
    for level in levels:
        at = price + level.distance if buys else max(instrument.price_increment, price - level.distance)
        wanted = floor_to(cash / (at * multiplier), step) if units is None else left
        taken = wanted if level is levels[-1] else min(wanted, level.units)
        left, cash = left - taken, cash - taken * at * multiplier
        if taken:
            parts.append(Part(taken, at))
    return parts


def value_of(parts: list[Part], instrument: Instrument) -> Decimal:
    """The money that they come to."""
    return sum((part.units * part.price for part in parts), ZERO) * instrument.contract_multiplier
