"""What becomes of a list's other orders when one of them fills or ends (rules 10 and 13)."""

from collections.abc import Callable, Mapping, Sequence
from decimal import Decimal
from math import inf, nextafter

from services.domain.money import ZERO, decimal_of
from services.domain.orders.claim import only_closes
from services.domain.orders.events import When
from services.domain.orders.lists import cut, exit_size, paired, sized_by_parent, stops_loss
from services.domain.orders.order import (
    STOPS,
    TERMINAL,
    CancelReason,
    ContingencyType,
    ExecType,
    Order,
    OrderEvent,
    OrderState,
    Side,
    TimeInForce,
)
from services.domain.prices import Prices
from services.domain.tape_index import TapeIndex
from services.domain.venue.offers.paths import distance_after
from services.domain.venue.offers.reach import AT_CLOSE, INSIDE, Attempt
from services.domain.venue.waiting.blotter import Blotter

_BRACKET, _FILLED, _HELD = ContingencyType.BRACKET, OrderState.FILLED, OrderState.HELD


def end(
    blotter: Blotter, arrivals: Sequence[int], exec_type: ExecType, reason: CancelReason, when: When
) -> list[OrderEvent]:
    """These orders are CANCELED or EXPIRED together, and then what goes with them."""
    if len(arrivals) == 1:
        event = blotter.end(arrivals[0], exec_type, reason, when)
        return [event, *follow(blotter, [event], when)] if event.order.order_list_id else [event]
    events = [blotter.end(arrival, exec_type, reason, when) for arrival in arrivals]
    return events + follow(blotter, events, when)


def follow(blotter: Blotter, events: Sequence[OrderEvent], when: When) -> list[OrderEvent]:
    """What the ends among these events take with them: twins, and children of whom nothing was filled for.

    And what is left of a bracket's entry where its exits ended: nothing enters without them, as with brokers.
    """
    followed: list[OrderEvent] = []
    for event in events:
        order = event.order
        if not order.order_list_id or order.state not in TERMINAL or order.state is _FILLED:
            continue
        going = {}
        if (twin := blotter.twin(order)) is not None:
            going[twin.priority] = CancelReason.TWIN_ENDED
        if sized_by_parent(order) and (entry := blotter.order(order.parent_order_id)) is not None:
            going[entry.priority] = CancelReason.CHILD_ENDED
        if order.contingency_type is not _BRACKET or not order.cum_quantity:
            going |= {child.priority: CancelReason.PARENT_ENDED for child in blotter.children(order)}
        followed += [blotter.end(arrival, ExecType.CANCELED, reason, when) for arrival, reason in going.items()]
    return followed


def make_room(blotter: Blotter, before: Order, after: Order, when: When) -> list[OrderEvent]:
    """Just before ``before`` becomes ``after`` by a fill: its twin asks for as many units fewer, or for none."""
    twin = blotter.twin(before)
    if twin is None:
        return []
    if after.state is _FILLED:
        return [blotter.end(twin.priority, ExecType.CANCELED, CancelReason.TWIN_FILLED, when)]
    smaller = cut(twin, after.cum_quantity - before.cum_quantity)
    return [blotter.change(twin.priority, ExecType.RESTATED, smaller, when)]


def release(blotter: Blotter, fill: OrderEvent, index: TapeIndex, time: int) -> list[OrderEvent]:
    """What a fill does to the others of its list, ``time`` (ns) being its record's.

    It brings a bracket's children to life, for the units that it brought, and an OTO's once its parent is filled whole;
    they are live with the record after. A fill of a child ends what is left of its parent: who leaves enters no more.
    """
    parent, when = fill.order, When(fill.tape_sequence, fill.transact_time)
    if sized_by_parent(parent):
        entry = blotter.order(parent.parent_order_id)
        if entry is None:
            return []
        return [blotter.end(entry.priority, ExecType.CANCELED, CancelReason.CHILD_FILLED, when)]
    events = []
    came = fill.last_quantity - fill.last_commission_quantity
    for child in blotter.children(parent):
        live = child._replace(basis_sequence=when.sequence, basis_time=time)
        if child.state is not _HELD:
            events.append(blotter.change(child.priority, ExecType.RESTATED, _larger(blotter, child, came), when))
        elif parent.contingency_type is _BRACKET:
            # Where all of it is commission they are for what was traded, and find nothing to reduce.
            new = _larger(blotter, live._replace(quantity=ZERO, leaves_quantity=ZERO), came or fill.last_quantity)
            events.append(blotter.change(child.priority, ExecType.NEW, new._replace(state=OrderState.NEW), when))
        elif parent.state is _FILLED:
            edges = index.edges(blotter.instrument(child.symbol).calendar)
            waits = child.time_in_force is TimeInForce.DAY and not edges.admits(when.sequence, time)
            exec_type = ExecType.RESTATED if waits else ExecType.NEW
            state = _HELD if waits else OrderState.NEW
            events.append(blotter.change(child.priority, exec_type, live._replace(state=state), when))
    return events


def _larger(blotter: Blotter, child: Order, units: Decimal) -> Order:
    """A bracket's exit for so many units more that its parent got."""
    more = exit_size(child, units, blotter.instrument(child.symbol).quantity_increment)
    return child._replace(quantity=child.quantity + more, leaves_quantity=child.leaves_quantity + more)


def worse_first(
    queue: Sequence[Attempt], blotter: Blotter, first: Mapping[Side, float], known: Callable[[Order], bool]
) -> list[Attempt]:
    """The turns of a record, with a target after the stop that is for the same units (rule 10).

    A bar that reaches both, on either side of its open, does not say which it reached first, so the stop comes first.
    A trailing stop that only the bar's own best price moved to where it was reached comes after whatever lay between.

    Args:
        first: by side, the record's first price.
        known: whether the way inside a bar is known to an order: then its turn says what came first.
    """
    inside = [(how, blotter.orders[how.arrival]) for how in queue if how.group == INSIDE]
    unknown = [(how, order) for how, order in inside if not known(order)]
    stops = dict[object, float]()
    for how, order in unknown:
        reached = how.trigger is not None and how.distance == abs(first[order.side] - float(how.trigger))
        for stake in claimed(order) if reached and stops_loss(order) else ():
            stops[stake] = max(how.distance, stops.get(stake, 0.0))
    turns = {how.arrival: how for how in queue}
    moved, last = dict[tuple[float, float], float](), dict[float, float]()
    for how, order in sorted(unknown):
        after = max((stops.get(stake, -inf) for stake in contested(order)), default=-inf)
        if how.distance <= after and not stops_loss(order):
            # Targets behind one stop stay in their order among themselves.
            if (place := (after, how.distance)) not in moved:
                moved[place] = last[after] = nextafter(last.get(after, after), inf)
            turns[how.arrival] = how._replace(distance=moved[place])
    return sorted(turns.values())


def claimed(order: Order) -> list[object]:
    """What an order lays claim to that others may want too: units of its list, and of a position that it closes."""
    closes = [(order.portfolio_id, order.side, order.reduce_only)] if only_closes(order) else []
    return [*_listed(order), *closes]


def contested(order: Order) -> list[object]:
    """What others may have ``claimed`` for the same units as an order.

    Who reduces only may be after the same units as anybody who closes the position; of the others, which reserve what
    they sell, no two were taken for the same.
    """
    if not only_closes(order):
        return _listed(order)
    whose = (True, False) if order.reduce_only else (True,)
    return [*_listed(order), *((order.portfolio_id, order.side, only) for only in whose)]


def _listed(order: Order) -> list[object]:
    return [(order.order_list_id, order.parent_order_id)] if paired(order) else []


def stop_at_once(stop: Order, entry: Attempt, price: Decimal, prices: Prices, *, known: bool) -> Attempt | None:
    """The turn of a stop that the bar which filled its parent reaches too, at ``price`` (rules 10 and 13).

    The target has none in that bar. Of a stop that trails nothing is known there. After the closing auction there is no
    more of the bar. Where it is ``known`` which way prices went, what they reached before the entry does not count.
    """
    trigger, sells = stop.stop_price, stop.side is Side.SELL
    if trigger is None or stop.order_type not in STOPS or entry.group == AT_CLOSE:
        return None
    extreme = decimal_of(prices.low if sells else prices.high)
    if extreme > trigger if sells else extreme < trigger:
        return None
    there = entry.distance if entry.group == INSIDE else 0.0
    if price <= trigger if sells else price >= trigger:
        return Attempt(INSIDE, there, stop.priority, price, trigger)
    if known:
        later = distance_after(entry, prices, float(trigger))
        return None if later is None else Attempt(INSIDE, later, stop.priority, trigger, trigger)
    return Attempt(INSIDE, there + abs(float(price - trigger)), stop.priority, trigger, trigger)
