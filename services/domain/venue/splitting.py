"""What a split does to the venue's open orders (rule 20)."""

from services.domain.money import decimal_of
from services.domain.orders.events import When
from services.domain.orders.order import CancelReason, ExecType, Order, OrderEvent, OrderState, OrderType, TimeInForce
from services.domain.tape_index import TapeIndex
from services.domain.venue.blotter import Blotter
from services.domain.venue.fills import restated
from services.domain.venue.linked import follow
from services.domain.venue.trails import best_price

_RESTING = frozenset({TimeInForce.DAY, TimeInForce.GTC, TimeInForce.GTD})


def split(blotter: Blotter, index: TapeIndex, symbol: str, row: int) -> list[OrderEvent]:
    """Restate every order of ``symbol`` by the split of ``row``, or end it where that leaves no unit of it."""
    tape, when = index.tape, When(row + 1, index.tape.time.item(row))
    ratio = decimal_of(tape.values.item(row, 0)) / decimal_of(tape.values.item(row, 1))
    instrument, events = blotter.instrument(symbol), list[OrderEvent]()
    for arrival, order in list(blotter.orders.items()):
        if order.symbol != symbol:
            continue
        best = trailed(order, index, instrument.calendar, row)
        after = restated(order, ratio, instrument, best)
        if order.leaves_quantity and not after.leaves_quantity:
            events.append(blotter.end(arrival, ExecType.CANCELED, CancelReason.CORPORATE_ACTION, when))
        else:
            events.append(blotter.change(arrival, ExecType.RESTATED, after, when))
    return events + follow(blotter, events, when)


def trailed(order: Order, index: TapeIndex, calendar: str, row: int) -> float | None:
    """The best price that a resting trailing stop met before ``row``; None of any other order."""
    waits = order.order_type is OrderType.TRAILING_STOP and order.state is OrderState.NEW
    if not waits or order.time_in_force not in _RESTING:
        return None
    return best_price(index, order, calendar, row)
