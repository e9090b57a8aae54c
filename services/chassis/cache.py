"""Latest values by key: in this process, or in Redis when a URL is set, behind one interface."""

from __future__ import annotations

import logging
import time
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final, Protocol

if TYPE_CHECKING:
    from redis.asyncio import Redis

# A cache that is slower than asking the owner is none; a local Redis answers in under 1 ms.
TIMEOUT_SECONDS: Final = 0.25
RETRY_SECONDS: Final = 5.0

_log = logging.getLogger(__name__)


class Cache(Protocol):
    """Latest values. What is not there may never have been, or may have been lost: it is a cache."""

    async def get_many(self, keys: Sequence[str]) -> dict[str, bytes]:
        """The values of those keys that have one."""

    async def put_many(self, values: Mapping[str, bytes]) -> None:
        """Stores values, replacing older ones."""

    async def close(self) -> None:
        """Disconnects."""


class LocalCache:
    """In this process; bounded by the number of keys, which are symbols."""

    def __init__(self) -> None:
        self._values: dict[str, bytes] = {}

    async def get_many(self, keys: Sequence[str]) -> dict[str, bytes]:
        """See `Cache`."""
        return {key: value for key in keys if (value := self._values.get(key)) is not None}

    async def put_many(self, values: Mapping[str, bytes]) -> None:
        """See `Cache`."""
        self._values.update(values)

    async def close(self) -> None:
        """See `Cache`."""


class RedisCache:
    """In Redis, one pipeline a call (×8–9 against a command each); in process while Redis is away."""

    def __init__(self, url: str, prefix: str = "tickmesh:") -> None:
        from redis.asyncio import Redis

        self._redis: Redis = Redis.from_url(
            url, socket_timeout=TIMEOUT_SECONDS, socket_connect_timeout=TIMEOUT_SECONDS, retry=None
        )
        self._prefix = prefix
        self._local = LocalCache()
        self._retry_at = 0.0
        self._away = False

    async def get_many(self, keys: Sequence[str]) -> dict[str, bytes]:
        """See `Cache`."""
        if keys and self._reachable():
            try:
                found: list[Any] = await self._redis.mget([self._prefix + key for key in keys])
            except Exception as error:  # noqa: BLE001 whatever ails Redis must not fail a quote
                self._lost(error)
            else:
                self._back()
                return {key: value for key, value in zip(keys, found, strict=True) if value is not None}
        return await self._local.get_many(keys)

    async def put_many(self, values: Mapping[str, bytes]) -> None:
        """See `Cache`."""
        await self._local.put_many(values)
        if values and self._reachable():
            try:
                await self._redis.mset({self._prefix + key: value for key, value in values.items()})
            except Exception as error:  # noqa: BLE001 whatever ails Redis must not stop a feed
                self._lost(error)
            else:
                self._back()

    async def close(self) -> None:
        """See `Cache`."""
        await self._redis.aclose()

    def _reachable(self) -> bool:
        return not self._away or time.monotonic() >= self._retry_at

    def _lost(self, error: Exception) -> None:
        self._retry_at = time.monotonic() + RETRY_SECONDS
        if not self._away:
            self._away = True
            _log.warning("redis is away; caching in process", extra={"error": str(error)})

    def _back(self) -> None:
        if self._away:
            self._away = False
            _log.info("redis is back")


def open_cache(redis_url: str | None, prefix: str = "tickmesh:") -> Cache:
    """Redis where a URL is set, in process otherwise; nothing is dialled yet."""
    return RedisCache(redis_url, prefix) if redis_url else LocalCache()
