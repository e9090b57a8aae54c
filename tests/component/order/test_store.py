"""The store's reads find what they read by an index: an order costs the same however many there are."""

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from sqlalchemy.dialects import sqlite

from services.chassis.database import Database
from services.domain.order import ExecType
from services.order import migrations
from services.order.store import Store


@pytest.fixture
async def asked(tmp_path: Path) -> AsyncIterator[tuple[Store, list[str]]]:
    """A store, and the plan of every query it makes."""
    plans: list[str] = []
    async with await Database.open(f"sqlite:///{tmp_path}/order.db", migrations) as database:
        fetch = database.fetch_all

        async def explain(query: sa.Select[Any], parameters: dict[str, Any] | None = None) -> Any:
            compiled = query.params(parameters or {}).compile(
                dialect=sqlite.dialect(), compile_kwargs={"literal_binds": True}
            )
            plan = await database.read(
                lambda connection: connection.exec_driver_sql(f"EXPLAIN QUERY PLAN {compiled}").fetchall()
            )
            plans.extend(row[3] for row in plan)
            return await fetch(query, parameters)

        database.fetch_all = explain  # type: ignore[method-assign]
        yield Store(database), plans


async def test_no_read_scans_orders_or_events(asked: tuple[Store, list[str]]) -> None:
    store, plans = asked
    await store.open_orders("e")
    await store.orders_by_key(["p:a", "p:b"])
    await store.order("e", 1)
    await store.events_after("e", 0, 10)
    for environment_id, portfolio_id in (("e", ""), ("", "p"), ("e", "p")):
        names = {"environment_id": environment_id, "portfolio_id": portfolio_id, "symbol": "AAPL", "limit": 10}
        for before in (None, 5):
            await store.orders_page(**names, open_only=False, before=before)
        await store.orders_page(**names, open_only=True, before=None)
        await store.events_page(**names, exec_type=ExecType.TRADE, after=0)
    await store.events_page(environment_id="e", number=1, after=0, limit=10)
    assert len(plans) > 15
    assert not [plan for plan in plans if plan.startswith("SCAN") or "TEMP B-TREE" in plan]
    assert any("orders_open" in plan for plan in plans)
    assert any("order_events_fills" in plan for plan in plans)
