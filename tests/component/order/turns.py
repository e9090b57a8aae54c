"""What a test goes by in place of seconds, which a busy machine has fewer turns in."""

import asyncio
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from typing import Any, TypeVar
from unittest.mock import patch

from tickmesh.order.v1 import order_service_pb2

from services.order.desk.desk import Desk
from tests.component.order.support import ENVIRONMENT, Mesh

T = TypeVar("T")
# Of them a check and its commit take two or three.
CALLS = 50


@contextmanager
def submitted() -> Iterator[asyncio.Queue[Any]]:
    """What comes to the desks from here on, as they have it."""
    commands, submit = asyncio.Queue[Any](), Desk.submit

    def heard(desk: Desk, command: Any) -> None:
        submit(desk, command)
        commands.put_nowait(command)

    with patch.object(Desk, "submit", heard):
        yield commands


async def meanwhile(mesh: Mesh) -> None:
    """Gives the service time to do what it does not wait with: the time of many other calls, one after the other."""
    one = order_service_pb2.ListOrdersRequest(environment_id=ENVIRONMENT, page_size=1)
    for _ in range(CALLS):
        await mesh.orders.ListOrders(one, timeout=60)


async def pending(mesh: Mesh, call: Awaitable[T]) -> "asyncio.Future[T]":
    """Starts a call that a desk gets, and makes sure that it waits."""
    with submitted() as commands:
        task = asyncio.ensure_future(call)
        await commands.get()
    await meanwhile(mesh)
    assert not task.done()
    return task


async def still(mesh: Mesh, look: Callable[[], Awaitable[T]]) -> T | None:
    """What is seen, if it stays so; None while it changes."""
    before = await look()
    await meanwhile(mesh)
    return before if await look() == before else None
