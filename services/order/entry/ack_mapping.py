"""What a session is told, encoded: acknowledgements, many in one message."""

from __future__ import annotations

from collections.abc import Iterable

from tickmesh.common.v1 import stream_pb2
from tickmesh.order.v1 import order_service_pb2

from services.chassis.errors import ApiError
from services.chassis.streams.tokens import length_delimited

_LIST_IN_ACK = order_service_pb2.OrderAck.ORDER_LIST_FIELD_NUMBER
_ORDER_IN_ACK = order_service_pb2.OrderAck.ORDER_FIELD_NUMBER
_ACK_IN_ACKS = order_service_pb2.OrderAcks.ACKS_FIELD_NUMBER
_ACKS_IN_MESSAGE = order_service_pb2.EnterOrdersResponse.ACKS_FIELD_NUMBER


def ack_of_list(number: int, client_order_id: str, order_list: bytes) -> bytes:
    """What a session is told of a list that was created."""
    head = order_service_pb2.OrderAck(number=number, client_order_id=client_order_id).SerializeToString()
    return head + length_delimited(_LIST_IN_ACK, order_list)


def ack_of_order(number: int, client_order_id: str, order: bytes) -> bytes:
    """What a session is told of a command that was done."""
    head = order_service_pb2.OrderAck(number=number, client_order_id=client_order_id).SerializeToString()
    return head + length_delimited(_ORDER_IN_ACK, order)


def ack_of_error(number: int, client_order_id: str, error: ApiError) -> bytes:
    """What a session is told of a command that was refused or failed."""
    ack = order_service_pb2.OrderAck(number=number, client_order_id=client_order_id, error=error.to_status())
    return ack.SerializeToString()


def acks_message(acks: Iterable[bytes]) -> bytes:
    """Acknowledgements as a session's message."""
    listed = b"".join(length_delimited(_ACK_IN_ACKS, ack) for ack in acks)
    return length_delimited(_ACKS_IN_MESSAGE, listed)


def session_heartbeat() -> bytes:
    """A session's message that says nothing new."""
    return order_service_pb2.EnterOrdersResponse(heartbeat=stream_pb2.Heartbeat()).SerializeToString()
