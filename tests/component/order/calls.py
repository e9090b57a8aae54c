"""What tests ask of the order service, and how they look at its answers."""

import asyncio
from typing import Any

import pytest
from tickmesh.order.v1 import (
    cancel_timer_pb2,
    order_explanation_pb2,
    order_explanation_service_pb2,
    order_list_pb2,
    order_pb2,
    order_preview_pb2,
    order_service_pb2,
)
from tickmesh.order.v1.order_explanation_service_pb2_grpc import OrderExplanationServiceStub

from services.chassis.errors import ApiError
from tests.component.order.sessions import until
from tests.component.order.support import Mesh, request

BRACKET = order_pb2.CONTINGENCY_TYPE_BRACKET
MARKET, LIMIT, STOP = order_pb2.ORDER_TYPE_MARKET, order_pb2.ORDER_TYPE_LIMIT, order_pb2.ORDER_TYPE_STOP
BUY, SELL = 1, 2
STATE = order_pb2.OrderState
STANDING = (STATE.ORDER_STATE_NEW, order_pb2.CANCEL_REASON_UNSPECIFIED)
TIMED_OUT = (STATE.ORDER_STATE_CANCELED, order_pb2.CANCEL_REASON_CANCEL_TIMER)


async def refused(call: Any) -> ApiError:
    with pytest.raises(ApiError) as caught:
        await call
    return caught.value


def cancel(order_id: str) -> order_service_pb2.CancelOrderRequest:
    return order_service_pb2.CancelOrderRequest(order_id=order_id)


def replace(order_id: str, **terms: Any) -> order_service_pb2.ReplaceOrderRequest:
    return order_service_pb2.ReplaceOrderRequest(order_id=order_id, **terms)


async def state_of(mesh: Mesh, name: str, state: int, portfolio_id: str = "trend") -> order_pb2.Order:
    """Waits for an order's state, for at most a second: what a kill switch is given."""
    for _ in range(50):
        order = await mesh.get(name, portfolio_id)
        if order.state == state:
            return order
        await asyncio.sleep(0.02)
    raise AssertionError(f"{name} is {order.state}")


def how(order: order_pb2.Order) -> tuple[int, int]:
    """How an order stands, and why."""
    return order.state, order.cancel_reason


async def preview(mesh: Mesh, **values: Any) -> order_preview_pb2.OrderPreview:
    """Of a buy of 10 AAPL at market, or what `values` make of it."""
    order = request("", **values)
    return await mesh.orders.PreviewOrder(order_preview_pb2.PreviewOrderRequest.FromString(order.SerializeToString()))


async def explain(mesh: Mesh, order_id: str) -> order_explanation_pb2.OrderExplanation:
    asked = order_explanation_service_pb2.ExplainOrderRequest(order_id=order_id)
    return await OrderExplanationServiceStub(mesh.channel).ExplainOrder(asked)


def gaps(story: order_explanation_pb2.OrderExplanation) -> list[tuple[str, str]]:
    return [(gap.part, gap.service) for gap in story.gaps]


def cancel_all(**of: Any) -> order_service_pb2.BatchCancelOrdersRequest:
    return order_service_pb2.BatchCancelOrdersRequest(**{"portfolio_id": "trend", **of})


def close(client_order_id: str, position_id: str = "trend~AAPL") -> order_service_pb2.ClosePositionRequest:
    return order_service_pb2.ClosePositionRequest(position_id=position_id, client_order_id=client_order_id)


async def hold(mesh: Mesh, **of: Any) -> None:
    """Buys, or what `of` says, and lets it fill at the next bar."""
    await mesh.orders.CreateOrder(request("opening", **of))
    await mesh.market.run(1, 5)
    mesh.market.idle(5)


def listed(client_order_id: str, side: int, **values: Any) -> order_list_pb2.ListedOrder:
    usual = {"symbol": "AAPL", "order_type": MARKET, "time_in_force": order_pb2.TIME_IN_FORCE_GTC}
    return order_list_pb2.ListedOrder(client_order_id=client_order_id, side=side, **(usual | values))


def bracket(
    name: str = "b", target: str = "100.3", stop: str = "90", **entry: Any
) -> order_list_pb2.CreateOrderListRequest:
    """A purchase of ten at the market, to be sold at the target or else at the stop."""
    orders = [
        listed(f"{name}-entry", BUY, **({"quantity": "10"} | entry)),
        listed(f"{name}-target", SELL, order_type=LIMIT, limit_price=target),
        listed(f"{name}-stop", SELL, order_type=STOP, stop_price=stop),
    ]
    return order_list_pb2.CreateOrderListRequest(portfolio_id="trend", contingency_type=BRACKET, orders=orders)


async def arm(mesh: Mesh, seconds: int, **fields: Any) -> cancel_timer_pb2.CancelTimer:
    asked = cancel_timer_pb2.ArmCancelTimerRequest(**({"portfolio_id": "trend"} | fields))
    asked.timeout.seconds = seconds
    return await mesh.orders.ArmCancelTimer(asked)


async def timed_out(mesh: Mesh, client_order_id: str, portfolio_id: str = "trend") -> None:
    """Waits until an order has been canceled by a timer."""

    async def gone() -> bool:
        return how(await mesh.get(client_order_id, portfolio_id)) == TIMED_OUT

    await until(gone, 20)
