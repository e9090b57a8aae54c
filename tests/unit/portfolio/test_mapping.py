"""Between the contract and the domain."""

from decimal import Decimal

from tickmesh.order.v1 import order_pb2
from tickmesh.portfolio.v1 import portfolio_pb2

from services.domain.accounting.entries import Account, Entry, EntryKind
from services.domain.orders.order import ExecType, Side
from services.portfolio import mapping
from services.portfolio.records import Posted
from services.wire.values import timestamp

TIME = 1_234_567_890_123_456_789


def test_only_events_that_traded_move_the_books() -> None:
    trade = order_pb2.OrderEvent(
        sequence=3,
        exec_id="o-2",
        exec_type=order_pb2.EXEC_TYPE_TRADE,
        order=order_pb2.Order(
            order_id="o", portfolio_id="p", symbol="A", side=2, order_type=1, time_in_force=2, state=5, owner="me"
        ),
        last_quantity="1.5",
        last_price="100.25",
        last_commission="0.12345678901",
        transact_time=timestamp(TIME),
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
