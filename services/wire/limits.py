"""Limits by the domain's names."""

from __future__ import annotations

from typing import Final

from tickmesh.risk.v1 import risk_pb2

LIMIT_NAMES: Final = {
    risk_pb2.LIMIT_TYPE_MAX_ORDER_NOTIONAL: "max_order_notional",
    risk_pb2.LIMIT_TYPE_MAX_POSITION_QUANTITY: "max_position_quantity",
    risk_pb2.LIMIT_TYPE_MAX_GROSS_EXPOSURE: "max_gross_exposure",
    risk_pb2.LIMIT_TYPE_MAX_ORDER_RATE: "max_order_rate",
    risk_pb2.LIMIT_TYPE_PRICE_BAND: "price_band",
    risk_pb2.LIMIT_TYPE_SHORT_SALES: "short_sale",
}
"""The domain's name of each limit."""
LIMIT_TYPES: Final = {name: number for number, name in LIMIT_NAMES.items()}
