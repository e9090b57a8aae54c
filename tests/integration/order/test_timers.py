"""Cancel timers, previews and stories on a real PostgreSQL: the same as on SQLite."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import sqlalchemy as sa

from services.chassis.storage.database import Database
from services.order.tables import CANCEL_TIMERS
from tests.component.order.calls import STANDING, arm, explain, gaps, how, preview, timed_out
from tests.component.order.support import Mesh, limit, request, running

pytestmark = pytest.mark.timeout(180)


@pytest.fixture
async def mesh(url: str, tmp_path: Path) -> AsyncIterator[Mesh]:
    async with running(tmp_path, database_url=url) as each:
        await each.market.joined()
        yield each


async def test_a_timer_outlives_a_restart_and_a_story_tells_of_it(mesh: Mesh, url: str) -> None:
    assert (await preview(mesh, order_type=2, limit_price="50")).passes
    resting = await mesh.orders.CreateOrder(limit("a"))
    await mesh.orders.CreateOrder(limit("b", portfolio_id="other"))
    await mesh.orders.CreateOrder(request("filled", portfolio_id="other"))
    await arm(mesh, 3600)
    await arm(mesh, 3600)
    await arm(mesh, 0, portfolio_id="other")
    await mesh.market.run(1, mesh.market.start_sequence + 6)
    await mesh.stop()
    async with await Database.open(url) as database:
        due = sa.update(CANCEL_TIMERS).where(CANCEL_TIMERS.c.trigger_time > 0).values(trigger_time=1)
        await database.run(lambda connection: connection.execute(due))
    await mesh.start()
    await timed_out(mesh, "a")
    assert how(await mesh.get("b", "other")) == STANDING
    story = await explain(mesh, resting.order_id)
    assert not gaps(story)
    assert story.events[-1].reason == "A cancel timer was not armed again in time."
    filled = await explain(mesh, (await mesh.get("filled", "other")).order_id)
    assert filled.events[-1].record.kind == "BAR"
