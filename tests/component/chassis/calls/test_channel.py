"""What every call between services does."""

import asyncio
import random
from collections.abc import Iterator
from typing import Any

import grpc
import pytest
from google.protobuf.wrappers_pb2 import StringValue
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from services.chassis import deadline
from services.chassis.calls.channel import connect
from services.chassis.errors import ApiError
from services.chassis.telemetry import tracing
from services.chassis.telemetry.exporting import export

SAMPLED = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"


@pytest.fixture
def exporter() -> Iterator[InMemorySpanExporter]:
    exporter = InMemorySpanExporter()
    export("toy", exporter, batch=False)
    yield exporter
    tracing.shutdown()


async def test_a_call_has_a_deadline_of_its_own(mesh: Any) -> None:
    # Sent as whole milliseconds of two or three digits: up to a hundredth longer.
    assert 2.0 < float(await mesh.echo("deadline")) < 5.2
    assert 20.0 < float(await mesh.echo("deadline", timeout=25.0)) < 26.0


async def test_the_callers_deadline_shortens_every_hop_by_a_few_milliseconds(serve: Any, stub_of: Any) -> None:
    async with serve() as front, serve() as back, connect(back.address) as channel:
        front.toy.peer = stub_of(channel).Echo
        left = float(await front.echo("forward", timeout=4.0))
    assert 1.0 < left <= 4.0 - deadline.SHAVE_SECONDS


async def test_a_hop_never_gets_more_than_its_caller_had(mesh: Any) -> None:
    # One connection: gRPC sends earlier timeouts again that are a little longer.
    chance = random.Random(4)
    for seconds in (*(chance.uniform(0.5, 12.0) for _ in range(200)), *(chance.uniform(0.97, 1.03) for _ in range(50))):
        with deadline.limit(seconds):
            assert float(await mesh.echo("deadline", timeout=20.0)) < seconds


async def test_a_call_whose_deadline_has_passed_is_not_made(mesh: Any) -> None:
    with deadline.limit(0.001), pytest.raises(ApiError) as caught:
        await mesh.echo("hello")
    assert caught.value.code is grpc.StatusCode.DEADLINE_EXCEEDED
    assert mesh.toy.calls == 0


async def test_a_late_answer_is_deadline_exceeded_and_the_handler_is_cancelled(mesh: Any) -> None:
    with pytest.raises(ApiError) as caught:
        await mesh.echo("slow", timeout=0.05)
    assert (caught.value.code, caught.value.reason) == (grpc.StatusCode.DEADLINE_EXCEEDED, "DEADLINE_EXCEEDED")
    async with asyncio.timeout(20):
        await mesh.toy.cancelled.wait()


async def test_an_idempotent_call_is_repeated_while_its_peer_is_unavailable(serve: Any) -> None:
    async with serve(idempotent=("toy.ToyService/Echo",)) as mesh:
        mesh.toy.failures = 2
        assert await mesh.echo("flaky") == "flaky"
        assert mesh.toy.calls == 3


async def test_any_other_call_is_made_once(serve: Any) -> None:
    async with serve(idempotent=("toy.ToyService/Count",)) as mesh:
        mesh.toy.failures = 1
        with pytest.raises(ApiError) as caught:
            await mesh.echo("flaky")
        assert caught.value.reason == "SERVICE_UNAVAILABLE"
        assert mesh.toy.calls == 1


async def test_a_peer_that_is_not_there_is_unavailable_at_once(port: int, stub_of: Any) -> None:
    async with connect(f"127.0.0.1:{port}") as channel:
        # What is not tried at once ends with its deadline, and says so.
        with pytest.raises(ApiError) as caught:
            await stub_of(channel).Echo(StringValue(value="hello"))
    assert (caught.value.code, caught.value.reason) == (grpc.StatusCode.UNAVAILABLE, "SERVICE_UNAVAILABLE")
    assert caught.value.retry_delay == 1.0


async def test_a_channel_finds_a_peer_that_starts_later_and_again_after_its_restart(
    serve: Any, stub_of: Any, port: int
) -> None:
    address = f"127.0.0.1:{port}"
    async with connect(address) as channel:
        stub = stub_of(channel)
        for _ in range(2):
            early = asyncio.create_task(stub.Echo(StringValue(value="early"), wait_for_ready=True))
            await asyncio.sleep(0.3)
            async with serve(address):
                async with asyncio.timeout(20):
                    assert (await early).value == "early"
                assert (await stub.Echo(StringValue(value="hello"))).value == "hello"


async def test_a_stream_whose_server_dies_ends_unavailable(serve: Any) -> None:
    async with serve() as mesh:
        call = mesh.stub.Pipe()
        await call.write(StringValue(value="a"))
        await call.read()
        await mesh.server.stop(0)
        with pytest.raises(ApiError) as caught:
            await call.read()
        assert caught.value.code is grpc.StatusCode.UNAVAILABLE
        with pytest.raises(ApiError):
            await call.write(StringValue(value="b"))


async def test_a_trace_goes_through_client_and_server(mesh: Any, exporter: InMemorySpanExporter) -> None:
    with tracing.span("root"):
        inside = await mesh.echo("trace")
    server, client, root = exporter.get_finished_spans()
    assert (client.kind.name, server.kind.name) == ("CLIENT", "SERVER")
    assert client.parent is not None
    assert server.parent is not None
    assert client.parent.span_id == root.context.span_id
    assert server.parent.span_id == client.context.span_id
    assert {span.context.trace_id for span in (server, client, root)} == {root.context.trace_id}
    assert inside == f"00-{root.context.trace_id:032x}-{server.context.span_id:016x}-01"
    assert server.name == "toy.ToyService/Echo"
    assert dict(server.attributes or {}) == {
        "rpc.system.name": "grpc",
        "rpc.method": "toy.ToyService/Echo",
        "rpc.response.status_code": "OK",
    }
    called = {key: (client.attributes or {})[key] for key in ("rpc.method", "server.address", "server.port")}
    host, _, port = mesh.address.rpartition(":")
    assert called == {"rpc.method": server.name, "server.address": host, "server.port": int(port)}


async def test_a_failed_call_has_its_status_code_on_the_span(mesh: Any, exporter: InMemorySpanExporter) -> None:
    with tracing.span_from(SAMPLED, "root"), pytest.raises(ApiError):
        await mesh.echo("missing")
    server, client = (span for span in exporter.get_finished_spans() if span.name != "root")
    for span in (server, client):
        assert (span.attributes or {})["rpc.response.status_code"] == "NOT_FOUND"
    # What the caller got wrong is an error to it, and none of the server's.
    assert (server.status.status_code.name, client.status.status_code.name) == ("UNSET", "ERROR")
    assert (client.attributes or {})["error.type"] == "NOT_FOUND"


async def test_a_stream_joins_a_trace_and_never_starts_one(mesh: Any, exporter: InMemorySpanExporter) -> None:
    tracing.adopt(None)
    with pytest.raises(ApiError):
        await anext(aiter(mesh.stub.Count(StringValue(value="0"))))
    assert exporter.get_finished_spans() == ()
    with tracing.span_from(SAMPLED, "root"), pytest.raises(ApiError):
        await anext(aiter(mesh.stub.Count(StringValue(value="0"))))
    assert "toy.ToyService/Count" in [span.name for span in exporter.get_finished_spans()]


async def test_who_is_cancelled_while_a_stream_ends_is_cancelled(mesh: Any) -> None:
    """The library forgets a cancellation, once in some hundred times, that comes together with the call's end."""

    async def talk() -> None:
        call = mesh.stub.Pipe()
        await call.write(StringValue(value="missing"))
        await call.read()

    async def seconds_of(talking: asyncio.Task[None]) -> float:
        began = asyncio.get_running_loop().time()
        await asyncio.wait({talking})
        return asyncio.get_running_loop().time() - began

    chance, cut = random.Random(17), 0
    usual = sorted([await seconds_of(asyncio.create_task(talk())) for _ in range(50)])[25]
    for _ in range(2000):
        talking = asyncio.create_task(talk())
        await asyncio.sleep(chance.uniform(0.4, 1.1) * usual)
        if talking.cancel():
            await asyncio.wait({talking})
            assert talking.cancelled(), repr(talking.exception())
            cut += 1
        else:
            talking.exception()
    assert cut
