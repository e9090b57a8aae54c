"""Requests to trade as the desk takes them: pure functions."""

from __future__ import annotations

import re
from decimal import Decimal
from typing import Any

from google.protobuf.timestamp_pb2 import Timestamp
from tickmesh.common.v1 import side_pb2
from tickmesh.order.v1 import order_list_pb2, order_pb2, order_service_pb2

from services.chassis.errors import ApiError
from services.domain.orders.lists import BadList, check_list
from services.domain.orders.order import ContingencyType, Order, OrderType, TimeInForce
from services.domain.orders.replacing import Replacement
from services.order.commands.roll import Decision
from services.order.ticket import Ticket, client_key
from services.wire.orders import CONTINGENCY_TYPES, ORDER_TYPES, SIDES, TIMES_IN_FORCE
from services.wire.values import decimal, nanoseconds, optional

# The domain's times are 64-bit integers; tapes hold them so.
_END_OF_TIME = 2**63
# A deployment's number, and what makes the command unique in it: nobody else may be in its way.
_OF_DEPLOYMENTS = re.compile(r"[0-9]+-[0-9]+-[0-9]+")
_GTD = order_pb2.TIME_IN_FORCE_GTD
# As the contract's rules for ids, symbols and positive decimals.
_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9._~-]{0,63}").fullmatch
_SYMBOL = re.compile(r"[A-Z0-9][A-Z0-9./_&-]{0,31}").fullmatch
_POSITIVE = re.compile(r"(?=[0-9.]*[1-9])(0|[1-9][0-9]{0,17})([.][0-9]{1,9})?").fullmatch
_MARKET, _LIMIT = order_pb2.ORDER_TYPE_MARKET, order_pb2.ORDER_TYPE_LIMIT
_LONGEST_LABEL = 200
_PLAIN_TIMES = frozenset({order_pb2.TIME_IN_FORCE_DAY, order_pb2.TIME_IN_FORCE_GTC, order_pb2.TIME_IN_FORCE_IOC})
_PLAIN_SIDES = frozenset({side_pb2.SIDE_BUY, side_pb2.SIDE_SELL})
_TERMS = (
    "quantity",
    "cash_quantity",
    "limit_price",
    "stop_price",
    "trailing_amount",
    "trailing_percent",
    "display_quantity",
)


def surely_valid(request: order_service_pb2.CreateOrderRequest) -> bool:
    """Whether a request is a market or limit order that states nothing out of the ordinary, and keeps every rule.

    Most are, and this says so in 4 us where the rules themselves take 30. Of one that is not the rules must be asked.
    """
    limited = request.order_type == _LIMIT
    if not limited and (request.order_type != _MARKET or request.limit_price):
        return False
    more = (
        request.cash_quantity
        or request.stop_price
        or request.deployment_id
        or request.strategy_id
        or request.signal_id
        or request.basis_sequence
        or request.trailing_amount
        or request.trailing_percent
        or request.post_only
        or request.reduce_only
        or request.display_quantity
        or request.HasField("basis_time")
        or request.HasField("expire_time")
    )
    return bool(
        not more
        and request.side in _PLAIN_SIDES
        and request.time_in_force in _PLAIN_TIMES
        and _ID(request.client_order_id)
        and _ID(request.portfolio_id)
        and _SYMBOL(request.symbol)
        and len(request.label) <= _LONGEST_LABEL
        and "\0" not in request.label
        and _POSITIVE(request.quantity)
        and (not limited or _POSITIVE(request.limit_price))
    )


def ticket_from_proto(request: order_service_pb2.CreateOrderRequest) -> Ticket:
    """A validated request as the desk takes it.

    Raises:
        ApiError: INVALID_ARGUMENT for a time that is none, for a client order id that only deployments make, and for a
            display quantity that hides nothing.
    """
    if not request.deployment_id and _OF_DEPLOYMENTS.fullmatch(request.client_order_id):
        raise ApiError.invalid_field("client_order_id", "is of a form that is kept for deployments")
    symbol, side, order_type, time_in_force = (
        request.symbol,
        request.side,
        request.order_type,
        request.time_in_force,
    )
    quantity, cash, limit, stop = (
        request.quantity,
        request.cash_quantity,
        request.limit_price,
        request.stop_price,
    )
    deployment_id, strategy_id, basis_sequence = request.deployment_id, request.strategy_id, request.basis_sequence
    basis_time = _market_time("basis_time", request.basis_time) if request.HasField("basis_time") else 0
    instructions = _instructions(request)
    asked = (
        f"{symbol}|{side}|{order_type}|{time_in_force}|{_plain(quantity)}|{_plain(cash)}|{_plain(limit)}|{_plain(stop)}"
        f"|{deployment_id}|{strategy_id}|{basis_sequence}|{basis_time}"
    )
    return Ticket(
        client_key=client_key(request.portfolio_id, request.client_order_id),
        asked="|".join((asked, *map(_told, instructions.items()))) if instructions else asked,
        fields={
            "client_order_id": request.client_order_id,
            "portfolio_id": request.portfolio_id,
            "symbol": symbol,
            "side": SIDES[side],
            "order_type": ORDER_TYPES[order_type],
            "time_in_force": TIMES_IN_FORCE[time_in_force],
            "quantity": decimal(quantity),
            "cash_quantity": optional(cash),
            "limit_price": optional(limit),
            "stop_price": optional(stop),
            "strategy_id": strategy_id,
            "deployment_id": deployment_id,
            "label": request.label,
            **instructions,
        },
        basis_sequence=basis_sequence,
        basis_time=basis_time,
        signal_id=request.signal_id,
    )


def list_tickets(request: order_list_pb2.CreateOrderListRequest) -> tuple[ContingencyType, list[Ticket]]:
    """The orders of a validated list as the desk takes them.

    Raises:
        ApiError: INVALID_ARGUMENT as `ticket_from_proto`, and for orders that make no list of this kind.
    """
    kind, names = CONTINGENCY_TYPES[request.contingency_type], [each.client_order_id for each in request.orders]
    tickets = []
    for place, each in enumerate(request.orders):
        of_bracket = kind is ContingencyType.BRACKET and place > 0
        if not (each.quantity or each.cash_quantity or of_bracket):
            raise ApiError.invalid_field(f"orders[{place}].quantity", "must be given, or cash_quantity")
        try:
            ticket = ticket_from_proto(_alone(request, each))
        except ApiError as error:
            raise error.within(f"orders[{place}]") from None
        # Repeated on its own, or in another list, it is another order.
        tickets.append(ticket._replace(asked=f"{ticket.asked}|{kind.name}:{place}:{','.join(names)}"))
    try:
        check_list(kind, [Order(order_id="", **ticket.fields) for ticket in tickets])
    except BadList as error:
        where = "orders" if error.place is None else f"orders[{error.place}].{error.field}"
        raise ApiError.invalid_field(where, str(error)) from None
    return kind, tickets


def _alone(
    request: order_list_pb2.CreateOrderListRequest, listed: order_list_pb2.ListedOrder
) -> order_service_pb2.CreateOrderRequest:
    """One of a list's orders as it would be asked for on its own."""
    alone = order_service_pb2.CreateOrderRequest(
        portfolio_id=request.portfolio_id,
        deployment_id=request.deployment_id,
        strategy_id=request.strategy_id,
        signal_id=request.signal_id,
        basis_sequence=request.basis_sequence,
    )
    if request.HasField("basis_time"):
        alone.basis_time.CopyFrom(request.basis_time)
    for field, value in listed.ListFields():
        if field.message_type is None:
            setattr(alone, field.name, value)
        else:
            getattr(alone, field.name).CopyFrom(value)
    return alone


def closing_ticket(request: order_service_pb2.ClosePositionRequest) -> Ticket:
    """A validated request to close a position as the desk takes it.

    Raises:
        ApiError: INVALID_ARGUMENT for a client order id that only deployments make.
    """
    if _OF_DEPLOYMENTS.fullmatch(request.client_order_id):
        raise ApiError.invalid_field("client_order_id", "is of a form that is kept for deployments")
    portfolio_id, _, symbol = request.position_id.rpartition("~")
    return Ticket(
        client_key=client_key(portfolio_id, request.client_order_id),
        asked=f"close|{symbol}",
        fields={
            "client_order_id": request.client_order_id,
            "portfolio_id": portfolio_id,
            "symbol": symbol,
            "order_type": OrderType.MARKET,
            "time_in_force": TimeInForce.GTC,
            "reduce_only": True,
            "label": request.label,
        },
        basis_sequence=0,
        basis_time=0,
        signal_id="",
        closes=True,
    )


def replacement_from_proto(request: order_service_pb2.ReplaceOrderRequest) -> Replacement:
    """The new terms of a validated request.

    Raises:
        ApiError: INVALID_ARGUMENT for a time that is none.
    """
    terms: dict[str, Any] = {name: Decimal(value) for name in _TERMS if (value := getattr(request, name))}
    if request.HasField("expire_time"):
        terms["expire_time"] = expire_time(request.expire_time)
    return Replacement(**terms)


def decision_of(request: order_service_pb2.ReplaceOrderRequest, seat_token: str) -> Decision | None:
    """Where a strategy decided on new terms; None where none did.

    Raises:
        ApiError: INVALID_ARGUMENT for a time that is none.
    """
    if not request.deployment_id:
        return None
    time = _market_time("basis_time", request.basis_time) if request.HasField("basis_time") else 0
    return Decision(request.deployment_id, request.basis_sequence, time, seat_token)


def asked_of(order_id: str, terms: Replacement) -> str:
    """The values that a repeat of a replacement must have, decimals by value."""
    given = ((name, value) for name, value in terms._asdict().items() if value is not None)
    return "|".join((order_id, *map(_told, given)))


def _instructions(request: order_service_pb2.CreateOrderRequest) -> dict[str, Any]:
    """Those of the order's fields that few orders have, where this one has them."""
    found: dict[str, Any] = {}
    if request.time_in_force == _GTD:
        found["expire_time"] = expire_time(request.expire_time)
    if request.trailing_amount:
        found["trailing_amount"] = Decimal(request.trailing_amount)
    if request.trailing_percent:
        found["trailing_percent"] = Decimal(request.trailing_percent)
    if request.display_quantity:
        found["display_quantity"] = Decimal(request.display_quantity)
        if found["display_quantity"] >= decimal(request.quantity):
            raise ApiError.invalid_field("display_quantity", "must be below quantity")
    if request.post_only:
        found["post_only"] = True
    if request.reduce_only:
        found["reduce_only"] = True
    return found


def expire_time(value: Timestamp) -> int:
    """When a GTD order is to expire, ns.

    Raises:
        ApiError: INVALID_ARGUMENT where it is no time, or no whole second.
    """
    if value.nanos:
        raise ApiError.invalid_field("expire_time", "must be a whole second")
    return _market_time("expire_time", value)


def _market_time(field: str, value: Timestamp) -> int:
    time = nanoseconds(value)
    if not 0 <= time < _END_OF_TIME or not 0 <= value.nanos < 1_000_000_000:
        raise ApiError.invalid_field(field, "must be between the years 1970 and 2262")
    return time


def _told(named: tuple[str, Any]) -> str:
    name, value = named
    return f"{name}={_plain(format(value, 'f')) if isinstance(value, Decimal) else value}"


def _plain(value: str) -> str:
    """A decimal's text by value: `1.0` is `1`."""
    return value.rstrip("0").rstrip(".") if "." in value else value
