"""Risk is told of each runaway until it has heard, whatever it answers meanwhile."""

import asyncio
from decimal import Decimal
from typing import Any

import pytest

from services.chassis.errors import ApiError
from services.order.desk import runaways
from services.order.desk.gate_mapping import Runaway
from services.order.desk.runaways import Runaways

AWAY = ApiError.unavailable("SERVICE_UNAVAILABLE", "away")
UNKNOWN = ApiError.not_found("environment", "e", "ENVIRONMENT_NOT_FOUND")


async def test_each_is_told_until_it_is_heard_and_one_that_risk_will_not_hear_is_given_up(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(runaways, "FIRST_BACKOFF_SECONDS", 0.001)
    answers: list[ApiError | None] = [AWAY, AWAY, None, UNKNOWN, None]
    told: list[Any] = []
    all_told = asyncio.Event()

    async def report(request: Any) -> None:
        told.append(request)
        if len(told) == len(answers):
            all_told.set()
        if (error := answers[len(told) - 1]) is not None:
            raise error

    telling = Runaways(report)
    for environment_id, portfolio_id, begin_time in (("e", "p", 5), ("e", "p", 6), ("f", "p", 7), ("e", "q", 8)):
        telling.tell(environment_id, Runaway(portfolio_id, Decimal(2), 3, "ada", begin_time))
    task = asyncio.create_task(telling.run())
    await asyncio.wait_for(all_told.wait(), 10)
    task.cancel()
    # While the first of a portfolio waits, a later one of it says nothing new.
    assert [(each.environment_id, each.portfolio_id, each.begin_time.nanos) for each in told] == [
        *[("e", "p", 5)] * 3,
        ("f", "p", 7),
        ("e", "q", 8),
    ]
    assert (told[0].bound, told[0].value, told[0].principal) == ("2", 3, "ada")
