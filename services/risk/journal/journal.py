"""What is made durable together: a gate's part, a change, and what is to be told of both; then it is told (rule 2).

Everything takes its number and its place in the writer's queue in one synchronous step. So the events of an environment
have no gaps, each is stored with the cursor or the change that it derives from, and none is told before it is durable.
"""

import asyncio
import json
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Protocol

from services.chassis.streams.event_log import EventLog
from services.chassis.streams.ring import Entry
from services.risk.gate.parts import Part
from services.risk.records import Happening, Journalled, KillRecord, LimitRecord
from services.risk.store import Store


class Gate(Protocol):
    """Whose part is stored."""

    @property
    def environment_id(self) -> str:
        """Whose gate it is."""

    @property
    def owner(self) -> str:
        """Whose environment it is."""

    def take_part(self) -> tuple[Part | None, list[Happening]]:
        """What changed since the last time, and what is to be told of it."""


class Journal:
    """The one way to the store, and to those who listen."""

    def __init__(
        self, store: Store, log: EventLog[Journalled], encode: Callable[[Journalled], Entry[Journalled]]
    ) -> None:
        """Takes what encodes an event for the log."""
        self._store = store
        self._log = log
        self._encode = encode
        self._sequences: dict[str, int] = {}

    def recover(self, sequences: Mapping[str, int]) -> None:
        """Take the last numbers by environment."""
        self._sequences = dict(sequences)
        for environment_id, sequence in sequences.items():
            self._log.recover(environment_id, sequence)

    async def save(self, gate: Gate) -> None:
        """Store what changed of a gate."""
        part, happenings = gate.take_part()
        if part is not None:
            await self._enqueue(gate, part, None, happenings)

    async def tell(self, gate: Gate, happening: Happening) -> None:
        """Store something that happened, after all that the gate has counted before it."""
        part, happenings = gate.take_part()
        await self._enqueue(gate, part, None, [*happenings, happening])

    async def change(
        self,
        gate: Gate,
        record: LimitRecord | KillRecord,
        happening: Happening,
        apply: Callable[[], None],
        then: Callable[[], None],
    ) -> None:
        """Store a change together with all that the gate has counted before it: a restart counts it as it was counted.

        Args:
            apply: from here on the change counts; nothing is checked before it is durable.
            then: runs right after the commit.
        """
        part, happenings = gate.take_part()
        apply()
        await self._enqueue(gate, part, record, [*happenings, happening], then)

    def _enqueue(
        self,
        gate: Gate,
        part: Part | None,
        record: LimitRecord | KillRecord | None,
        happenings: Sequence[Happening],
        then: Callable[[], None] | None = None,
    ) -> asyncio.Future[None]:
        environment_id, owner, now = gate.environment_id, gate.owner, time.time_ns()
        last = self._sequences.get(environment_id, 0)
        events = [_journalled(each, environment_id, owner, last + n, now) for n, each in enumerate(happenings, 1)]
        self._sequences[environment_id] = last + len(events)

        def publish() -> None:
            self._log.publish(environment_id, [self._encode(each) for each in events])
            if then is not None:
                then()

        return self._store.writer.enqueue(self._store.unit(owner, part, record, events), publish)


def _journalled(happening: Happening, environment_id: str, owner: str, sequence: int, now: int) -> Journalled:
    return Journalled(
        environment_id,
        sequence,
        happening.kind,
        happening.portfolio_id,
        json.dumps(happening.payload),
        happening.tape_sequence,
        happening.market_time,
        happening.order_head,
        happening.after_order_id,
        now,
        happening.traceparent,
        happening.principal or owner,
        owner,
    )
