"""Between the contract and the domain."""

from decimal import Decimal

import numpy as np
from tickmesh.marketdata.v1 import environment_pb2, tape_service_pb2
from tickmesh.order.v1 import order_pb2
from tickmesh.portfolio.v1 import portfolio_pb2

from services.domain.entries import Account, Entry, EntryKind
from services.domain.order import ExecType, Side
from services.domain.tape import Kind
from services.portfolio import mapping
from services.portfolio.records import Posted

TIME = 1_234_567_890_123_456_789


def test_times_keep_their_nanoseconds() -> None:
    assert mapping.nanoseconds(mapping.timestamp(TIME)) == TIME
    assert mapping.nanoseconds(mapping.timestamp(-1)) == -1


def test_only_events_that_traded_move_the_books() -> None:
    trade = order_pb2.OrderEvent(
        sequence=3,
        exec_id="o-2",
        exec_type=order_pb2.EXEC_TYPE_TRADE,
        order=order_pb2.Order(
            order_id="o", portfolio_id="p", symbol="A", side=2, order_type=1, time_in_force=2, owner="me"
        ),
        last_quantity="1.5",
        last_price="100.25",
        last_commission="0.12345678901",
        transact_time=mapping.timestamp(TIME),
        tape_sequence=9,
        traceparent="00-x",
    )
    [fill] = mapping.fills_from_proto([order_pb2.OrderEvent(exec_type=order_pb2.EXEC_TYPE_NEW), trade])
    assert (fill.sequence, fill.traceparent, fill.principal) == (3, "00-x", "me")
    event = fill.event
    assert (event.exec_type, event.order.side, event.transact_time, event.tape_sequence) == (
        ExecType.TRADE,
        Side.SELL,
        TIME,
        9,
    )
    assert (event.last_quantity, event.last_price, event.last_commission) == (
        Decimal("1.5"),
        Decimal("100.25"),
        Decimal("0.12345678901"),
    )


def test_every_kind_and_account_that_the_domain_makes_has_its_number() -> None:
    for kind in set(EntryKind) - {EntryKind.WITHDRAWAL}:
        for account in Account:
            entry = Entry(1, "t", kind, account, "USD", Decimal("-1E+3"), TIME, 5)
            posted = Posted("r", 7, "p", entry, Decimal("0E-9"), TIME, "", "me", "me", (Decimal(3), Decimal(2)))
            message = portfolio_pb2.LedgerEntry.FromString(mapping.entry_bytes(posted))
            assert portfolio_pb2.LedgerEntryKind.Name(message.kind) == f"LEDGER_ENTRY_KIND_{kind.value}"
            assert portfolio_pb2.LedgerAccount.Name(message.account) == f"LEDGER_ACCOUNT_{account.value}"
            assert (message.amount, message.balance) == ("-1000", "0")
            assert (message.split_numerator, message.split_denominator) == ("3", "2")
    assert mapping.kind_names([portfolio_pb2.LEDGER_ENTRY_KIND_TRADE]) == {"TRADE"}


def test_a_tape_is_joined_from_its_stretches() -> None:
    source = tape_service_pb2.TapeSource(kind=tape_service_pb2.TAPE_KIND_BAR, symbol="A", interval="1d")
    parts = [
        tape_service_pb2.ReadTapeResponse(
            sources=[source] if not n else [], source=[0], time=[n + 2], start=[n + 1], values=[n, 2, 3, 4, 5]
        )
        for n in range(2)
    ]
    tape = mapping.join_stretches([mapping.stretch_from_proto(part) for part in parts])
    assert tape.sources[0].kind is Kind.BAR
    assert tape.time.tolist() == [2, 3]
    assert tape.values.tolist() == [[0, 2, 3, 4, 5], [1, 2, 3, 4, 5]]
    assert tape.values.dtype == np.float64


def test_an_environment_has_ended_when_it_is_completed_or_stopped() -> None:
    states = {
        name: mapping.environment_from_proto(environment_pb2.Environment(state=number)).ended
        for name, number in environment_pb2.EnvironmentState.items()
    }
    assert {name for name, ended in states.items() if ended} == {
        "ENVIRONMENT_STATE_COMPLETED",
        "ENVIRONMENT_STATE_STOPPED",
    }
