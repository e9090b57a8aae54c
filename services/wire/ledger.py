"""Ledger entries."""

from __future__ import annotations

from typing import Final

from tickmesh.portfolio.v1 import portfolio_pb2

from services.domain.accounting.entries import Account, Entry, EntryKind
from services.wire.values import decimal, nanoseconds, numbers
from services.wire.versions import LEDGER_ENTRY, check_version

# The contract has no withdrawals yet, so that kind has no number.
KIND_NUMBERS: Final = numbers(portfolio_pb2.LedgerEntryKind, "LEDGER_ENTRY_KIND_", EntryKind)
ACCOUNT_NUMBERS: Final = numbers(portfolio_pb2.LedgerAccount, "LEDGER_ACCOUNT_", Account)
KINDS: Final = {number: kind for kind, number in KIND_NUMBERS.items()}
ACCOUNTS: Final = {number: account for account, number in ACCOUNT_NUMBERS.items()}


def entry_from_proto(message: portfolio_pb2.LedgerEntry) -> Entry:
    """A ledger entry. Its number on the wire counts in the environment; the domain's, in the portfolio, is not told.

    Raises:
        UnknownVersion: a newer release stored it.
    """
    check_version(message.version, LEDGER_ENTRY, "a ledger entry")
    return Entry(
        0,
        message.transaction_id,
        KINDS[message.kind],
        ACCOUNTS[message.account],
        message.asset,
        decimal(message.amount),
        nanoseconds(message.event_time),
        message.tape_sequence,
        message.order_id,
        message.exec_id,
    )
