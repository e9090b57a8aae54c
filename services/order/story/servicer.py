"""The RPC of OrderExplanationService: proto to domain, a call, domain to proto."""

from __future__ import annotations

from typing import Any

import grpc
from tickmesh.order.v1 import order_explanation_service_pb2, order_explanation_service_pb2_grpc

from services.order.story.explaining import Explaining
from services.order.story.mapping import story_to_proto

Context = grpc.aio.ServicerContext[Any, Any]


class OrderExplanationServicer(order_explanation_service_pb2_grpc.OrderExplanationServiceServicer):
    """Why orders became what they are."""

    def __init__(self, explaining: Explaining) -> None:
        self._explaining = explaining

    async def ExplainOrder(self, request: order_explanation_service_pb2.ExplainOrderRequest, context: Context) -> Any:
        """Tells an order's story."""
        return story_to_proto(await self._explaining.explain(request.order_id))
