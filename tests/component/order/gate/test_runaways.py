"""Risk is told of each runaway until it has heard, whatever it answers and through any kill (rules 2 and 23)."""

import asyncio
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from services.chassis.errors import ApiError
from services.chassis.storage.database import Database
from services.order import migrations
from services.order.gate import runaways
from services.order.gate.door import Runaway
from services.order.gate.runaways import Runaways
from services.order.records import EnvironmentRow
from services.order.store import Store
from tests.component.order.support import Mesh, limit, running

AWAY = ApiError.unavailable("SERVICE_UNAVAILABLE", "away")
UNKNOWN = ApiError.not_found("environment", "e", "ENVIRONMENT_NOT_FOUND")


async def test_each_is_told_until_it_is_heard_and_one_that_risk_will_not_hear_is_given_up(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(runaways, "FIRST_BACKOFF_SECONDS", 0.001)
    answers: list[ApiError | None] = [AWAY, AWAY, None, UNKNOWN, None]
    told: list[Any] = []

    async def report(request: Any) -> None:
        told.append(request)
        if (error := answers[len(told) - 1]) is not None:
            raise error

    async with await Database.open(f"sqlite:///{tmp_path}/order.db", migrations) as database:
        store = Store(database)
        telling = Runaways(store, report)
        for environment_id, portfolio_id, begin_time in (("e", "p", 5), ("e", "p", 6), ("f", "p", 7), ("e", "q", 8)):
            runaway = Runaway(portfolio_id, Decimal(2), 3, begin_time, "ada")
            await telling.tell(EnvironmentRow(environment_id, owner="bob"), runaway)
        assert [each.begin_time for each in await store.runaways()] == [5, 7, 8]
        task = asyncio.create_task(telling.run())
        async with asyncio.timeout(10):
            while await store.runaways():
                pass
        task.cancel()
    # While the first of a portfolio waits, a later one of it says nothing new.
    assert [(each.environment_id, each.portfolio_id, each.begin_time.nanos) for each in told] == [
        *[("e", "p", 5)] * 3,
        ("f", "p", 7),
        ("e", "q", 8),
    ]
    assert (told[0].bound, told[0].value, told[0].principal) == ("2", 3, "ada")


async def test_one_that_was_not_told_is_told_after_a_kill(tmp_path: Path) -> None:
    async with running(tmp_path, start=False) as mesh:
        mesh.gate.deaf = True
        mesh.spawn()
        await mesh.ready()
        await mesh.market.joined()
        await mesh.orders.CreateOrder(limit("a"))
        mesh.gate.guard("0")
        # It is told on risk's stream, beside this call.
        number = 0
        while await accepted(mesh, f"b{number}"):
            number += 1
        first = await asyncio.wait_for(mesh.gate.runaways.get(), 10)
        assert mesh.process is not None
        mesh.process.kill()
        assert await mesh.died() < 0
        while not mesh.gate.runaways.empty():
            assert mesh.gate.runaways.get_nowait() == first
        mesh.gate.deaf = False
        mesh.spawn()
        assert await asyncio.wait_for(mesh.gate.runaways.get(), 40) == first
        assert (first.portfolio_id, first.bound, first.value) == ("trend", "0", 1)


async def accepted(mesh: Mesh, client_order_id: str) -> bool:
    try:
        await mesh.orders.CreateOrder(limit(client_order_id))
    except ApiError:
        return False
    return True
