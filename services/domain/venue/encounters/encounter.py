"""One record and the orders that it concerns: who is reached, in which turn, and what comes of it (rules 8 to 15)."""

from bisect import insort
from decimal import Decimal

from services.domain.filling import VenueSettings
from services.domain.instrument import Instrument
from services.domain.money import ZERO
from services.domain.orders.claim import only_closes
from services.domain.orders.events import When
from services.domain.orders.lists import paired, sized_by_parent, stops_loss
from services.domain.orders.order import (
    LIMITED,
    TERMINAL,
    CancelReason,
    ExecType,
    Order,
    OrderEvent,
    OrderState,
    Side,
    TimeInForce,
)
from services.domain.tape import Kind
from services.domain.tape_index import TapeIndex
from services.domain.venue.encounters.icebergs import Icebergs, new_slice
from services.domain.venue.encounters.linked import (
    claimed,
    contested,
    end,
    make_room,
    release,
    stop_at_once,
    worse_first,
)
from services.domain.venue.encounters.looking import Look
from services.domain.venue.encounters.sessions import LEFT, ends_session
from services.domain.venue.offers.cover import Cover
from services.domain.venue.offers.depth import NOTHING
from services.domain.venue.offers.fills import fill, fill_price, fills_whole
from services.domain.venue.offers.paths import after_trigger_along
from services.domain.venue.offers.reach import BETTERED, INSIDE, MISSED, Attempt, after_trigger
from services.domain.venue.waiting.blotter import Blotter

_BUY, _SELL, _BAR, _AUCTION = Side.BUY, Side.SELL, Kind.BAR, Kind.AUCTION
_IOC, _FOK, _OPG = TimeInForce.IOC, TimeInForce.FOK, TimeInForce.OPG
_ENDED_BY_RECORD = frozenset({_IOC, _FOK, _OPG})


class Encounter:
    """One bar, quote or trade of a session, or one auction, and its orders. Use once."""

    __slots__ = (
        "_blotter",
        "_book",
        "_contended",
        "_gone",
        "_icebergs",
        "_index",
        "_instrument",
        "_kind",
        "_look",
        "_queue",
        "_row",
        "_settings",
        "_start",
        "_supply",
        "_time",
        "_turn",
        "events",
    )

    def __init__(
        self, index: TapeIndex, row: int, blotter: Blotter, settings: VenueSettings, instrument: Instrument
    ) -> None:
        tape = index.tape
        number = tape.source.item(row)
        self._kind = tape.sources[number].kind
        self._index, self._row, self._blotter, self._settings = index, row, blotter, settings
        self._instrument, self._book = instrument, blotter.books[instrument.symbol]
        self._start, self._time = tape.start.item(row), tape.time.item(row)
        self._look = Look(index, row, self._book, settings, instrument)
        self._supply = self._look.supply
        self._queue: list[Attempt] = []
        self._turn = 0
        self._contended = False
        # Of lists: whose turns in this record are over, whatever the queue says.
        self._gone: set[int] = set()
        self._icebergs = Icebergs(blotter, self._supply, settings, row + 1)
        self.events: list[OrderEvent] = []

    def run(self) -> list[OrderEvent]:
        """Let every order have its turn."""
        prices, book, queue = self._supply.prices, self._book, self._queue
        if self._kind is _AUCTION:
            arrivals = self._called()
        else:
            arrivals = book.reached(prices[_BUY], prices[_SELL], self._look.touches)
            if book.closing and ends_session(self._index, self._row, self._instrument):
                arrivals += book.closing
        for arrival in arrivals:
            order = self._blotter.orders[arrival]
            if (how := self._look.at(order, arrival)) is not None:
                queue.append(how)
                # No others can be for the same units: see ``contested``.
                self._contended |= order.reduce_only or (bool(order.order_list_id) and paired(order))
        if self._look.trailed:
            self._blotter.changed.add(book.symbol)
        if self._contended:
            first = {side: prices[side].first for side in prices}
            queue[:] = worse_first(queue, self._blotter, first, self._look.path_is_stated)
        elif len(queue) > 1:
            queue.sort()
        while self._turn < len(queue):
            self._turn += 1
            self._take_turn(queue[self._turn - 1])
        if self._kind is not _AUCTION and book.passed(prices, self._start):
            self._blotter.changed.add(book.symbol)
        return self.events

    def _take_turn(self, how: Attempt) -> None:
        order = self._blotter.orders.get(how.arrival)
        if order is None or how.arrival in self._gone:
            return
        when = When(self._row + 1, self._start if how.group <= BETTERED else self._time)
        if how.group == MISSED:
            self._end_rest(order, how.arrival, when)
        elif how.arrival in self._look.refused:
            del self._look.refused[how.arrival]
            self._end(how.arrival, CancelReason.POST_ONLY, when)
        elif how.trigger is None:
            self._trade(order, how, when)
        else:
            self._trigger(order, how, when)

    def _trigger(self, order: Order, how: Attempt, when: When) -> None:
        """TRIGGERED; it fills at once, or as a limit later in the record, or not in this one."""
        after = order._replace(state=OrderState.TRIGGERED, stop_price=how.trigger)
        self.events.append(self._blotter.change(how.arrival, ExecType.TRIGGERED, after, when))
        order = self._blotter.orders[how.arrival]
        if order.order_type in LIMITED:
            prices, known = self._look.prices(order), self._look.path_is_stated(order)
            unsure = self._contended and not known and how.group == INSIDE and stops_loss(order)
            hurries = unsure and self._target_waits(order)
            if hurries:
                # Whichever came first, the price has gone to the target after that, or never to the stop.
                prices = prices._replace(last=prices.low if order.side is _BUY else prices.high)
            follows = after_trigger_along if known else after_trigger
            follow = follows(order, how, prices, self._look.admits_touch(order))
            if hurries and follow.group != MISSED:
                how = follow
            elif follow is not how:
                insort(self._queue, follow, lo=self._turn)
                return
        self._trade(order, how, when)

    def _trade(self, order: Order, how: Attempt, when: When) -> None:
        """Fill at one price after the other, as long as there are more; what is left may wait, or ends."""
        reducible = self._reducible(order, when)
        if reducible is not None and not reducible:
            self._end(how.arrival, CancelReason.NOTHING_TO_REDUCE, when)
        elif order.time_in_force is _FOK and not self._whole(order, how, reducible):
            self._end(how.arrival, CancelReason.FOK_UNFILLED, when)
        else:
            while self._trade_once(order, how, when):
                order = self._blotter.orders[how.arrival]

    def _trade_once(self, order: Order, how: Attempt, when: When) -> bool:
        """Fill at one price as far as units, positions and cash go; whether another is next for what is left."""
        blotter, arrival = self._blotter, how.arrival
        offer = next(iter(self._look.offers(order, arrival)), NOTHING)
        iceberg = order.display_quantity is not None and order.time_in_force is not _FOK
        bounds = offer.units, self._reducible(order, when), self._shown(order, how) if iceberg else None
        most = min((bound for bound in bounds if bound is not None), default=None)
        price = fill_price(order, how, self._supply, offer._replace(units=most), self._instrument)
        headroom, twin = blotter.headroom[order.portfolio_id], blotter.twin(order) if order.order_list_id else None
        quantity, after, unpaid = fill(
            order, price, self._instrument, units=most, headroom=headroom, twin=twin, cover=self._cover(order, twin)
        )
        if quantity:
            if iceberg and new_slice(order, after):
                # A number whose turns are over is nobody else's in this record.
                after = after._replace(priority=max(blotter.last_place(), max(self._gone, default=0) + 1))
            self._supply.take(order.side, quantity, offer.price)
            self._fill(how, after, price, when)
            arrival = after.priority
        if unpaid:
            self._end(arrival, CancelReason.INSUFFICIENT_CASH, when)
        elif arrival not in blotter.orders:
            return False
        elif self._reducible(order, when) == ZERO:
            self._end(arrival, CancelReason.NOTHING_TO_REDUCE, when)
        elif not quantity or not self._look.goes_on(order, offer, quantity):
            self._end_rest(order, arrival, when)
        elif arrival == how.arrival:
            return True
        else:
            self._icebergs.come_again(arrival)
            insort(self._queue, how._replace(arrival=arrival), lo=self._turn)
        return False

    def _reducible(self, order: Order, when: When) -> Decimal | None:
        """Units that an order may trade to reduce its position; None for one that may open or enlarge it.

        A buy that does not get all that it trades may trade more than the short has, so that nothing is left (rule 21).
        """
        if not only_closes(order):
            return None
        units = self._blotter.positions.reducible((order.portfolio_id, order.symbol), order.side, when.sequence)
        if order.costs is None or order.side is _SELL:
            return units
        step = self._instrument.quantity_increment
        return order.costs.gross(units, step, order.cum_quantity, order.commission_quantity)

    def _whole(self, order: Order, how: Attempt, reducible: Decimal | None) -> bool:
        """Whether a FOK gets all it wants of this record. Orders that have a twin may wait, so it has none."""
        if reducible is not None and reducible < order.leaves_quantity:
            return False
        headroom = self._blotter.headroom[order.portfolio_id]
        supply, instrument, offers = self._supply, self._instrument, self._look.offers(order, how.arrival)
        priced = ((each.units, fill_price(order, how, supply, each, instrument)) for each in offers)
        return fills_whole(order, priced, instrument, headroom, self._cover(order, None))

    def _cover(self, order: Order, twin: Order | None) -> Cover | None:
        """What an order may cover of a short; None of a sale, or where nothing is short."""
        holding = self._blotter.shorts.of(order)
        return Cover.of(holding, order, twin) if holding is not None and order.side is _BUY else None

    def _fill(self, how: Attempt, after: Order, price: Decimal, when: When) -> None:
        """A fill, with what it does to the others of its list: their turns may be over, a stop's may come."""
        blotter, arrival = self._blotter, how.arrival
        if not after.order_list_id:
            self.events.append(blotter.trade(arrival, after, price, when))
            return
        self._tell(make_room(blotter, blotter.orders[arrival], after, when))
        filled = blotter.trade(arrival, after, price, when)
        self._tell([filled])
        for event in release(blotter, filled, self._index, self._time):
            self._tell([event])
            child = event.order
            if event.exec_type is ExecType.RESTATED and not stops_loss(child):
                # A target never fills where its parent does (rule 13).
                self._gone.add(child.priority)
            elif event.exec_type is ExecType.NEW and sized_by_parent(child):
                known = self._look.path_is_stated(child)
                stop = stop_at_once(child, how, price, self._supply.prices[child.side], known=known)
                if stop is not None and self._kind is _BAR:
                    insort(self._queue, stop, lo=self._turn)

    def _target_waits(self, stop: Order) -> bool:
        """Whether a target for the same units as a stop has its turn still to come."""
        orders, wanted = self._blotter.orders, set(claimed(stop))
        for how in self._queue[self._turn :]:
            target = orders.get(how.arrival)
            if target is None or how.group == MISSED or how.arrival in self._gone or stops_loss(target):
                continue
            if not wanted.isdisjoint(contested(target)):
                return True
        return False

    def _tell(self, events: list[OrderEvent]) -> None:
        self.events += events
        listed = [event.order for event in events if event.order.order_list_id]
        self._gone.update(order.priority for order in listed if order.state in TERMINAL)

    def _shown(self, order: Order, how: Attempt) -> Decimal:
        """Units of an iceberg's turn: see ``Icebergs``."""
        level = [how]
        for each in self._queue[self._turn :]:
            if each[:2] != how[:2]:
                break
            if each.arrival not in self._gone:
                level.append(each)
        return self._icebergs.shown(order, [each.arrival for each in level])

    def _end_rest(self, order: Order, arrival: int, when: When) -> None:
        if order.time_in_force in _ENDED_BY_RECORD:
            self._end(arrival, LEFT[order.time_in_force], when)

    def _end(self, arrival: int, reason: CancelReason, when: When) -> None:
        events = end(self._blotter, [arrival], ExecType.CANCELED, reason, when)
        self._tell(events) if len(events) > 1 else self.events.append(events[0])

    def _called(self) -> list[int]:
        """Who waits for this auction: its orders alone, and none that a continuous market would fill."""
        if not self._index.tape.values.item(self._row, 2):
            return list(self._book.closing)
        return [each for each in self._book.urgent if self._blotter.orders[each].time_in_force is _OPG]
