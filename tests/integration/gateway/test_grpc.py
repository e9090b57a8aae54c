"""gRPC through the edge: calls, errors of the edge's own as statuses, reflection, what is not open."""

import asyncio
import json
import subprocess
import time
from collections.abc import AsyncIterator, Callable
from typing import Any

import grpc
import pytest
from tickmesh.marketdata.v1 import market_data_service_pb2, tape_service_pb2, tape_service_pb2_grpc
from tickmesh.marketdata.v1.market_data_service_pb2_grpc import MarketDataServiceStub
from tickmesh.order.v1 import order_service_pb2
from tickmesh.order.v1.order_service_pb2_grpc import OrderServiceStub
from tickmesh.risk.v1 import risk_gate_service_pb2_grpc
from tickmesh.strategy.v1 import strategy_service_pb2
from tickmesh.strategy.v1.strategy_service_pb2_grpc import StrategyServiceStub

from services.chassis import catalog
from services.chassis.calls.channel import connect
from services.chassis.errors import ApiError
from tests.integration.gateway.support import Backend, Edge

Code = grpc.StatusCode
MakeEdge = Callable[..., tuple[Edge, Backend]]


@pytest.fixture
async def channel(edge: Edge) -> AsyncIterator[Any]:
    async with connect(edge.address) as opened:
        yield opened


def order(order_id: str) -> order_service_pb2.GetOrderRequest:
    return order_service_pb2.GetOrderRequest(order_id=order_id)


async def refused(call: Any) -> ApiError:
    with pytest.raises(ApiError) as caught:
        await call
    return caught.value


async def test_a_services_error_keeps_its_details(channel: Any) -> None:
    error = await refused(OrderServiceStub(channel).GetOrder(order("funds")))
    assert (error.code, error.reason) == (Code.FAILED_PRECONDITION, "INSUFFICIENT_BUYING_POWER")
    assert error.metadata == {"missing": "250.00"}


async def test_the_edge_marks_a_call_and_nobody_can_pretend(channel: Any) -> None:
    request = order_service_pb2.CreateOrderRequest(
        client_order_id="a", portfolio_id="p", symbol="AAPL", side=1, order_type=1, time_in_force=1, quantity="1"
    )
    request.label = "metadata"
    answer = await OrderServiceStub(channel).CreateOrder(request, metadata=(("x-tickmesh-edge", "0"),))
    assert json.loads(answer.owner)["x-tickmesh-edge"] == "1"


async def test_a_service_that_is_away_is_a_status_with_details(channel: Any) -> None:
    error = await refused(StrategyServiceStub(channel).ListStrategies(strategy_service_pb2.ListStrategiesRequest()))
    assert (error.code, error.reason, error.retry_delay) == (Code.UNAVAILABLE, "SERVICE_UNAVAILABLE", 1.0)
    assert "{" not in error.message


async def test_internal_services_are_as_unknown_as_ones_that_are_not_there(channel: Any) -> None:
    tape = tape_service_pb2_grpc.TapeServiceStub(channel).ReadTape(
        tape_service_pb2.ReadTapeRequest(environment_id="r1")
    )
    error = await refused(tape.read())
    assert (error.code, error.reason) == (Code.UNIMPLEMENTED, "METHOD_NOT_FOUND")
    checks = risk_gate_service_pb2_grpc.RiskGateServiceStub(channel).CheckOrders()
    error = await refused(checks.read())
    assert (error.code, error.reason) == (Code.UNIMPLEMENTED, "METHOD_NOT_FOUND")


async def test_a_call_without_an_answer_ends_with_its_deadline_or_the_edges(own_edge: MakeEdge) -> None:
    edge, _ = own_edge(edge_timeout_seconds=0.5)
    async with connect(edge.address, deadline_seconds=20) as channel:
        error = await refused(OrderServiceStub(channel).GetOrder(order("slow")))
        assert (error.code, error.reason) == (Code.DEADLINE_EXCEEDED, "DEADLINE_EXCEEDED"), error
        with pytest.raises(ApiError) as caught:
            await OrderServiceStub(channel).GetOrder(order("slow"), timeout=0.1)
        assert caught.value.code is Code.DEADLINE_EXCEEDED


async def test_a_connection_that_broke_in_a_call_carries_no_reason(own_edge: MakeEdge) -> None:
    """Our ErrorInfo would promise that nothing was done."""
    edge, _ = own_edge()
    async with grpc.aio.insecure_channel(edge.address) as channel:
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await OrderServiceStub(channel).GetOrder(order("broken"))
        assert caught.value.code() is Code.UNAVAILABLE
        details = dict(caught.value.trailing_metadata() or ())
        assert b"RetryInfo" in details["grpc-status-details-bin"]
        assert b"ErrorInfo" not in details["grpc-status-details-bin"]


async def test_fast_streams_arrive_whole(channel: Any) -> None:
    call = MarketDataServiceStub(channel).StreamMarketData(market_data_service_pb2.StreamMarketDataRequest())
    assert [message.sequence async for message in call] == list(range(1, 201))


async def test_a_stream_outlives_the_timeout_of_calls_and_goes_on_after_a_restart_of_the_edge(
    own_edge: MakeEdge,
) -> None:
    edge, _ = own_edge(edge_timeout_seconds=0.3)
    async with connect(edge.address) as channel:
        call = OrderServiceStub(channel).StreamOrderEvents(order_service_pb2.StreamOrderEventsRequest())
        seen = [await call.read() for _ in range(8)]
        assert [each.sequence for each in seen] == list(range(1, 9))
        edge.stop()
        await refused(_drained(call))
    again = edge.again()
    try:
        async with connect(again.address) as channel:
            request = order_service_pb2.StreamOrderEventsRequest(resume_token=seen[-1].resume_token)
            assert (await OrderServiceStub(channel).StreamOrderEvents(request).read()).sequence == 9
    finally:
        again.stop()


async def _drained(call: Any) -> None:
    while await call.read() is not grpc.aio.EOF:
        pass


async def test_a_restart_of_a_service_costs_nothing_but_the_calls_meanwhile(own_edge: MakeEdge) -> None:
    edge, backend = own_edge()
    async with connect(edge.address) as channel:
        stub = OrderServiceStub(channel)
        await until_answered(stub, "ORDER_NOT_FOUND")
        backend.kill()
        await until_answered(stub, "SERVICE_UNAVAILABLE")
        await asyncio.to_thread(backend.start)
        await until_answered(stub, "ORDER_NOT_FOUND")


async def until_answered(stub: OrderServiceStub, reason: str) -> None:
    """Asks until the edge has noticed what became of the service: it looks at its health every second."""
    async with asyncio.timeout(20):
        while (await refused(stub.GetOrder(order("none")))).reason != reason:  # noqa: ASYNC110 only asking tells
            await asyncio.sleep(0.1)


def test_grpcurl_lists_the_public_services(edge: Edge, tool: Callable[[str], str]) -> None:
    command = [tool("grpcurl"), "-plaintext", edge.address]
    listed = subprocess.run([*command, "list"], capture_output=True, text=True, check=True).stdout.split()
    assert set(catalog.PUBLIC) <= set(listed)
    assert not {name for each in catalog.SERVICES.values() for name in each.internal} & set(listed)
    described = subprocess.run(
        [*command, "describe", "tickmesh.strategy.v1.StrategyService"], capture_output=True, text=True, check=True
    )
    assert "rpc DeployStrategy" in described.stdout


def test_grpcurl_shows_an_error_with_its_reason(edge: Edge, tool: Callable[[str], str]) -> None:
    command = [tool("grpcurl"), "-plaintext", "-d", '{"order_id": "none"}', edge.address]
    done = subprocess.run(
        [*command, "tickmesh.order.v1.OrderService/GetOrder"], capture_output=True, text=True, check=False
    )
    assert "NotFound" in done.stderr
    assert '"reason": "ORDER_NOT_FOUND"' in done.stderr


def test_health_of_each_service_and_of_all_is_told(own_edge: MakeEdge) -> None:
    edge, backend = own_edge()
    with edge.client() as client:
        assert _turns(client, "/healthz", 200).json() == {"status": "SERVING"}
        assert client.get("/healthz/order").status_code == 200
        backend.kill()
        assert _turns(client, "/healthz", 503).json()["code"] == 14
        assert _turns(client, "/healthz/order", 503)
        backend.start()
        assert _turns(client, "/healthz", 200)


def _turns(client: Any, path: str, status: int) -> Any:
    for _ in range(100):
        answer = client.get(path)
        if answer.status_code == status:
            return answer
        time.sleep(0.1)
    raise AssertionError(f"{path} does not become {status}: {answer.text}")


async def test_a_method_that_a_public_service_does_not_have_is_unimplemented_with_its_reason(channel: Any) -> None:
    call = channel.unary_unary("/tickmesh.order.v1.OrderService/ExplodeOrder", request_serializer=bytes)
    error = await refused(call(b""))
    assert (error.code, error.reason) == (Code.UNIMPLEMENTED, "METHOD_NOT_FOUND")
