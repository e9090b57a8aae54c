"""What an order of each type states, and what it may not."""

from services.domain.money import ZERO
from services.domain.orders.lists import paired, sized_by_parent
from services.domain.orders.order import LIMITED, STOPS, TOUCHED, TRIGGERED_STATES, Order, OrderType, TimeInForce
from services.domain.values import place_of

_MARKET, _LIMIT, _TRAILING = OrderType.MARKET, OrderType.LIMIT, OrderType.TRAILING_STOP
_GTD, _FOK = TimeInForce.GTD, TimeInForce.FOK
_AUCTIONS = frozenset({TimeInForce.OPG, TimeInForce.CLS})
_RESTING = frozenset({TimeInForce.DAY, TimeInForce.GTC, TimeInForce.GTD})
_STOPPED = STOPS | TOUCHED
# ``cash_quantity`` to ``display_quantity``: what a market order by quantity has none of.
_TERMS = slice(*place_of(Order, "cash_quantity", "trail_price"))
_NO_TERMS = tuple(Order._field_defaults[name] for name in Order._fields[_TERMS])


class BadShape(ValueError):
    """An order that could not have come through the contract.

    Attributes:
        field: what is missing, or does not go with the others.
    """

    def __init__(self, field: str, message: str) -> None:
        super().__init__(message)
        self.field = field


def check_shape(order: Order) -> None:
    """Refuse an order that could not have come through the contract.

    Raises:
        BadShape: what its type needs is missing, or something is there that does not go with it.
    """
    kind, tif = order.order_type, order.time_in_force
    # The commonest, with none of the others' terms: one look instead of ten.
    if kind is _MARKET and order[_TERMS] == _NO_TERMS and order.quantity > ZERO and tif is not _GTD:
        return
    if (order.quantity > 0) is (order.cash_quantity is not None) and not sized_by_parent(order):
        raise BadShape("quantity", "an order states either a quantity or a cash_quantity")
    if (kind in LIMITED) is (order.limit_price is None):
        raise BadShape(
            "limit_price", "a LIMIT, STOP_LIMIT or LIMIT_IF_TOUCHED order needs its limit_price, another has none"
        )
    if kind is _TRAILING:
        _check_trailing(order)
    elif (kind in _STOPPED) is (order.stop_price is None):
        raise BadShape("stop_price", "an order that waits for a trigger needs its stop_price, another has none")
    elif order.trailing_amount is not None or order.trailing_percent is not None:
        by = "trailing_percent" if order.trailing_amount is None else "trailing_amount"
        raise BadShape(by, "only a TRAILING_STOP order trails")
    if (tif is _GTD) is (order.expire_time == 0):
        raise BadShape("expire_time", "a GTD order needs its expire_time, another has none")
    if order.post_only and (kind is not _LIMIT or tif not in _RESTING):
        raise BadShape("post_only", "only a LIMIT order that may rest, DAY, GTC or GTD, is post_only")
    if order.cash_quantity is not None and (order.reduce_only or tif is _FOK or kind is _TRAILING):
        raise BadShape("cash_quantity", "an order by cash_quantity is not reduce_only, FOK or TRAILING_STOP")
    display = order.display_quantity
    if display is not None and (kind is not _LIMIT or not 0 < display < order.quantity):
        raise BadShape("display_quantity", "only a LIMIT order has a display_quantity, below its quantity")
    if display is not None and paired(order):
        raise BadShape("display_quantity", "an order that has a twin has no display_quantity")


def _check_trailing(order: Order) -> None:
    amount, percent = order.trailing_amount, order.trailing_percent
    if order.stop_price is not None and order.state not in TRIGGERED_STATES:
        raise BadShape("stop_price", "a TRAILING_STOP order has no stop_price until it is triggered")
    if (amount is None) is (percent is None):
        raise BadShape("trailing_amount", "a TRAILING_STOP order trails by either an amount or a percentage")
    if (amount is not None and amount <= 0) or (percent is not None and not 0 < percent < 100):
        by = "trailing_percent" if amount is None else "trailing_amount"
        raise BadShape(by, "a TRAILING_STOP order trails by more than nothing and less than 100 percent")
    # It begins to trail at the first price it meets, and that is the only one.
    if order.time_in_force in _AUCTIONS:
        raise BadShape("time_in_force", "a TRAILING_STOP order is not OPG or CLS")
