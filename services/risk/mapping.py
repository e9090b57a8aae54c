"""Between the contract's messages and the values of the domain; pure."""

from collections.abc import Sequence
from decimal import Decimal
from functools import lru_cache

import numpy as np
from google.protobuf.timestamp_pb2 import Timestamp
from numpy.typing import NDArray
from tickmesh.marketdata.v1.instrument_pb2 import Instrument as InstrumentMessage
from tickmesh.marketdata.v1.tape_service_pb2 import ReadTapeResponse
from tickmesh.order.v1 import order_pb2
from tickmesh.portfolio.v1.portfolio_pb2 import LedgerAccount, LedgerEntry, LedgerEntryKind
from tickmesh.risk.v1 import risk_gate_service_pb2 as gate_pb2
from tickmesh.risk.v1 import risk_pb2

from services.domain.buying_power import round_down
from services.domain.exposure import Exposure, SymbolExposure
from services.domain.gate import Verdict
from services.domain.instrument import Instrument
from services.domain.ledger import Account, Entry, EntryKind
from services.domain.money import ZERO, format_decimal, parse_decimal
from services.domain.order import (
    ExecType,
    Order,
    OrderEvent,
    OrderState,
    OrderType,
    Reservation,
    Side,
    TimeInForce,
)
from services.domain.tape import VALUES, Kind, Source, Tape
from services.risk.controls import KillRecord, LimitRecord, Scope
from services.risk.folding import NumberedEntry, NumberedEvent
from services.risk.gate import Batch, Check, Ready, Verdicts
from services.risk.store import Cursor

LIMIT_NAMES = {
    risk_pb2.LIMIT_TYPE_MAX_ORDER_NOTIONAL: "max_order_notional",
    risk_pb2.LIMIT_TYPE_MAX_POSITION_QUANTITY: "max_position_quantity",
    risk_pb2.LIMIT_TYPE_MAX_GROSS_EXPOSURE: "max_gross_exposure",
    risk_pb2.LIMIT_TYPE_MAX_ORDER_RATE: "max_order_rate",
    risk_pb2.LIMIT_TYPE_PRICE_BAND: "price_band",
    risk_pb2.LIMIT_TYPE_SHORT_SALES: "short_sale",
}
"""The domain's name of each limit."""
_LIMIT_TYPES = {name: number for number, name in LIMIT_NAMES.items()}
_SCOPES = {
    risk_pb2.KILL_SWITCH_SCOPE_ENVIRONMENT: Scope.ENVIRONMENT,
    risk_pb2.KILL_SWITCH_SCOPE_PORTFOLIO: Scope.PORTFOLIO,
    risk_pb2.KILL_SWITCH_SCOPE_STRATEGY: Scope.STRATEGY,
}
_SCOPE_NUMBERS = {scope: number for number, scope in _SCOPES.items()}
# By number: an enum's constructor costs 0.4 µs, and an event needs three.
_SIDES = {side.value: side for side in Side}
_STATES = {state.value: state for state in OrderState}
_EXEC_TYPES = {exec_type.value: exec_type for exec_type in ExecType}
_ORDER_TYPES = {order_type.value: order_type for order_type in OrderType}
_TIMES_IN_FORCE = {time_in_force.value: time_in_force for time_in_force in TimeInForce}
_KINDS = {number: EntryKind(name[len("LEDGER_ENTRY_KIND_") :]) for name, number in LedgerEntryKind.items() if number}
_ACCOUNTS = {number: Account(name[len("LEDGER_ACCOUNT_") :]) for name, number in LedgerAccount.items() if number}


def instrument_from_proto(message: InstrumentMessage) -> Instrument:
    """What can be traded."""
    return Instrument(
        symbol=message.symbol,
        name=message.display_name,
        currency_code=message.currency_code,
        calendar=message.calendar,
        price_increment=Decimal(message.price_increment),
        quantity_increment=Decimal(message.quantity_increment),
        lot_size=Decimal(message.lot_size or 1),
        contract_multiplier=Decimal(message.contract_multiplier or 1),
    )


def tape_from_proto(stretches: Sequence[ReadTapeResponse]) -> Tape:
    """The tape that was sent in these stretches, the first of which names the sources."""
    sources = tuple(
        Source(Kind(source.kind), source.symbol, source.interval) for each in stretches[:1] for source in each.sources
    )
    values: list[NDArray[np.float64]] = [np.array(each.values, np.float64) for each in stretches]
    return Tape(
        sources,
        np.concatenate([np.array(each.source, np.int32) for each in stretches] or [np.empty(0, np.int32)]),
        np.concatenate([np.array(each.time, np.int64) for each in stretches] or [np.empty(0, np.int64)]),
        np.concatenate([np.array(each.start, np.int64) for each in stretches] or [np.empty(0, np.int64)]),
        np.concatenate(values or [np.empty(0)]).reshape(-1, VALUES),
    )


def event_from_proto(message: order_pb2.OrderEvent) -> NumberedEvent:
    """An order event, with what the gate looks at."""
    order, reserved = message.order, message.order.reservation
    held = Reservation(_decimal(reserved.cash), _decimal(reserved.quantity)) if reserved.cash else Reservation()
    after = Order(
        order_id=order.order_id,
        client_order_id=order.client_order_id,
        portfolio_id=order.portfolio_id,
        symbol=order.symbol,
        side=_SIDES[order.side],
        order_type=_ORDER_TYPES[order.order_type],
        time_in_force=_TIMES_IN_FORCE[order.time_in_force],
        quantity=_decimal(order.quantity),
        cash_quantity=Decimal(order.cash_quantity) if order.cash_quantity else None,
        strategy_id=order.strategy_id,
        state=_STATES[order.state],
        cum_quantity=_decimal(order.cum_quantity),
        leaves_quantity=_decimal(order.leaves_quantity),
        gross_amount=_decimal(order.gross_amount),
        reservation=held,
    )
    event = OrderEvent(
        message.exec_id,
        _EXEC_TYPES[message.exec_type],
        after,
        _nanoseconds(message.transact_time),
        message.tape_sequence,
        _decimal(message.last_quantity),
        _decimal(message.last_price),
        _decimal(message.last_commission),
    )
    return NumberedEvent(message.sequence, event)


def entry_from_proto(message: LedgerEntry) -> NumberedEntry:
    """A ledger entry; its own number counts in the environment, the domain's in the portfolio is not told."""
    entry = Entry(
        0,
        message.transaction_id,
        _KINDS[message.kind],
        _ACCOUNTS[message.account],
        message.asset,
        Decimal(message.amount),
        _nanoseconds(message.event_time),
        message.tape_sequence,
        message.order_id,
        message.exec_id,
    )
    return NumberedEntry(message.sequence, message.portfolio_id, entry)


def batch_from_proto(message: gate_pb2.CheckBatch) -> Batch:
    """Orders to check.

    Raises:
        NotADecimal: an amount is none.
        KeyError: an order lacks its side, type or time in force.
    """
    checks = [
        Check(_order_to_check(each.order), parse_decimal(each.reference_price), each.traceparent)
        for each in message.checks
    ]
    ledger_sequence = max((each.ledger_sequence for each in message.checks), default=0)
    time = _nanoseconds(message.market_time)
    return Batch(message.batch_id, message.order_head, ledger_sequence, message.tape_sequence, time, checks)


def _order_to_check(order: order_pb2.Order) -> Order:
    return Order(
        order_id=order.order_id,
        client_order_id=order.client_order_id,
        portfolio_id=order.portfolio_id,
        symbol=order.symbol,
        side=_SIDES[order.side],
        order_type=_ORDER_TYPES[order.order_type],
        time_in_force=_TIMES_IN_FORCE[order.time_in_force],
        quantity=parse_decimal(order.quantity) if order.quantity else ZERO,
        cash_quantity=parse_decimal(order.cash_quantity) if order.cash_quantity else None,
        limit_price=parse_decimal(order.limit_price) if order.limit_price else None,
        stop_price=parse_decimal(order.stop_price) if order.stop_price else None,
        strategy_id=order.strategy_id,
    )


def told_to_proto(told: Ready | Verdicts | KillRecord) -> gate_pb2.CheckOrdersResponse:
    """What the order service is told."""
    if isinstance(told, Verdicts):
        verdicts = [_verdict_to_proto(each) for each in told.verdicts]
        return gate_pb2.CheckOrdersResponse(verdicts=gate_pb2.VerdictBatch(batch_id=told.batch_id, verdicts=verdicts))
    if isinstance(told, KillRecord):
        return gate_pb2.CheckOrdersResponse(kill_switch=kill_switch_to_proto(told))
    switches = [kill_switch_to_proto(each) for each in told.kill_switches]
    return gate_pb2.CheckOrdersResponse(ready=gate_pb2.Ready(epoch=told.epoch, kill_switches=switches))


def _verdict_to_proto(verdict: Verdict) -> gate_pb2.Verdict:
    reserved, refused = verdict.reservation, verdict.refusal
    if reserved is not None:
        # All three have at most nine places, see `round_up` and `round_down`: no need to round.
        reservation = order_pb2.Reservation(
            cash=f"{reserved.cash:f}", quantity=f"{reserved.quantity:f}", headroom=f"{reserved.headroom:f}"
        )
        return gate_pb2.Verdict(order_id=verdict.order_id, reservation=reservation)
    if refused is None:
        raise ValueError(f"the verdict on {verdict.order_id} is none")
    refusal = order_pb2.Refusal(
        reason=refused.reason,
        limit=refused.limit,
        bound=format_decimal(refused.bound),
        value=format_decimal(refused.value),
        missing=format_decimal(refused.missing) if refused.missing else "",
    )
    return gate_pb2.Verdict(order_id=verdict.order_id, refusal=refusal)


def limit_id(record: LimitRecord) -> str:
    """`{environment_id}~{portfolio_id}~{limit type}`."""
    name = risk_pb2.LimitType.Name(_LIMIT_TYPES[record.name]).removeprefix("LIMIT_TYPE_")
    return f"{record.environment_id}~{record.portfolio_id}~{name}"


def limit_to_proto(record: LimitRecord) -> risk_pb2.Limit:
    """A limit."""
    return risk_pb2.Limit(
        limit_id=limit_id(record),
        environment_id=record.environment_id,
        portfolio_id=record.portfolio_id,
        limit_type=_LIMIT_TYPES[record.name],
        bound=format_decimal(record.bound),
        version=record.version,
        tape_sequence=record.tape_sequence,
        update_time=_timestamp(record.update_time),
        principal=record.principal,
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
        update_time=_timestamp(record.update_time),
        principal=record.principal,
    )


def portfolio_risk_to_proto(
    environment_id: str, exposure: Exposure, reservations: int, cursor: Cursor, position: int
) -> risk_pb2.PortfolioRisk:
    """A portfolio's figures."""
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


@lru_cache(8192)
def _decimal(text: str) -> Decimal:
    """An amount that another service wrote; the same few come again and again."""
    return Decimal(text) if text else ZERO


def _nanoseconds(message: Timestamp) -> int:
    return message.seconds * 1_000_000_000 + message.nanos


def _timestamp(time: int) -> Timestamp:
    message = Timestamp()
    message.FromNanoseconds(time)
    return message
