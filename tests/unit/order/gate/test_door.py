"""The runaway guard counts what it lets in, by wall time, a portfolio at a time (rule 23)."""

from decimal import Decimal

import grpc
import pytest

from services.chassis.errors import ApiError
from services.order.gate.door import Door, Runaway
from services.order.gate.mapping import Guard


async def refused(door: Door, portfolio_id: str, *arrivals: float) -> list[bool]:
    return [await door.objection(portfolio_id, each, "ada") is not None for each in arrivals]


def deaf() -> Door:
    """A door that tells nobody."""

    async def tell(_: Runaway) -> None:
        """Nobody hears."""

    return Door(tell)


async def test_without_a_guard_everybody_comes_in() -> None:
    assert await refused(deaf(), "p", *[0.0] * 100) == [False] * 100


async def test_as_many_as_the_bound_come_in_within_any_second() -> None:
    door = deaf()
    door.guard([Guard("p", Decimal(2))], whole=True)
    assert await refused(door, "p", 0.0, 0.4, 0.9, 0.999) == [False, False, True, True]
    # What was turned away does not count.
    assert await refused(door, "p", 1.0, 1.3, 1.5) == [False, True, False]
    assert await refused(door, "q", *[0.0] * 9) == [False] * 9


async def test_a_portfolios_own_guard_goes_before_the_environments_which_holds_for_each() -> None:
    door = deaf()
    door.guard([Guard("", Decimal(1)), Guard("p", Decimal(3))], whole=True)
    assert await refused(door, "p", *[0.0] * 4) == [False, False, False, True]
    for portfolio_id in ("q", "r"):
        assert await refused(door, portfolio_id, 0.0, 0.0) == [False, True]
    door.guard([Guard("", None)], whole=False)
    assert await refused(door, "q", 0.1) == [False]
    assert await refused(door, "p", 0.1) == [True]
    door.guard([], whole=True)
    assert await refused(door, "p", 0.1) == [False]


@pytest.mark.parametrize("whose", ["p", ""])
@pytest.mark.parametrize(("bound", "wait"), [("1", 0.75), ("0", 1.0)])
async def test_the_refusal_says_the_bound_for_whom_it_is_set_and_when_to_come_again(
    bound: str, wait: float, whose: str
) -> None:
    door = deaf()
    door.guard([Guard(whose, Decimal(bound))], whole=True)
    await door.objection("p", 10.0, "ada")
    error = await door.objection("p", 10.25, "ada")
    assert isinstance(error, ApiError)
    assert (error.code, error.reason) == (grpc.StatusCode.RESOURCE_EXHAUSTED, "RUNAWAY_GUARD")
    value = str(int(bound) + 1)
    scope = {"portfolio_id": whose} if whose else {}
    assert error.metadata == {"limit": "runaway_guard", "bound": bound, "value": value, **scope}
    hit = f"bound {bound}, value {value}: the orders of p in a second"
    assert error.message == f"The order was refused by runaway_guard: {hit}."
    assert [each.subject for each in error.quota_violations] == ["portfolio:p"]
    assert error.retry_delay == pytest.approx(wait)


async def test_that_a_portfolio_is_turned_away_is_told_once_until_it_has_kept_to_its_guard_for_a_while() -> None:
    told: list[Runaway] = []

    async def tell(runaway: Runaway) -> None:
        told.append(runaway)

    door = Door(tell)
    door.guard([Guard("", Decimal(2))], whole=True)
    await refused(door, "p", 0.0, 0.1)
    assert told == []
    # A flood, then a burst every few seconds: one run.
    await refused(door, "p", *(each / 100 for each in range(20, 400)), *[8.0] * 4, *[16.0] * 4)
    assert [each._replace(begin_time=0) for each in told] == [Runaway("p", Decimal(2), 3, 0, "ada")]
    await refused(door, "q", *[16.0] * 4)
    assert [each.portfolio_id for each in told] == ["p", "q"]
    await refused(door, "p", *[26.0] * 3)
    assert [each.portfolio_id for each in told] == ["p", "q", "p"]
    assert len({each.begin_time for each in told}) == 3
    # Risk says again which guards there are; that begins no new run.
    door.guard([Guard("", Decimal(2))], whole=True)
    await refused(door, "p", *[27.0] * 4)
    assert len(told) == 3
