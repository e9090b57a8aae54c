"""What tests ask of the market-data service."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
from tickmesh.marketdata.v1 import market_data_service_pb2

from services.chassis.errors import ApiError
from tests.component.marketdata.support import Client


async def refused(call: Any) -> tuple[str, str, list[str]]:
    """The code, reason and fields that a call fails with."""
    with pytest.raises(ApiError) as error:
        await call
    return error.value.code.name, error.value.reason, [each.field for each in error.value.field_violations]


@asynccontextmanager
async def stream(client: Client, **values: Any) -> AsyncIterator[Any]:
    call = client.prices.StreamMarketData(market_data_service_pb2.StreamMarketDataRequest(**values))
    try:
        yield call
    finally:
        call.cancel()


async def collect(client: Client, end: int, *, heard: asyncio.Event | None = None, **values: Any) -> list[Any]:
    """A stream's messages until it reaches a position; `heard` is set by the first."""
    found: list[Any] = []
    async with asyncio.timeout(60), stream(client, **values) as call:
        while not found or found[-1].sequence < end:
            found.append(await call.read())
            if heard is not None:
                heard.set()
    return found


async def collecting(client: Client, end: int, **values: Any) -> "asyncio.Task[list[Any]]":
    """As `collect`, of a stream that has begun."""
    heard = asyncio.Event()
    task = asyncio.create_task(collect(client, end, heard=heard, **values))
    waiting = asyncio.create_task(heard.wait())
    await asyncio.wait({task, waiting}, return_when=asyncio.FIRST_COMPLETED)
    waiting.cancel()
    return task
