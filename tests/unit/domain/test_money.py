"""Decimals: what the wire writes is what is meant (contract, rule 22a)."""

from concurrent.futures import ThreadPoolExecutor
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.domain.money import (
    NotADecimal,
    at_most_places,
    decimal_of,
    floor_to,
    format_decimal,
    is_multiple,
    parse_decimal,
    places,
    significant_digits,
    snap,
)

amounts = st.decimals(-(10**15), 10**15, places=9)
increments = st.sampled_from([Decimal(text) for text in ("1", "0.5", "0.01", "0.0001", "0.000000001", "100", "0.25")])


@given(amounts)
def test_what_is_written_reads_back_as_the_same_value(value: Decimal) -> None:
    assert parse_decimal(format_decimal(value)) == value


@given(amounts, st.integers(0, 9))
def test_what_is_written_has_the_wire_s_form(value: Decimal, minimum: int) -> None:
    text = format_decimal(value, minimum)
    fraction = text.partition(".")[2]
    assert minimum <= len(fraction) <= 9
    assert len(fraction) == minimum or not fraction.endswith("0")
    assert not text.startswith("-0") or value


@pytest.mark.parametrize(
    "text", ["", "1e5", "NaN", ".5", "5.", "+1", "01", "1,5", " 1", "1\n", "-", "1" * 19, "0.0000000001", "٣", "0x1"]
)
def test_anything_but_plain_digits_is_refused(text: str) -> None:
    with pytest.raises(NotADecimal):
        parse_decimal(text)


@pytest.mark.parametrize(
    ("value", "minimum", "text"),
    [
        ("100.5", 2, "100.50"),
        ("1E+2", 0, "100"),
        ("100.500", 0, "100.5"),
        ("-0.00", 2, "0.00"),
        ("-0.0000000001", 0, "0"),
        ("0.12345678949", 0, "0.123456789"),
        ("-1", 0, "-1"),
    ],
)
def test_format(value: str, minimum: int, text: str) -> None:
    assert format_decimal(Decimal(value), minimum) == text


@given(st.integers(1, 10**15 - 1), st.integers(0, 9))
def test_rule_22a_a_double_stands_for_the_one_price_of_fifteen_digits_it_was_made_of(digits: int, scale: int) -> None:
    price = Decimal(digits).scaleb(-scale)
    assert decimal_of(float(price)) == price
    assert significant_digits(price) <= 15


@given(amounts, increments)
def test_flooring_and_snapping_give_multiples_near_the_value(value: Decimal, increment: Decimal) -> None:
    floored, snapped = floor_to(value, increment), snap(value, increment)
    assert is_multiple(floored, increment)
    assert is_multiple(snapped, increment)
    assert 0 <= value - floored < increment
    assert abs(value - snapped) * 2 <= increment
    assert floor_to(floored, increment) == snap(floored, increment) == floored


@pytest.mark.parametrize(("increment", "count"), [("0.01", 2), ("1", 0), ("100", 0), ("0.0001", 4), ("0.50", 1)])
def test_places_of_an_increment(increment: str, count: int) -> None:
    assert places(Decimal(increment)) == count


def test_no_figures_of_the_wire_are_too_long_to_reckon_with() -> None:
    """Python's 28 digits would round the product and refuse the quotient; threads begin with what is everybody's."""
    most, least = Decimal("999999999999999999.999999999"), Decimal("0.000000001")

    def reckoned() -> tuple[Decimal, Decimal]:
        return most * most, most // (least * least)

    with ThreadPoolExecutor(1) as elsewhere:
        for product, quotient in (reckoned(), elsewhere.submit(reckoned).result()):
            assert len(product.as_tuple().digits) == 54
            assert quotient == most * 10**18


def test_rounding_leaves_what_needs_no_rounding() -> None:
    assert str(at_most_places(Decimal("1.50"), 9)) == "1.50"
    assert at_most_places(Decimal(1) / 3, 9) == Decimal("0.333333333")
