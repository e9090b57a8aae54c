"""What crosses the wire comes back as it was."""

from decimal import Decimal

import pytest
from tickmesh.common.v1 import side_pb2
from tickmesh.marketdata.v1 import environment_pb2
from tickmesh.order.v1 import order_pb2
from tickmesh.portfolio.v1 import portfolio_pb2
from tickmesh.risk.v1 import risk_pb2

from services.chassis.errors import ApiError
from services.domain.accounting.entries import Account, EntryKind
from services.domain.orders.order import (
    CancelReason,
    ExecType,
    OrderState,
    OrderType,
    Refusal,
    Reservation,
    Side,
    TimeInForce,
)
from services.domain.risk.limit import Checked, Where
from services.domain.risk.limits import make_limit
from services.domain.timeline import Wake
from services.order.mapping import refusal_error
from services.risk.records import GUARD
from services.wire.environments import environment_from_proto
from services.wire.ledger import entry_from_proto
from services.wire.limits import LIMIT_NAMES, check_from_proto, check_to_proto
from services.wire.orders import event_from_proto, order_from_proto, refusal_from_proto, refusal_to_proto
from services.wire.values import name_of, nanoseconds, numbers, time_from, timestamp
from services.wire.wakes import wake_from_proto, wake_to_proto

D = Decimal
# Reasons of orders that come in groups, which the contract does not offer.
NOT_YET = {"TWIN_FILLED", "PARENT_ENDED", "TWIN_ENDED", "CHILD_FILLED", "CHILD_ENDED"}


@pytest.mark.parametrize("time", [0, 1, 999_999_999, 1_700_000_000_123_456_789, -1])
def test_times_keep_their_nanoseconds(time: int) -> None:
    assert nanoseconds(timestamp(time)) == time
    assert time_from("start_time", timestamp(time)) == time


@pytest.mark.parametrize(("seconds", "nanos"), [(9_223_372_037, 0), (-9_223_372_037, 0), (0, -1), (0, 1_000_000_000)])
def test_a_time_that_is_none_is_named(seconds: int, nanos: int) -> None:
    wrong = timestamp(0)
    wrong.seconds, wrong.nanos = seconds, nanos
    with pytest.raises(ApiError, match="start_time"):
        time_from("start_time", wrong)


@pytest.mark.parametrize(
    ("domain", "wire", "prefix"),
    [
        (Side, side_pb2.Side, "SIDE_"),
        (OrderType, order_pb2.OrderType, "ORDER_TYPE_"),
        (TimeInForce, order_pb2.TimeInForce, "TIME_IN_FORCE_"),
        (OrderState, order_pb2.OrderState, "ORDER_STATE_"),
        (ExecType, order_pb2.ExecType, "EXEC_TYPE_"),
        (CancelReason, order_pb2.CancelReason, "CANCEL_REASON_"),
    ],
)
def test_the_domains_enums_have_the_wires_numbers(domain: type, wire: object, prefix: str) -> None:
    named = {each: each.value for each in domain if each.name not in {"NONE", *NOT_YET}}
    assert numbers(wire, prefix, named) == named
    assert all(name_of(wire, prefix, number) == each.name for each, number in named.items())


def test_an_event_brings_the_whole_order() -> None:
    event = order_pb2.OrderEvent(
        sequence=9,
        exec_id="r1-3-2",
        exec_type=order_pb2.EXEC_TYPE_CANCELED,
        transact_time=timestamp(77),
        tape_sequence=12,
        last_quantity="0",
        last_commission="0.12345678901",
        order=order_pb2.Order(
            order_id="r1-3",
            client_order_id="2-7-1",
            portfolio_id="p1",
            symbol="A",
            side=2,
            order_type=2,
            time_in_force=3,
            quantity="10",
            limit_price="10.5",
            state=order_pb2.ORDER_STATE_CANCELED,
            cum_quantity="4",
            leaves_quantity="0",
            gross_amount="42.000000000012",
            cancel_reason=order_pb2.CANCEL_REASON_IOC_REMAINDER,
            reservation=order_pb2.Reservation(cash="105.50", quantity="10", headroom="1"),
            deployment_id="d1",
            event_count=2,
        ),
    )
    found = event_from_proto(event)
    order = found.order
    assert (found.exec_id, found.transact_time, found.tape_sequence) == ("r1-3-2", 77, 12)
    assert (found.last_quantity, found.last_price, found.last_commission) == (0, 0, D("0.12345678901"))
    assert (order.side, order.order_type, order.time_in_force) == (Side.SELL, OrderType.LIMIT, TimeInForce.IOC)
    assert (order.state, order.cancel_reason, order.refusal) == (
        OrderState.CANCELED,
        CancelReason.IOC_REMAINDER,
        None,
    )
    assert (order.cum_quantity, order.gross_amount, order.stop_price) == (D(4), D("42.000000000012"), None)
    assert order.reservation == Reservation(D("105.5"), D(10), D(1))
    event.order.refusal.CopyFrom(order_pb2.Refusal(reason="X", limit="x", bound="1", value="2"))
    assert order_from_proto(event.order).refusal == Refusal("X", "x", D(1), D(2))


def test_rule_5_a_refusal_where_nothing_is_measured_has_no_figures_on_its_way() -> None:
    """Nor has what it is answered with; an old one has zeros."""
    bare, short = Refusal("R", "kill_switch", D(0), D(0)), Refusal("R", "short_sale", D(0), D(5), D(5))
    told = refusal_to_proto(bare)
    assert (told.reason, told.limit, told.bound, told.value, told.missing) == ("R", "kill_switch", "", "", "")
    old = order_pb2.Refusal(reason="R", limit="kill_switch", bound="0", value="0")
    assert refusal_from_proto(told) == refusal_from_proto(old) == bare
    assert refusal_error("e-1", told).metadata == {"order_id": "e-1", "limit": "kill_switch"}
    assert refusal_error("e-1", told).message == "The order was refused by kill_switch: R."
    inverted = refusal_to_proto(Refusal("BRACKET_INVERTED", "limit_price", D("77.8"), D(10)))
    why = "the limit_price 10 of an exit is on the wrong side of 77.8, where the entry would fill"
    assert refusal_error("e-1", inverted).message == f"The order was refused: {why}."
    told = refusal_to_proto(short)
    assert (told.bound, told.value, told.missing) == ("0", "5", "5")
    assert refusal_from_proto(told) == short
    assert refusal_error("e-1", told).metadata["bound"] == "0"
    whose = short._replace(portfolio_id="p", strategy_id="s", symbol="A", order_id="e-2")
    assert refusal_from_proto(refusal_to_proto(whose)) == whose
    told_of_list = (
        "The order was refused with its list: order e-2 was refused by short_sale: bound 0, value 5, missing 5."
    )
    assert refusal_error("e-1", refusal_to_proto(whose)).message == told_of_list
    assert refusal_error("e-2", refusal_to_proto(whose)).message == (
        "The order was refused by short_sale: bound 0, value 5, missing 5."
    )
    assert refusal_error("e-1", refusal_to_proto(whose)).metadata.items() >= {
        ("order_id", "e-1"),
        ("refused_order_id", "e-2"),
        ("portfolio_id", "p"),
        ("strategy_id", "s"),
        ("symbol", "A"),
    }
    for check in (Checked("restricted", Where("p"), None, None), Checked("short_sale", Where("", "s"), D(0), D(5))):
        assert check_from_proto(check_to_proto(check)) == check


def test_entries_of_every_kind_and_account_are_told_apart() -> None:
    for name, number in portfolio_pb2.LedgerEntryKind.items()[1:]:
        for account in Account:
            message = portfolio_pb2.LedgerEntry(
                sequence=3,
                kind=number,
                account=portfolio_pb2.LedgerAccount.Value(f"LEDGER_ACCOUNT_{account.name}"),
                amount="-1.5",
            )
            entry = entry_from_proto(message)
            kind = EntryKind[name.removeprefix("LEDGER_ENTRY_KIND_")]
            assert (entry.kind, entry.account, entry.amount) == (kind, account, D("-1.5"))


def test_every_limit_of_the_contract_has_its_rule() -> None:
    assert {*LIMIT_NAMES, risk_pb2.LIMIT_TYPE_UNSPECIFIED} == set(risk_pb2.LimitType.values())
    for name in {*LIMIT_NAMES.values()} - {GUARD}:
        assert make_limit(name, D(1), symbol="A" if name == "restricted" else "").name == name


def test_an_environment_has_ended_when_it_is_completed_or_stopped() -> None:
    states = {
        name: environment_from_proto(environment_pb2.Environment(state=number)).ended
        for name, number in environment_pb2.EnvironmentState.items()
    }
    assert {name for name, ended in states.items() if ended} == {
        "ENVIRONMENT_STATE_COMPLETED",
        "ENVIRONMENT_STATE_STOPPED",
    }


def test_what_is_waited_for_crosses_the_wire() -> None:
    wake = Wake(frozenset({"B", "A"}), frozenset({("A", ""), ("A", "1d")}), 5_000_000_007, 9)
    message = wake_to_proto(wake)
    assert list(message.record_symbols) == ["A", "B"]
    assert [(bar.symbol, bar.interval) for bar in message.bars] == [("A", ""), ("A", "1d")]
    assert wake_from_proto(message) == wake
    assert not wake_to_proto(Wake()).HasField("time")
    assert wake_from_proto(wake_to_proto(Wake())) == Wake()
