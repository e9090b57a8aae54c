"""A venue's way along its tape, in slices, so that streams and other environments go on meanwhile."""

from __future__ import annotations

import asyncio
import time
from typing import Final

from services.domain.orders.order import OrderEvent
from services.domain.tape import Tape
from services.domain.venue.matching import Venue
from services.order.records import EnvironmentRow

# Tape rows the venue walks without letting others run: adapted so that a slice takes a few ms.
FIRST_SLICE: Final = 4096
SLICE_SECONDS: Final = 0.003


class Walk:
    """Moves a venue on, and keeps in its row where it stands.

    Attributes:
        tape: None before it is here.
    """

    def __init__(self, row: EnvironmentRow) -> None:
        self.tape: Tape | None = None
        self._row = row
        self._slice = FIRST_SLICE

    async def advance(self, venue: Venue, through: int) -> list[OrderEvent]:
        """Walks up to `through`, or to the first record that makes events; returns those."""
        row, events = self._row, list[OrderEvent]()
        if self.tape is None:
            raise RuntimeError(f"{row.environment_id} was granted time before its tape was here")
        while row.tape_sequence < through and not events:
            began = time.monotonic()
            slice_end = min(through, row.tape_sequence + self._slice)
            reached, events = venue.advance(self.tape, row.tape_sequence, slice_end)
            ended = reached == row.tape_sequence
            row.tape_sequence, row.market_time = reached, self.time(reached)
            if ended or reached >= through:
                break
            self._slice = max(FIRST_SLICE, int(self._slice * (2 if time.monotonic() - began < SLICE_SECONDS else 0.5)))
            await asyncio.sleep(0)
        return events

    def time(self, sequence: int) -> int:
        """Market time of a record, ns; 0 before the first one."""
        return int(self.tape.time[sequence - 1]) if sequence and self.tape is not None else 0
