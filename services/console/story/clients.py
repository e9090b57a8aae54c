"""Asks the order service for an order's story."""

from __future__ import annotations

from tickmesh.order.v1 import order_explanation_service_pb2
from tickmesh.order.v1.order_explanation_service_pb2_grpc import OrderExplanationServiceStub

from services.chassis.calls.channel import connect
from services.chassis.settings import ServiceSettings
from services.console.story.mapping import lines_of


async def story(settings: ServiceSettings, order_id: str) -> list[str]:
    """The lines that tell it.

    Raises:
        ApiError: NOT_FOUND `ORDER_NOT_FOUND`; UNAVAILABLE.
    """
    request = order_explanation_service_pb2.ExplainOrderRequest(order_id=order_id)
    async with connect(settings.peer("order"), deadline_seconds=settings.call_deadline_seconds) as channel:
        return lines_of(await OrderExplanationServiceStub(channel).ExplainOrder(request))
