"""A paper venue that is slow and obvious: every order looks at every record. The fast one must say the same.

Also the tapes and the commands that both are driven by.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from decimal import ROUND_FLOOR, Decimal
from random import Random
from typing import Protocol

import numpy as np
from hypothesis import strategies as st

from services.domain.fills import VenueSettings
from services.domain.instrument import Instrument
from services.domain.market import Bar, Clock, Quote, Record, Split, Trade
from services.domain.order import (
    Order,
    OrderEvent,
    OrderType,
    Reservation,
    Side,
    TimeInForce,
)
from services.domain.tape import Kind, Series, Source, Tape, merge

MINUTE = 60_000_000_000

INSTRUMENTS = {
    "AAA": Instrument("AAA", calendar="XNYS"),
    "BBB": Instrument("BBB", calendar="24/7", quantity_increment=Decimal("0.5"), price_increment=Decimal("0.5")),
}

type_of = {"M": OrderType.MARKET, "L": OrderType.LIMIT, "S": OrderType.STOP}


def series(kind: Kind, symbol: str, rows: Iterable[tuple[int, int, Iterable[float]]], interval: str = "") -> Series:
    """A source's records from (start, time, values), in minutes."""
    table = list(rows)
    values = np.zeros((len(table), 5))
    for i, (_, _, row) in enumerate(table):
        figures = list(row)
        values[i, : len(figures)] = figures
    start = np.array([r[0] * MINUTE for r in table], np.int64)
    time = np.array([r[1] * MINUTE for r in table], np.int64)
    return Series(Source(kind, symbol, interval), time, start, values)


def bars(rows: Iterable[tuple[float, ...]], symbol: str = "BBB", minutes: int = 1) -> Series:
    """One bar after the other, from time 0."""
    table = [(i * minutes, (i + 1) * minutes, row) for i, row in enumerate(rows)]
    return series(Kind.BAR, symbol, table, f"{minutes}m")


def order(
    number: int, side: str, kind: str, quantity: int | str = 10, price: float | str | None = None, **changes: object
) -> Order:
    """A shorthand: ``order(1, "B", "L", 10, 95)``; cash abounds unless a reservation is given."""
    value = Order(
        order_id=f"env-{number}",
        client_order_id=f"client-{number}",
        portfolio_id="P",
        symbol="BBB",
        side=Side.BUY if side == "B" else Side.SELL,
        order_type=type_of[kind],
        time_in_force=TimeInForce.GTC,
        quantity=Decimal(quantity),
        limit_price=Decimal(str(price)) if kind == "L" else None,
        stop_price=Decimal(str(price)) if kind == "S" else None,
        reservation=Reservation(headroom=Decimal(10) ** 9),
    )
    return value._replace(**changes)  # type: ignore[arg-type]


@dataclass(frozen=True)
class Command:
    """An order at a position, or the cancel of one sent before."""

    position: int
    order: Order | None = None
    cancels: str = ""


class AnyVenue(Protocol):
    def prime(self, tape: Tape, through: int) -> None: ...
    def accept(self, order: Order, at: int, time: int) -> list[OrderEvent]: ...
    def cancel(self, order_id: str, at: int, time: int) -> list[OrderEvent]: ...
    def advance(self, tape: Tape, after: int, through: int) -> tuple[int, list[OrderEvent]]: ...
    def expire_all(self, at: int, time: int) -> list[OrderEvent]: ...


def drive(
    venue: AnyVenue,
    tape: Tape,
    commands: list[Command],
    grants: Iterable[int] = (),
    between: Callable[[AnyVenue, int], AnyVenue] = lambda venue, position: venue,
) -> list[OrderEvent]:
    """Send each command at its position, grant the rest of the way in between; all events in order.

    ``grants`` are further positions to stop at; ``between`` may put another venue in its place after each step.
    """
    events: list[OrderEvent] = []
    position = 0
    venue.prime(tape, 0)
    by_position: dict[int, list[Command]] = {}
    for command in commands:
        by_position.setdefault(min(command.position, len(tape)), []).append(command)
    for stop in sorted({*by_position, *(g for g in grants if g <= len(tape)), len(tape)}):
        while position < stop:
            position, made = venue.advance(tape, position, stop)
            events += made
            venue = between(venue, position)
        time = int(tape.time[position - 1]) if position else 0
        for command in by_position.get(stop, []):
            if command.order is not None:
                sent = command.order._replace(basis_sequence=position, basis_time=time)
                events += venue.accept(sent, position, time)
            else:
                events += venue.cancel(command.cancels, position, time)
            venue = between(venue, position)
    return events + venue.expire_all(position, time)


def told(events: Iterable[OrderEvent]) -> list[tuple[object, ...]]:
    """What the events say, for comparing."""
    return [
        (
            e.exec_id,
            e.exec_type.name,
            e.order.state.name,
            e.transact_time,
            e.tape_sequence,
            e.last_quantity,
            e.last_price,
            e.order.quantity,
            e.order.cum_quantity,
            e.order.leaves_quantity,
            e.order.limit_price or e.order.stop_price,
            e.order.cancel_reason.name,
        )
        for e in events
    ]


@dataclass
class Waiting:
    """An open order of the slow venue."""

    order: Order
    held: bool = False
    triggered: bool = False
    traded: bool = False
    events: int = 0
    quantity: Decimal = Decimal(0)
    cum: Decimal = Decimal(0)
    spent: Decimal = Decimal(0)


@dataclass
class SlowVenue:
    """Reads like the rules. Knows nothing of reservations: cash abounds."""

    tape: Tape
    settings: VenueSettings
    told: list[tuple[object, ...]] = field(default_factory=list)
    waiting: list[Waiting] = field(default_factory=list)

    def __post_init__(self) -> None:
        records = [(i, self.tape.record(i)) for i in range(1, len(self.tape) + 1)]
        self.clocks = [(i, r) for i, r in records if isinstance(r, Clock)]

    def run(self, commands: list[Command]) -> list[tuple[object, ...]]:
        for position in range(len(self.tape) + 1):
            time = 0
            if position:
                record = self.tape.record(position)
                time = record.time if not isinstance(record, Bar) else record.end
                self.meet(record, position)
            for command in commands:
                if min(command.position, len(self.tape)) == position:
                    self.do(command, position, time)
        for w in list(self.waiting):
            self.end(w, "EXPIRED", "END_OF_TAPE", len(self.tape), time)
        return self.told

    def do(self, command: Command, position: int, time: int) -> None:
        if command.order is None:
            for w in list(self.waiting):
                if w.order.order_id == command.cancels:
                    self.end(w, "CANCELED", "REQUESTED", position, time)
            return
        w = Waiting(command.order._replace(basis_sequence=position, basis_time=time), quantity=command.order.quantity)
        if not self.session(w.order.symbol, position, time):
            if w.order.time_in_force is TimeInForce.IOC:
                w.events = 1
                self.tell(w, "REJECTED", "REJECTED", position, time, leaves=Decimal(0))
                return
            w.held = w.order.time_in_force is TimeInForce.DAY
        self.waiting.append(w)
        self.note(w, "HELD" if w.held else "NEW", position, time)

    def meet(self, record: Record, sequence: int) -> None:
        if isinstance(record, Clock):
            for w in list(self.waiting):
                if INSTRUMENTS[w.order.symbol].calendar != record.calendar:
                    continue
                if record.open and w.held:
                    w.held = False
                    self.note(w, "NEW", sequence, record.time)
                elif not record.open and not w.held and w.order.time_in_force is TimeInForce.DAY:
                    self.end(w, "EXPIRED", "END_OF_SESSION", sequence, record.time)
                elif not record.open and w.order.time_in_force is TimeInForce.IOC:
                    self.end(w, "CANCELED", "IOC_REMAINDER", sequence, record.time)
        elif isinstance(record, Split):
            self.split(record, sequence)
        else:
            self.match(record, sequence)

    def split(self, record: Split, sequence: int) -> None:
        ratio = Decimal(record.numerator) / Decimal(record.denominator)
        for w in list(self.waiting):
            instrument = INSTRUMENTS[w.order.symbol]
            if w.order.symbol != record.symbol:
                continue

            def units(quantity: Decimal, step: Decimal = instrument.quantity_increment) -> Decimal:
                return (quantity * ratio / step).to_integral_value(ROUND_FLOOR) * step

            def price(old: Decimal | None, step: Decimal = instrument.price_increment) -> Decimal | None:
                return None if old is None else max(step, round(old / ratio / step) * step)

            cum, leaves = units(w.cum), units(w.quantity - w.cum)
            if w.quantity > w.cum and not leaves:
                self.end(w, "CANCELED", "CORPORATE_ACTION", sequence, record.time)
                continue
            w.cum, w.quantity = cum, cum + leaves
            w.order = w.order._replace(limit_price=price(w.order.limit_price), stop_price=price(w.order.stop_price))
            self.note(w, "RESTATED", sequence, record.time)

    def match(self, record: Bar | Quote | Trade, sequence: int) -> None:
        start = record.start if isinstance(record, Bar) else record.time
        time = record.end if isinstance(record, Bar) else record.time
        if not self.session(record.symbol, sequence - 1, start):
            return
        ranked = []
        for arrival, w in enumerate(self.waiting):
            if w.held or w.order.symbol != record.symbol or sequence <= w.order.basis_sequence:
                continue
            if start < w.order.basis_time + self.settings.latency:
                continue
            ranked.append((*self.look(w, record), arrival, w))
        supply = self.supply(record)
        for group, _, price, _, w in sorted(ranked, key=lambda r: (r[0], r[1], r[3])):
            self.trade(w, price, supply, sequence, start if group < 3 else time)

    def look(self, w: Waiting, record: Bar | Quote | Trade) -> tuple[int, Decimal, Decimal | None]:
        """(group, distance, price): where the order stands among those the record reaches."""
        o, buy = w.order, w.order.side is Side.BUY
        if isinstance(record, Bar):
            path = [record.open, record.low, record.high]
        elif isinstance(record, Quote):
            path = [record.ask if buy else record.bid] * 3
        else:
            path = [record.price] * 3
        first, low, high = (Decimal(repr(p)) for p in path)
        zero = Decimal(0)
        if o.order_type is OrderType.MARKET or w.triggered:
            return 0, zero, first
        if o.order_type is OrderType.STOP:
            assert o.stop_price is not None
            if (buy and first >= o.stop_price) or (not buy and first <= o.stop_price):
                return 1, zero, first
            if low <= o.stop_price <= high:
                return 3, abs(first - o.stop_price), o.stop_price
            return 4, zero, None
        assert o.limit_price is not None
        touch = self.settings.fill_on_touch
        better = o.limit_price - first if buy else first - o.limit_price
        if better > 0 or (touch and better == 0):
            return 2, -better, first
        passed = o.limit_price - low if buy else high - o.limit_price
        if passed > 0 or (touch and passed == 0):
            return 3, -better, o.limit_price
        return 4, zero, None

    def supply(self, record: Bar | Quote | Trade) -> dict[str, Decimal | None]:
        share = self.settings.volume_share
        kinds = {Bar: Kind.BAR, Quote: Kind.QUOTE, Trade: Kind.TRADE}
        columns = {Bar: [4], Quote: [2, 3], Trade: [1]}[type(record)]
        ours = [
            s.kind is kinds[type(record)]
            and s.symbol == record.symbol
            and s.interval == getattr(record, "interval", "")
            for s in self.tape.sources
        ]
        sized = self.tape.values[np.array(ours)[self.tape.source]][:, columns].any()
        if share is None or not sized:
            return {"B": None, "S": None, "both": None}
        step = INSTRUMENTS[record.symbol].quantity_increment

        def units(size: float) -> Decimal:
            return (share * Decimal(repr(size)) / step).to_integral_value(ROUND_FLOOR) * step

        if isinstance(record, Quote):
            return {"B": units(record.ask_size), "S": units(record.bid_size)}
        return {"both": units(record.volume if isinstance(record, Bar) else record.size)}

    def trade(
        self, w: Waiting, price: Decimal | None, supply: dict[str, Decimal | None], sequence: int, time: int
    ) -> None:
        o = w.order
        if price is not None:
            if o.order_type is OrderType.STOP and not w.triggered:
                w.triggered = True
                self.note(w, "TRIGGERED", sequence, time)
            pool = "both" if "both" in supply else ("B" if o.side is Side.BUY else "S")
            available = supply[pool]
            leaves = w.quantity - w.cum
            if o.cash_quantity is not None:
                step = INSTRUMENTS[o.symbol].quantity_increment
                leaves = ((o.cash_quantity - w.spent) / price / step).to_integral_value(ROUND_FLOOR) * step
                if leaves <= 0:
                    self.end(w, "CANCELED", "INSUFFICIENT_CASH", sequence, time)
                    return
            quantity = leaves if available is None else min(leaves, available)
            if quantity > 0:
                w.quantity, w.cum, w.spent = w.cum + leaves, w.cum + quantity, w.spent + quantity * price
                w.traded = True
                if available is not None:
                    supply[pool] = available - quantity
                if w.cum == w.quantity:
                    self.waiting.remove(w)
                self.note(w, "TRADE", sequence, time, quantity, price)
        if w in self.waiting and o.time_in_force is TimeInForce.IOC:
            self.end(w, "CANCELED", "IOC_REMAINDER", sequence, time)

    def session(self, symbol: str, seen: int, start: int) -> bool:
        """Whether what begins at ``start`` belongs to a session, ``seen`` records being known."""
        calendar = INSTRUMENTS[symbol].calendar
        edges = [(i, r) for i, r in self.clocks if r.calendar == calendar]
        past = [r for i, r in edges if i <= seen]
        if past and not past[-1].open:
            return start < past[-1].time
        closes = [r.time for i, r in edges if i > seen and not r.open]
        return not closes or start < closes[0]

    def end(self, w: Waiting, what: str, reason: str, sequence: int, time: int) -> None:
        self.waiting.remove(w)
        w.events += 1
        self.tell(w, what, what, sequence, time, leaves=Decimal(0), reason=reason)

    def note(
        self,
        w: Waiting,
        what: str,
        sequence: int,
        time: int,
        quantity: Decimal = Decimal(0),
        price: Decimal = Decimal(0),
    ) -> None:
        w.events += 1
        if w.held:
            state = "HELD"
        elif w.traded:
            state = "FILLED" if what == "TRADE" and w.cum == w.quantity else "PARTIALLY_FILLED"
        else:
            state = "TRIGGERED" if w.triggered else "NEW"
        self.tell(w, what, state, sequence, time, quantity=quantity, price=price, leaves=w.quantity - w.cum)

    def tell(
        self,
        w: Waiting,
        what: str,
        state: str,
        sequence: int,
        time: int,
        *,
        leaves: Decimal,
        quantity: Decimal = Decimal(0),
        price: Decimal = Decimal(0),
        reason: str = "NONE",
    ) -> None:
        own = w.order.limit_price or w.order.stop_price
        exec_id = f"{w.order.order_id}-{w.events}"
        figures = (quantity, price, w.quantity, w.cum, leaves, own)
        self.told.append((exec_id, what, state, time, sequence, *figures, reason))


def _rows(rng: Random, kind: Kind, most: int) -> list[tuple[int, int, tuple[float, ...]]]:
    def price() -> float:
        return rng.randint(180, 220) / 2

    def size() -> float:
        return rng.choice([0.0, 10.0, 40.0, 100.0, 300.0])

    rows: list[tuple[int, int, tuple[float, ...]]] = []
    for _ in range(rng.randint(0, most)):
        begin, end = (minute := rng.randint(0, 59)), minute
        if kind is Kind.BAR:
            four = sorted(price() for _ in range(4))
            end = begin + rng.choice([1, 1, 1, 10])
            values: tuple[float, ...] = (four[rng.randint(0, 3)], four[3], four[0], four[2], size())
        elif kind is Kind.QUOTE:
            bid = price()
            values = (bid, bid + rng.choice([0.5, 1.0, 3.0]), size(), size())
        elif kind is Kind.TRADE:
            values = (price(), size())
        else:
            values = rng.choice([(2.0, 1.0), (1.0, 2.0), (3.0, 2.0), (1.0, 50.0)])
        rows.append((begin, end, values))
    return sorted(rows, key=lambda row: row[1])


@st.composite
def tapes(draw: st.DrawFn) -> Tape:
    """Three short days of two symbols in bars, quotes and prints; AAA has sessions; either may split.

    Drawn by a seed and a size: figures drawn each by hypothesis would shrink better, and take a hundred times as long.
    """
    rng, most = Random(draw(st.integers(0, 2**32))), draw(st.integers(3, 25))
    clock = [(d * 20 + m, d * 20 + m, (1.0 - m // 10,)) for d in range(3) for m in (0, 10)]
    parts = [series(Kind.CLOCK, "XNYS", clock[rng.randint(0, 2) :])]
    for symbol in ("AAA", "BBB"):
        parts.append(series(Kind.SPLIT, symbol, _rows(rng, Kind.SPLIT, 1)))
        parts.append(series(Kind.BAR, symbol, _rows(rng, Kind.BAR, most), "1m"))
        parts.append(series(Kind.QUOTE, symbol, _rows(rng, Kind.QUOTE, most)))
        parts.append(series(Kind.TRADE, symbol, _rows(rng, Kind.TRADE, most)))
    return merge(parts)


def _order(rng: Random, number: int) -> Order:
    kind, by_cash = rng.choice("MLS"), rng.randint(0, 4) == 0
    return order(
        number,
        rng.choice("BS"),
        kind,
        0 if by_cash else rng.randint(1, 30),
        rng.randint(180, 220) / 2 if kind != "M" else None,
        symbol=rng.choice(["AAA", "BBB"]),
        cash_quantity=Decimal(rng.randint(20, 3000)) if by_cash else None,
        time_in_force=rng.choice([TimeInForce.DAY, TimeInForce.GTC, TimeInForce.IOC]),
    )


def _cancel(rng: Random, count: int) -> Command:
    return Command(rng.randint(0, 80), cancels=f"env-{rng.randint(1, count)}")


@st.composite
def command_lists(draw: st.DrawFn) -> list[Command]:
    """Orders and cancels at any positions, in order of position; cancels may name orders that are done or to come."""
    rng, count = Random(draw(st.integers(0, 2**32))), draw(st.integers(1, 10))
    commands = [Command(p, _order(rng, i + 1)) for i, p in enumerate(sorted(rng.choices(range(80), k=count)))]
    commands.extend(_cancel(rng, count) for _ in range(rng.randint(0, 2)))
    return sorted(commands, key=lambda c: c.position)


settings_drawn = st.builds(
    VenueSettings,
    fill_on_touch=st.booleans(),
    volume_share=st.sampled_from([None, Decimal("0.1"), Decimal(1)]),
    latency=st.sampled_from([0, MINUTE // 2, 3 * MINUTE]),
)
