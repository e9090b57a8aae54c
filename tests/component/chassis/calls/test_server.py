"""What every server does around its handlers."""

import asyncio
import os
import signal
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import grpc
import pytest
from google.protobuf.struct_pb2 import Struct
from google.protobuf.wrappers_pb2 import StringValue
from google.rpc import error_details_pb2, status_pb2
from grpc_health.v1 import health, health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection_pb2, reflection_pb2_grpc

from services.chassis.calls import handlers
from services.chassis.calls.channel import connect
from services.chassis.calls.server import Server
from services.chassis.errors import DETAILS_KEY, ApiError
from tests.component.chassis.conftest import Serve, Toy, ToySettings, add_toy

ROOT = Path(__file__).resolve().parents[3]


async def refusal(call: Any) -> ApiError:
    with pytest.raises(ApiError) as caught:
        await call
    return caught.value


async def test_a_result_may_be_a_message_or_its_bytes(mesh: Any) -> None:
    assert await mesh.echo("hello") == "hello"
    assert await mesh.echo("bytes") == "encoded once"


async def test_a_typed_error_arrives_as_it_was_raised(mesh: Any) -> None:
    error = await refusal(mesh.echo("missing"))
    assert (error.code, error.reason) == (grpc.StatusCode.NOT_FOUND, "ORDER_NOT_FOUND")
    assert error.resource is not None
    assert error.resource.name == "x"


async def test_a_plain_client_finds_a_google_rpc_status_in_the_trailers(mesh: Any, stub_of: Any) -> None:
    async with grpc.aio.insecure_channel(mesh.address) as channel:
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await stub_of(channel).Echo(StringValue(value="missing"))
    [data] = [value for key, value in caught.value.trailing_metadata() if key == DETAILS_KEY]
    status, info = status_pb2.Status.FromString(data), error_details_pb2.ErrorInfo()
    assert status.code == grpc.StatusCode.NOT_FOUND.value[0]
    assert status.details[0].Unpack(info)
    assert (info.domain, info.reason) == ("tickmesh", "ORDER_NOT_FOUND")


async def test_an_unexpected_failure_tells_nothing_of_itself(mesh: Any) -> None:
    error = await refusal(mesh.echo("broken"))
    assert (error.code, error.reason) == (grpc.StatusCode.INTERNAL, "INTERNAL_ERROR")
    assert "secret" not in error.message


async def test_an_error_in_mid_stream_comes_after_the_messages(mesh: Any) -> None:
    seen = []

    async def read() -> None:
        async for message in mesh.stub.Count(StringValue(value="3")):
            seen.append(message.value)  # noqa: PERF401 what came before the error matters

    error = await refusal(read())
    assert seen == ["0", "1", "2"]
    assert error.reason == "BASIS_STALE"


async def test_streams_of_requests_work_both_ways(mesh: Any) -> None:
    async def requests() -> AsyncIterator[StringValue]:
        for value in "abc":
            yield StringValue(value=value)

    assert (await mesh.stub.Join(requests())).value == "a,b,c"
    call = mesh.stub.Pipe()
    await call.write(StringValue(value="a"))
    assert (await call.read()).value == "a"
    await call.write(StringValue(value="missing"))
    assert (await refusal(call.read())).reason == "ORDER_NOT_FOUND"


async def test_bytes_that_are_no_message_are_the_callers_mistake(mesh: Any) -> None:
    async with grpc.aio.insecure_channel(mesh.address) as channel:
        for call in (
            channel.unary_unary("/toy.ToyService/Echo")(b"\xff\xff"),
            channel.stream_unary("/toy.ToyService/Join")(iter([b"\xff\xff"])),
        ):
            with pytest.raises(grpc.aio.AioRpcError) as caught:
                await call
            error = ApiError.from_rpc_error(caught.value)
            assert error.reason == "INVALID_ARGUMENT"
            assert error.field_violations[0].description == error.message


async def test_requests_are_validated_also_within_a_stream(mesh: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    def no_longer_than_three(message: Any) -> None:
        if len(message.value) > 3:
            raise ApiError.invalid_field("value", "is too long")

    monkeypatch.setattr(handlers, "validate", no_longer_than_three)
    assert (await refusal(mesh.echo("four"))).code is grpc.StatusCode.INVALID_ARGUMENT
    assert mesh.toy.calls == 0
    call = mesh.stub.Pipe()
    await call.write(StringValue(value="abc"))
    await call.write(StringValue(value="abcd"))
    assert (await call.read()).value == "abc"
    assert (await refusal(call.read())).code is grpc.StatusCode.INVALID_ARGUMENT
    assert mesh.toy.seen == ["abc"]


async def test_health_is_checked_and_watched_by_service_and_as_a_whole(mesh: Any) -> None:
    serving, not_serving = health_pb2.HealthCheckResponse.SERVING, health_pb2.HealthCheckResponse.NOT_SERVING
    async with grpc.aio.insecure_channel(mesh.address) as channel:
        stub = health_pb2_grpc.HealthStub(channel)
        for name in ("", "toy.ToyService"):
            assert (await stub.Check(health_pb2.HealthCheckRequest(service=name))).status == serving
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await stub.Check(health_pb2.HealthCheckRequest(service="nobody"))
        assert caught.value.code() is grpc.StatusCode.NOT_FOUND
        await mesh.server.set_health("risk-gate", serving=False)
        watch = stub.Watch(health_pb2.HealthCheckRequest(service="risk-gate"))
        assert (await watch.read()).status == not_serving
        await mesh.server.set_health("risk-gate", serving=True)
        assert (await watch.read()).status == serving
        watch.cancel()


@pytest.mark.parametrize("version", ["v1alpha", "v1"])
async def test_reflection_lists_services_of_the_pool_in_both_versions(mesh: Any, version: str) -> None:
    request = reflection_pb2.ServerReflectionRequest
    async with grpc.aio.insecure_channel(mesh.address) as channel:
        call = channel.stream_stream(
            f"/grpc.reflection.{version}.ServerReflection/ServerReflectionInfo",
            request.SerializeToString,
            reflection_pb2.ServerReflectionResponse.FromString,
        )
        served = ("grpc.health.v1.Health", "grpc.health.v1.Health.Check", "grpc.reflection.v1.ServerReflection")
        symbols = (*served, "grpc.health.v1.Health.Bogus", "bogus")
        wanted = [request(list_services=""), *(request(file_containing_symbol=symbol) for symbol in symbols)]
        answers = [answer async for answer in call(iter(wanted))]
    names = [service.name for service in answers[0].list_services_response.service]
    assert {"grpc.health.v1.Health", "grpc.reflection.v1.ServerReflection"} <= set(names)
    assert "grpc.reflection.v1alpha.ServerReflection" in names
    kinds = [answer.WhichOneof("message_response") for answer in answers[1:]]
    assert kinds == ["file_descriptor_response"] * 3 + ["error_response"] * 2
    assert reflection_pb2_grpc.ServerReflectionStub


async def test_draining_refuses_new_calls_and_lets_running_ones_finish(mesh: Any, stub_of: Any) -> None:
    running = asyncio.create_task(mesh.echo("brief"))
    await asyncio.sleep(0.05)
    stopping = asyncio.create_task(mesh.server.stop(60))
    await mesh.server.draining.wait()
    await asyncio.sleep(0.05)
    async with grpc.aio.insecure_channel(mesh.address) as channel:
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await stub_of(channel).Echo(StringValue(value="new"))
        assert caught.value.code() is grpc.StatusCode.UNAVAILABLE
    assert await running == "brief"
    async with asyncio.timeout(20):
        await stopping


@pytest.mark.parametrize("method", ["Pipe", "Join"])
async def test_draining_ends_streams_of_requests_at_once_and_asks_to_connect_again(mesh: Any, method: str) -> None:
    call = getattr(mesh.stub, method)()
    await call.write(StringValue(value="a"))
    if method == "Pipe":
        await call.read()
    await asyncio.sleep(0.05)
    async with asyncio.timeout(20):
        stopping = asyncio.create_task(mesh.server.stop(60))
        error = await refusal(call.read() if method == "Pipe" else call)
        await stopping
    assert (error.code, error.reason) == (grpc.StatusCode.UNAVAILABLE, "SERVICE_UNAVAILABLE")
    assert "connect again" in error.message


async def test_a_subscriber_that_leaves_is_noticed_at_once(mesh: Any) -> None:
    call = mesh.stub.Count(StringValue(value="1000000000"))
    await anext(aiter(call))
    call.cancel()
    async with asyncio.timeout(20):
        await mesh.toy.cancelled.wait()


async def test_a_second_server_cannot_take_the_same_port(mesh: Any) -> None:
    from services.chassis.settings import ServiceSettings

    with pytest.raises(RuntimeError, match=r"[Ff]ailed to bind"):
        await Server(ServiceSettings(), address=mesh.address).start()


async def test_a_misspelt_setting_is_warned_of_once_at_the_start(
    serve: Serve, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv("TICKMESH_ORDER_RISK_DEADLIN", "7")
    monkeypatch.setenv("TICKMESH_RISK_STORE_INTERVALL", "7")
    async with serve():
        warned = [vars(each).get("variables") for each in caplog.records if each.levelname == "WARNING"]
    assert [each for each in warned if each] == [["TICKMESH_ORDER_RISK_DEADLIN"]]


async def test_a_failed_background_task_ends_the_server_with_its_error() -> None:
    from services.chassis.settings import ServiceSettings

    async def fail() -> None:
        await asyncio.sleep(0.05)
        raise OSError("lost")

    server = Server(ServiceSettings(), address="127.0.0.1:0")
    server.spawn(fail(), "loop")
    async with asyncio.timeout(20):
        with pytest.raises(OSError, match="lost"):
            await server.serve()


@pytest.mark.parametrize("draining", [False, True])
async def test_after_a_background_task_failed_nobody_waits_for_a_drain(stub_of: Any, draining: bool) -> None:
    async def fail() -> None:
        raise OSError("lost")

    server, toy = Server(ToySettings(), address="127.0.0.1:0"), Toy()
    server.add(add_toy, toy)
    serving = asyncio.ensure_future(server.serve())
    async with asyncio.timeout(20):
        while not server.port:  # noqa: ASYNC110 it tells no event
            await asyncio.sleep(0.005)
        async with connect(f"127.0.0.1:{server.port}") as channel:
            # It would take ten minutes, and its drain as long as may be.
            call = asyncio.ensure_future(stub_of(channel).Echo(StringValue(value="slow")))
            while not toy.calls:  # noqa: ASYNC110 the handler tells no event
                await asyncio.sleep(0.005)
            if draining:
                server.draining.set()
                await asyncio.sleep(0.1)
            server.spawn(fail(), "loop")
            assert (await refusal(call)).reason == "SERVICE_UNAVAILABLE"
            with pytest.raises(OSError, match="lost"):
                await serving
    assert toy.cancelled.is_set()


PROGRAM = """
import asyncio
from services.chassis.telemetry import tracing
from services.chassis.telemetry.setup import configure
from services.chassis.calls.server import Server, run
from services.chassis.settings import ServiceSettings, load

async def main() -> None:
    settings = load(ServiceSettings)
    configure("toy", log_level=settings.log_level)
    server = Server(settings, address="127.0.0.1:0")
    await server.serve()
    print("closed in order", flush=True)

run(main)
"""


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
async def test_a_process_that_is_told_to_stop_drains_and_ends_with_code_0(number: signal.Signals) -> None:
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-c",
        PROGRAM,
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    assert process.stderr is not None
    async with asyncio.timeout(10):
        assert b'"message": "serving"' in await process.stderr.readline()
        process.send_signal(number)
        out, _ = await process.communicate()
    assert out == b"closed in order\n"
    assert process.returncode == 0


async def test_a_call_of_an_unknown_method_is_unimplemented(mesh: Any) -> None:
    async with grpc.aio.insecure_channel(mesh.address) as channel:
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await channel.unary_unary("/toy.ToyService/Nothing", Struct.SerializeToString)(Struct())
    assert ApiError.from_rpc_error(caught.value).reason == "METHOD_NOT_FOUND"


async def test_the_transport_writes_no_lines_of_its_own(capfd: pytest.CaptureFixture[str]) -> None:
    """Not even where a server ends in the middle of a call; tests had such lines among their dots."""
    server = grpc.aio.server()
    health_pb2_grpc.add_HealthServicer_to_server(health.aio.HealthServicer(), server)
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    async with grpc.aio.insecure_channel(f"127.0.0.1:{port}") as channel:
        watching = health_pb2_grpc.HealthStub(channel).Watch(health_pb2.HealthCheckRequest())
        await watching.read()
        await server.stop(0)
        with pytest.raises(grpc.aio.AioRpcError):
            await watching.read()
    assert capfd.readouterr().err == ""
