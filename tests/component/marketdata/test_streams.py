"""StreamMarketData: a cursor on what time has reached (contract: streams are cursors)."""

import asyncio
import itertools
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from tickmesh.common.v1 import stream_pb2
from tickmesh.marketdata.v1 import market_data_pb2, market_data_service_pb2

from services.chassis.errors import ApiError
from tests.component.marketdata.calls import collect, collecting, stream
from tests.component.marketdata.support import Client, Inner, StrategyPeer, client_of, copied, inner_of, running

Request = market_data_service_pb2.StreamMarketDataRequest
CUT: dict[str, Any] = {"symbols": ["AAPL", "MSFT"], "start_time": {"seconds": 1325376000}}  # 2012 on
COLUMNS = market_data_pb2.ENCODING_COLUMNS


def sequences(messages: list[Any]) -> list[int]:
    """The places on the tape of all bars, in the order they came."""
    return [
        *itertools.chain.from_iterable(
            [each.tape_sequence for each in message.rows.bars] or list(message.columns.bars.tape_sequences)
            for message in messages
        )
    ]


def linked(messages: list[Any]) -> bool:
    """Whether no message is missing."""
    return all(a.sequence == b.previous_sequence for a, b in itertools.pairwise(messages))


@asynccontextmanager
async def played(client: Client, inner: Inner, name: str) -> AsyncIterator[StrategyPeer]:
    """A replay in many cycles: with a strategy that wakes at each bar."""
    strategy = StrategyPeer(client, name, "d")
    strategy.up()
    await client.until(name, lambda _: bool(strategy.heard("welcome")))
    yield strategy
    await strategy.down()


@pytest.mark.parametrize("encoding", [market_data_pb2.ENCODING_UNSPECIFIED, COLUMNS])
async def test_a_snapshot_then_every_record_as_time_reaches_it(client: Client, encoding: Any) -> None:
    made = await client.create(**CUT, warm_up_sessions=3)
    name = made.environment_id
    async with inner_of(client, name) as inner, played(client, inner, name):
        reading = await collecting(client, made.end_sequence, environment_id=name, encoding=encoding)
        await client.move("Start", name)
        found = await reading
    first = found[0].snapshot
    assert (first.tape_sequence, [each.symbol for each in first.quotes]) == (12, ["AAPL", "MSFT"])
    assert (list(first.symbols), list(first.intervals)) == (["AAPL", "MSFT"], ["1d"])
    assert linked(found)
    assert len({each.subscription_id for each in found}) == 1
    got = sequences(found)
    assert got == sorted(set(got))
    assert (got[0], len(got)) == (14, 2 * ((made.end_sequence - 12) // 4))
    if encoding == COLUMNS:
        bars = [each.columns.bars for each in found if each.columns.bars.opens]
        assert {symbol for each in bars for symbol in each.symbols} == {0, 1}
        assert all(len(each.closes) == len(each.start_times) == len(each.intervals) for each in bars)
        assert bars[-1].closes[-1] == 27.95
    else:
        assert [each for each in found if each.rows.bars][-1].rows.bars[-1].close == "27.9500"


async def test_a_resumed_stream_brings_exactly_what_was_missed(client: Client) -> None:
    made = await client.create(**CUT)
    name = made.environment_id
    async with inner_of(client, name) as inner, played(client, inner, name):
        await client.move("Start", name)
        whole: list[int] = []
        token, last = "", 0
        for _ in range(200):
            got: list[Any] = []
            async with asyncio.timeout(20), stream(client, environment_id=name, resume_token=token) as call:
                while len(got) < 3 and (not got or got[-1].sequence < made.end_sequence):
                    got.append(await call.read())
            if token:
                assert got[0].previous_sequence == last
                assert not any(each.HasField("snapshot") for each in got)
            assert linked(got)
            whole += sequences(got)
            token, last = got[-1].resume_token, got[-1].sequence
            if last == made.end_sequence:
                break
        assert last == made.end_sequence
        assert whole == sorted(set(whole))
        again = await collect(client, made.end_sequence, environment_id=name, resume_token=token)
        assert [each.WhichOneof("event") for each in again] == ["heartbeat"]


async def test_filters(client: Client) -> None:
    made = await client.create(**CUT)
    name = made.environment_id
    async with inner_of(client, name):
        for values, count in (
            ({"symbols": ["AAPL"]}, 1),
            ({"symbols": ["AAPL", "MSFT"], "kinds": [market_data_pb2.DATA_KIND_BAR]}, 2),
            ({"intervals": ["1d"]}, 2),
        ):
            assert count
            async with stream(client, environment_id=name, **values) as call:
                snapshot = (await call.read()).snapshot
                assert list(snapshot.symbols) == ["AAPL", "MSFT"]
        await client.move("Start", name)
        await client.until_state(name, "COMPLETED")
        async with stream(client, environment_id=name) as call:
            token = (await call.read()).resume_token
        with pytest.raises(ApiError) as error:
            await collect(client, 1, environment_id=name, resume_token=token, symbols=["AAPL"])
        assert (error.value.code.name, error.value.reason) == ("INVALID_ARGUMENT", "RESUME_TOKEN_FILTER_MISMATCH")
        for bad in ("x", "AAAA", token[:-2]):
            with pytest.raises(ApiError, match="RESUME_TOKEN_INVALID"):
                await collect(client, 1, environment_id=name, resume_token=bad)
        # What is no filter may change.
        again = await collect(client, made.end_sequence, environment_id=name, resume_token=token, encoding=COLUMNS)
        assert again[0].HasField("heartbeat")


async def test_a_filter_that_nothing_passes_is_told_how_far_it_was_scanned(client: Client) -> None:
    made = await client.create(**CUT)
    name = made.environment_id
    async with inner_of(client, name):
        async with stream(client, environment_id=name, kinds=[market_data_pb2.DATA_KIND_TRADE]) as call:
            token = (await call.read()).resume_token
            await client.move("Start", name)
            await client.until_state(name, "COMPLETED")
        kinds = [market_data_pb2.DATA_KIND_TRADE]
        found = await collect(client, made.end_sequence, environment_id=name, kinds=kinds, resume_token=token)
        assert [each.WhichOneof("event") for each in found] == ["heartbeat"]
        assert found[0].heartbeat.scanned_sequence == made.end_sequence


async def test_records_of_a_window_travel_together(client: Client) -> None:
    made = await client.create(**CUT)
    name = made.environment_id
    async with inner_of(client, name) as inner, played(client, inner, name):
        at_once = await collecting(client, made.end_sequence, environment_id=name, max_delay={})
        delay = {"nanos": 300_000_000}
        windows = await collecting(client, made.end_sequence, environment_id=name, max_delay=delay)
        await client.move("Start", name)
        assert sequences(await at_once) == sequences(await windows)
        assert len(await windows) < len(await at_once)


@pytest.mark.parametrize(
    "values",
    [
        {"kinds": [99]},
        {"kinds": [0]},
        {"encoding": 99},
        {"max_delay": {"seconds": 11}},
        {"max_delay": {"seconds": -1}},
        {"symbols": ["a:b"]},
        {"intervals": ["1x"]},
        {"environment_id": "a:b"},
    ],
)
async def test_bad_streams_are_refused(client: Client, values: dict[str, Any]) -> None:
    with pytest.raises(ApiError) as error:
        await collect(client, 1, **values)
    assert (error.value.code.name, error.value.reason) == ("INVALID_ARGUMENT", "INVALID_ARGUMENT")


async def test_an_unknown_environment_has_no_stream(client: Client) -> None:
    with pytest.raises(ApiError) as error:
        await collect(client, 1, environment_id="nowhere")
    assert (error.value.code.name, error.value.reason) == ("NOT_FOUND", "ENVIRONMENT_NOT_FOUND")


async def test_heartbeats_and_the_last_message_before_the_end(template: Path, tmp_path: Path) -> None:
    directory = copied(template, tmp_path / "data")
    with running(directory, TICKMESH_HEARTBEAT_SECONDS="0.2") as service:
        async with client_of(service) as client:
            made = await client.create(**CUT)
            async with asyncio.timeout(20), stream(client, environment_id=made.environment_id) as call:
                assert (await call.read()).HasField("snapshot")
                for _ in range(3):
                    assert (await call.read()).heartbeat.scanned_sequence == 0
                ending = asyncio.create_task(asyncio.to_thread(service.stop))
                while not (last := await call.read()).HasField("closed"):
                    pass
                assert last.closed.status.code == 14
                with pytest.raises(ApiError, match="SERVICE_UNAVAILABLE"):
                    await call.read()
            assert await ending == 0
            token = last.resume_token
            service.start()
            await client.serving()
            # Tapes are kept, so a token outlives a restart.
            found = await collect(client, 0, environment_id=made.environment_id, resume_token=token)
            assert found[0].HasField("heartbeat")


async def test_a_slow_consumer_is_reset_and_slows_nobody(template: Path, tmp_path: Path) -> None:
    directory = copied(template, tmp_path / "data")
    _quotes(directory / "data-sets" / "ticks", 150_000)
    settings = {"TICKMESH_MARKETDATA_SLOW_CONSUMER_RECORDS": "5000", "TICKMESH_MARKETDATA_GRANT_RECORDS": "2000"}
    with running(directory, **settings) as service:
        async with client_of(service) as client:
            made = await client.create(data_set_id="ticks")
            name, end = made.environment_id, made.end_sequence
            # 8 MB of columns, far more than fits between a server and a client that does not read.
            values: dict[str, Any] = {"environment_id": name, "max_delay": {}, "encoding": COLUMNS}
            async with inner_of(client, name), stream(client, **values) as slow:
                await slow.read()
                keeping_up = await collecting(client, end, **values)
                await client.move("Start", name)
                await client.until_state(name, "COMPLETED")
                found: list[Any] = []
                async with asyncio.timeout(20):
                    while not found or found[-1].sequence < end or found[-1].HasField("reset"):
                        found.append(await slow.read())
            kinds = [each.WhichOneof("event") for each in found]
            reset = kinds.index("reset")
            assert found[reset].reset.reason == stream_pb2.RESET_REASON_SLOW_CONSUMER
            assert kinds[reset + 1] == "snapshot"
            assert found[reset + 1].snapshot.tape_sequence == found[reset + 1].sequence
            assert linked(found)
            read = [sequence for each in await keeping_up for sequence in each.columns.quotes.tape_sequences]
            assert read == list(range(1, end + 1))


def _quotes(folder: Path, count: int) -> None:
    """A data set of quotes, a millisecond apart."""
    folder.mkdir(parents=True)
    instrument = {"symbol": "EURUSD", "calendar": "24/7", "price_increment": "0.00001"}
    (folder / "data_set.json").write_text(json.dumps({"instruments": [instrument]}))
    start = 1_400_000_000_000_000_000
    rows = (f"EURUSD,{start + n * 1_000_000},1.{10_000 + n % 7},1.{10_010 + n % 5}" for n in range(count))
    (folder / "quotes.csv").write_text("symbol,time,bid,ask\n" + "\n".join(rows) + "\n")
