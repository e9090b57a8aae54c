"""What portfolios hold by the venue's fills: stored as fills change it, taken back after a restart."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from decimal import Decimal

from services.domain.instrument import Instrument
from services.domain.orders.order import ExecType, OrderEvent
from services.domain.tape import Tape
from services.domain.tape_index import TapeIndex
from services.domain.venue.matching import Venue
from services.domain.venue.standing import Kept
from services.domain.venue.waiting.positions import Holder, Positions
from services.order.records import PositionRow

Held = Sequence[PositionRow]
"""As of the tape position of its last fill: a split of a long since then is on the tape alone."""


def held_at(
    rows: Held, instruments: Mapping[str, Instrument], tape: Tape, sequence: int
) -> tuple[dict[Holder, Decimal], dict[Holder, Decimal]]:
    """What was held, in the units of a later tape position, and what is held against it."""
    positions, collateral = Positions(instruments), dict[Holder, Decimal]()
    for row in rows:
        holder = (row.portfolio_id, row.symbol)
        positions.restore({holder: row.quantity}, row.tape_sequence)
        collateral[holder] = row.collateral
    positions.index = TapeIndex(tape)
    return positions.at(sequence), collateral


def held_after(events: Iterable[OrderEvent], venue: Venue) -> dict[Holder, Kept]:
    """The positions that fills among these events have changed, and the shorts that splits have, as they are now."""
    filled = (event.order for event in events if event.exec_type is ExecType.TRADE)
    holders = {(order.portfolio_id, order.symbol) for order in filled} | venue.take_split()
    return {holder: venue.kept(*holder) for holder in holders}
