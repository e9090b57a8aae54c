"""What a desk decided, made durable and then public: events are numbered, encoded once, stored and streamed.

The stream of events is the table, so nothing published can be lost or invented (rule 1), and nothing is answered or
published before it is durable (rule 2).
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Mapping, Sequence
from decimal import Decimal
from functools import partial
from typing import Any, Final, NamedTuple

from services.chassis.failpoints import failpoint
from services.chassis.streams.ring import Entry
from services.chassis.streams.tokens import length_delimited
from services.chassis.telemetry import tracing
from services.domain.instrument import Instrument
from services.domain.orders.order import TERMINAL, CancelReason, ExecType, Order, OrderEvent
from services.domain.risk.gate import Verdict
from services.domain.risk.limit import Checked
from services.domain.venue.standing import Kept
from services.domain.venue.waiting.positions import Holder
from services.order.journal.log import REPEATED_FIELD, OrderLog, Seen
from services.order.mapping import Encoded, decode_event, encode_event, provenance_from_proto
from services.order.records import EnvironmentRow, PortfolioRow, PositionRow, RequestRow
from services.order.store import Store
from services.order.ticket import Provenance
from services.wire.orders import order_from_proto

# Of a check's size, which has as many orders at most: beyond it a message takes longer than the stream.
MOST_CARRIED: Final = 1024


class OpenOrder(NamedTuple):
    """A committed order that has not ended, and the same encoded."""

    order: Order
    data: bytes


class Written(NamedTuple):
    """What is being committed: when it is durable, and each order as it then is."""

    done: asyncio.Future[None]
    orders: dict[str, bytes]


def number_of(order_id: str) -> int:
    """The number in `{environment_id}-{number}`."""
    return int(order_id.rpartition("-")[2])


class Journal:
    """The single writer of one environment's events.

    Attributes:
        row: where the environment stands, ahead of the store by what is being committed.
    """

    def __init__(
        self,
        row: EnvironmentRow,
        store: Store,
        log: OrderLog,
        instruments: Mapping[str, Instrument],
        clock: Callable[[], int] = time.time_ns,
    ) -> None:
        self.row = row
        self._store = store
        self._log = log
        self._instruments = instruments
        self._clock = clock
        self._provenance: dict[str, Provenance] = {}
        self._checks: dict[str, tuple[Checked, ...]] = {}
        self._portfolios: dict[str, PortfolioRow] = {}
        self._open: dict[int, OpenOrder] = {}

    @property
    def committed_head(self) -> int:
        """The last event that is durable and published."""
        return self._log.head(self.row.environment_id)

    async def restore(self) -> tuple[list[Order], dict[str, Decimal]]:
        """Reads back the open orders, as they were accepted, and each portfolio's headroom."""
        environment_id = self.row.environment_id
        orders = []
        for stored in await self._store.open_orders(environment_id):
            event = decode_event(stored.payload)
            self._provenance[event.order.order_id] = provenance_from_proto(event, stored.client_key, stored.asked)
            orders.append(order_from_proto(event.order))
            opened = OpenOrder(orders[-1], event.order.SerializeToString())
            self._open[number_of(event.order.order_id)] = opened
        self._portfolios = {each.portfolio_id: each for each in await self._store.portfolios(environment_id)}
        return orders, {each.portfolio_id: each.headroom for each in self._portfolios.values()}

    async def held(self) -> list[PositionRow]:
        """Reads back what portfolios hold by the venue's fills, each as of a tape position."""
        return [row for row in await self._store.positions(self.row.environment_id) if row.quantity]

    def introduce(self, order_id: str, provenance: Provenance, portfolio: PortfolioRow) -> None:
        """Tells where an order comes from whose first event is about to be written."""
        self._provenance[order_id] = provenance
        self._portfolios.setdefault(portfolio.portfolio_id, portfolio)

    def checked(self, order_id: str, verdict: Verdict | None) -> None:
        """Tells what the limits said of an order, or of its new terms, whose event is about to be written."""
        if verdict is not None and verdict.checks:
            self._checks[order_id] = verdict.checks

    def origin_of(self, order: Order) -> Provenance:
        """Where an open order comes from."""
        return self._provenance[order.order_id]

    def portfolio(self, portfolio_id: str) -> PortfolioRow:
        """A portfolio that has traded here."""
        return self._portfolios[portfolio_id]

    def session_of(self, order_id: str) -> str:
        """The session that an open order does not outlive; empty where there is none."""
        return self._provenance[order_id].session_id

    def snapshot(self, portfolio_id: str = "") -> list[bytes]:
        """The open orders as of `committed_head`, by number, each an element of a repeated field."""
        found = (each.data for each in self._open.values() if portfolio_id in {"", each.order.portfolio_id})
        return [length_delimited(REPEATED_FIELD, data) for data in found]

    def open_orders(self, symbol: str) -> list[Order]:
        """The open orders of one symbol as of `committed_head`."""
        return [each.order for each in self._open.values() if each.order.symbol == symbol]

    def events_since(self, sequence: int) -> bytes:
        """The committed events after a number, as an encoded `OrderEvents`; too many come by their stream, at once."""
        entries = self._log.recent(self.row.environment_id, sequence, MOST_CARRIED)
        if not entries and sequence < self.committed_head:
            self.flush()
        return b"".join([each.data for each in entries])

    def flush(self) -> None:
        """Sends what subscribers let wait; call before anybody is told of a head that others must have come to."""
        self._log.flush(self.row.environment_id)

    async def raise_epoch(self) -> int:
        """The next epoch, durable; as commits keep their order, all that was decided before is too, and is flushed."""
        self.row.epoch += 1
        epoch = self.row.epoch
        await self._store.writer.commit(self._store.unit(self.row))
        self.flush()
        return epoch

    async def commit(
        self,
        events: Sequence[OrderEvent],
        *,
        cause: str,
        principal: str = "",
        held: Mapping[Holder, Kept] | None = None,
    ) -> dict[str, bytes]:
        """Writes events and waits; returns each order as it is after them, encoded."""
        written = self.write(events, cause=cause, principal=principal, held=held, here=True)
        await written.done
        failpoint("order.after_commit")
        return written.orders

    def write(
        self,
        events: Sequence[OrderEvent],
        *,
        cause: str,
        principal: str = "",
        held: Mapping[Holder, Kept] | None = None,
        request: RequestRow | None = None,
        here: bool = False,
    ) -> Written:
        """Numbers, encodes and commits events with the orders' rows, the headroom and where the environment stands.

        Args:
            events: in the order they happened.
            cause: what caused them; the tape's end is seen by itself.
            principal: who did; of each order its own where not given.
            held: the positions that fills among them, or splits, have changed, as they are now.
            request: what must not be done again.
            here: as of `Writer.enqueue`; not where commands are written one by one, of which many may have queued.
        """
        now = self._clock()
        event_rows, entries = [], []
        order_rows: dict[int, dict[str, Any]] = {}
        orders: dict[str, bytes] = {}
        after: dict[int, Order] = {}
        headrooms: dict[str, Decimal] = {}
        for event in events:
            self.row.head += 1
            order, provenance = event.order, self._provenance[event.order.order_id]
            encoded = self._encode(event, provenance, now, cause, principal)
            number = number_of(order.order_id)
            event_rows.append(self._event_row(event, number, encoded.event, principal or provenance.principal))
            order_rows[number] = self._order_row(event, number, provenance, order_rows.get(number))
            after[number] = order
            seen = Seen(order.portfolio_id, event.exec_type.real, order.symbol)
            entries.append(Entry(self.row.head, seen, length_delimited(REPEATED_FIELD, encoded.event)))
            orders[order.order_id] = encoded.order
            if event.exec_type is not ExecType.REJECTED:
                headrooms[order.portfolio_id] = order.reservation.headroom
            elif order.portfolio_id not in headrooms:
                # A refused order states none.
                headrooms[order.portfolio_id] = self._portfolios[order.portfolio_id].headroom
            if order.state in TERMINAL:
                del self._provenance[order.order_id]
        positions = [self._position(holder, kept) for holder, kept in (held or {}).items()]
        headrooms |= {holder[0]: kept.headroom for holder, kept in (held or {}).items()}
        written = (event_rows, list(order_rows.values()), [self._portfolio(*each) for each in headrooms.items()])
        unit = self._store.unit(self.row, *written, positions=positions, request=request)
        failpoint("order.before_commit")
        publish = partial(self._publish, entries, after, orders)
        return Written(self._store.writer.enqueue(unit, publish, here=here), orders)

    def _publish(self, entries: Sequence[Entry[Seen]], after: Mapping[int, Order], orders: Mapping[str, bytes]) -> None:
        """Shows what is durable now: to snapshots, then to the streams, with nothing in between."""
        for number, order in after.items():
            if order.state in TERMINAL:
                self._open.pop(number, None)
            else:
                self._open[number] = OpenOrder(order, orders[order.order_id])
        self._log.publish(self.row.environment_id, entries)

    def _encode(self, event: OrderEvent, provenance: Provenance, now: int, cause: str, principal: str) -> Encoded:
        ended = event.exec_type is ExecType.EXPIRED and event.order.cancel_reason is CancelReason.END_OF_TAPE
        traceparent = provenance.traceparent
        if event.exec_type is ExecType.TRADE and tracing.sampled(traceparent):
            # The fill's own span, so that what follows from the fill joins under it.
            attributes = {"order_id": event.order.order_id, "exec_id": event.exec_id, "symbol": event.order.symbol}
            with tracing.span_from(traceparent, "fill", attributes):
                traceparent = tracing.current_traceparent()
        return encode_event(
            event,
            provenance,
            self._instruments[event.order.symbol],
            sequence=self.row.head,
            create_time=now,
            cause="end_of_tape" if ended else cause,
            principal=principal or provenance.principal,
            traceparent=traceparent,
            checks=self._checks.pop(event.order.order_id, ()) if self._checks else (),
        )

    def _event_row(self, event: OrderEvent, number: int, payload: bytes, principal: str) -> dict[str, Any]:
        return {
            "environment_id": self.row.environment_id,
            "sequence": self.row.head,
            "number": number,
            "portfolio_id": event.order.portfolio_id,
            "symbol": event.order.symbol,
            "exec_type": event.exec_type.real,
            "transact_time": event.transact_time,
            "payload": payload,
            "principal": principal,
            "owner": self._provenance[event.order.order_id].owner,
        }

    def _order_row(
        self, event: OrderEvent, number: int, provenance: Provenance, before: Mapping[str, Any] | None
    ) -> dict[str, Any]:
        """The order's row after an event. When it was taken is kept from its first one, which may be of this commit."""
        order = event.order
        return {
            "environment_id": self.row.environment_id,
            "number": number,
            "client_key": provenance.client_key,
            "portfolio_id": order.portfolio_id,
            "symbol": order.symbol,
            "open": int(order.state not in TERMINAL),
            "asked": provenance.asked,
            "first_sequence": before["first_sequence"] if before else self.row.head,
            "transact_time": before["transact_time"] if before else event.transact_time,
            "last_event_sequence": self.row.head,
            "principal": provenance.principal,
            "owner": provenance.owner,
        }

    def _position(self, holder: Holder, kept: Kept) -> PositionRow:
        portfolio, units = self._portfolios[holder[0]], (kept.units, self.row.tape_sequence)
        whose = (portfolio.principal, portfolio.owner)
        return PositionRow(self.row.environment_id, *holder, *units, *whose, kept.collateral)

    def _portfolio(self, portfolio_id: str, headroom: Decimal) -> PortfolioRow:
        """The portfolio with what it can spend now."""
        row = self._portfolios[portfolio_id] = self._portfolios[portfolio_id]._replace(headroom=headroom)
        return row
