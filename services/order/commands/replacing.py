"""How open orders are put on new terms: checked by risk where they ask for more, decided by the venue, committed."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from typing import NamedTuple, Protocol

from services.chassis.errors import ApiError
from services.chassis.failpoints import failpoint
from services.domain.instrument import Instrument
from services.domain.orders.order import Order, OrderEvent
from services.domain.orders.replacing import CannotReplace, Replacement, needs_check
from services.domain.risk.gate import Verdict
from services.domain.venue.matching import Venue
from services.order.commands.answered import Answered
from services.order.commands.canceling import ended_order
from services.order.commands.increments import check_increments
from services.order.commands.roll import Decision
from services.order.gate.checks import Checks, asking, refusal_of, risk_unavailable
from services.order.gate.mapping import Check
from services.order.gate.risk_gate import RiskUnavailable
from services.order.journal.journal import Journal, Written, number_of
from services.order.mapping import decode_event, refusal_error
from services.order.records import EnvironmentRow, RequestRow
from services.order.store import Store
from services.wire.orders import refusal_to_proto


@dataclass(slots=True, eq=False)
class Replace(Answered[bytes]):
    """Somebody asks for an order on new terms.

    Attributes:
        request_id: of the request, where the client gave one; `asked` is what a repeat with it must ask for.
        decision: where a strategy decided it.
        deadline: monotonic seconds; set once nothing but risk is waited for.
        arrived: when it came, monotonic seconds.
    """

    order_id: str
    terms: Replacement
    principal: str
    traceparent: str
    answer: asyncio.Future[bytes]
    request_id: str = ""
    asked: str = ""
    decision: Decision | None = None
    deadline: float = 0.0
    arrived: float = field(default_factory=time.monotonic)

    @property
    def of_strategy(self) -> bool:
        """Whether a deployment decided it."""
        return self.decision is not None


class Change(NamedTuple):
    """An order as it is, and as it would be."""

    replace: Replace
    before: Order
    after: Order


class Desk(Protocol):
    """What replacing needs of its desk."""

    row: EnvironmentRow
    venue: Venue
    journal: Journal

    async def objection_to(self, replace: Replace) -> ApiError | None:
        """Why nothing can be replaced now."""
        ...


class Replacing:
    """Takes batches of replacements, one at a time."""

    def __init__(self, desk: Desk, store: Store, instruments: Mapping[str, Instrument], checks: Checks) -> None:
        self._desk = desk
        self._store = store
        self._instruments = instruments
        self._asking = checks

    async def replace(self, batch: Iterable[Replace]) -> list[Replace]:
        """Decides on replacements and answers them.

        Returns:
            Those that must be looked at again: another one of the same order, list or request comes first.
        """
        first, again, taken = list[Replace](), list[Replace](), set[str]()
        for each in batch:
            order = self._desk.venue.order(each.order_id)
            # What one order of a list may be depends on the others.
            names = {each.order_id, each.request_id, order.order_list_id if order else ""} - {""}
            (again if names & taken else first).append(each)
            taken |= names
        changes = [change for each in await self._unknown(first) if (change := await self._change(each)) is not None]
        doubtful = [each for each in changes if needs_check(each.before, each.after)]
        try:
            with ExitStack() as spans:
                traces = {each.after.order_id: asking(each.replace.traceparent, spans) for each in doubtful}
                deadline = min((each.replace.deadline for each in doubtful), default=time.monotonic())
                verdicts = await self._asking.verdicts(lambda: self._checks(doubtful, traces), deadline)
        except RiskUnavailable:
            for change in doubtful:
                change.replace.fail(risk_unavailable())
            changes, verdicts = [each for each in changes if each not in doubtful], {}
        failpoint("order.after_reserve")
        await self._commit(changes, verdicts)
        return again

    async def _unknown(self, batch: Sequence[Replace]) -> list[Replace]:
        """Answers those whose request is known, and what may not come in; gives the others."""
        ids = [each.request_id for each in batch if each.request_id]
        known = await self._store.requests(self._desk.row.environment_id, ids) if ids else {}
        unknown = []
        for each in batch:
            before = known.get(each.request_id)
            if before is not None and before.asked == each.asked:
                each.answer_with(await self._stored(each.order_id))
            elif before is not None:
                each.fail(ApiError.already_exists("request", each.request_id, "REQUEST_ID_REUSED"))
            elif (objection := await self._desk.objection_to(each)) is not None:
                each.fail(objection)
            else:
                unknown.append(each)
        return unknown

    async def _change(self, replace: Replace) -> Change | None:
        """What it would change; None where it is answered already."""
        order = self._desk.venue.order(replace.order_id)
        if order is None:
            replace.fail(await self._ended(replace))
            return None
        try:
            given = {name: value for name, value in replace.terms._asdict().items() if value is not None}
            check_increments(given, self._instruments[order.symbol])
            return Change(replace, order, self._desk.venue.replaced(order, replace.terms))
        except CannotReplace as error:
            replace.fail(_impossible(order, error))
        except ApiError as error:
            replace.fail(error)
        return None

    def _checks(self, changes: Iterable[Change], traces: Mapping[str, str]) -> list[Check]:
        """What risk is asked: nothing of an order that has ended meanwhile, or whose symbol has no price."""
        venue, journal, checks = self._desk.venue, self._desk.journal, []
        for replace, before, after in changes:
            price = venue.reference_price(after.symbol, after.side)
            if price is None or venue.order(after.order_id) != before:
                continue
            opening = journal.portfolio(after.portfolio_id).opening_ledger_sequence
            origin, instrument = journal.origin_of(after), self._instruments[after.symbol]
            # Risk counts it at the time it was decided at, which may be later than the last record's.
            decided = 0 if replace.decision is None else replace.decision.time
            asked = after._replace(basis_time=max(after.basis_time, decided))
            trace, slip = traces[after.order_id], venue.slip(after)
            checks.append(Check(asked, origin, instrument, price, opening, trace, slip))
        return checks

    async def _commit(self, changes: Iterable[Change], verdicts: Mapping[str, Verdict]) -> None:
        """Nothing is waited for until all is on its way: what risk says meanwhile must not find a verdict half used."""
        desk, writing, ended = self._desk, list[tuple[Replace, Written | None]](), list[Replace]()
        for change in changes:
            replace, before, after = change
            verdict = verdicts.get(replace.order_id)
            if desk.venue.order(replace.order_id) is None:
                # A cancel overtook it.
                ended.append(replace)
            elif needs_check(before, after) and (verdict is None or verdict.reservation is None):
                replace.fail(_refused(before, verdict))
            else:
                writing.append((replace, self._write(change, verdict)))
        for replace, written in writing:
            if written is not None:
                await written.done
                failpoint("order.after_commit")
            order = None if written is None else written.orders.get(replace.order_id)
            replace.answer_with(order or await self._stored(replace.order_id))
        for replace in ended:
            replace.fail(await self._ended(replace))

    def _write(self, change: Change, verdict: Verdict | None) -> Written | None:
        """Commits a change, if it is one, and the request if it has an id."""
        replace, before, after = change
        desk, row, events = self._desk, self._desk.row, list[OrderEvent]()
        if after != before:
            reserved = None if verdict is None else verdict.reservation
            decided = row.market_time if replace.decision is None else max(row.market_time, replace.decision.time)
            events = desk.venue.replace(replace.order_id, replace.terms, row.tape_sequence, decided, reserved)
            desk.journal.checked(replace.order_id, verdict)
        request = None
        if replace.request_id:
            owner = desk.journal.origin_of(before).owner
            request = RequestRow(row.environment_id, replace.request_id, replace.asked, replace.principal, owner)
        if not events and request is None:
            return None
        return desk.journal.write(events, cause="command", principal=replace.principal, request=request)

    async def _ended(self, replace: Replace) -> ApiError:
        payload = await self._store.order(self._desk.row.environment_id, number_of(replace.order_id))
        return ended_order(replace.order_id, payload)

    async def _stored(self, order_id: str) -> bytes:
        payload = await self._store.order(self._desk.row.environment_id, number_of(order_id))
        if payload is None:
            raise RuntimeError(f"{order_id} is open and not stored")
        return decode_event(payload).order.SerializeToString()


def _impossible(order: Order, error: CannotReplace) -> ApiError:
    if error.field:
        return ApiError.invalid_field(error.field, str(error))
    metadata = {"order_id": order.order_id, "cum_quantity": format(order.cum_quantity, "f"), "state": order.state.name}
    if order.cash_quantity is not None:
        metadata["gross_amount"] = format(order.gross_amount, "f")
    return ApiError.failed_precondition(
        error.reason, str(error), kind="STATE", subject=order.order_id, metadata=metadata
    )


def _refused(order: Order, verdict: Verdict | None) -> ApiError:
    return refusal_error(order.order_id, refusal_to_proto(refusal_of(verdict)))
