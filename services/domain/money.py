"""Exact decimal arithmetic on prices, quantities and cash.

The wire's decimal is ``-?(0|[1-9][0-9]{0,17})(\\.[0-9]{1,9})?``. The tape's doubles stand for exactly one decimal each
as long as it has at most 15 significant digits, so ``decimal_of`` goes through ``repr``, the shortest text of a double.
"""

import re
from decimal import ROUND_FLOOR, ROUND_HALF_EVEN, Decimal, DefaultContext, getcontext

ZERO = Decimal(0)
MAX_PRICE_DIGITS = 15
# Wire decimals have 27 digits, so a product of two needs 54: no sum of products is ever rounded. With Python's 28 a
# quotient of more is an error, which ended a service. It is everybody's, threads' too: nothing takes longer for it
# (a product 49 ns with either, a quotient 90), and to change it for a call takes 300 ns.
DefaultContext.prec = getcontext().prec = 60
_DECIMAL = re.compile(r"-?(0|[1-9][0-9]{0,17})(\.[0-9]{1,9})?")


class NotADecimal(ValueError):
    """The text is not a decimal of the wire's form."""


def parse_decimal(text: str) -> Decimal:
    """The decimal that ``text`` writes.

    Raises:
        NotADecimal: for anything but plain digits with at most 18 before and 9 after the point.
    """
    if _DECIMAL.fullmatch(text) is None:
        raise NotADecimal(f"{text[:40]!r} is not a decimal")
    return Decimal(text)


def decimal_of(value: float) -> Decimal:
    """The one decimal of at most 15 significant digits that a tape's double stands for."""
    return Decimal(repr(value))


def significant_digits(value: Decimal) -> int:
    """How many digits ``value`` needs, trailing zeros not counted."""
    digits = "".join(map(str, value.as_tuple().digits)).strip("0")
    return len(digits)


def is_multiple(value: Decimal, increment: Decimal) -> bool:
    """Whether ``value`` is a whole number of increments."""
    return value % increment == 0


def floor_to(value: Decimal, increment: Decimal) -> Decimal:
    """The largest multiple of ``increment`` that is at most ``value``."""
    return (value / increment).to_integral_value(ROUND_FLOOR) * increment


def snap(value: Decimal, increment: Decimal) -> Decimal:
    """The multiple of ``increment`` nearest to ``value``, ties to even."""
    return (value / increment).to_integral_value(ROUND_HALF_EVEN) * increment


def at_most_places(value: Decimal, places: int) -> Decimal:
    """``value`` rounded half to even to ``places`` after the point, or as it is where it has no more."""
    exponent = value.as_tuple().exponent
    return round(value, places) if isinstance(exponent, int) and exponent < -places else value


def places(increment: Decimal) -> int:
    """The number of decimal places of an increment: 2 for 0.01, 0 for 1 or 100."""
    exponent = increment.normalize().as_tuple().exponent
    return max(0, -exponent) if isinstance(exponent, int) else 0


def format_decimal(value: Decimal, minimum_places: int = 0) -> str:
    """``value`` as the wire writes it: plain digits, at least ``minimum_places`` of them after the point.

    More than nine places are rounded half to even, because the wire carries nine.
    """
    # From 10^51 on, none of 60 digits is behind the ninth place, and to round would be an error.
    text = format(round(value, 9) if value.adjusted() <= 50 else value, "f")
    whole, _, fraction = text.partition(".")
    fraction = fraction.rstrip("0").ljust(minimum_places, "0")
    sign_of_zero = whole == "-0" and not fraction.strip("0")
    whole = "0" if sign_of_zero else whole
    return f"{whole}.{fraction}" if fraction else whole
