"""An order's story as lines of text: pure functions."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from google.protobuf.timestamp_pb2 import Timestamp
from tickmesh.common.v1 import side_pb2
from tickmesh.order.v1 import order_explanation_pb2, order_pb2
from tickmesh.portfolio.v1 import portfolio_pb2

from services.wire.values import name_of

Explanation = order_explanation_pb2.OrderExplanation
_MARGIN = " " * 10
# Of one movement the portfolio's side; the world's is the same with the other sign.
_OWN = frozenset({portfolio_pb2.LEDGER_ACCOUNT_CASH, portfolio_pb2.LEDGER_ACCOUNT_POSITION})


def lines_of(story: Explanation) -> list[str]:
    """The story from the decision on; what cannot be told comes last."""
    return [
        _headline(story.order),
        "",
        *_decision(story),
        "",
        *_check(story.order.order_id, story.events[0]),
        "",
        *_under("then", (line for each in story.events for line in _event(each))),
        *([f"{_MARGIN}… and more; `ListOrderEvents` has all of it"] if story.more_events else []),
        *_halts(story),
        *_gaps(story),
    ]


def _headline(order: order_pb2.Order) -> str:
    side = name_of(side_pb2.Side, "SIDE_", order.side).lower()
    kind = name_of(order_pb2.OrderType, "ORDER_TYPE_", order.order_type)
    state = name_of(order_pb2.OrderState, "ORDER_STATE_", order.state)
    filled = f", {order.cum_quantity} filled at {order.avg_price}" if float(order.avg_price or 0) else ""
    what = f"{side} {_amount(order)} {order.symbol} {kind}{_prices(order)} {_conditions(order)}"
    return f"{order.order_id}  {what}, portfolio {order.portfolio_id}: {state}{filled}"


def _amount(order: order_pb2.Order) -> str:
    if order.cash_quantity:
        return f"for {order.cash_quantity}"
    if order.parent_order_id and not float(order.quantity or 0):
        # An exit of an order by cash is sized with it.
        return f"what {order.parent_order_id} fills of"
    return order.quantity


def _prices(order: order_pb2.Order) -> str:
    trailing = order.trailing_amount or (order.trailing_percent and f"{order.trailing_percent} %")
    prices = ((" limit", order.limit_price), (" stop", order.stop_price), (" trailing by", trailing))
    return "".join(f"{name} {price}" for name, price in prices if price)


def _conditions(order: order_pb2.Order) -> str:
    """How long it works, and what else bounds it."""
    force = name_of(order_pb2.TimeInForce, "TIME_IN_FORCE_", order.time_in_force)
    until = f" until {_time(order.expire_time)}" if order.HasField("expire_time") else ""
    kind = name_of(order_pb2.ContingencyType, "CONTINGENCY_TYPE_", order.contingency_type)
    after = f" after {order.parent_order_id}" if order.parent_order_id else ""
    terms = (
        (order.post_only, "post-only"),
        (order.reduce_only, "reduce-only"),
        (order.display_quantity, f"shows {order.display_quantity}"),
        (order.order_list_id, f"{kind} {order.order_list_id}{after}"),
    )
    return ", ".join([f"{force}{until}", *(told for given, told in terms if given)])


def _decision(story: Explanation) -> list[str]:
    decision, order = story.decision, story.order
    who = decision.principal
    if order.deployment_id:
        who = f"strategy {order.strategy_id}, deployment {order.deployment_id}"
    lines = [f"by {who} at record {decision.basis_sequence}, received {_time(decision.create_time)}"]
    if decision.HasField("strategy"):
        given = sorted((name, value) for name, value in decision.strategy.parameters.items() if value not in {"", "0"})
        lines.append(f"  {decision.strategy.kind}: {', '.join(f'{name} {value}' for name, value in given)}")
    if decision.HasField("signal"):
        signal = decision.signal
        figures = "; ".join(f"{name} {value:.6g}" for name, value in sorted(signal.values.items()))
        lines.append(f"  signal {signal.signal_id}, strength {signal.strength:.3g}: {figures or 'no figures'}")
    if decision.HasField("record"):
        # What a strategy decided on; of anybody else nobody knows what it looked at.
        seen = "on" if order.deployment_id else "after"
        lines.append(f"  {seen} {_record(decision.record)}")
    return _under("decided", lines)


def _check(order_id: str, first: order_explanation_pb2.ExplainedEvent) -> list[str]:
    reserved, refusal = first.reservation, first.refusal
    if refusal.reason:
        other = refusal.order_id if refusal.order_id != order_id else ""
        who = f"order {other} of its list" if other else "the order"
        measured = f"{refusal.limit} allows {refusal.bound}, {who} makes it {refusal.value}"
        why = f": {refusal.kill_switch_reason}" if refusal.kill_switch_reason else ""
        bare = f"{refusal.reason} by {refusal.limit}{f', of {who}' if other else ''}{why}"
        lines = [f"{refusal.reason}: {measured}" if refusal.bound else bare]
    else:
        lines = [f"passed: {reserved.cash} set aside, {reserved.headroom} left to spend"]
    lines += [f"  {_limit(check)}" for check in first.event.checks]
    return _under("checked", lines)


def _limit(check: order_pb2.LimitCheck) -> str:
    """A limit, for whom it is set, and its figures if it has some."""
    whose = (check.portfolio_id, check.strategy_id, check.symbol)
    figures = f": bound {check.bound}, value {check.value}" if check.bound else ""
    return f"{check.limit} of {' and '.join(filter(None, whose)) or 'the environment'}{figures}"


def _event(each: order_explanation_pb2.ExplainedEvent) -> Iterator[str]:
    event = each.event
    kind = name_of(order_pb2.ExecType, "EXEC_TYPE_", event.exec_type)
    fill = f" {event.last_quantity} at {event.last_price}" if event.exec_type == order_pb2.EXEC_TYPE_TRADE else ""
    yield f"{kind}{fill}, {_time(event.transact_time)}, event {event.sequence}"
    yield f"  {each.reason}"
    if event.exec_type == order_pb2.EXEC_TYPE_REPLACED:
        # What was said of the order at first is told on its own.
        yield from (f"  checked by {_limit(check)}" for check in event.checks)
    if each.HasField("record"):
        yield f"  by {_record(each.record)}"
    for entry in each.ledger_entries:
        if entry.account in _OWN:
            account = name_of(portfolio_pb2.LedgerAccount, "LEDGER_ACCOUNT_", entry.account).lower()
            kind = name_of(portfolio_pb2.LedgerEntryKind, "LEDGER_ENTRY_KIND_", entry.kind).lower()
            yield f"  {kind}: {account} {_signed(entry.amount)} {entry.asset}, then {entry.balance}"


def _halts(story: Explanation) -> list[str]:
    """When nothing could fill, whatever the prices were."""
    lines = [
        f"trading in {each.symbol} {'stopped' if each.halted else 'went on'}, {_time(each.event_time)}, "
        f"record {each.tape_sequence}"
        for each in story.halts
    ]
    return ["", *_under("meanwhile", lines)] if lines else []


def _gaps(story: Explanation) -> list[str]:
    lines = [f"{gap.part}, of {gap.service}: {gap.status.message}" for gap in story.gaps]
    return ["", *_under("untold", lines)] if lines else []


def _record(record: order_explanation_pb2.TapeRecord) -> str:
    figures = " ".join(f"{name} {record.values[name]}" for name in _figures(record))
    about = " ".join(each for each in (record.kind, record.symbol, record.interval) if each)
    return f"{about} of {_time(record.start_time)}, record {record.tape_sequence}: {figures}"


def _figures(record: order_explanation_pb2.TapeRecord) -> list[str]:
    """The names of its figures in the order people read them."""
    usual = ("open", "high", "low", "close", "volume", "bid", "ask", "bid_size", "ask_size", "price", "size")
    known = [name for name in usual if name in record.values]
    return known + sorted(record.values.keys() - set(known), key=_by_level)


def _by_level(name: str) -> tuple[int, str]:
    """Price levels behind a quote's best ones, `bid_2` and so on, follow each other."""
    place = name.rpartition("_")[2]
    return int(place) if place.isdigit() else 0, name


def _under(title: str, lines: Iterable[str]) -> list[str]:
    """The lines beside their title."""
    found = list(lines)
    return [f"{title:<10}{found[0]}", *(f"{_MARGIN}{line}" for line in found[1:])] if found else []


def _signed(amount: str) -> str:
    return amount if amount.startswith("-") else f"+{amount}"


def _time(time: Timestamp) -> str:
    return f"{time.ToDatetime():%Y-%m-%d %H:%M:%S}"
