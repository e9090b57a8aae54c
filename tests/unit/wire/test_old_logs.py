"""Logs that older releases stored are read for what they are (rule 1)."""

from __future__ import annotations

import base64
import json
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from tickmesh.order.v1 import order_pb2
from tickmesh.portfolio.v1 import portfolio_pb2
from tickmesh.strategy.v1 import strategy_pb2

from services.domain.accounting.books import Books
from services.domain.accounting.entries import Entry
from services.domain.accounting.ledger import Ledger
from services.domain.backtest.digest import digest, history
from services.domain.orders.order import TERMINAL, CancelReason, ExecType, OrderEvent, OrderState, Side
from services.domain.risk.gate import Gate
from services.domain.tape import Tape
from services.domain.tape_index import TapeIndex
from services.domain.timeline import Timeline
from services.domain.venue.matching import Venue, VenueSettings
from services.domain.venue.waiting.positions import Positions
from services.order.mapping import decode_event
from services.strategy.mapping import decode_signal
from services.wire.ledger import entry_from_proto
from services.wire.orders import event_from_proto
from services.wire.versions import UnknownVersion
from tests.data.make_log import INSTRUMENTS, PORTFOLIO, tape

# What an order knew nothing of when the log was made.
LATER = {"log-v1": {ExecType.REPLACED}}
LOGS = sorted((Path(__file__).parents[2] / "data").glob("log-v*.json"))


@dataclass
class Log:
    """A log, decoded."""

    name: str
    events: list[OrderEvent]
    entries: list[Entry]
    signals: list[strategy_pb2.Signal]
    expected: dict[str, Any]


@pytest.fixture(params=LOGS, ids=[path.stem for path in LOGS])
def log(request: pytest.FixtureRequest) -> Log:
    content = json.loads(request.param.read_text())

    def stored(name: str) -> list[bytes]:
        return [base64.b64decode(each) for each in content[name]]

    entries = map(portfolio_pb2.LedgerEntry.FromString, stored("ledger_entries"))
    return Log(
        request.param.stem,
        [event_from_proto(decode_event(each)) for each in stored("order_events")],
        [entry_from_proto(each)._replace(sequence=number) for number, each in enumerate(entries, 1)],
        [decode_signal(each) for each in stored("signals")],
        content["expected"],
    )


def test_rule_1_there_is_a_log_with_every_kind_of_event(log: Log) -> None:
    assert {event.exec_type for event in log.events} == set(ExecType) - LATER.get(log.name, set())
    assert {event.order.state for event in log.events} == set(OrderState) - {OrderState.PENDING_NEW}


def test_rule_1_an_old_log_gives_the_history_that_it_gave(log: Log) -> None:
    assert digest([history("Trend", log.events, log.entries)]) == log.expected["digest"]
    assert [(each.signal_id, each.symbol, dict(each.values)) for each in log.signals] == [
        tuple(each) for each in log.expected["signals"]
    ]


def test_rule_1_an_old_log_of_order_events_gives_the_books_that_it_gave(log: Log) -> None:
    books = Books(Timeline(tape()), INSTRUMENTS)
    books.ledgers[PORTFOLIO] = ledger = Ledger(PORTFOLIO, "USD")
    made = list(ledger.deposit(log.entries[0].amount, log.entries[0].time, 0, log.entries[0].transaction_id))
    for event in log.events:
        made += [entry for _, posting in books.fold(event.tape_sequence, [event]).postings for entry in posting.entries]
    assert [each[1:] for each in made] == [each[1:] for each in log.entries]
    assert (ledger.cash, ledger.positions["A"].quantity) == tuple(map(Decimal, _held(log)))


def test_rule_1_an_old_log_gives_risk_what_it_gave(log: Log) -> None:
    gate = Gate()
    steps: list[tuple[int, int, Any]] = [(entry.tape_sequence, 0, entry) for entry in log.entries]
    steps += [(event.tape_sequence, 1, event) for event in log.events]
    for _, kind, each in sorted(steps, key=lambda step: step[:2]):
        if kind:
            gate.fold(each, INSTRUMENTS["A"])
        else:
            gate.fold_entry(PORTFOLIO, each)
    exposure = gate.exposure(PORTFOLIO)
    assert (exposure.cash, exposure.positions[0].quantity) == tuple(map(Decimal, _held(log)))
    assert exposure.reserved_cash == 0
    assert not exposure.positions[0].pending_buy
    assert not exposure.positions[0].pending_sell


def test_rule_1_the_venue_goes_on_from_an_old_log_as_it_went_on(log: Log) -> None:
    """From any event on that the tape caused, what the tape causes next is what is in the log."""
    market, settings = tape(), VenueSettings(volume_share=Decimal("0.1"))
    went_on = 0
    for number, event in enumerate(log.events[:-1], 1):
        following = log.events[number]
        if _commanded(following) or following.tape_sequence == event.tape_sequence:
            continue
        last = {each.order.order_id: each.order for each in log.events[:number]}
        stated = [each.order.reservation for each in log.events[:number] if each.exec_type is not ExecType.REJECTED]
        venue = Venue(INSTRUMENTS, settings)
        venue.prime(market, event.tape_sequence)
        held = positions(log.events[:number], market).at(event.tape_sequence)
        working = [each for each in last.values() if each.state not in TERMINAL]
        venue.restore(working, {PORTFOLIO: stated[-1].headroom}, held)
        _, made = venue.advance(market, event.tape_sequence, len(market))
        made = made or venue.expire_all(len(market), following.transact_time)
        assert list(map(_unranked, made)) == list(map(_unranked, log.events[number : number + len(made)]))
        went_on += 1
    assert went_on > 5


def positions(events: list[OrderEvent], market: Tape) -> Positions:
    """What the venue's fills made."""
    made = Positions(INSTRUMENTS)
    made.index = TapeIndex(market)
    for event in events:
        if event.exec_type is ExecType.TRADE:
            signed = event.last_quantity if event.order.side is Side.BUY else -event.last_quantity
            made.trade((PORTFOLIO, "A"), signed, event.tape_sequence)
    return made


@pytest.mark.parametrize(
    "read",
    [
        lambda: decode_event(order_pb2.OrderEvent(version=99).SerializeToString()),
        lambda: event_from_proto(order_pb2.OrderEvent(version=99)),
        lambda: entry_from_proto(portfolio_pb2.LedgerEntry(version=99)),
        lambda: decode_signal(strategy_pb2.Signal(version=99).SerializeToString()),
    ],
)
def test_rule_1_a_form_that_is_yet_to_come_is_refused_loudly(read: Any) -> None:
    with pytest.raises(UnknownVersion, match="99"):
        read()


def _commanded(event: OrderEvent) -> bool:
    """Whether somebody asked for it, and not the tape."""
    new = event.order.event_count == 1 or event.exec_type is ExecType.REPLACED
    return new or event.order.cancel_reason is CancelReason.REQUESTED


def _unranked(event: OrderEvent) -> OrderEvent:
    """Without the order's place in the queue: an old log has none, and a venue that takes its orders gives them one."""
    return event._replace(order=event.order._replace(priority=0))


def _held(log: Log) -> tuple[str, str]:
    return log.expected["cash"], log.expected["position"]
