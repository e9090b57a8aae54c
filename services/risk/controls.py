"""Limits and kill switches: versioned, journalled with their position, durable before they are answered (rule 5)."""

import asyncio
import time
from collections.abc import Callable, Coroutine, Iterable, Mapping
from contextlib import AbstractAsyncContextManager, nullcontext
from dataclasses import replace
from decimal import Decimal
from typing import Any, Protocol, TypeVar

from services.chassis.calls.handlers import principal
from services.chassis.deadline import detach
from services.chassis.errors import ApiError
from services.chassis.telemetry import tracing
from services.domain.risk.limit import EVERYWHERE, Where
from services.risk.journal.journal import Gate as Stored
from services.risk.records import GUARD, Happening, KillRecord, LimitRecord, RiskKind, Scope

T = TypeVar("T")


class Gate(Stored, Protocol):
    """What is told of a change."""

    @property
    def position(self) -> int:
        """The tape position a change is journalled with."""

    @property
    def market_time(self) -> int:
        """The market time of that, ns."""

    @property
    def order_head(self) -> int:
        """The last order event that counts."""

    @property
    def last_checked(self) -> str:
        """The last order that was checked."""

    @property
    def changing(self) -> asyncio.Lock:
        """Held while a change becomes durable: no order is checked between its place in the journal and its effect."""

    def between_orders(self) -> AbstractAsyncContextManager[None]:
        """Held while a limit changes: by the last order before it a backtest knows the first one that meets it."""

    def apply_limit(self, record: LimitRecord) -> None:
        """A limit changed."""

    def apply_guard(self, record: LimitRecord) -> None:
        """A runaway guard changed; it is durable."""

    def apply_kill_switch(self, record: KillRecord) -> None:
        """A kill switch changed; it is durable."""


class Commit(Protocol):
    """Makes a change durable with what is to be told of it; see `Journal.change`."""

    async def __call__(
        self,
        gate: Any,
        record: LimitRecord | KillRecord,
        happening: Happening,
        apply: Callable[[], None],
        then: Callable[[], None],
    ) -> None: ...


class Controls:
    """All limits and kill switches, of all environments. Changes come one after another."""

    def __init__(self, commit: Commit) -> None:
        self._commit = commit
        self._limits: dict[tuple[str, str, Where], LimitRecord] = {}
        self._kills: dict[tuple[str, Scope, str], KillRecord] = {}
        self._changing = asyncio.Lock()

    def recover(self, limits: Iterable[LimitRecord], kills: Iterable[KillRecord]) -> None:
        """Take what was stored."""
        self._limits = {(each.environment_id, each.name, each.where): each for each in limits}
        self._kills = {(each.environment_id, each.scope, each.target_id): each for each in kills}

    def restore(self, gate: Gate) -> None:
        """Tell a gate all that holds in its environment."""
        for limit in self.limits(gate.environment_id):
            gate.apply_guard(limit) if limit.name == GUARD else gate.apply_limit(limit)
        for kill in self.kill_switches(gate.environment_id):
            gate.apply_kill_switch(kill)

    def limits(self, environment_id: str = "", where: Where = EVERYWHERE) -> list[LimitRecord]:
        """The limits that are set, those of an environment, and of what else is named."""
        return [
            each
            for each in self._limits.values()
            if not each.deleted
            and environment_id in {"", each.environment_id}
            and all(wanted in {"", own} for wanted, own in zip(where, each.where, strict=True))
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

    async def set_limit(self, gate: Gate, name: str, where: Where, bound: Decimal) -> LimitRecord:
        """Set a limit; the same one again changes nothing."""
        return await self._alone(gate, self._set_limit(gate, name, where, bound, principal()), gate.between_orders())

    async def delete_limit(self, gate: Gate, name: str, where: Where) -> LimitRecord:
        """Delete a limit; one that is deleted already is left as it is.

        Raises:
            ApiError: NOT_FOUND `LIMIT_NOT_FOUND`.
        """
        return await self._alone(gate, self._delete_limit(gate, name, where, principal()), gate.between_orders())

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

    async def _alone(
        self, gate: Gate, change: Coroutine[Any, Any, T], first: AbstractAsyncContextManager[None] | None = None
    ) -> T:
        """One change at a time, to its end even when its caller has gone: the next builds on what it made durable.

        A kill switch waits for no order; what a limit waits for comes `first`, so that none waits behind it.
        """
        traceparent = tracing.current_traceparent()

        async def run() -> T:
            tracing.adopt(traceparent)
            async with first or nullcontext(), self._changing, gate.changing:
                return await change

        return await asyncio.shield(detach(run(), name="control"))

    async def _set_limit(self, gate: Gate, name: str, where: Where, bound: Decimal, who: str) -> LimitRecord:
        before = self._limits.get((gate.environment_id, name, where))
        if before is not None and not before.deleted and before.bound == bound:
            return before
        version = 1 if before is None else before.version + 1
        place = (gate.environment_id, where.portfolio_id, where.strategy_id, where.symbol)
        at = (gate.position, time.time_ns())
        record = LimitRecord(*place, name, bound, False, version, *at, who, gate.owner)
        await self._store_limit(gate, record, before)
        return record

    async def _delete_limit(self, gate: Gate, name: str, where: Where, who: str) -> LimitRecord:
        before = self._limits.get((gate.environment_id, name, where))
        if before is None:
            raise ApiError.not_found("limit", f"{gate.environment_id}~{name}", "LIMIT_NOT_FOUND")
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
        await self._store_limit(gate, record, before)
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
        await self._store_kill(gate, record)
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
        await self._store_kill(gate, record)
        return record

    def _next_version(self, environment_id: str) -> int:
        versions = (each.version for each in self._kills.values() if each.environment_id == environment_id)
        return 1 + max(versions, default=0)

    async def _store_limit(self, gate: Gate, record: LimitRecord, before: LimitRecord | None) -> None:
        kind = RiskKind.LIMIT_DELETED if record.deleted else RiskKind.LIMIT_SET
        payload = {
            "limit": record.name,
            "strategy_id": record.strategy_id,
            "symbol": record.symbol,
            "bound": str(record.bound),
            "previous_bound": "" if before is None or before.deleted else str(before.bound),
        }

        def then() -> None:
            self._limits[record.environment_id, record.name, record.where] = record
            if record.name == GUARD:
                gate.apply_guard(record)

        happening = _happening(gate, kind, record, record.portfolio_id, payload)
        # What a gate counts meanwhile counts by what holds from here on: the change and its part are stored together.
        await self._commit(gate, record, happening, lambda: gate.apply_limit(record), then)

    async def _store_kill(self, gate: Gate, record: KillRecord) -> None:
        kind = RiskKind.KILL_SWITCH_ENGAGED if record.engaged else RiskKind.KILL_SWITCH_RELEASED
        payload = {
            "scope": record.scope,
            "target_id": record.target_id,
            "allow_reducing": record.allow_reducing,
            "reason": record.reason,
        }

        def then() -> None:
            self._kills[record.environment_id, record.scope, record.target_id] = record
            gate.apply_kill_switch(record)

        happening = _happening(gate, kind, record, record.kill_scope.portfolio_id, payload)
        await self._commit(gate, record, happening, lambda: None, then)


def _happening(
    gate: Gate, kind: RiskKind, record: LimitRecord | KillRecord, portfolio_id: str, payload: Mapping[str, Any]
) -> Happening:
    return Happening(
        kind,
        portfolio_id,
        {**payload, "version": record.version, "update_time": record.update_time},
        record.tape_sequence,
        gate.market_time,
        record.principal,
        tracing.current_traceparent(),
        gate.order_head,
        gate.last_checked,
    )
