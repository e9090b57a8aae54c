"""Between the contract's messages and the values of the domain; pure."""

from collections.abc import Iterable, Sequence

from tickmesh.order.v1 import order_pb2
from tickmesh.order.v1.order_service_pb2 import OrderEvents
from tickmesh.portfolio.v1.portfolio_pb2 import LedgerEntry
from tickmesh.risk.v1 import risk_gate_service_pb2 as gate_pb2
from tickmesh.risk.v1 import risk_pb2

from services.domain.accounting.holding import round_down
from services.domain.costs import NO_SLIP, Level, Slip
from services.domain.money import ZERO, format_decimal, parse_decimal
from services.domain.orders.order import INITIAL_MARGIN, Order
from services.domain.risk.exposure import Exposure, SymbolExposure
from services.domain.risk.gate import Verdict
from services.domain.risk.preview import Preview
from services.domain.risk.valued import Usage
from services.risk.gate.folding import NumberedEntry, NumberedEvent
from services.risk.gate.parts import Cursor
from services.risk.gate.session import Batch, Check, Told, Verdicts
from services.risk.journal.runaways import Runaway
from services.risk.records import KillRecord, LimitRecord, Scope
from services.wire.ledger import entry_from_proto
from services.wire.limits import LIMIT_TYPES, check_to_proto
from services.wire.orders import (
    CONTINGENCY_TYPES,
    ORDER_TYPES,
    SIDES,
    STATES,
    TIMES_IN_FORCE,
    costs_of,
    event_from_proto,
    refusal_to_proto,
)
from services.wire.values import amount, decimal, nanoseconds, timestamp

_SCOPES = {
    risk_pb2.KILL_SWITCH_SCOPE_ENVIRONMENT: Scope.ENVIRONMENT,
    risk_pb2.KILL_SWITCH_SCOPE_PORTFOLIO: Scope.PORTFOLIO,
    risk_pb2.KILL_SWITCH_SCOPE_STRATEGY: Scope.STRATEGY,
}
_PENDING_NEW = order_pb2.ORDER_STATE_PENDING_NEW
_SCOPE_NUMBERS = {scope: number for number, scope in _SCOPES.items()}


def event_from_wire(message: order_pb2.OrderEvent) -> NumberedEvent:
    """An order event, and its number in the environment."""
    return NumberedEvent(message.sequence, event_from_proto(message), message.principal)


def entry_from_wire(message: LedgerEntry) -> NumberedEntry:
    """A ledger entry, its number in the environment, and whose it is."""
    return NumberedEntry(message.sequence, message.portfolio_id, entry_from_proto(message))


def events_from_wire(messages: Iterable[order_pb2.OrderEvent], known: int) -> list[NumberedEvent]:
    """Order events after number `known`: to read one takes ten times as long as to pass over it."""
    return [event_from_wire(each) for each in messages if each.sequence > known]


def batch_from_proto(message: gate_pb2.CheckBatch, known: int = 0) -> Batch:
    """Orders to check, with what of their order events is after number `known`.

    Raises:
        NotADecimal, ArithmeticError: an amount is none.
        KeyError: an order lacks its side, type or time in force.
        DecodeError: the order events are none.
    """
    events: list[NumberedEvent] = []
    if message.order_events and message.order_head > known:
        events = events_from_wire(OrderEvents.FromString(message.order_events).events, known)
    checks, previews = list(map(_check, message.checks)), list(map(_check, message.previews))
    asked = (*message.checks, *message.previews)
    return Batch(
        batch_id=message.batch_id,
        order_head=message.order_head,
        ledger_sequence=max((each.ledger_sequence for each in asked), default=0),
        tape_sequence=message.tape_sequence,
        time=nanoseconds(message.market_time),
        checks=checks,
        previews=previews,
        order_events=events,
        standing=frozenset(message.standing_batch_ids),
    )


def _check(message: gate_pb2.OrderCheck) -> Check:
    slip = NO_SLIP
    if message.spread or message.size_share:
        levels = tuple(Level(parse_decimal(each.distance), parse_decimal(each.quantity)) for each in message.levels)
        slip = Slip(decimal(message.spread), decimal(message.size_share), levels)
    return Check(_order_to_check(message.order), parse_decimal(message.reference_price), message.traceparent, slip)


def _order_to_check(message: order_pb2.Order) -> Order:
    order = _asked(message)
    if message.state == _PENDING_NEW or not message.state:
        return order
    return order._replace(
        state=STATES[message.state],
        cum_quantity=amount(message.cum_quantity) or ZERO,
        leaves_quantity=amount(message.leaves_quantity) or ZERO,
        gross_amount=decimal(message.gross_amount),
        commission=decimal(message.commission),
    )


def _asked(order: order_pb2.Order) -> Order:
    return Order(
        order_id=order.order_id,
        client_order_id=order.client_order_id,
        portfolio_id=order.portfolio_id,
        symbol=order.symbol,
        side=SIDES[order.side],
        order_type=ORDER_TYPES[order.order_type],
        time_in_force=TIMES_IN_FORCE[order.time_in_force],
        quantity=amount(order.quantity) or ZERO,
        cash_quantity=amount(order.cash_quantity),
        limit_price=amount(order.limit_price),
        stop_price=amount(order.stop_price),
        strategy_id=order.strategy_id,
        trailing_amount=amount(order.trailing_amount),
        trailing_percent=amount(order.trailing_percent),
        reduce_only=order.reduce_only,
        costs=costs_of(order),
        order_list_id=order.order_list_id,
        contingency_type=CONTINGENCY_TYPES[order.contingency_type],
        parent_order_id=order.parent_order_id,
    )


def runaway_from_proto(message: gate_pb2.ReportRunawayRequest) -> Runaway:
    """A portfolio whose orders are turned away."""
    bound, begin_time = parse_decimal(message.bound), nanoseconds(message.begin_time)
    return Runaway(message.portfolio_id, bound, message.value, message.principal, begin_time)


def told_to_proto(told: Told) -> gate_pb2.CheckOrdersResponse:
    """What the order service is told."""
    if isinstance(told, Verdicts):
        message = gate_pb2.CheckOrdersResponse()
        batch = message.verdicts
        batch.batch_id = told.batch_id
        # Written where they belong: messages made apart are copied into one another.
        for verdict in told.verdicts:
            _set_verdict(batch.verdicts.add(), verdict)
        for each in told.previews:
            _set_preview(batch.previews.add(), each)
        return message
    if isinstance(told, KillRecord):
        return gate_pb2.CheckOrdersResponse(kill_switch=kill_switch_to_proto(told))
    if isinstance(told, LimitRecord):
        return gate_pb2.CheckOrdersResponse(runaway_guard=_guard_to_proto(told))
    switches = [kill_switch_to_proto(each) for each in told.kill_switches]
    guards = [_guard_to_proto(each) for each in told.guards]
    ready = gate_pb2.Ready(epoch=told.epoch, kill_switches=switches, runaway_guards=guards)
    return gate_pb2.CheckOrdersResponse(ready=ready)


def _guard_to_proto(record: LimitRecord) -> gate_pb2.RunawayGuard:
    bound = "" if record.deleted else format_decimal(record.bound)
    return gate_pb2.RunawayGuard(portfolio_id=record.portfolio_id, bound=bound)


def _set_verdict(message: gate_pb2.Verdict, verdict: Verdict) -> None:
    reserved, refused = verdict.reservation, verdict.refusal
    message.order_id = verdict.order_id
    if reserved is not None:
        # All have at most nine places, see `round_up`, `round_down` and `Commission`: no need to round.
        reservation = message.reservation
        reservation.cash, reservation.quantity = f"{reserved.cash:f}", f"{reserved.quantity:f}"
        reservation.headroom = f"{reserved.headroom:f}"
        if reserved.commission:
            reservation.commission = f"{reserved.commission:f}"
        if reserved.margin != INITIAL_MARGIN:
            reservation.margin = f"{reserved.margin:f}"
    elif refused is not None:
        message.refusal.CopyFrom(refusal_to_proto(refused))
    else:
        raise ValueError(f"the verdict on {verdict.order_id} is none")
    message.checks.extend(map(check_to_proto, verdict.checks))


def _set_preview(message: gate_pb2.PreviewVerdict, preview: Preview) -> None:
    _set_verdict(message.verdict, preview.verdict)
    message.price = format_decimal(preview.price)
    message.quantity = format_decimal(preview.quantity)
    message.notional = format_decimal(preview.notional)
    message.slippage = format_decimal(preview.slippage)
    message.initial_margin = format_decimal(preview.initial_margin)
    if preview.largest is not None:
        message.largest_quantity = format_decimal(preview.largest)
    if preview.beyond is not None:
        message.next_refusal.CopyFrom(refusal_to_proto(preview.beyond))


def limit_id(record: LimitRecord) -> str:
    """`{environment_id}~{portfolio_id}~{limit type}`, and `~{strategy_id}~{symbol}` where one of these is named.

    Of these only a strategy's id may have a `~`, so that no two limits have one id.
    """
    name = risk_pb2.LimitType.Name(LIMIT_TYPES[record.name]).removeprefix("LIMIT_TYPE_")
    narrower = f"~{record.strategy_id}~{record.symbol}" if record.strategy_id or record.symbol else ""
    return f"{record.environment_id}~{record.portfolio_id}~{name}{narrower}"


def limit_to_proto(record: LimitRecord) -> risk_pb2.Limit:
    """A limit."""
    return risk_pb2.Limit(
        limit_id=limit_id(record),
        environment_id=record.environment_id,
        portfolio_id=record.portfolio_id,
        limit_type=LIMIT_TYPES[record.name],
        bound=format_decimal(record.bound),
        version=record.version,
        tape_sequence=record.tape_sequence,
        update_time=timestamp(record.update_time),
        principal=record.principal,
        strategy_id=record.strategy_id,
        symbol=record.symbol,
    )


def usage_to_proto(usage: Usage) -> risk_pb2.LimitUsage:
    """Where the figure of a limit stands."""
    limit, standing = usage
    return risk_pb2.LimitUsage(
        limit_type=LIMIT_TYPES[limit.name],
        portfolio_id=limit.where.portfolio_id,
        strategy_id=limit.where.strategy_id,
        symbol=standing.symbol or limit.where.symbol,
        bound=format_decimal(limit.bound),
        value=format_decimal(standing.value),
    )


def scope_from_proto(scope: risk_pb2.KillSwitchScope.ValueType) -> Scope:
    """What a kill switch stops; validation has refused what is none."""
    return _SCOPES[scope]


def kill_switch_to_proto(record: KillRecord) -> risk_pb2.KillSwitch:
    """A kill switch."""
    return risk_pb2.KillSwitch(
        environment_id=record.environment_id,
        scope=_SCOPE_NUMBERS[record.scope],
        target_id=record.target_id,
        engaged=record.engaged,
        allow_reducing=record.allow_reducing,
        reason=record.reason,
        version=record.version,
        update_time=timestamp(record.update_time),
        principal=record.principal,
    )


def portfolio_risk_to_proto(
    environment_id: str,
    exposure: Exposure,
    usages: Sequence[Usage],
    cursor: Cursor,
    position: int,
    *,
    reservations: int,
) -> risk_pb2.PortfolioRisk:
    """A portfolio's figures, and where those of the limits stand that count it."""
    return risk_pb2.PortfolioRisk(
        portfolio_id=exposure.portfolio_id,
        environment_id=environment_id,
        cash=format_decimal(exposure.cash, 2),
        reserved_cash=format_decimal(exposure.reserved_cash, 2),
        collateral=format_decimal(exposure.collateral, 2),
        buying_power=format_decimal(round_down(exposure.spendable), 2),
        gross_exposure=format_decimal(exposure.gross, 2),
        net_exposure=format_decimal(exposure.net, 2),
        equity=format_decimal(exposure.equity, 2),
        symbols=[_symbol_to_proto(each) for each in exposure.positions],
        reservation_count=reservations,
        order_sequence=cursor.order_sequence,
        ledger_sequence=cursor.ledger_sequence,
        tape_sequence=position,
        leverage=format_decimal(exposure.leverage),
        concentration=format_decimal(exposure.concentration),
        day_loss=format_decimal(exposure.day_loss, 2),
        drawdown=format_decimal(exposure.drawdown),
        maintenance_margin=format_decimal(exposure.maintenance_margin, 2),
        limits=map(usage_to_proto, usages),
    )


def _symbol_to_proto(exposure: SymbolExposure) -> risk_pb2.SymbolExposure:
    return risk_pb2.SymbolExposure(
        symbol=exposure.symbol,
        quantity=format_decimal(exposure.quantity),
        pending_buy_quantity=format_decimal(exposure.pending_buy),
        pending_sell_quantity=format_decimal(exposure.pending_sell),
        mark_price=format_decimal(exposure.mark) if exposure.mark else "",
        market_value=format_decimal(exposure.market_value, 2),
    )
