"""Previews of orders between the contract and the desk: pure functions."""

from __future__ import annotations

from tickmesh.order.v1 import order_pb2, order_preview_pb2, order_service_pb2

from services.domain.instrument import Instrument
from services.domain.orders.order import INITIAL_MARGIN
from services.order.commands.previewing import Outlook
from services.order.entry.mapping import ticket_from_proto
from services.order.mapping import exact, places_of
from services.order.ticket import Ticket
from services.wire.limits import check_to_proto
from services.wire.orders import refusal_to_proto
from services.wire.values import text, timestamp

# Unique in nothing: an order that is only thought of is not kept.
_NAMELESS = "preview"


def previewed_ticket(request: order_preview_pb2.PreviewOrderRequest) -> Ticket:
    """A validated request as the desk takes it.

    Raises:
        ApiError: as of the order itself.
    """
    # Its fields are the order's, by number.
    asked = order_service_pb2.CreateOrderRequest.FromString(request.SerializeToString())
    asked.client_order_id = _NAMELESS
    return ticket_from_proto(asked)


def preview_to_proto(outlook: Outlook, environment_id: str, instrument: Instrument) -> order_preview_pb2.OrderPreview:
    """What would become of an order."""
    units, price = places_of(instrument)
    preview, reserved = outlook.preview, outlook.preview.verdict.reservation
    refusal, beyond = preview.verdict.refusal, preview.beyond
    return order_preview_pb2.OrderPreview(
        environment_id=environment_id,
        tape_sequence=outlook.tape_sequence,
        event_time=timestamp(outlook.market_time),
        reference_price="" if outlook.reference is None else text(outlook.reference, price),
        estimated_price=text(preview.price, price) if preview.price else "",
        quantity=text(preview.quantity, units),
        notional=exact(preview.notional),
        commission=exact(outlook.commission),
        passes=refusal is None,
        reservation=None
        if reserved is None
        else order_pb2.Reservation(
            cash=exact(reserved.cash),
            quantity=text(reserved.quantity, units),
            headroom=exact(reserved.headroom),
            commission=exact(reserved.commission) if reserved.commission else "",
            margin="" if reserved.margin == INITIAL_MARGIN else exact(reserved.margin),
        ),
        refusal=None if refusal is None else refusal_to_proto(refusal),
        largest_quantity="" if preview.largest is None else text(preview.largest, units),
        next_refusal=None if beyond is None else refusal_to_proto(beyond),
        checks=map(check_to_proto, preview.verdict.checks),
        slippage=exact(preview.slippage),
        initial_margin=exact(preview.initial_margin),
    )
