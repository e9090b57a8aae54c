"""What an order asks of its portfolio, as the limits see it."""

from decimal import Decimal

from services.domain.accounting.holding import round_up
from services.domain.costs import NO_SLIP, Costs, Slip, slipped
from services.domain.instrument import Instrument
from services.domain.money import ZERO, floor_to
from services.domain.orders.claim import Claim, closing_of, covering_of
from services.domain.orders.order import INITIAL_MARGIN, Order, OrderType, Reservation, Side, TimeInForce
from services.domain.risk.buying_power import Funds
from services.domain.risk.limit import Intent
from services.domain.risk.marks import Marks
from services.domain.risk.walk import Part, value_of, walk
from services.domain.values import new

# Bound once, for what every order passes (see ``ledger``).
_BUY, _TRAILING = Side.BUY, OrderType.TRAILING_STOP
_AUCTIONS = frozenset({TimeInForce.OPG, TimeInForce.CLS})


def intent_of(
    order: Order,
    instrument: Instrument,
    reference: Decimal,
    time: int,
    funds: Funds,
    *,
    mark: Marks,
    margin: Decimal = INITIAL_MARGIN,
    slip: Slip = NO_SLIP,
) -> Intent:
    """What is left of ``order``, all of it for a new one, at the venue's last price and market ``time`` (ns).

    One that only reduces asks for nothing: it shrinks at the fill to what there is (rule 4). A sale that opens a short
    reserves the initial ``margin``, at the best price for all of it, which is the most that it can be worth. A buy by
    quantity reserves what it costs by the levels and after the slippage that ``slip`` foresees (rules 11 and 14); one
    by cash gets fewer units for it.
    """
    price, multiplier = _price(order, reference), instrument.contract_multiplier
    funds.holding(order.symbol).multiplier = multiplier
    if order.reduce_only:
        asked = (ZERO, reference, price, ZERO, ZERO, time, mark, ZERO, closing_of(order, ZERO), covering_of(order))
        return new(Intent, (order, instrument, funds, *asked))
    left, parts = order.cash_quantity, list[Part]()
    if left is None:
        units = order.quantity - order.cum_quantity if order.cum_quantity else order.quantity
        parts = walk(order, price, slip if order.side is _BUY else NO_SLIP, instrument, units)
        notional = value_of(parts, instrument)
    else:
        left = notional = left - order.gross_amount
        units = _most_units(order, left, reference, instrument)
    signed = units if order.side is _BUY else -units
    # An order to buy for an amount reserves that amount.
    if order.side is _BUY:
        cash = round_up(notional) if left is None else left
    else:
        cash = funds.cost(order.symbol, signed, price, margin)
    # A sale that only closes reserves nothing: what it brings pays its commission.
    fee = ZERO
    if cash and order.costs is not None:
        if left is None and order.side is _BUY:
            worst = value_of(slipping(order, parts, slip, instrument), instrument)
            cash, fee = round_up(worst), _commission(order, units, worst)
        else:
            fee = _commission(order, units, notional)
        cash += fee
    closing = signed if signed < 0 and not cash else ZERO
    seen = (signed, reference, price, notional, cash, time, mark, fee, closing, ZERO)
    return new(Intent, (order, instrument, funds, *seen))


def beyond(intent: Intent, counted: Claim) -> Intent:
    """New terms of an order that only closes: they ask for what they close beyond what is ``counted`` of it already."""
    closing = max(ZERO, abs(intent.closing) - max(abs(counted.closing), abs(counted.quantity)))
    signed = closing if intent.order.side is _BUY else -closing
    return intent._replace(closing=signed, covering=max(ZERO, intent.covering - counted.covering))


def _most_units(order: Order, cash: Decimal, reference: Decimal, instrument: Instrument) -> Decimal:
    """What ``cash`` buys at the lowest of the order's prices and the last one, and one increment at least.

    The fill sizes it anew: at a still better price it holds more units, which cost no more.
    """
    own = (each for each in (order.limit_price, order.stop_price) if each is not None)
    step, lowest = instrument.quantity_increment, min((reference, *own))
    return max(step, floor_to(cash / (lowest * instrument.contract_multiplier), step))


def reservation_of_all(intent: Intent) -> Reservation:
    """What an order reserves as a whole if its rest asks for ``intent``: ``reserved_cash`` gives the rest's part."""
    order, cash = intent.order, intent.cash - intent.commission
    filled = order.cum_quantity if order.side is _BUY else -order.cum_quantity
    if order.cash_quantity is not None:
        cash += order.gross_amount
    elif filled:
        cash = round_up(cash * order.quantity / order.leaves_quantity)
    fee = intent.commission + order.commission if intent.commission else ZERO
    return Reservation(cash, ZERO if order.reduce_only else intent.signed + filled, commission=fee)


def slipping(order: Order, parts: list[Part], slip: Slip, instrument: Instrument) -> list[Part]:
    """The same units at the prices that they may get where the venue slips; auctions have one price for all."""
    slippage = None if order.costs is None else order.costs.slippage
    if slippage is None or order.time_in_force in _AUCTIONS:
        return parts
    step, buys, limit = instrument.price_increment, order.side is _BUY, order.limit_price

    def worse(price: Decimal) -> Decimal:
        distance = slippage.distance(price, slip.spread, slip.share)
        return slipped(price, distance, step, buys=buys, limit=limit)

    return [Part(units, worse(price)) for units, price in parts]


def _commission(order: Order, units: Decimal, notional: Decimal) -> Decimal:
    """The money that the order may still be charged if ``units`` more are traded for ``notional``."""
    costs, traded = order.costs or Costs(), order.gross_amount + notional
    if costs.in_units and order.side is _BUY:
        return ZERO
    return costs.charge(order.commission, order.cum_quantity + units, traded)


def _price(order: Order, reference: Decimal) -> Decimal:
    """What the order may trade at: a buy with a limit at that, else the worse of its own price and the reference.

    A trailing buy triggers at its distance above the lowest price there was, so at most that far above the reference.
    """
    limit, stop = order.limit_price, order.stop_price
    if order.side is _BUY:
        if limit is not None:
            return limit
        if order.order_type is _TRAILING and stop is None:
            percent = order.trailing_percent or ZERO
            return reference + (order.trailing_amount or reference * percent / 100)
    own = stop if limit is None else limit
    return reference if own is None else max(own, reference)
