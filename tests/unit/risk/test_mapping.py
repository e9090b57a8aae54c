"""The wire's forms of what the gate is told and tells."""

from decimal import Decimal

import pytest
from google.protobuf.message import DecodeError
from tickmesh.order.v1 import order_pb2
from tickmesh.order.v1.order_service_pb2 import OrderEvents
from tickmesh.risk.v1 import risk_gate_service_pb2 as gate_pb2

from services.domain.costs import NO_SLIP, Level, Slip
from services.domain.money import NotADecimal
from services.domain.orders.claim import pair_of
from services.domain.orders.lists import sized_by_parent
from services.domain.orders.order import ContingencyType, Refusal, Reservation
from services.domain.risk.gate import Verdict
from services.risk.gate.session import Verdicts
from services.risk.mapping import (
    batch_from_proto,
    told_to_proto,
)

D = Decimal
ORDER = {"order_id": "e-1", "portfolio_id": "p", "symbol": "A", "side": 2, "order_type": 2, "time_in_force": 1}


@pytest.mark.parametrize("field", ["quantity", "limit_price", "cash_quantity", "stop_price"])
@pytest.mark.parametrize("text", ["1e5", "NaN", ".5", "1_0", "-1", "-"])
def test_a_batch_with_an_amount_that_is_none_is_refused(field: str, text: str) -> None:
    order = order_pb2.Order(**ORDER, **{field: text})
    checks = [gate_pb2.OrderCheck(order=order, reference_price="1")]
    with pytest.raises(NotADecimal):
        batch_from_proto(gate_pb2.CheckBatch(checks=checks))


def test_an_order_may_have_grown_beyond_what_a_client_may_write() -> None:
    """Else nobody could close a position of several orders that has become too large for one."""
    order = order_pb2.Order(**ORDER, quantity="3" * 19 + ".5", limit_price="1" * 19)
    checks = [gate_pb2.OrderCheck(order=order, reference_price="1")]
    [check] = batch_from_proto(gate_pb2.CheckBatch(checks=checks)).checks
    assert (check.order.quantity, check.order.limit_price) == (D("3" * 19 + ".5"), D("1" * 19))


def test_an_order_of_a_list_is_checked_as_one() -> None:
    """Else the gate would set both legs of an OCO aside, and not know their events again (rule 4)."""
    listed = order_pb2.Order(**ORDER, order_list_id="e-1", contingency_type=1, parent_order_id="e-0")  # type: ignore[arg-type]
    checks = [gate_pb2.OrderCheck(order=listed, reference_price="1")]
    [check] = batch_from_proto(gate_pb2.CheckBatch(checks=checks)).checks
    order = check.order
    assert (order.order_list_id, order.parent_order_id) == ("e-1", "e-0")
    assert order.contingency_type is ContingencyType.OCO


def test_a_batch_names_the_latest_entry_of_all_its_checks() -> None:
    checks = [
        gate_pb2.OrderCheck(order=order_pb2.Order(**ORDER), reference_price="1.5", ledger_sequence=n) for n in (2, 8, 4)
    ]
    batch = batch_from_proto(gate_pb2.CheckBatch(batch_id=5, order_head=6, tape_sequence=7, checks=checks))
    assert (batch.batch_id, batch.order_head, batch.ledger_sequence, batch.tape_sequence) == (5, 6, 8, 7)
    assert batch.checks[0].reference_price == D("1.5")
    assert batch_from_proto(gate_pb2.CheckBatch()).ledger_sequence == 0


def test_of_a_batchs_events_only_those_are_read_that_have_not_come() -> None:
    order = order_pb2.Order(**ORDER, quantity="1", leaves_quantity="1", state=order_pb2.ORDER_STATE_NEW)
    unreadable = order_pb2.OrderEvent(sequence=4, order=order_pb2.Order(quantity="x"))
    event = order_pb2.OrderEvent(sequence=5, exec_type=order_pb2.EXEC_TYPE_NEW, order=order, exec_id="e-1-1")
    brought = OrderEvents(events=[unreadable, event]).SerializeToString()
    batch = gate_pb2.CheckBatch(order_head=5, order_events=brought)
    assert [each.sequence for each in batch_from_proto(batch, 4).order_events] == [5]
    nonsense = gate_pb2.CheckBatch(order_head=5, order_events=b"x")
    assert not batch_from_proto(nonsense, 5).order_events
    with pytest.raises(DecodeError):
        batch_from_proto(nonsense, 4)


def test_a_leg_claims_together_with_its_twin_from_its_check_on() -> None:
    terms = {"order_list_id": "e-1", "contingency_type": order_pb2.CONTINGENCY_TYPE_OCO, "quantity": "1"}
    checks = [gate_pb2.OrderCheck(order=order_pb2.Order(**ORDER, **terms), reference_price="1")]
    checked = batch_from_proto(gate_pb2.CheckBatch(checks=checks)).checks[0].order
    assert (pair_of(checked), checked.contingency_type) == ("e-1", ContingencyType.OCO)
    child = order_pb2.Order(
        **ORDER, order_list_id="e-0", contingency_type="CONTINGENCY_TYPE_BRACKET", parent_order_id="e-0"
    )
    checks = [gate_pb2.OrderCheck(order=child, reference_price="1")]
    assert sized_by_parent(batch_from_proto(gate_pb2.CheckBatch(checks=checks)).checks[0].order)


def test_what_the_venue_says_of_prices_to_come_comes_with_the_check() -> None:
    order = order_pb2.Order(**ORDER)
    silent = gate_pb2.OrderCheck(order=order, reference_price="1")
    slips = gate_pb2.OrderCheck(order=order, reference_price="1", spread="0.02", size_share="0.1")
    unsized = gate_pb2.OrderCheck(order=order, reference_price="1", spread="0.02", size_share="0")
    walks = gate_pb2.OrderCheck(order=order, reference_price="1", spread="0", size_share="0")
    walks.levels.add(distance="0", quantity="4.5")
    walks.levels.add(distance="0.01", quantity="0")
    batch = batch_from_proto(gate_pb2.CheckBatch(checks=[silent, slips, walks], previews=[unsized]))
    slip = [each.slip for each in (*batch.checks, *batch.previews)]
    levels = Level(D(0), D("4.5")), Level(D("0.01"), D(0))
    assert slip == [NO_SLIP, Slip(D("0.02"), D("0.1")), Slip(levels=levels), Slip(D("0.02"), D(0))]


def test_verdicts_are_told_in_plain_digits() -> None:
    passed = Verdict("e-1", Reservation(D("1E+3"), D("-10"), D("0.000000001")))
    refused = Verdict("e-2", refusal=Refusal("LIMIT_EXCEEDED", "max_order_notional", D("1E+1"), D("12.50"), D(0)))
    told = told_to_proto(Verdicts(4, [passed, refused])).verdicts
    assert told.batch_id == 4
    held, refusal = told.verdicts[0].reservation, told.verdicts[1].refusal
    assert (held.cash, held.quantity, held.headroom) == ("1000", "-10", "0.000000001")
    assert (refusal.bound, refusal.value, refusal.missing) == ("10", "12.5", "")


def test_a_verdict_tells_the_margin_of_a_short_where_it_is_not_the_default() -> None:
    reserved = Reservation(D(1), D(-1), D(0))
    passed = [Verdict("e-1", reserved), Verdict("e-2", reserved._replace(margin=D("1E-9")))]
    told = told_to_proto(Verdicts(4, passed)).verdicts
    assert [each.reservation.margin for each in told.verdicts] == ["", "0.000000001"]
