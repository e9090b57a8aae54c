"""Why an order became what it is: its story, gathered from whoever knows a part of it.

What the order service knows itself is always told. The others are asked side by side; one that is away leaves a gap.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Sequence
from typing import Any, Final, NamedTuple, TypeVar

from services.chassis.errors import ApiError
from services.domain.market import Record
from services.domain.orders.order import TERMINAL
from services.domain.venue.telling.reasons import Reason, reason_of
from services.order.desk.replay import Desks
from services.order.entry.intake import no_order, parse_order_id
from services.order.listing import Listing, Wanted
from services.order.mapping import decode_event
from services.order.story.clients import Witnesses
from services.wire.orders import event_from_proto
from services.wire.values import nanoseconds

# As many as a page has: an order that fills in more parts tells the same again and again.
MOST_EVENTS: Final = 100
# A person waits for it, and a service that was restarted is back within 2 s.
PATIENCE_SECONDS: Final = 3.0
T = TypeVar("T")


class Gap(NamedTuple):
    """A part of the story that cannot be told, who knows it, and why it was not told."""

    part: str
    service: str
    error: ApiError


class Story(NamedTuple):
    """What is known of an order.

    Attributes:
        order: as it is now, and its `events` as they are listed; both are the contract's messages.
        reasons: one an event.
        records: of the tape, by position.
        signal, strategy: the contract's messages; None where no deployment decided it, or they cannot be had.
        entries: the contract's ledger entries.
        halts: the contract's too: those in its symbol while it was open.
        more: whether there are more events.
    """

    order: Any
    events: Sequence[Any]
    reasons: Sequence[Reason]
    records: dict[int, Record]
    signal: Any
    strategy: Any
    entries: Sequence[Any]
    halts: Sequence[Any]
    gaps: Sequence[Gap]
    more: bool


class Explaining:
    """Gathers stories."""

    def __init__(self, desks: Desks, listing: Listing, witnesses: Witnesses) -> None:
        self._desks = desks
        self._listing = listing
        self._witnesses = witnesses

    async def explain(self, order_id: str) -> Story:
        """An order's story.

        Raises:
            ApiError: NOT_FOUND `ORDER_NOT_FOUND`.
        """
        environment_id, number = parse_order_id(order_id)
        latest = await self._desks.store.order(environment_id, number) if number else None
        if latest is None:
            raise no_order(order_id)
        wanted = Wanted(environment_id=environment_id, number=number)
        rows = await self._listing.events(wanted, fills_only=False, beyond=None, limit=MOST_EVENTS + 1)
        events = [decode_event(row.payload) for row in rows[:MOST_EVENTS]]
        gaps, records = list[Gap](), dict[int, Record]()
        first, ask = events[0].order, self._witnesses
        by_strategy = bool(first.deployment_id)
        signal, strategy, entries, halts, _ = await asyncio.gather(
            _told(gaps, "signal", "strategy", ask.signal(environment_id, first.signal_id) if by_strategy else None),
            _told(gaps, "strategy", "strategy", ask.strategy(first.strategy_id) if by_strategy else None),
            _told(gaps, "ledger_entries", "portfolio", ask.entries(first.portfolio_id, order_id)),
            _told(gaps, "halts", "marketdata", self._halts(environment_id, events[0], decode_event(latest))),
            _told(gaps, "records", "marketdata", self._read(environment_id, _positions(events), records)),
        )
        return Story(
            order=decode_event(latest).order,
            events=events,
            reasons=self._reasons(events, records),
            records=records,
            signal=signal,
            strategy=strategy,
            entries=entries or (),
            halts=halts or (),
            gaps=sorted(gaps),
            more=len(rows) > MOST_EVENTS,
        )

    async def _read(self, environment_id: str, positions: Sequence[int], records: dict[int, Record]) -> None:
        """Fills in what the tape has at these positions: our own, while there is one here."""
        desk = self._desks.existing(environment_id)
        tape = None if desk is None else desk.tape
        for position in positions:
            if tape is not None:
                records[position] = tape.record(position)
            elif (found := await self._witnesses.record(environment_id, position)) is not None:
                records[position] = found

    async def _halts(self, environment_id: str, first: Any, last: Any) -> Sequence[Any]:
        """When trading stopped and went on while an order was open, from a halt that it came into on."""
        ended = event_from_proto(last).order.state in TERMINAL
        until = last.transact_time if ended else None
        found = await self._witnesses.halts(environment_id, first.order.symbol, until)
        since = nanoseconds(first.transact_time)
        began = sum(nanoseconds(each.event_time) < since for each in found)
        return found[began - 1 if began and found[began - 1].halted else began :]

    def _reasons(self, messages: Sequence[Any], records: dict[int, Record]) -> list[Reason]:
        reasons, previous = [], None
        events = [event_from_proto(message) for message in messages]
        for message, event, following in zip(messages, events, [*events[1:], None], strict=True):
            record = records.get(event.tape_sequence) if by_tape(message) else None
            increment = self._desks.peers.instruments[event.order.symbol].price_increment
            reasons.append(reason_of(event, previous, record, increment, message.principal, following=following))
            previous = event
        return reasons


def by_tape(event: Any) -> bool:
    """Whether the record at an event's position caused it."""
    return str(event.cause) == "tape"


def _positions(events: Sequence[Any]) -> list[int]:
    """Where the tape is looked at: where the order was decided, and where the tape did something to it."""
    caused = {event.tape_sequence for event in events if by_tape(event)}
    return sorted({events[0].order.basis_sequence, *caused} - {0})


async def _told(gaps: list[Gap], part: str, service: str, asking: Awaitable[T] | None) -> T | None:
    """What somebody says; None, and a gap, where nothing is said in time."""
    if asking is None:
        return None
    try:
        async with asyncio.timeout(PATIENCE_SECONDS):
            return await asking
    except TimeoutError:
        error = ApiError.unavailable("SERVICE_UNAVAILABLE", f"The {service} service does not answer.")
        gaps.append(Gap(part, service, error))
    except ApiError as error:
        gaps.append(Gap(part, service, error))
    return None
