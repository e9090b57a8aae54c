"""A paper venue that is slow and obvious: every order looks at every record. The fast one must say the same.

Reads like the rules. Knows nothing of reservations: cash abounds. Fills an iceberg slice by slice, where the fast one
takes many at once; so ``merged`` is what both have in common.
"""

from collections import defaultdict
from dataclasses import dataclass, field
from decimal import ROUND_CEILING, ROUND_FLOOR, Decimal
from typing import Any

import numpy as np

from services.domain.filling import BarPath, VenueSettings
from services.domain.market import Auction, Bar, Clock, Halt, PriceLevel, Quote, Record, Split, Trade, sides_of
from services.domain.orders.order import ContingencyType, Order, OrderType, Side, TimeInForce
from services.domain.orders.replacing import Replacement
from services.domain.tape import Kind, Tape
from tests.unit.domain.venue.matching_reference import INSTRUMENTS, RESTING, Command

ZERO, ONE = Decimal(0), Decimal(1)
RISING = {
    (Side.BUY, OrderType.STOP),
    (Side.BUY, OrderType.STOP_LIMIT),
    (Side.SELL, OrderType.MARKET_IF_TOUCHED),
    (Side.SELL, OrderType.LIMIT_IF_TOUCHED),
}
"""Who waits for a trigger above the market."""
Taken = defaultdict[tuple[object, ...], Decimal]
"""What orders had of a record, by what they had it of."""
LIMIT_LIKE = {OrderType.LIMIT, OrderType.STOP_LIMIT, OrderType.LIMIT_IF_TOUCHED}


@dataclass
class Waiting:
    """An open order."""

    order: Order
    quantity: Decimal
    held: bool = False
    triggered: bool = False
    traded: bool = False
    met: bool = False
    best: Decimal | None = None
    events: int = 0
    cum: Decimal = ZERO
    spent: Decimal = ZERO
    charged: Decimal = ZERO
    kept: Decimal = ZERO
    awaits_parent: bool = False
    passed_over: bool = False

    @property
    def buys(self) -> bool:
        return self.order.side is Side.BUY

    @property
    def of_bracket(self) -> bool:
        return self.order.contingency_type is ContingencyType.BRACKET and self.order.parent_order_id != ""

    @property
    def paired(self) -> bool:
        return self.order.contingency_type is ContingencyType.OCO or self.of_bracket

    @property
    def adverse(self) -> bool:
        return self.order.order_type in {OrderType.STOP, OrderType.STOP_LIMIT, OrderType.TRAILING_STOP}


@dataclass
class Turn:
    """Where an order stands among those a record reaches: nearest first; group 5 is not reached."""

    group: int
    distance: Decimal
    w: Waiting
    price: Decimal | None = None
    trigger: Decimal | None = None
    moved: bool = False
    ahead: Decimal | None = None


@dataclass
class Path:
    """First, lowest, highest and last price for one order; the way between them where the order knows it."""

    first: Decimal
    low: Decimal
    high: Decimal
    last: Decimal
    known: bool = False

    def way(self) -> list[Decimal]:
        return [self.first, *([self.low, self.high] if self.last >= self.first else [self.high, self.low]), self.last]

    def after(self, price: Decimal, gone: Decimal) -> tuple[Decimal, list[Decimal]] | None:
        """How far the way has gone, this far or farther, when it comes to a price, and where it turns after that."""
        way, length = self.way(), ZERO
        for i in range(3):
            low, high = sorted(way[i : i + 2])
            if low <= price <= high and length + abs(price - way[i]) >= gone:
                return length + abs(price - way[i]), way[i + 1 :]
            length += high - low
        return None


@dataclass
class Lot:
    """Units that an order may take at a price: None for the record's own price, None for any number.

    ``of`` is what they are part of, of which others may have had some.
    """

    price: Decimal | None
    units: Decimal | None
    of: tuple[object, ...]


@dataclass
class SlowVenue:
    """``run`` once."""

    tape: Tape
    settings: VenueSettings
    told: list[tuple[Any, ...]] = field(default_factory=list)
    waiting: list[Waiting] = field(default_factory=list)
    positions: dict[str, Decimal] = field(default_factory=lambda: dict.fromkeys(INSTRUMENTS, ZERO))

    def __post_init__(self) -> None:
        records = [(i, self.tape.record(i)) for i in range(1, len(self.tape) + 1)]
        self.clocks = [(i, r) for i, r in records if isinstance(r, Clock)]
        self.auctions = [r for _, r in records if isinstance(r, Auction)]
        self.halts = [r for _, r in records if isinstance(r, Halt)]
        self.auction = False

    def run(self, commands: list[Command]) -> list[tuple[Any, ...]]:
        time = 0
        for position in range(len(self.tape) + 1):
            if position:
                record = self.tape.record(position)
                now = record.end if isinstance(record, Bar) else record.time
                self.expire(position - 1, time, now)
                time = now
                self.meet(record, position)
            for command in commands:
                if min(command.position, len(self.tape)) == position:
                    self.do(command, position, time)
        self.end_all(list(self.waiting), "EXPIRED", "END_OF_TAPE", len(self.tape), time)
        return self.told

    def expire(self, position: int, time: int, now: int) -> None:
        """Before the next record, of time ``now``, all that are good till then."""
        due = sorted((w for w in self.waiting if w.order.expire_time), key=lambda w: w.order.expire_time)
        for at in dict.fromkeys(w.order.expire_time for w in due if w.order.expire_time <= now):
            now_due = [w for w in due if w.order.expire_time == at and w in self.waiting]
            self.end_all(now_due, "EXPIRED", "END_OF_TIME", position, max(time, at))

    def do(self, command: Command, position: int, time: int) -> None:
        if command.order is not None:
            self.take(command.order._replace(basis_sequence=position, basis_time=time), position, time)
            return
        if command.listed:
            self.take_list(
                [o._replace(basis_sequence=position, basis_time=time) for o in command.listed], position, time
            )
        for w in list(self.waiting):
            if w.order.order_id == command.cancels:
                self.end_all([w], "CANCELED", "REQUESTED", position, time)
            elif w.order.order_id == command.replaces:
                self.replace(w, command.terms, position, time)

    def how(self, order: Order) -> VenueSettings:
        return order.fill_settings or self.settings

    def take_list(self, orders: list[Order], position: int, time: int) -> None:
        """All of them, or none where the venue would refuse one."""
        for order in orders:
            if not order.parent_order_id and self.refuses(order, position, time):
                for each in orders:
                    self.reject(Waiting(each, each.quantity), position, time)
                return
        for order in orders:
            self.take(order, position, time)

    def refuses(self, order: Order, position: int, time: int) -> bool:
        tif, auction = order.time_in_force, order.time_in_force in {TimeInForce.OPG, TimeInForce.CLS}
        impatient = {TimeInForce.IOC, TimeInForce.FOK}
        if not self.how(order).hold_day_orders:
            impatient.add(TimeInForce.DAY)
        if tif in impatient and not self.session(order.symbol, position, time):
            return True
        calendar = INSTRUMENTS[order.symbol].calendar
        return auction and not any(r.calendar == calendar for _, r in self.clocks)

    def take(self, order: Order, position: int, time: int) -> None:
        w = Waiting(order, order.quantity)
        if order.parent_order_id:
            w.held = w.awaits_parent = True
            self.waiting.append(w)
            self.note(w, "HELD", position, time)
            return
        if self.refuses(order, position, time):
            self.reject(w, position, time)
            return
        tif = order.time_in_force
        waits = not self.session(order.symbol, position, time) and tif in {TimeInForce.DAY, TimeInForce.CLS}
        w.held = waits or tif is TimeInForce.OPG
        self.waiting.append(w)
        self.note(w, "HELD" if w.held else "NEW", position, time)

    def reject(self, w: Waiting, position: int, time: int) -> None:
        w.events = 1
        self.tell(w, "REJECTED", "REJECTED", position, time, leaves=ZERO)

    def replace(self, w: Waiting, terms: Replacement, position: int, time: int) -> None:
        o, changes = w.order, {name: value for name, value in terms._asdict().items() if value is not None}
        kind, limit_only = o.order_type, o.order_type is OrderType.LIMIT
        fits = {
            "quantity": o.cash_quantity is None and not o.order_list_id,
            "cash_quantity": o.cash_quantity is not None and not o.order_list_id,
            "limit_price": kind in LIMIT_LIKE,
            "stop_price": kind not in {OrderType.MARKET, OrderType.LIMIT, OrderType.TRAILING_STOP} and not w.triggered,
            "trailing_amount": kind is OrderType.TRAILING_STOP and not w.triggered,
            "trailing_percent": kind is OrderType.TRAILING_STOP and not w.triggered,
            "display_quantity": limit_only and o.cash_quantity is None and not w.paired,
            "expire_time": o.time_in_force is TimeInForce.GTD,
        }
        if not all(fits[name] for name in changes):
            return
        if terms.trailing_amount is not None and terms.trailing_percent is not None:
            return
        after = o._replace(**changes)  # type: ignore[arg-type]
        if terms.trailing_amount is not None:
            after = after._replace(trailing_percent=None)
        if terms.trailing_percent is not None:
            after = after._replace(trailing_amount=None)
        total = w.quantity if terms.quantity is None else terms.quantity
        if terms.quantity is not None and total <= w.cum:
            return
        if after.display_quantity is not None and after.display_quantity >= total:
            return
        if terms.cash_quantity is not None and terms.cash_quantity <= w.spent:
            return
        if o.contingency_type is ContingencyType.BRACKET and self.spoils(w, after):
            return
        alike = after._replace(quantity=o.quantity, cash_quantity=o.cash_quantity) == o
        if not (alike and total <= w.quantity and (after.cash_quantity or 0) <= (o.cash_quantity or 0)):
            after = after._replace(basis_sequence=position, basis_time=time)
            self.waiting.remove(w)
            self.waiting.append(w)
            w.met = False
        w.order, w.quantity = after._replace(quantity=total), total
        self.note(w, "REPLACED", position, time)

    def spoils(self, w: Waiting, after: Order) -> bool:
        """Whether a bracket would no longer stand as one: stop, entry and target in line, and one expiry."""
        prices = [(o.limit_price, o.stop_price) for o in (w.order, after)]
        if not w.of_bracket:
            waiting = [child.order for child in self.children(w) if child.awaits_parent]
            return prices[0] != prices[1] and not all(self.in_line(child, after) for child in waiting)
        twin, entry = self.twin(w), self.named(w.order.parent_order_id)
        if twin is not None and after.expire_time not in {w.order.expire_time, twin.order.expire_time}:
            return True
        if self.waits_at(w.order) == self.waits_at(after):
            return False
        if entry is not None and w.awaits_parent and not self.in_line(after, entry.order):
            return True
        if twin is None or self.stops(twin.order) is self.stops(after):
            return False
        low, high = (twin.order, after) if self.stops(after) is (after.side is Side.BUY) else (after, twin.order)
        below, over = self.waits_at(low), self.waits_at(high)
        return below is not None and over is not None and below >= over

    def stops(self, order: Order) -> bool:
        return order.order_type in {OrderType.STOP, OrderType.STOP_LIMIT, OrderType.TRAILING_STOP}

    def waits_at(self, order: Order) -> Decimal | None:
        return order.limit_price if order.order_type is OrderType.LIMIT else order.stop_price

    def in_line(self, child: Order, entry: Order) -> bool:
        """A target beyond what the entry pays at worst, a stop beyond all prices that it names."""
        price, sells = self.waits_at(child), child.side is Side.SELL
        named = [each for each in (entry.limit_price, entry.stop_price) if each is not None]
        if price is None or entry.order_type is OrderType.MARKET or not named:
            return True
        if self.stops(child):
            return all(price < each if sells else price > each for each in named)
        return price > named[0] if sells else price < named[0]

    def meet(self, record: Record, sequence: int) -> None:
        if isinstance(record, Clock):
            self.ring(record, sequence)
        elif isinstance(record, Split):
            self.split(record, sequence)
        elif not isinstance(record, Halt):
            self.match(record, sequence)

    def ring(self, clock: Clock, sequence: int) -> None:
        ends = {
            TimeInForce.IOC: "IOC_REMAINDER",
            TimeInForce.FOK: "FOK_UNFILLED",
            TimeInForce.OPG: "AUCTION_OVER",
            TimeInForce.CLS: "AUCTION_OVER",
        }
        ended = []
        for w in list(self.waiting):
            tif = w.order.time_in_force
            if INSTRUMENTS[w.order.symbol].calendar != clock.calendar or w.awaits_parent:
                continue
            if clock.open and w.held:
                w.held = False
                self.note(w, "NEW", sequence, clock.time)
            elif clock.open or w.held:
                continue
            elif tif in ends:
                ended.append(self.end(w, "CANCELED", ends[tif], sequence, clock.time))
            elif tif is TimeInForce.DAY:
                ended.append(self.end(w, "EXPIRED", "END_OF_SESSION", sequence, clock.time))
        self.follow(ended, sequence, clock.time)

    def split(self, record: Split, sequence: int) -> None:
        new, old_ones = Decimal(record.numerator), Decimal(record.denominator)
        instrument = INSTRUMENTS[record.symbol]
        step, tick = instrument.quantity_increment, instrument.price_increment
        held = self.positions[record.symbol] * new / old_ones
        self.positions[record.symbol] = int(held / step) * step

        def units(quantity: Decimal) -> Decimal:
            return (quantity * new / old_ones / step).to_integral_value(ROUND_FLOOR) * step

        def price(old: Decimal | None) -> Decimal | None:
            return None if old is None else max(tick, round(old * old_ones / new / tick) * tick)

        ended = []
        for w in list(self.waiting):
            if w.order.symbol != record.symbol:
                continue
            cum, leaves = units(w.cum), units(w.quantity - w.cum)
            if w.quantity > w.cum and not leaves:
                ended.append(self.end(w, "CANCELED", "CORPORATE_ACTION", sequence, record.time))
                continue
            w.cum, w.quantity, w.kept = cum, cum + leaves, units(w.kept)
            w.best = None if w.best is None else round(w.best * old_ones / new, 9)
            display = w.order.display_quantity
            w.order = w.order._replace(
                quantity=w.quantity,
                limit_price=price(w.order.limit_price),
                stop_price=price(w.order.stop_price),
                trailing_amount=price(w.order.trailing_amount),
                display_quantity=None if display is None else max(step, units(display)),
            )
            self.note(w, "RESTATED", sequence, record.time)
        self.follow(ended, sequence, record.time)

    def match(self, record: Bar | Quote | Trade | Auction, sequence: int) -> None:
        start = record.start if isinstance(record, Bar) else record.time
        time = record.end if isinstance(record, Bar) else record.time
        if self.halted(record.symbol, start):
            return
        if not isinstance(record, Auction) and not self.session(record.symbol, sequence - 1, start, time):
            return
        turns, self.auction = [], isinstance(record, Auction)
        for w in self.waiting:
            if w.held or w.order.symbol != record.symbol or sequence <= w.order.basis_sequence:
                continue
            path = self.path(w, record)
            if start < w.order.basis_time + w.order.latency or path.first <= 0:
                continue
            if not self.concerns(w, record, sequence):
                continue
            turns.append(self.look(w, record, path, sequence))
            w.met = True
        supply: Taken = defaultdict(Decimal)
        turns.sort(key=lambda t: (t.group, t.distance))
        self.put_stops_first(turns)
        for w in self.waiting:
            w.passed_over = False
        while turns:
            turn = turns.pop(0)
            if turn.w in self.waiting and not turn.w.passed_over:
                self.take_turn(turn, turns, supply, record, sequence, start if turn.group < 3 else time)
                turns = [t for t in turns if t.w in self.waiting]

    def put_stops_first(self, turns: list[Turn]) -> None:
        """Rule 10: a bar that reaches a stop and a target for the same units reached the stop first."""
        inside = [t for t in turns if t.group == 3 and self.how(t.w.order).bar_path is not BarPath.BY_DIRECTION]
        stops = [t for t in inside if t.w.adverse and t.trigger is not None and not t.moved]
        for target in inside:
            if target.w.adverse:
                continue
            farthest = max((t.distance for t in stops if self.rivals(t.w, target.w)), default=-ONE)
            if farthest >= target.distance:
                # After all that the bar reaches where it reaches the stop; nearer targets are first there too.
                target.distance = farthest + Decimal("1e-12") * (1 + target.distance)
        turns.sort(key=lambda t: (t.group, t.distance))

    def rivals(self, one: Waiting, other: Waiting) -> bool:
        """Whether two orders may be for the same units: of their list, or of the position that both only close.

        Two that reserved what they sell are not.
        """
        closing = self.only_closes(one) and self.only_closes(other) and one.buys is other.buys
        reduces = one.order.reduce_only or other.order.reduce_only
        return (closing and reduces) or self.twin(one) is other

    def only_closes(self, w: Waiting) -> bool:
        reserved = w.order.reservation
        # A sale that set nothing aside for a short was checked as one that closes.
        return bool(w.order.reduce_only or (not w.buys and reserved.quantity and not reserved.cash))

    def concerns(self, w: Waiting, record: Bar | Quote | Trade | Auction, sequence: int) -> bool:
        """Auctions are for who asked for them; where they are known, no bar stands for them."""
        tif = w.order.time_in_force
        known = {r.opening for r in self.auctions if r.symbol == record.symbol}
        if isinstance(record, Auction):
            return tif is (TimeInForce.OPG if record.opening else TimeInForce.CLS)
        if tif is TimeInForce.OPG:
            return True not in known
        return tif is not TimeInForce.CLS or (False not in known and self.closes(record, sequence))

    def halted(self, symbol: str, time: int) -> bool:
        past = [r for r in self.halts if r.symbol == symbol and r.time <= time]
        return bool(past) and past[-1].halted

    def path(self, w: Waiting, record: Bar | Quote | Trade | Auction) -> Path:
        if isinstance(record, Bar):
            prices = [record.open, record.low, record.high, record.close]
        elif isinstance(record, Quote):
            prices = [record.ask if w.buys else record.bid] * 4
        else:
            prices = [record.price] * 4
        known = isinstance(record, Bar) and self.how(w.order).bar_path is BarPath.BY_DIRECTION
        path = Path(*(Decimal(repr(p)) for p in prices), known)
        if w.order.time_in_force is TimeInForce.OPG:
            return Path(*[path.first] * 4, known)
        return Path(*[path.last] * 4, known) if w.order.time_in_force is TimeInForce.CLS else path

    def opens(self, record: Record, sequence: int) -> bool:
        if isinstance(record, Auction):
            return True
        seen = [r for i, r in self.clocks if i < sequence and r.calendar == INSTRUMENTS["AAA"].calendar]
        return isinstance(record, Bar) and bool(seen) and seen[-1].open and seen[-1].time == record.start

    def closes(self, record: Record, sequence: int) -> bool:
        later = [r for i, r in self.clocks if i > sequence and r.calendar == INSTRUMENTS["AAA"].calendar]
        return isinstance(record, Bar) and bool(later) and not later[0].open and later[0].time == record.end

    def look(self, w: Waiting, record: Record, path: Path, sequence: int) -> Turn:
        if w.order.time_in_force is TimeInForce.OPG and not self.opens(record, sequence):
            return Turn(5, ZERO, w)
        kind = w.order.order_type
        if kind is OrderType.LIMIT or (w.triggered and kind in LIMIT_LIKE):
            turn = self.as_limit(w, path)
            if turn.group == 5 and isinstance(record, Trade):
                turn = self.behind_queue(w, record, sequence)
        elif kind is OrderType.MARKET or w.triggered:
            turn = Turn(0, ZERO, w, path.first)
        elif kind is OrderType.TRAILING_STOP:
            turn = self.look_at_trail(w, path)
        else:
            assert w.order.stop_price is not None
            turn = self.look_at_trigger(w, path, w.order.stop_price, (w.order.side, kind) in RISING)
        if w.order.time_in_force is TimeInForce.CLS and turn.group != 5 and not isinstance(record, Auction):
            distance = turn.distance if turn.group == 2 else Decimal("-Infinity")
            return Turn(4, distance, w, turn.price, turn.trigger)
        if w.order.post_only and not w.met and turn.group == 2 and turn.ahead is None:
            turn.price = None
        return turn

    def look_at_trigger(self, w: Waiting, path: Path, trigger: Decimal, rises: bool) -> Turn:
        if path.first >= trigger if rises else path.first <= trigger:
            return Turn(1, ZERO, w, path.first, trigger)
        if path.low <= trigger <= path.high:
            return Turn(3, self.distance(path, trigger), w, trigger, trigger)
        return Turn(5, ZERO, w)

    def distance(self, path: Path, price: Decimal) -> Decimal:
        found = path.after(price, ZERO) if path.known else None
        return abs(path.first - price) if found is None else found[0]

    def walk(self, w: Waiting, path: Path) -> Turn:
        """Along the way of a bar, the trigger following the best price met so far."""
        assert w.best is not None
        trigger, better = self.trigger(w), min if w.buys else max
        if path.first >= trigger if w.buys else path.first <= trigger:
            w.best = better(w.best, path.low if w.buys else path.high)
            return Turn(1, ZERO, w, path.first, trigger)
        length, way = ZERO, path.way()
        for i in range(3):
            w.best = better(w.best, way[i])
            trigger = self.trigger(w)
            if way[i + 1] >= trigger if w.buys else way[i + 1] <= trigger:
                w.best = better(w.best, path.low if w.buys else path.high)
                return Turn(3, length + abs(way[i] - trigger), w, trigger, trigger)
            length += abs(way[i + 1] - way[i])
        w.best = better(w.best, path.last)
        return Turn(5, ZERO, w)

    def look_at_trail(self, w: Waiting, path: Path) -> Turn:
        if w.best is None or w.order.time_in_force not in RESTING:
            w.best = path.first
        if path.known:
            return self.walk(w, path)
        turn = self.look_at_trigger(w, path, self.trigger(w), w.buys)
        extreme = path.low if w.buys else path.high
        before, w.best = w.best, min(w.best, extreme) if w.buys else max(w.best, extreme)
        if turn.group == 5 and w.best != before:
            moved = self.trigger(w)
            if path.last >= moved if w.buys else path.last <= moved:
                return Turn(3, abs(extreme - path.first) + abs(extreme - moved), w, moved, moved, moved=True)
        return turn

    def trigger(self, w: Waiting) -> Decimal:
        assert w.best is not None
        o, step = w.order, INSTRUMENTS[w.order.symbol].price_increment
        behind = o.trailing_amount
        if behind is None:
            assert o.trailing_percent is not None
            behind = w.best * o.trailing_percent / 100
        if w.buys:
            return ((w.best + behind) / step).to_integral_value(ROUND_CEILING) * step
        return ((w.best - behind) / step).to_integral_value(ROUND_FLOOR) * step

    def as_limit(self, w: Waiting, path: Path) -> Turn:
        limit = w.order.limit_price
        assert limit is not None
        if self.admits(w, path.first):
            return Turn(2, -abs(limit - path.first), w, path.first)
        if self.admits(w, path.low if w.buys else path.high):
            return Turn(3, self.distance(path, limit), w, limit)
        return Turn(5, ZERO, w)

    def behind_queue(self, w: Waiting, record: Trade, sequence: int) -> Turn:
        """Rule 9: what traded exactly at a resting limit goes to those ahead of it first."""
        o, sizes = w.order, all(self.sized(kind, record.symbol) for kind in (Quote, Trade))
        rests = o.order_type is OrderType.LIMIT and o.time_in_force in RESTING and o.display_quantity is None
        ahead = self.ahead(w, sequence) if rests and sizes and Decimal(repr(record.price)) == o.limit_price else None
        if ahead is None or Decimal(repr(record.size)) <= ahead:
            return Turn(5, ZERO, w)
        return Turn(2, ZERO, w, o.limit_price, ahead=ahead)

    def ahead(self, w: Waiting, sequence: int) -> Decimal | None:
        """The story of the queue from the tape's beginning up to before a record."""
        o, instrument, ahead = w.order, INSTRUMENTS[w.order.symbol], None
        assert o.limit_price is not None
        for i in range(1, sequence):
            r = self.tape.record(i)
            start = r.start if isinstance(r, Bar) else r.time
            waits = i <= o.basis_sequence or start < o.basis_time + o.latency
            if isinstance(r, Clock):
                ahead = None if waits and r.calendar == instrument.calendar else ahead
            elif isinstance(r, Halt | Auction) or r.symbol != o.symbol:
                continue
            elif isinstance(r, Split):
                ahead = None
            elif self.halted(o.symbol, start) or not self.session(
                o.symbol, i - 1, start, r.end if isinstance(r, Bar) else r.time
            ):
                continue
            elif waits:
                ahead = self.shown(w, r) if isinstance(r, Quote) else ahead
            else:
                path = self.path(w, r)
                if path.first > 0 and (path.low < o.limit_price if w.buys else path.high > o.limit_price):
                    ahead = ZERO
                elif isinstance(r, Quote):
                    ahead = min((a for a in (ahead, self.shown(w, r)) if a is not None), default=None)
                elif isinstance(r, Trade) and ahead is not None and path.first == o.limit_price:
                    ahead = max(ZERO, ahead - Decimal(repr(r.size)))
        return ahead

    def shown(self, w: Waiting, quote: Quote) -> Decimal | None:
        """How many a quote displays at an order's price: nobody where it is passed over, None where it does not say."""
        sides, limit = sides_of(quote), w.order.limit_price
        levels = [(Decimal(repr(price)), size) for price, size in sides[0 if w.buys else 1]]
        assert limit is not None
        for price, size in levels:
            if price == limit:
                return Decimal(repr(size)) if size else None
            if price < limit if w.buys else price > limit:
                return ZERO
        return None

    def admits(self, w: Waiting, price: Decimal) -> bool:
        assert w.order.limit_price is not None
        better = w.order.limit_price - price if w.buys else price - w.order.limit_price
        return better > 0 or (better == 0 and (self.auction or self.how(w.order).fill_on_touch))

    def take_turn(
        self,
        turn: Turn,
        turns: list[Turn],
        supply: Taken,
        record: Bar | Quote | Trade | Auction,
        sequence: int,
        time: int,
    ) -> None:
        w = turn.w
        if turn.group == 5:
            self.end_rest(w, sequence, time)
            return
        if turn.price is None:
            self.end_all([w], "CANCELED", "POST_ONLY", sequence, time)
            return
        if turn.trigger is not None:
            w.triggered = True
            w.order = w.order._replace(stop_price=turn.trigger)
            self.note(w, "TRIGGERED", sequence, time)
            if w.order.order_type in LIMIT_LIKE:
                path = self.path(w, record)
                target_waits = (
                    not path.known
                    and turn.group == 3
                    and w.adverse
                    and any(self.rivals(w, t.w) and t.group < 5 and not (t.w.passed_over or t.w.adverse) for t in turns)
                )
                if target_waits:
                    # It was at the target before the stop, which is then none, or is after it.
                    path = Path(path.first, path.low, path.high, path.low if w.buys else path.high)
                later = self.after_trigger(turn, path)
                if target_waits and later.group != 5:
                    turn = later
                elif later is not turn:
                    place = sum((t.group, t.distance) < (later.group, later.distance) for t in turns)
                    while place < len(turns) and self.same_turn(turns[place], later):
                        if self.waiting.index(turns[place].w) > self.waiting.index(w):
                            break
                        place += 1
                    turns.insert(place, later)
                    return
        assert turn.price is not None
        self.trade(turn, turns, supply, record, sequence, time)

    def same_turn(self, one: Turn, other: Turn) -> bool:
        return (one.group, one.distance) == (other.group, other.distance)

    def after_trigger(self, turn: Turn, path: Path) -> Turn:
        """What comes after the trigger was reached: all of the record at its first price, else what must come."""
        w, limit = turn.w, turn.w.order.limit_price
        assert limit is not None
        assert turn.trigger is not None
        assert turn.price is not None
        if turn.group != 3:
            later = self.as_limit(w, path)
            return turn if later.group < 3 else later
        if self.admits(w, turn.price):
            return turn
        if path.known:
            found = path.after(turn.price, turn.distance)
            # What slippage made of its parent's price may lie off the way.
            if found is None or not any(self.admits(w, price) for price in found[1]):
                return Turn(5, ZERO, w)
            later = path.after(limit, turn.distance)
            assert later is not None
            return Turn(3, later[0], w, limit)
        must_come = [path.last]
        if w.order.order_type is OrderType.LIMIT_IF_TOUCHED:
            must_come.append(path.low if w.buys else path.high)
        if any(self.admits(w, price) for price in must_come):
            return Turn(3, turn.distance + abs(turn.price - limit), w, limit)
        return Turn(5, ZERO, w)

    def sized(self, kind: type[Bar | Quote | Trade | Auction], symbol: str, interval: str = "") -> bool:
        """Whether the records of a source say how much there was at all."""
        kinds = {Bar: Kind.BAR, Quote: Kind.QUOTE, Trade: Kind.TRADE, Auction: Kind.AUCTION}
        columns = {Bar: [4], Quote: [2, 3], Trade: [1], Auction: [1]}[kind]
        ours = [s.kind is kinds[kind] and s.symbol == symbol and s.interval == interval for s in self.tape.sources]
        return bool(self.tape.values[np.array(ours)[self.tape.source]][:, columns].any())

    def units(self, w: Waiting, record: Bar | Quote | Trade | Auction, ahead: Decimal | None) -> list[Decimal]:
        """What of the record's size may be given away to all, and beyond a queue, if there are such bounds."""
        share, step = self.how(w.order).volume_share, INSTRUMENTS[record.symbol].quantity_increment
        if isinstance(record, Quote):
            size = Decimal(repr(record.ask_size if w.buys else record.bid_size))
        else:
            size = Decimal(repr(record.volume if isinstance(record, Bar) else record.size))
        found = [] if ahead is None else [size - ahead]
        if share is not None and self.sized(type(record), record.symbol, getattr(record, "interval", "")):
            found.append(size * share)
        return [(units / step).to_integral_value(ROUND_FLOOR) * step for units in found]

    def lots(self, w: Waiting, record: Bar | Quote | Trade | Auction, ahead: Decimal | None, had: Taken) -> list[Lot]:
        """What is left for an order, by price, the best first; a limit takes what is at or better."""
        side = ("B" if w.buys else "S") if isinstance(record, Quote) else "both"
        levels: tuple[PriceLevel, ...] = ()
        if isinstance(record, Quote):
            levels = record.asks if w.buys else record.bids
        if len(levels) < 2:
            bounds = [max(ZERO, units - had[side,]) for units in self.units(w, record, ahead)]
            return [Lot(None, min(bounds, default=None), (side,))]
        sized, step = self.sized(type(record), record.symbol), INSTRUMENTS[record.symbol].quantity_increment
        share, found = self.how(w.order).volume_share if sized else None, []
        for at, size in levels:
            price, part = Decimal(repr(at)), ONE if share is None else share
            units = (Decimal(repr(size)) * part / step).to_integral_value(ROUND_FLOOR) * step
            found.append(Lot(price, max(ZERO, units - had[side, price]), (side, price)))
        if share is None:
            # What lies behind it nobody knows: any number.
            found[-1].units = None
        limit = w.order.limit_price if w.order.order_type in LIMIT_LIKE else None
        if limit is None:
            return found
        return [lot for lot in found if lot.price is None or (lot.price <= limit if w.buys else lot.price >= limit)]

    def trade(
        self,
        turn: Turn,
        turns: list[Turn],
        supply: Taken,
        record: Bar | Quote | Trade | Auction,
        sequence: int,
        time: int,
    ) -> None:
        w, o = turn.w, turn.w.order
        lots = self.lots(w, record, turn.ahead, supply)
        if self.reducible(w) == 0:
            self.end_all([w], "CANCELED", "NOTHING_TO_REDUCE", sequence, time)
            return
        if o.time_in_force is TimeInForce.FOK and self.most(w, lots) < w.quantity - w.cum:
            self.end_all([w], "CANCELED", "FOK_UNFILLED", sequence, time)
            return
        goes_on = True
        while goes_on:
            goes_on = self.trade_once(turn, turns, lots, supply, record, sequence, time)

    def most(self, w: Waiting, lots: list[Lot]) -> Decimal:
        """The most that an order by quantity can have of these."""
        units = [lot.units for lot in lots]
        offered = None if None in units else sum((each or ZERO for each in units), ZERO)
        bounds = [w.quantity - w.cum, self.reducible(w), offered]
        return min(each for each in bounds if each is not None)

    def reducible(self, w: Waiting) -> Decimal | None:
        if not self.only_closes(w):
            return None
        position = self.positions[w.order.symbol]
        units = trades = max(ZERO, -position if w.buys else position)
        while units and w.buys and trades - self.keeps(w, w.cum + trades) < units:
            trades += INSTRUMENTS[w.order.symbol].quantity_increment
        return trades

    def trade_once(
        self,
        turn: Turn,
        turns: list[Turn],
        lots: list[Lot],
        supply: Taken,
        record: Bar | Quote | Trade | Auction,
        sequence: int,
        time: int,
    ) -> bool:
        """At the best price that is left; whether it goes on at the next one."""
        w, o = turn.w, turn.w.order
        lot = next((each for each in lots if each.units != 0), Lot(None, ZERO, ()))
        price = turn.price if lot.price is None else lot.price
        assert price is not None
        leaves = w.quantity - w.cum if o.cash_quantity is None else self.affordable(w, price)
        iceberg = o.display_quantity if o.time_in_force is not TimeInForce.FOK else None
        slice_left = None if iceberg is None else iceberg - w.cum % iceberg
        bounds = [each for each in (lot.units, slice_left, self.reducible(w)) if each is not None]
        price = self.slip(w, price, min([leaves, *bounds]), record)
        if o.cash_quantity is not None:
            leaves = self.affordable(w, price)
            if leaves <= 0:
                self.end_all([w], "CANCELED", "INSUFFICIENT_CASH", sequence, time)
                return False
        quantity = min([leaves, *bounds])
        if quantity > 0:
            self.make_room(w, leaves, quantity, sequence, time)
            kept = w.kept
            self.fill(w, leaves, quantity, price, sequence, time)
            self.release(turn, turns, quantity, quantity - (w.kept - kept), price, sequence, time)
            supply[lot.of] += quantity
            lot.units = None if lot.units is None else lot.units - quantity
        if w not in self.waiting:
            return False
        if self.reducible(w) == 0:
            self.end_all([w], "CANCELED", "NOTHING_TO_REDUCE", sequence, time)
            return False
        sliced = quantity > 0 and iceberg is not None and w.cum % iceberg == 0
        if sliced:
            self.waiting.remove(w)
            self.waiting.append(w)
        if quantity == 0 or all(each.units == 0 for each in lots):
            self.end_rest(w, sequence, time)
            return False
        if sliced:
            behind = [i for i, t in enumerate(turns) if self.same_turn(t, turn)]
            turns.insert(behind[-1] + 1 if behind else 0, turn)
        return not sliced

    def affordable(self, w: Waiting, price: Decimal) -> Decimal:
        assert w.order.cash_quantity is not None
        step = INSTRUMENTS[w.order.symbol].quantity_increment
        return ((w.order.cash_quantity - w.spent) / price / step).to_integral_value(ROUND_FLOOR) * step

    def slip(self, w: Waiting, price: Decimal, units: Decimal, record: Bar | Quote | Trade | Auction) -> Decimal:
        model = w.order.costs and w.order.costs.slippage
        if not model or w.order.time_in_force in {TimeInForce.OPG, TimeInForce.CLS}:
            return price
        two_sided = isinstance(record, Quote) and record.bid and record.ask
        spread = Decimal(repr(record.ask)) - Decimal(repr(record.bid)) if two_sided else ZERO
        if isinstance(record, Quote):
            size = record.ask_size if w.buys else record.bid_size
        else:
            size = record.volume if isinstance(record, Bar) else record.size
        walks = isinstance(record, Quote) and len(record.asks if w.buys else record.bids) > 1
        part = min(ONE, units / Decimal(repr(size))) if size and not walks else ZERO
        away = price * model.basis_points / 10_000 + price * model.impact * part**2 + spread * model.spread_share
        step = INSTRUMENTS[w.order.symbol].price_increment
        ticks = (price + away if w.buys else price - away) / step
        moved = ticks.to_integral_value(ROUND_CEILING if w.buys else ROUND_FLOOR) * step
        if w.order.order_type not in LIMIT_LIKE:
            return max(moved, step)
        assert w.order.limit_price is not None
        limit = w.order.limit_price
        return min(moved, max(limit, price)) if w.buys else max(moved, min(limit, price), step)

    def charge(self, w: Waiting) -> Decimal:
        """What the order's commission has grown by."""
        model = w.order.costs and w.order.costs.commission
        if not model or (model.in_units and w.buys):
            return ZERO
        total = model.per_order + model.per_unit * w.cum + w.spent * model.basis_points / 10_000
        for i, tier in enumerate(model.tiers):
            last = i + 1 == len(model.tiers)
            upper = w.spent if last else min(w.spent, model.tiers[i + 1].above)
            if upper > tier.above:
                total += (upper - tier.above) * tier.basis_points / 10_000
        total = max(total, model.minimum)
        if model.maximum is not None and total > model.maximum:
            total = model.maximum
        share = model.maximum_basis_points
        if share is not None and total > w.spent * share / 10_000:
            total = w.spent * share / 10_000
        more = max(ZERO, round(total, 9) - w.charged)
        w.charged += more
        return more

    def fill(self, w: Waiting, leaves: Decimal, quantity: Decimal, price: Decimal, sequence: int, time: int) -> None:
        w.quantity, w.cum, w.spent = w.cum + leaves, w.cum + quantity, w.spent + quantity * price
        # Who trades has been triggered.
        w.traded = w.triggered = True
        kept = self.keep(w)
        self.positions[w.order.symbol] += quantity - kept if w.buys else -quantity
        if w.cum == w.quantity:
            self.waiting.remove(w)
        self.note(w, "TRADE", sequence, time, quantity, price, kept * price if kept else self.charge(w))

    def keep(self, w: Waiting) -> Decimal:
        """Units of a buy that are its commission."""
        kept = self.keeps(w, w.cum)
        w.kept += kept
        return kept

    def keeps(self, w: Waiting, cum: Decimal) -> Decimal:
        """Units that a buy does not get of what brings it to have traded ``cum``."""
        model = w.order.costs and w.order.costs.commission
        if not model or not model.in_units or not w.buys:
            return ZERO
        step = INSTRUMENTS[w.order.symbol].quantity_increment
        all_of_it = (cum * model.basis_points / 10_000 / step).to_integral_value(ROUND_FLOOR) * step
        return max(ZERO, all_of_it - w.kept)

    def named(self, order_id: str) -> Waiting | None:
        return next((w for w in self.waiting if order_id and w.order.order_id == order_id), None)

    def twin(self, w: Waiting) -> Waiting | None:
        for other in self.waiting:
            alike = (other.order.order_list_id, other.order.parent_order_id) == (
                w.order.order_list_id,
                w.order.parent_order_id,
            )
            if other is not w and w.paired and alike:
                return other
        return None

    def children(self, w: Waiting) -> list[Waiting]:
        return [other for other in self.waiting if other.order.parent_order_id == w.order.order_id]

    def make_room(self, w: Waiting, leaves: Decimal, quantity: Decimal, sequence: int, time: int) -> None:
        """Rule 13: the twin asks for as many units fewer, before the fill."""
        twin = self.twin(w)
        if twin is None:
            return
        if quantity == leaves:
            self.end(twin, "CANCELED", "TWIN_FILLED", sequence, time)
        else:
            twin.quantity -= quantity
            twin.order = twin.order._replace(quantity=twin.quantity)
            self.note(twin, "RESTATED", sequence, time)

    def release(
        self, turn: Turn, turns: list[Turn], quantity: Decimal, came: Decimal, price: Decimal, sequence: int, time: int
    ) -> None:
        """Rule 13: who waited for this fill is live with the next record, but a stop that this one reaches too."""
        w, record = turn.w, self.tape.record(sequence)
        parent = self.named(w.order.parent_order_id)
        if w.of_bracket and parent is not None:
            self.end(parent, "CANCELED", "CHILD_FILLED", sequence, time)
        end = record.end if isinstance(record, Bar) else record.time
        for child in self.children(w):
            basis = {"basis_sequence": sequence, "basis_time": end}
            if not child.of_bracket:
                if w in self.waiting:
                    continue
                child.awaits_parent = False
                child.order = child.order._replace(**basis)  # type: ignore[arg-type]
                session = self.session(child.order.symbol, sequence, end)
                child.held = child.order.time_in_force is TimeInForce.DAY and not session
                self.note(child, "RESTATED" if child.held else "NEW", sequence, time)
            elif child.held:
                child.held = child.awaits_parent = False
                child.quantity = ZERO
                self.enlarge(child, came or quantity)
                child.order = child.order._replace(**basis)  # type: ignore[arg-type]
                self.note(child, "NEW", sequence, time)
                if isinstance(record, Bar) and turn.group != 4:
                    self.stop_at_once(child, turn, turns, price, record)
            else:
                self.enlarge(child, came)
                child.passed_over = not child.adverse
                self.note(child, "RESTATED", sequence, time)

    def enlarge(self, child: Waiting, units: Decimal) -> None:
        """An exit closes so many units more: step by step, until a cover gets them."""
        wanted = child.quantity - self.keeps(child, child.quantity) + units
        child.quantity += units
        while child.quantity - self.keeps(child, child.quantity) < wanted and units:
            child.quantity += INSTRUMENTS[child.order.symbol].quantity_increment
        child.order = child.order._replace(quantity=child.quantity)

    def stop_at_once(self, stop: Waiting, entry: Turn, turns: list[Turn], price: Decimal, bar: Bar) -> None:
        trigger = stop.order.stop_price
        if trigger is None or stop.order.order_type not in {OrderType.STOP, OrderType.STOP_LIMIT}:
            return
        if Decimal(repr(bar.high)) < trigger if stop.buys else Decimal(repr(bar.low)) > trigger:
            return
        distance = entry.distance if entry.group == 3 else ZERO
        beyond, path = price >= trigger if stop.buys else price <= trigger, self.path(stop, bar)
        if not beyond and path.known:
            found = path.after(trigger, distance)
            if found is None:
                return
            distance = found[0]
        elif not beyond:
            distance += abs(price - trigger)
        turn = Turn(3, distance, stop, price if beyond else trigger, trigger)
        place = sum((t.group, t.distance) < (3, turn.distance) for t in turns)
        while place < len(turns) and self.same_turn(turns[place], turn):
            if self.waiting.index(turns[place].w) > self.waiting.index(stop):
                break
            place += 1
        turns.insert(place, turn)

    def end_rest(self, w: Waiting, sequence: int, time: int) -> None:
        reasons = {
            TimeInForce.IOC: "IOC_REMAINDER",
            TimeInForce.FOK: "FOK_UNFILLED",
            TimeInForce.OPG: "AUCTION_OVER",
        }
        if w.order.time_in_force in reasons:
            self.end_all([w], "CANCELED", reasons[w.order.time_in_force], sequence, time)

    def session(self, symbol: str, seen: int, start: int, end: int | None = None) -> bool:
        """Whether what begins at ``start`` belongs to a session, ``seen`` records being known."""
        calendar = INSTRUMENTS[symbol].calendar
        edges = [(i, r) for i, r in self.clocks if r.calendar == calendar]
        past = [r for i, r in edges if i <= seen]
        if past and not past[-1].open:
            return start < past[-1].time
        if past and end is not None and start < end <= past[-1].time:
            return False
        closes = [r.time for i, r in edges if i > seen and not r.open]
        return not closes or start < closes[0]

    def end(self, w: Waiting, what: str, reason: str, sequence: int, time: int) -> Waiting:
        self.waiting.remove(w)
        w.events += 1
        self.tell(w, what, what, sequence, time, leaves=ZERO, reason=reason)
        return w

    def end_all(self, ws: list[Waiting], what: str, reason: str, sequence: int, time: int) -> None:
        """Together, and then what goes with them."""
        self.follow([self.end(w, what, reason, sequence, time) for w in ws], sequence, time)

    def follow(self, ended: list[Waiting], sequence: int, time: int) -> None:
        for w in ended:
            twin = self.twin(w)
            if twin is not None:
                self.end(twin, "CANCELED", "TWIN_ENDED", sequence, time)
            entry = self.named(w.order.parent_order_id) if w.of_bracket else None
            if entry is not None:
                self.end(entry, "CANCELED", "CHILD_ENDED", sequence, time)
            for child in self.children(w):
                if not child.of_bracket or not w.cum:
                    self.end(child, "CANCELED", "PARENT_ENDED", sequence, time)

    def note(
        self,
        w: Waiting,
        what: str,
        sequence: int,
        time: int,
        quantity: Decimal = ZERO,
        price: Decimal = ZERO,
        commission: Decimal = ZERO,
    ) -> None:
        w.events += 1
        if w.held:
            state = "HELD"
        elif w.traded:
            state = "FILLED" if what == "TRADE" and w.cum == w.quantity else "PARTIALLY_FILLED"
        else:
            state = "TRIGGERED" if w.triggered else "NEW"
        figures = {"quantity": quantity, "price": price, "commission": commission}
        self.tell(w, what, state, sequence, time, **figures, leaves=w.quantity - w.cum)

    def tell(
        self,
        w: Waiting,
        what: str,
        state: str,
        sequence: int,
        time: int,
        *,
        leaves: Decimal,
        quantity: Decimal = ZERO,
        price: Decimal = ZERO,
        commission: Decimal = ZERO,
        reason: str = "NONE",
    ) -> None:
        o, exec_id = w.order, f"{w.order.order_id}-{w.events}"
        figures = (quantity, price, commission, w.quantity, w.cum, leaves)
        terms = (o.limit_price, o.stop_price, o.trailing_amount, o.display_quantity)
        self.told.append((exec_id, what, state, time, sequence, *figures, *terms, reason))


def merged(told: list[tuple[Any, ...]]) -> list[tuple[Any, ...]]:
    """What was told, an order's fills by one record as one, in the place of the first; without the events' numbers.

    Likewise what these fills made of its children.
    """
    made: list[list[Any]] = []
    seen: dict[tuple[Any, ...], list[Any]] = {}
    for exec_id, what, *rest in told:
        order_id = exec_id.rpartition("-")[0]
        event = [order_id, what, *rest]
        kind = "TRADE" if what == "TRADE" else "GROWTH"
        # Each level of a quote is a fill of its own.
        of = (order_id, kind, rest[2], rest[4] if what == "TRADE" else None)
        first = seen.get(of) if what in {"TRADE", "RESTATED"} else None
        if first is None:
            made.append(event)
            if what in {"TRADE", "NEW", "RESTATED"}:
                seen[of] = event
        else:
            first[2:] = [*rest[:3], first[5] + rest[3], rest[4], first[7] + rest[5], *rest[6:]]
    return [tuple(event) for event in made]
