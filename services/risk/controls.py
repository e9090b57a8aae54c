"""Limits and kill switches: versioned, journalled with their position, durable before they are answered (rule 5)."""

import asyncio
import json
import time
from collections.abc import Callable, Coroutine, Iterable
from dataclasses import replace
from decimal import Decimal
from typing import Any, Protocol, TypeVar

from services.chassis import telemetry
from services.chassis.deadline import detach
from services.chassis.errors import ApiError
from services.chassis.handlers import principal
from services.risk.records import Journalled, KillRecord, LimitRecord, Scope

T = TypeVar("T")


class Gate(Protocol):
    """What is told of a change once it is durable."""

    @property
    def environment_id(self) -> str:
        """Whose gate it is."""

    @property
    def owner(self) -> str:
        """Whose environment it is."""

    @property
    def position(self) -> int:
        """The tape position a change is journalled with."""

    @property
    def order_head(self) -> int:
        """The last order event that counts."""

    @property
    def last_checked(self) -> str:
        """The last order that was checked."""

    @property
    def changing(self) -> asyncio.Lock:
        """Held while a change becomes durable: no order is checked between its place in the journal and its effect."""

    def apply_limit(self, record: LimitRecord) -> None:
        """A limit changed."""

    def apply_kill_switch(self, record: KillRecord) -> None:
        """A kill switch changed."""


class Commit(Protocol):
    """Makes a change durable together with its journal's entry, and calls `then` right after it."""

    async def __call__(self, record: LimitRecord | KillRecord, entry: Journalled, then: Callable[[], None]) -> None: ...


class Controls:
    """All limits and kill switches, of all environments. Changes come one after another."""

    def __init__(self, commit: Commit) -> None:
        self._commit = commit
        self._limits: dict[tuple[str, str, str], LimitRecord] = {}
        self._kills: dict[tuple[str, Scope, str], KillRecord] = {}
        self._sequences: dict[str, int] = {}
        self._changing = asyncio.Lock()

    def recover(self, limits: Iterable[LimitRecord], kills: Iterable[KillRecord], sequences: dict[str, int]) -> None:
        """Take what was stored; `sequences` are the journals' last numbers by environment."""
        self._limits = {(each.environment_id, each.portfolio_id, each.name): each for each in limits}
        self._kills = {(each.environment_id, each.scope, each.target_id): each for each in kills}
        self._sequences = dict(sequences)

    def restore(self, gate: Gate) -> None:
        """Tell a gate all that holds in its environment."""
        for limit in self.limits(gate.environment_id):
            gate.apply_limit(limit)
        for kill in self.kill_switches(gate.environment_id):
            gate.apply_kill_switch(kill)

    def limits(self, environment_id: str = "", portfolio_id: str = "") -> list[LimitRecord]:
        """The limits that are set, those of an environment or portfolio where one is named."""
        return [
            each
            for each in self._limits.values()
            if not each.deleted
            and environment_id in {"", each.environment_id}
            and portfolio_id in {"", each.portfolio_id}
        ]

    def kill_switches(self, environment_id: str = "") -> list[KillRecord]:
        """The kill switches that are engaged."""
        return [each for each in self._kills.values() if each.engaged and environment_id in {"", each.environment_id}]

    def limit(self, place: Callable[[LimitRecord], bool]) -> LimitRecord | None:
        """A limit that was ever set."""
        return next(filter(place, self._limits.values()), None)

    def was_engaged(self, environment_id: str, scope: Scope, target_id: str) -> bool:
        """Whether a kill switch was ever engaged."""
        return (environment_id, scope, target_id) in self._kills

    async def set_limit(self, gate: Gate, portfolio_id: str, name: str, bound: Decimal) -> LimitRecord:
        """Set a limit; the same one again changes nothing."""
        return await self._alone(gate, self._set_limit(gate, portfolio_id, name, bound, principal()))

    async def delete_limit(self, gate: Gate, portfolio_id: str, name: str) -> LimitRecord:
        """Delete a limit; one that is deleted already is left as it is.

        Raises:
            ApiError: NOT_FOUND `LIMIT_NOT_FOUND`.
        """
        return await self._alone(gate, self._delete_limit(gate, portfolio_id, name, principal()))

    async def engage(
        self, gate: Gate, scope: Scope, target_id: str, *, allow_reducing: bool, reason: str
    ) -> KillRecord:
        """Engage a kill switch; one that is engaged so already is left as it is."""
        return await self._alone(
            gate, self._engage(gate, scope, target_id, allow_reducing=allow_reducing, reason=reason, who=principal())
        )

    async def release(self, gate: Gate, scope: Scope, target_id: str) -> KillRecord:
        """Release a kill switch; one that is released already is left as it is.

        Raises:
            ApiError: NOT_FOUND `KILL_SWITCH_NOT_FOUND`.
        """
        return await self._alone(gate, self._release(gate, scope, target_id, principal()))

    async def _alone(self, gate: Gate, change: Coroutine[Any, Any, T]) -> T:
        """One change at a time, to its end even when its caller has gone: the next builds on what it made durable."""
        traceparent = telemetry.current_traceparent()

        async def run() -> T:
            telemetry.adopt(traceparent)
            async with self._changing, gate.changing:
                return await change

        return await asyncio.shield(detach(run(), name="control"))

    async def _set_limit(self, gate: Gate, portfolio_id: str, name: str, bound: Decimal, who: str) -> LimitRecord:
        before = self._limits.get((gate.environment_id, portfolio_id, name))
        if before is not None and not before.deleted and before.bound == bound:
            return before
        version = 1 if before is None else before.version + 1
        place = (gate.environment_id, portfolio_id, name)
        record = LimitRecord(*place, bound, False, version, gate.position, time.time_ns(), who, gate.owner)
        await self._store(gate, "LIMIT_SET", record)
        return record

    async def _delete_limit(self, gate: Gate, portfolio_id: str, name: str, who: str) -> LimitRecord:
        before = self._limits.get((gate.environment_id, portfolio_id, name))
        if before is None:
            raise ApiError.not_found("limit", f"{gate.environment_id}~{portfolio_id}~{name}", "LIMIT_NOT_FOUND")
        if before.deleted:
            return before
        record = replace(
            before,
            deleted=True,
            version=before.version + 1,
            tape_sequence=gate.position,
            update_time=time.time_ns(),
            principal=who,
        )
        await self._store(gate, "LIMIT_DELETED", record)
        return record

    async def _engage(
        self, gate: Gate, scope: Scope, target_id: str, *, allow_reducing: bool, reason: str, who: str
    ) -> KillRecord:
        before = self._kills.get((gate.environment_id, scope, target_id))
        if before is not None and before.engaged and before.allow_reducing == allow_reducing:
            return before
        version = self._next_version(gate.environment_id)
        place = (gate.environment_id, scope, target_id)
        how = (True, allow_reducing, reason)
        record = KillRecord(*place, *how, version, gate.position, time.time_ns(), who, gate.owner)
        await self._store(gate, "KILL_SWITCH_ENGAGED", record)
        return record

    async def _release(self, gate: Gate, scope: Scope, target_id: str, who: str) -> KillRecord:
        before = self._kills.get((gate.environment_id, scope, target_id))
        if before is None:
            name = target_id or gate.environment_id
            raise ApiError.not_found("kill_switch", name, "KILL_SWITCH_NOT_FOUND")
        if not before.engaged:
            return before
        record = replace(
            before,
            engaged=False,
            version=self._next_version(gate.environment_id),
            tape_sequence=gate.position,
            update_time=time.time_ns(),
            principal=who,
        )
        await self._store(gate, "KILL_SWITCH_RELEASED", record)
        return record

    def _next_version(self, environment_id: str) -> int:
        versions = (each.version for each in self._kills.values() if each.environment_id == environment_id)
        return 1 + max(versions, default=0)

    async def _store(self, gate: Gate, kind: str, record: LimitRecord | KillRecord) -> None:
        sequence = self._sequences.get(record.environment_id, 0) + 1
        entry = Journalled(
            record.environment_id,
            sequence,
            kind,
            _payload(record),
            record.tape_sequence,
            gate.order_head,
            gate.last_checked,
            record.update_time,
            telemetry.current_traceparent(),
            record.principal,
            record.owner,
        )

        def then() -> None:
            self._sequences[record.environment_id] = sequence
            if isinstance(record, LimitRecord):
                self._limits[record.environment_id, record.portfolio_id, record.name] = record
                gate.apply_limit(record)
            else:
                self._kills[record.environment_id, record.scope, record.target_id] = record
                gate.apply_kill_switch(record)

        await self._commit(record, entry, then)


def _payload(record: LimitRecord | KillRecord) -> str:
    if isinstance(record, LimitRecord):
        what = {"portfolio_id": record.portfolio_id, "limit": record.name, "bound": str(record.bound)}
        return json.dumps(what | {"version": record.version})
    how = {"allow_reducing": record.allow_reducing, "reason": record.reason, "version": record.version}
    return json.dumps({"scope": record.scope, "target_id": record.target_id} | how)
