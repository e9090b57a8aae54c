"""The store's reads find what they read by an index: an order costs the same however many there are."""

from pathlib import Path

from services.chassis.database import Database
from services.order import migrations
from services.order.store import Store
from tests.component.order.listed import check_lists, explained, fill


async def test_no_read_scans_orders_or_events(tmp_path: Path) -> None:
    async with await Database.open(f"sqlite:///{tmp_path}/order.db", migrations) as database:
        store, plans = Store(database), explained(database)
        await store.open_orders("e")
        await store.orders_by_key(["p:a", "p:b"])
        await store.order("e", 1)
        await store.events_after("e", 0, 10)
    assert len(plans) == 4
    assert not [plan for plan in plans if "SCAN" in plan or "TEMP B-TREE" in plan]
    assert any("orders_open" in plan for plan in plans)


async def test_every_list_is_what_fits_in_order_and_read_by_an_index(tmp_path: Path) -> None:
    async with await Database.open(f"sqlite:///{tmp_path}/order.db", migrations) as database:
        stored = await fill(database)
        plans = explained(database)
        await check_lists(database, stored)
    assert not [plan for plan in plans if "SCAN" in plan or "TEMP B-TREE" in plan]
    for name in ("orders_by_", "orders_open", "order_events_by_", "order_events_fills"):
        assert any(name in plan for plan in plans), name
