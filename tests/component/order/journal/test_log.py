"""The log of order events (rule 1)."""

import asyncio
import sqlite3
from pathlib import Path

from tests.component.order.calls import cancel
from tests.component.order.support import Mesh, limit, request, running

# In one statement, so of one moment: gaps, and orders whose row does not point at their last event.
_FAULTS = """
with heads as (select environment_id, number, max(sequence) as last from order_events group by 1, 2)
select
    (select count(*) from order_events) - (select coalesce(max(sequence), 0) from order_events),
    (select coalesce(max(head), 0) from environments) - (select coalesce(max(sequence), 0) from order_events),
    (select count(*) from heads left join orders using (environment_id, number) where last is not last_event_sequence),
    (select count(*) from orders) - (select count(*) from heads)
"""


async def test_rule_1_events_are_gapless_and_in_the_transaction_of_their_order(tmp_path: Path) -> None:
    """Whatever moment a reader looks at, the log has no gap, and every order is as its last event says."""
    async with running(tmp_path) as mesh:
        await mesh.market.joined()
        looks = 0
        with sqlite3.connect(f"file:{tmp_path}/order.db?mode=ro", uri=True) as database:
            trading = asyncio.create_task(trade(mesh))
            while not trading.done():
                assert database.execute(_FAULTS).fetchone() == (0, 0, 0, 0)
                looks += 1
                await asyncio.sleep(0.002)
            await trading
            assert database.execute("select max(sequence) from order_events").fetchone()[0] > 100
        assert looks > 10


async def trade(mesh: Mesh) -> None:
    """Orders that rest and are canceled, orders that fill, several at once."""
    for cycle in range(1, 5):
        placed = await asyncio.gather(*(mesh.orders.CreateOrder(limit(f"rest-{cycle}-{n}")) for n in range(12)))
        await asyncio.gather(*(mesh.orders.CreateOrder(request(f"fill-{cycle}-{n}", quantity="1")) for n in range(6)))
        await asyncio.gather(*(mesh.orders.CancelOrder(cancel(each.order_id)) for each in placed[::2]))
        await mesh.market.run(cycle, 3 + 2 * cycle)
        mesh.market.idle(3 + 2 * cycle)
