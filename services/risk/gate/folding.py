"""What a gate knows, kept in step with orders, ledger and tape, each event and entry exactly once (rules 2 and 32c).

Order events and ledger entries arrive on two streams and count in the order of their tape positions, entries first at
the same one. Only splits make entries on their own, and only a fold of the cycle tells that a split's entries are all
here. So what lies before the next split counts as soon as it arrives, and the rest waits for its fold.
"""

import asyncio
from collections import deque
from collections.abc import Callable, Collection, Iterable, Mapping
from decimal import Decimal
from typing import NamedTuple

from services.chassis.failpoints import failpoint
from services.domain.accounting.ledger import Entry
from services.domain.instrument import Instrument
from services.domain.orders.order import ExecType, OrderEvent
from services.domain.risk.limit import Mark
from services.domain.risk.valuing import Valuing
from services.domain.risk.watch import Watch
from services.domain.timeline import Timeline
from services.risk.gate.happenings import breaches, warning
from services.risk.gate.parts import Cursor, OpenGate, Part
from services.risk.records import Happening

# Events folded before others may run: about 20 ms.
SLICE = 512
# Of a bound: beyond it a figure is near.
WARNING_SHARE = Decimal("0.8")


class NumberedEvent(NamedTuple):
    """An order event, its number in the environment, and who caused it."""

    sequence: int
    event: OrderEvent
    principal: str = ""


class NumberedEntry(NamedTuple):
    """A ledger entry, its number in the environment, and whose it is."""

    sequence: int
    portfolio_id: str
    entry: Entry


class Scene(NamedTuple):
    """What an environment is played on: its tape, its instruments, and where it begins."""

    timeline: Timeline
    instruments: Mapping[str, Instrument]
    start_sequence: int


class Folding:
    """The gate of one environment with its cursors.

    Attributes:
        gate: holds exactly what `cursor` says.
        position: the tape position of the marks.
        events_received, entries_received: the last numbers that arrived; not all of them need count yet.
        newest: of which an event arrived.
    """

    def __init__(self, environment_id: str, part: Part | None = None, share: Decimal = WARNING_SHARE) -> None:
        """A new gate, or the one that `part` holds all of; warns beyond `share` of a bound."""
        self.environment_id = environment_id
        self.gate = OpenGate()
        self.cursor = Cursor()
        if part is not None:
            self.cursor = part.cursor
            self.gate.rebuild(part)
        self.events_received, self.entries_received = self.cursor.order_sequence, self.cursor.ledger_sequence
        self.newest = self.cursor.last_order_id
        self.position = self.cursor.tape_sequence
        self.watch = Watch(share, () if part is None else part.told)
        self._valuing: Valuing | None = None
        self._happenings: list[Happening] = []
        self.scene: Scene | None = None
        self._foldable = -1
        self._ceiling: int | None = None
        self._events: deque[NumberedEvent] = deque()
        self._entries: deque[NumberedEntry] = deque()
        self._symbols = self.gate.symbols()
        self._marked = (-1, 0)
        self._changed = asyncio.Event()
        self._dirty = part is None
        self._portfolios: set[str] = set()
        self._orders: set[str] = set()
        self._stored = set(self.gate.claims)

    def begin(self, scene: Scene) -> None:
        """Take the tape; before that nothing that arrives can count."""
        self.scene = scene
        self.gate.set_multipliers(scene.instruments)
        valued = max(self.cursor.valued_sequence, scene.start_sequence)
        self._valuing = Valuing(self.gate, scene.timeline, valued, self._observe)
        self.raise_barrier(scene.start_sequence, 0)
        self.advance()

    def finish(self) -> None:
        """The environment has ended and everything counts: keep the figures, let the tape go."""
        self.refresh()
        self.settle(self.position)
        cursor = self.cursor._replace(ended=True, valued_sequence=self.position)
        self.cursor, self._dirty, self.scene, self._valuing = cursor, True, None, None
        self.notify()

    def take_events(self, events: Iterable[NumberedEvent]) -> None:
        """Take order events, in their order; those known already are passed over.

        Raises:
            ValueError: one is missing.
        """
        for each in events:
            if each.sequence > self.events_received:
                self._check_next(self.events_received, each.sequence)
                self._events.append(each)
                self.events_received = each.sequence
                if each.event.order.event_count == 1:
                    self.newest = each.event.order.order_id
        self.advance()

    def take_entries(self, entries: Iterable[NumberedEntry]) -> None:
        """Take ledger entries, as `take_events` does events."""
        for each in entries:
            if each.sequence > self.entries_received:
                self._check_next(self.entries_received, each.sequence)
                self._entries.append(each)
                self.entries_received = each.sequence
        self.advance()

    async def fold(self, cycle: int, tape_sequence: int, order_head: int, ledger_head: int) -> None:
        """Count everything up to these heads as soon as it is here (rule 32c). A repeated fold changes nothing."""
        await self.until(
            lambda: (
                self.cursor.ended
                or (
                    self.scene is not None
                    and self.events_received >= order_head
                    and self.entries_received >= ledger_head
                )
            )
        )
        if self.cursor.ended:
            return
        self.raise_barrier(tape_sequence, cycle)
        while self.advance(SLICE):  # noqa: ASYNC110 it lets others run between slices
            await asyncio.sleep(0)
        # A connection that is just beginning may hold events back for a moment.
        await self.until(lambda: self.knows(order_head, ledger_head))
        self.settle(tape_sequence)

    def settle(self, position: int) -> None:
        """Value all up to `position`; everything that happened there counts."""
        if self._valuing is not None:
            self._valuing.settle(position)

    def knows(self, order_head: int, ledger_head: int) -> bool:
        """Whether everything up to these heads counts, and there is a tape to take marks from."""
        cursor = self.cursor
        return self.scene is not None and cursor.order_sequence >= order_head and cursor.ledger_sequence >= ledger_head

    async def until(self, ready: Callable[[], bool]) -> None:
        """Return when `ready` holds; it is asked again after every change."""
        while not ready():
            await self._changed.wait()

    def notify(self) -> None:
        """Something changed that others may wait for."""
        changed, self._changed = self._changed, asyncio.Event()
        changed.set()

    def raise_barrier(self, tape_sequence: int, cycle: int) -> None:
        """The entries of all splits up to here have arrived."""
        cursor = self.cursor
        to = cursor._replace(tape_sequence=max(cursor.tape_sequence, tape_sequence), cycle=max(cursor.cycle, cycle))
        self.cursor, self._dirty = to, self._dirty or to != cursor
        self.position = max(self.position, to.tape_sequence)
        if self.scene is not None:
            self._foldable = self.scene.timeline.next_split(to.tape_sequence) - 1

    def hold(self, order_head: int) -> None:
        """Count no order event after this one, until `release`."""
        self._ceiling = order_head

    def release(self) -> None:
        """Count what was held back."""
        self._ceiling = None
        self.advance()

    def advance(self, most: int | None = None) -> int:
        """Fold what may count now, at most so much of it; how much there was."""
        folded = 0
        while self.scene is not None and (most is None or folded < most):
            event, entry = self._next_event(), self._next_entry()
            if entry is not None and (event is None or entry.entry.tape_sequence <= event.event.tape_sequence):
                self._entries.popleft()
                self._fold_entry(entry)
            elif event is not None:
                self._events.popleft()
                self._fold_event(event, self.scene)
            else:
                break
            folded += 1
        self.notify()
        return folded

    def mark(self, position: int, symbols: Iterable[str]) -> None:
        """Bring the marks to a position, those of `symbols` from now on too."""
        self.position = max(position, self.position)
        self._symbols.update(symbols)
        self.refresh()

    def refresh(self) -> None:
        """Bring the marks to the position, of all symbols that were ever ordered: no other is held."""
        stand = (self.position, len(self._symbols))
        if self.scene is None or self._marked == stand:
            return
        self._marked = stand
        for symbol in self._symbols:
            if (price := self.scene.timeline.mark(symbol, self.position)) is not None:
                self.gate.mark(symbol, price)

    def market_time(self, position: int) -> int:
        """The market time of a tape position, ns; 0 before the tape is here."""
        return 0 if self.scene is None else self.scene.timeline.time(position)

    def take_part(self) -> tuple[Part | None, list[Happening]]:
        """What changed since the last time, to be stored, and what is to be told of it; None where nothing did."""
        if not self._dirty:
            return None, []
        self.refresh()
        if self._valuing is not None:
            self.cursor = self.cursor._replace(valued_sequence=self._valuing.position)
        claims = {i: c for i in self._orders if (c := self.gate.settled_claim(i)) is not None and c.confirmed}
        gone = tuple(i for i in self._orders if i in self._stored and i not in claims)
        self._stored.update(claims)
        self._stored.difference_update(gone)
        states = {i: self.gate.state_of(i) for i in self._portfolios if i in self.gate.funds}
        happenings, self._happenings = self._happenings, []
        self._dirty, self._orders, self._portfolios = False, set(), set()
        whole = (self.gate.curve(), tuple(self.watch.told))
        return Part(self.environment_id, self.cursor, self.gate.marks(), states, claims, gone, *whole), happenings

    def _check_next(self, last: int, sequence: int) -> None:
        if sequence != last + 1:
            raise ValueError(f"{self.environment_id}: {sequence} does not follow {last}")

    def _next_event(self) -> NumberedEvent | None:
        event = self._events[0] if self._events else None
        if event is None or event.event.tape_sequence > self._foldable:
            return None
        return None if self._ceiling is not None and event.sequence > self._ceiling else event

    def _next_entry(self) -> NumberedEntry | None:
        entry = self._entries[0] if self._entries else None
        return None if entry is None or entry.entry.tape_sequence > self._foldable else entry

    def _fold_event(self, numbered: NumberedEvent, scene: Scene) -> None:
        event, order = numbered.event, numbered.event.order
        if self._valuing is not None:
            self._valuing.advance(event.tape_sequence)
        if event.exec_type is ExecType.REJECTED:
            self._happenings += breaches(event, numbered.principal)
        self.gate.fold(numbered.event, scene.instruments[order.symbol])
        newest = order.order_id if order.event_count == 1 else self.cursor.last_order_id
        self.cursor = self.cursor._replace(order_sequence=numbered.sequence, last_order_id=newest)
        self._symbols.add(order.symbol)
        self._orders.add(order.order_id)
        self._portfolios.add(order.portfolio_id)
        self._dirty = True
        failpoint("risk.mid_fold")

    def _fold_entry(self, numbered: NumberedEntry) -> None:
        if self._valuing is not None:
            self._valuing.advance(numbered.entry.tape_sequence)
        self.gate.fold_entry(numbered.portfolio_id, numbered.entry)
        self.cursor = self.cursor._replace(ledger_sequence=numbered.sequence)
        self._portfolios.add(numbered.portfolio_id)
        self._dirty = True
        failpoint("risk.mid_fold")

    def _observe(self, sequence: int, portfolio_ids: Collection[str] | None, mark: Mark) -> None:
        """The figures are valued here: what came near its bound is told, or went beyond it, or has calmed down."""
        self._dirty = True
        self._portfolios.update(self.gate.funds if portfolio_ids is None else portfolio_ids)
        margins = self.gate.margins(portfolio_ids, mark)
        for alarm in self.watch.look(self.gate.usages(portfolio_ids, mark), margins):
            self._happenings.append(warning(alarm, sequence, self.market_time(sequence)))
