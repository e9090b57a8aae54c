"""The wire's forms of what the gate is told and tells."""

from decimal import Decimal

import numpy as np
import pytest
from tickmesh.marketdata.v1 import tape_service_pb2
from tickmesh.order.v1 import order_pb2
from tickmesh.portfolio.v1 import portfolio_pb2
from tickmesh.risk.v1 import risk_gate_service_pb2 as gate_pb2
from tickmesh.risk.v1 import risk_pb2

from services.domain.gate import Verdict
from services.domain.ledger import Account, EntryKind
from services.domain.limits import make_limit
from services.domain.money import NotADecimal
from services.domain.order import Refusal, Reservation, Side
from services.domain.tape import Kind, Source
from services.risk.gate import Verdicts
from services.risk.mapping import (
    LIMIT_NAMES,
    batch_from_proto,
    entry_from_proto,
    event_from_proto,
    tape_from_proto,
    told_to_proto,
)

D = Decimal
ORDER = {"order_id": "e-1", "portfolio_id": "p", "symbol": "A", "side": 2, "order_type": 2, "time_in_force": 1}


def test_every_limit_of_the_contract_has_its_rule() -> None:
    assert {*LIMIT_NAMES, risk_pb2.LIMIT_TYPE_UNSPECIFIED} == set(risk_pb2.LimitType.values())
    for name in LIMIT_NAMES.values():
        assert make_limit(name, D(1)).name == name


def test_an_event_keeps_what_its_reservation_is_computed_from() -> None:
    message = order_pb2.OrderEvent(
        sequence=7,
        exec_id="e-1-2",
        exec_type=order_pb2.EXEC_TYPE_TRADE,
        order=order_pb2.Order(
            **ORDER,
            state=order_pb2.ORDER_STATE_PARTIALLY_FILLED,
            cash_quantity="500.50",
            cum_quantity="3",
            gross_amount="300.123456789012",
            reservation=order_pb2.Reservation(cash="500.50", quantity="5", headroom="1"),
        ),
        last_quantity="3",
        last_price="100.041152263004",
        tape_sequence=9,
    )
    sequence, event = event_from_proto(message)
    assert (sequence, event.tape_sequence, event.last_quantity, event.order.side) == (7, 9, 3, Side.SELL)
    assert (event.order.cash_quantity, event.order.gross_amount) == (D("500.50"), D("300.123456789012"))
    assert event.order.reservation == Reservation(D("500.50"), D(5))


def test_entries_of_every_kind_and_account_are_told_apart() -> None:
    for name, number in portfolio_pb2.LedgerEntryKind.items()[1:]:
        for account in Account:
            message = portfolio_pb2.LedgerEntry(
                sequence=3,
                portfolio_id="p",
                kind=number,
                account=portfolio_pb2.LedgerAccount.Value(f"LEDGER_ACCOUNT_{account.name}"),
                amount="-1.5",
            )
            entry = entry_from_proto(message).entry
            kind = EntryKind[name.removeprefix("LEDGER_ENTRY_KIND_")]
            assert (entry.kind, entry.account, entry.amount) == (kind, account, D("-1.5"))


@pytest.mark.parametrize("field", ["quantity", "limit_price", "cash_quantity", "stop_price"])
@pytest.mark.parametrize("text", ["1e5", "NaN", ".5", "1" * 19, "-"])
def test_a_batch_with_an_amount_that_is_none_is_refused(field: str, text: str) -> None:
    order = order_pb2.Order(**ORDER, **{field: text})
    checks = [gate_pb2.OrderCheck(order=order, reference_price="1")]
    with pytest.raises(NotADecimal):
        batch_from_proto(gate_pb2.CheckBatch(checks=checks))


def test_a_batch_names_the_latest_entry_of_all_its_checks() -> None:
    checks = [
        gate_pb2.OrderCheck(order=order_pb2.Order(**ORDER), reference_price="1.5", ledger_sequence=n) for n in (2, 8, 4)
    ]
    batch = batch_from_proto(gate_pb2.CheckBatch(batch_id=5, order_head=6, tape_sequence=7, checks=checks))
    assert (batch.batch_id, batch.order_head, batch.ledger_sequence, batch.tape_sequence) == (5, 6, 8, 7)
    assert batch.checks[0].reference_price == D("1.5")
    assert batch_from_proto(gate_pb2.CheckBatch()).ledger_sequence == 0


def test_verdicts_are_told_in_plain_digits() -> None:
    passed = Verdict("e-1", Reservation(D("1E+3"), D("-10"), D("0.000000001")))
    refused = Verdict("e-2", refusal=Refusal("LIMIT_EXCEEDED", "max_order_notional", D("1E+1"), D("12.50"), D(0)))
    told = told_to_proto(Verdicts(4, [passed, refused])).verdicts
    assert told.batch_id == 4
    held, refusal = told.verdicts[0].reservation, told.verdicts[1].refusal
    assert (held.cash, held.quantity, held.headroom) == ("1000", "-10", "0.000000001")
    assert (refusal.bound, refusal.value, refusal.missing) == ("10", "12.5", "")


def test_a_tape_comes_in_stretches() -> None:
    first = tape_service_pb2.ReadTapeResponse(
        sources=[tape_service_pb2.TapeSource(kind=tape_service_pb2.TAPE_KIND_BAR, symbol="A", interval="1d")],
        source=[0, 0],
        time=[2, 4],
        start=[1, 3],
        values=range(10),
    )
    second = tape_service_pb2.ReadTapeResponse(source=[0], time=[6], start=[5], values=range(5))
    tape = tape_from_proto([first, second])
    assert tape.sources == (Source(Kind.BAR, "A", "1d"),)
    assert tape.time.tolist() == [2, 4, 6]
    assert tape.values.shape == (3, 5)
    assert np.array_equal(tape.values[2], range(5))
    assert len(tape_from_proto([])) == 0
