"""Limits by the domain's names, and what they said of an order."""

from __future__ import annotations

from typing import Final

from tickmesh.order.v1 import order_pb2
from tickmesh.risk.v1 import risk_pb2

from services.domain.risk.limit import Checked, Where
from services.wire.values import optional, text

LIMIT_NAMES: Final = {
    risk_pb2.LIMIT_TYPE_MAX_ORDER_NOTIONAL: "max_order_notional",
    risk_pb2.LIMIT_TYPE_MAX_POSITION_QUANTITY: "max_position_quantity",
    risk_pb2.LIMIT_TYPE_MAX_GROSS_EXPOSURE: "max_gross_exposure",
    risk_pb2.LIMIT_TYPE_MAX_ORDER_RATE: "max_order_rate",
    risk_pb2.LIMIT_TYPE_PRICE_BAND: "price_band",
    risk_pb2.LIMIT_TYPE_SHORT_SALES: "short_sale",
    risk_pb2.LIMIT_TYPE_MAX_ORDER_QUANTITY: "max_order_quantity",
    risk_pb2.LIMIT_TYPE_MAX_POSITION_NOTIONAL: "max_position_notional",
    risk_pb2.LIMIT_TYPE_MAX_NET_EXPOSURE: "max_net_exposure",
    risk_pb2.LIMIT_TYPE_MAX_LEVERAGE: "max_leverage",
    risk_pb2.LIMIT_TYPE_MAX_CONCENTRATION: "max_concentration",
    risk_pb2.LIMIT_TYPE_RUNAWAY_GUARD: "runaway_guard",
    risk_pb2.LIMIT_TYPE_MAX_DAILY_LOSS: "max_daily_loss",
    risk_pb2.LIMIT_TYPE_MAX_DRAWDOWN: "max_drawdown",
    risk_pb2.LIMIT_TYPE_RESTRICTED: "restricted",
    risk_pb2.LIMIT_TYPE_INITIAL_MARGIN: "initial_margin",
    risk_pb2.LIMIT_TYPE_MAINTENANCE_MARGIN: "maintenance_margin",
}
"""The domain's name of each limit."""
LIMIT_TYPES: Final = {name: number for number, name in LIMIT_NAMES.items()}


def check_to_proto(check: Checked) -> order_pb2.LimitCheck:
    """What one limit said of an order."""
    portfolio_id, strategy_id, symbol = check.where
    return order_pb2.LimitCheck(
        limit=check.limit,
        portfolio_id=portfolio_id,
        strategy_id=strategy_id,
        symbol=symbol,
        bound="" if check.bound is None else text(check.bound),
        value="" if check.value is None else text(check.value),
    )


def check_from_proto(check: order_pb2.LimitCheck) -> Checked:
    """What one limit said of an order."""
    where = Where(check.portfolio_id, check.strategy_id, check.symbol)
    return Checked(check.limit, where, optional(check.bound), optional(check.value))
