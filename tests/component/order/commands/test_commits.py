"""What has queued is made durable together, however brief a commit is."""

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from tickmesh.order.v1 import order_service_pb2

from services.chassis.storage import sqlite
from services.chassis.storage.sqlite import Sqlite
from tests.component.order.calls import cancel
from tests.component.order.support import Mesh, limit

MANY = 200


def shrink(order_id: str) -> order_service_pb2.ReplaceOrderRequest:
    return order_service_pb2.ReplaceOrderRequest(order_id=order_id, quantity="9")


@pytest.mark.parametrize("how", ["cancel", "replace"])
async def test_many_commands_at_once_are_few_commits(mesh: Mesh, monkeypatch: pytest.MonkeyPatch, how: str) -> None:
    placed = [await mesh.orders.CreateOrder(limit(f"a-{n}", "1")) for n in range(MANY)]
    commits = 0
    monkeypatch.setattr(sqlite, "BRIEF_SECONDS", 60.0)

    def counted(commit: Callable[..., Any]) -> Callable[..., Any]:
        def count(*arguments: Any) -> Any:
            nonlocal commits
            commits += 1
            # As long as a few commands take to come in.
            time.sleep(0.01)
            return commit(*arguments)

        return count

    monkeypatch.setattr(Sqlite, "_commit", counted(Sqlite._commit))
    calls: list[Awaitable[Any]] = [
        mesh.orders.CancelOrder(cancel(each.order_id))
        if how == "cancel"
        else mesh.orders.ReplaceOrder(shrink(each.order_id))
        for each in placed
    ]
    await asyncio.gather(*calls)
    assert commits < MANY / 2
