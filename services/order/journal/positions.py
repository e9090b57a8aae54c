"""What portfolios hold by the venue's fills: stored as fills change it, taken back after a restart."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from decimal import Decimal

from services.domain.instrument import Instrument
from services.domain.orders.order import ExecType, OrderEvent
from services.domain.tape import Tape
from services.domain.tape_index import TapeIndex
from services.domain.venue.matching import Venue
from services.domain.venue.waiting.positions import Holder, Positions

Held = Mapping[Holder, tuple[Decimal, int]]
"""Signed units, each as of the tape position of its last fill: a split since then is on the tape alone."""


def held_at(held: Held, instruments: Mapping[str, Instrument], tape: Tape, sequence: int) -> dict[Holder, Decimal]:
    """What was held, in the units of a later tape position."""
    positions = Positions(instruments)
    for holder, (units, since) in held.items():
        positions.restore({holder: units}, since)
    positions.index = TapeIndex(tape)
    return positions.at(sequence)


def held_after(events: Iterable[OrderEvent], venue: Venue) -> dict[Holder, Decimal]:
    """The positions that fills among these events have changed, as they are now."""
    filled = (event.order for event in events if event.exec_type is ExecType.TRADE)
    holders = {(order.portfolio_id, order.symbol) for order in filled}
    return {holder: venue.held(*holder) for holder in holders}
