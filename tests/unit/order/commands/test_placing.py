"""How batches of orders are put to risk."""

import asyncio
import time
from collections.abc import Sequence
from types import SimpleNamespace
from typing import Any

from services.order.commands.create import Create
from services.order.commands.placing import Placing


def create(name: str, deadline: float) -> Create:
    ticket: Any = SimpleNamespace(client_key=name, asked=name, closes=False)
    nothing: Any = None
    return Create(ticket, nothing, nothing, "local", "", asyncio.get_running_loop().create_future(), deadline=deadline)


class Known:
    async def orders_by_key(self, keys: Sequence[str]) -> dict[str, Any]:
        return {}


async def test_an_order_that_waited_too_long_is_asked_about_alone() -> None:
    async def objection(_: Create) -> None:
        """Everybody may come in."""

    desk: Any = SimpleNamespace(objection=objection)
    store: Any = Known()
    gate: Any = None
    placing, asked = Placing(desk, store, gate), list[list[str]]()

    async def decide(creates: Sequence[Create]) -> None:
        asked.append([each.ticket.client_key for each in creates])

    placing._decide = decide  # type: ignore[method-assign]
    now = time.monotonic()
    fresh = [create(f"{n}", now + 2) for n in range(3)]
    await placing.place([create("old", now - 1), create("soon", now + 0.05), *fresh])
    assert asked == [["old", "soon"], ["0", "1", "2"]]
