"""Why an event is what it is: every fill of the venue's is recognised by what its record shows."""

from collections import Counter
from decimal import Decimal

import pytest

from services.domain.costs import Costs, Slippage
from services.domain.filling import VenueSettings
from services.domain.market import Auction, Bar, Clock, Quote, Record, Split, Trade
from services.domain.money import decimal_of, snap
from services.domain.orders.order import CancelReason, ExecType, Order, OrderEvent, OrderState, OrderType, Refusal, Side
from services.domain.orders.order import TimeInForce as Time
from services.domain.venue.matching import Venue
from services.domain.venue.telling.reasons import PriceBasis, reason_of
from tests.unit.domain.venue.compare_venues import drawn
from tests.unit.domain.venue.matching_reference import INSTRUMENTS, drive

D = Decimal
CENT = D("0.01")
BAR = Bar("AAPL", "1d", 0, 1, 100.0, 104.0, 97.0, 103.0, 1000.0)


def test_every_fill_is_recognised_by_what_its_record_shows() -> None:
    seen: Counter[PriceBasis] = Counter()
    for seed in range(600):
        tape, commands, how = drawn(seed)
        last: dict[str, OrderEvent] = {}
        for event in drive(Venue(INSTRUMENTS, how), tape, commands):
            order = event.order
            record = tape.record(event.tape_sequence) if event.tape_sequence else None
            increment = INSTRUMENTS[order.symbol].price_increment
            reason = reason_of(event, last.get(order.order_id), record, increment)
            last[order.order_id] = event
            assert reason.text.endswith(".")
            if event.exec_type is not ExecType.TRADE:
                assert reason.basis is PriceBasis.NONE
                continue
            seen[reason.basis] += 1
            assert reason.basis is not PriceBasis.NONE, (seed, event, record)
            if order.costs is None or order.costs.slippage is None:
                assert reason.basis is not PriceBasis.SLIPPED, (seed, event, record)
            if reason.basis is PriceBasis.FIRST and isinstance(record, Bar):
                assert event.last_price == snap(decimal_of(record.open), increment)
            if reason.basis is PriceBasis.LIMIT:
                assert event.last_price == order.limit_price
    assert seen.keys() == set(PriceBasis) - {PriceBasis.NONE}


def made(
    kind: ExecType, side: Side = Side.BUY, order_type: OrderType = OrderType.MARKET, **terms: object
) -> OrderEvent:
    """An event at the bar's position; what the order's fields do not take is the event's."""
    of_event = {name: terms.pop(name) for name in list(terms) if name.startswith("last_")}
    names = ("e-1", "c-1", "p", "AAPL", side, order_type)
    order = Order(*names, time_in_force=Time.GTC, quantity=D(10), basis_sequence=4)._replace(**terms)
    return OrderEvent(kind, order, 1, 5, **of_event)


THROUGH = "The bar's low 97.0 went through its limit 98: it fills at the limit."
SLIPPING = Costs(slippage=Slippage(basis_points=D(5)))
LIMITED = {"order_type": OrderType.LIMIT, "limit_price": D(98)}
CHILD = {"parent_order_id": "e-7", "basis_sequence": 5, "stop_price": D(101)}
STOPPED = {"order_type": OrderType.STOP, "stop_price": D(102)}


@pytest.mark.parametrize(
    ("event", "previous", "text", "basis"),
    [
        (
            made(ExecType.TRADE, last_price=D(100), last_quantity=D(10)),
            made(ExecType.NEW),
            "It fills at the first price there is: the bar's open 100.",
            PriceBasis.FIRST,
        ),
        (
            made(ExecType.TRADE, last_price=D(98), last_quantity=D(4), leaves_quantity=D(6), **LIMITED),
            made(ExecType.NEW, **LIMITED),
            f"{THROUGH} 4 of the 10 units left: the record offered no more.",
            PriceBasis.LIMIT,
        ),
        (
            made(ExecType.TRADE, last_price=D(100), last_quantity=D(10), **{**LIMITED, "limit_price": D(101)}),
            made(ExecType.NEW),
            "The bar's open 100 is better than its limit 101: it gets the better price.",
            PriceBasis.FIRST,
        ),
        (
            made(ExecType.TRADE, last_price=D(102), last_quantity=D(10), **STOPPED),
            made(ExecType.TRIGGERED, **STOPPED),
            "The bar went from its open 100 through its trigger 102: it fills there.",
            PriceBasis.TRIGGER,
        ),
        (
            made(ExecType.TRADE, last_price=D(100), last_quantity=D(10), **{**STOPPED, "stop_price": D(99)}),
            made(ExecType.TRIGGERED, **{**STOPPED, "stop_price": D(99)}),
            "Its trigger 99 was jumped: it fills at the first price beyond, the bar's open 100.",
            PriceBasis.FIRST,
        ),
        (
            made(ExecType.TRADE, last_price=D("100.05"), last_quantity=D(10), costs=SLIPPING),
            made(ExecType.NEW, costs=SLIPPING),
            "Slippage moved the bar's open 100 to 100.05.",
            PriceBasis.SLIPPED,
        ),
        (
            made(ExecType.TRADE, last_price=D("102.1"), last_quantity=D(10), costs=SLIPPING, **STOPPED),
            made(ExecType.TRIGGERED, costs=SLIPPING, **STOPPED),
            "Slippage moved its trigger 102 to 102.1.",
            PriceBasis.SLIPPED,
        ),
        (
            made(ExecType.TRADE, last_price=D("90"), last_quantity=D(10)),
            made(ExecType.NEW),
            "90 is none of its record's prices.",
            PriceBasis.NONE,
        ),
        (made(ExecType.TRIGGERED, **STOPPED), None, "The bar's high 104.0 reached its trigger 102.", PriceBasis.NONE),
        (made(ExecType.NEW), None, "It passed the checks, and meets the records after 4.", PriceBasis.NONE),
        (
            made(ExecType.NEW, latency=1_500_000_000),
            None,
            "It passed the checks, and meets the records after 4 that begin 1.5 s later or more.",
            PriceBasis.NONE,
        ),
        (made(ExecType.HELD), None, "It passed the checks, and waits for its session.", PriceBasis.NONE),
        (
            made(ExecType.HELD, parent_order_id="e-7"),
            None,
            "It passed the checks, and waits for e-7.",
            PriceBasis.NONE,
        ),
        (
            made(ExecType.TRADE, last_price=D("101.5"), last_quantity=D(10), **{**STOPPED, **CHILD}),
            made(ExecType.TRIGGERED, **{**STOPPED, **CHILD}),
            "Its parent filled at 101.5, beyond its trigger 101: it fills there as well.",
            PriceBasis.PARENT,
        ),
        (
            made(ExecType.REPLACED, quantity=D(20), **LIMITED),
            made(ExecType.NEW, **{**LIMITED, "limit_price": D(97)}),
            "Its owner changed its quantity from 10 to 20, limit_price from 97 to 98.",
            PriceBasis.NONE,
        ),
        (
            made(
                ExecType.REJECTED,
                refusal=Refusal("INSUFFICIENT_BUYING_POWER", "buying_power", D(500), D(1000), D(500)),
            ),
            None,
            "It was refused by buying_power, which allows 500: the order makes it 1000, 500 is missing.",
            PriceBasis.NONE,
        ),
        (
            made(ExecType.REJECTED, refusal=Refusal("KILL_SWITCH_ENGAGED", "kill_switch", D(0), D(0))),
            None,
            "It was refused by kill_switch: KILL_SWITCH_ENGAGED.",
            PriceBasis.NONE,
        ),
        (
            made(
                ExecType.REJECTED,
                refusal=Refusal("KILL_SWITCH_ENGAGED", "kill_switch", D(0), D(0), kill_switch_reason="drill"),
            ),
            None,
            "It was refused by kill_switch: KILL_SWITCH_ENGAGED (drill).",
            PriceBasis.NONE,
        ),
        (
            made(ExecType.REJECTED, refusal=Refusal("LIMIT_EXCEEDED", "short_sale", D(0), D(5), order_id="e-9")),
            None,
            "It was refused with its list: order e-9 was refused by short_sale, which allows 0: that order makes it 5.",
            PriceBasis.NONE,
        ),
        (
            made(ExecType.REJECTED, refusal=Refusal("SYMBOL_RESTRICTED", "restricted", D(0), D(0), order_id="e-9")),
            None,
            "It was refused with its list: order e-9 was refused by restricted: SYMBOL_RESTRICTED.",
            PriceBasis.NONE,
        ),
        (
            made(
                ExecType.REJECTED,
                refusal=Refusal("LIMIT_EXCEEDED", "short_sale", D(0), D(5), order_id=made(ExecType.NEW).order.order_id),
            ),
            None,
            "It was refused by short_sale, which allows 0: the order makes it 5.",
            PriceBasis.NONE,
        ),
        (
            made(ExecType.REJECTED, refusal=Refusal("BRACKET_INVERTED", "limit_price", D("77.8"), D(10))),
            None,
            "It was refused: the limit_price 10 of an exit is on the wrong side of 77.8, where the entry would fill.",
            PriceBasis.NONE,
        ),
        (
            made(ExecType.CANCELED, cancel_reason=CancelReason.INSUFFICIENT_CASH, cash_quantity=D(5)),
            made(ExecType.NEW),
            "What is left of its cash affords no whole increment.",
            PriceBasis.NONE,
        ),
        (
            made(ExecType.CANCELED, Side.SELL, cancel_reason=CancelReason.NOTHING_TO_REDUCE),
            made(ExecType.NEW, Side.SELL),
            "Nothing was set aside for it to open a position, and there is none left that it could reduce.",
            PriceBasis.NONE,
        ),
        (
            made(ExecType.CANCELED, cancel_reason=CancelReason.REQUESTED, state=OrderState.CANCELED),
            made(ExecType.NEW),
            "officer asked for its end.",
            PriceBasis.NONE,
        ),
    ],
)
def test_events_say_why(event: OrderEvent, previous: OrderEvent | None, text: str, basis: PriceBasis) -> None:
    assert reason_of(event, previous, BAR, CENT, "officer") == (text, basis)


@pytest.mark.parametrize(
    ("after", "why"),
    [
        (made(ExecType.CANCELED, cancel_reason=CancelReason.INSUFFICIENT_CASH), "the cash affords no more"),
        (made(ExecType.CANCELED, cancel_reason=CancelReason.NOTHING_TO_REDUCE), "no more is held that it could reduce"),
        (made(ExecType.CANCELED, cancel_reason=CancelReason.IOC_REMAINDER), "the record offered no more"),
        (made(ExecType.TRADE, last_quantity=D(6)), "others had their turn before the rest"),
        (made(ExecType.TRADE, last_quantity=D(6))._replace(tape_sequence=6), "the record offered no more"),
        (None, "the record offered no more"),
    ],
)
def test_a_part_says_why_it_is_no_more(after: OrderEvent | None, why: str) -> None:
    part = made(ExecType.TRADE, last_price=D(100), last_quantity=D(4), leaves_quantity=D(6))
    assert reason_of(part, None, BAR, CENT, following=after).text.endswith(f" 4 of the 10 units left: {why}.")


def test_other_records_and_none() -> None:
    fill = made(ExecType.TRADE, last_price=D(101), last_quantity=D(10))
    asked = reason_of(fill, None, Quote("AAPL", 1, 99.0, 101.0), CENT)
    assert asked == ("It fills at the first price there is: the ask 101.", PriceBasis.FIRST)
    assert reason_of(fill, None, None, CENT).basis is PriceBasis.NONE
    assert "7 for 1" in reason_of(made(ExecType.RESTATED), fill, Split("AAPL", 1, 7.0, 1.0), CENT).text


OPENED = Auction("AAPL", 1, 100.0, 500.0, opening=True)
CLOSED = Auction("AAPL", 1, 100.0, 500.0, opening=False)
CALLED = "It fills in the closing auction, which has one price for all"
OVER = {"cancel_reason": CancelReason.AUCTION_OVER}


@pytest.mark.parametrize(
    ("event", "record", "text", "basis"),
    [
        (
            made(ExecType.TRADE, time_in_force=Time.OPG, last_price=D(100), last_quantity=D(10)),
            OPENED,
            "It fills in the opening auction, which has one price for all: 100.",
            PriceBasis.AUCTION,
        ),
        (
            made(
                ExecType.TRADE,
                time_in_force=Time.CLS,
                last_price=D(100),
                last_quantity=D(4),
                leaves_quantity=D(6),
                **{**LIMITED, "limit_price": D(101)},
            ),
            CLOSED,
            f"{CALLED}: 100, better than its limit 101. 4 of the 10 units left: the record offered no more.",
            PriceBasis.AUCTION,
        ),
        (
            made(ExecType.CANCELED, time_in_force=Time.OPG, **OVER, **LIMITED),
            OPENED,
            "The opening auction came to 100, beyond its limit 98.",
            PriceBasis.NONE,
        ),
        (
            made(ExecType.CANCELED, Side.SELL, time_in_force=Time.OPG, **OVER, **LIMITED),
            OPENED,
            "The opening auction traded too little to give it any.",
            PriceBasis.NONE,
        ),
        (
            made(ExecType.CANCELED, time_in_force=Time.OPG, cum_quantity=D(4), **OVER),
            OPENED,
            "Its auction is over.",
            PriceBasis.NONE,
        ),
        (
            made(ExecType.CANCELED, time_in_force=Time.CLS, **OVER),
            Clock("XNYS", 1, open=False),
            "Its session closed, and no closing auction had filled it.",
            PriceBasis.NONE,
        ),
        (made(ExecType.CANCELED, time_in_force=Time.OPG, **OVER), BAR, "Its auction is over.", PriceBasis.NONE),
    ],
)
def test_rule_15_auctions_say_what_they_came_to(
    event: OrderEvent, record: Record, text: str, basis: PriceBasis
) -> None:
    assert reason_of(event, made(ExecType.NEW), record, CENT) == (text, basis)


def test_every_end_has_words_of_its_own() -> None:
    texts = {
        reason: reason_of(made(ExecType.CANCELED, cancel_reason=reason), None, None, CENT).text
        for reason in CancelReason
        if reason is not CancelReason.NONE
    }
    assert len(set(texts.values())) == len(texts)
    assert not [text for reason, text in texts.items() if text == f"{reason.name}."]


@pytest.mark.parametrize(
    ("settings", "text", "basis"),
    [
        (None, "More traded at its limit 95 than was ahead of it there: it gets what went beyond.", PriceBasis.LIMIT),
        (
            VenueSettings(fill_on_touch=True),
            "It fills at the first price there is: the trade's price 95.",
            PriceBasis.FIRST,
        ),
    ],
)
def test_rule_9_what_went_beyond_the_queue_is_told(
    settings: VenueSettings | None, text: str, basis: PriceBasis
) -> None:
    print_, limit = Trade("AAPL", 1, 95.0, 60.0), {**LIMITED, "limit_price": D(95), "fill_settings": settings}
    event = made(ExecType.TRADE, last_price=D(95), last_quantity=D(10), **limit)
    assert reason_of(event, made(ExecType.NEW, **limit), print_, CENT) == (text, basis)
