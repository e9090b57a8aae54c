"""Orders by the sessions of real calendars: NSE's hours, New York's half days and summer time, and no hours at all.

The NSE's hours since 2010 are 09:15 to 15:30 in India, 03:45 to 10:00 UTC. Rules 12, 15 and 24.
"""

import csv
from collections.abc import Iterable
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path

import numpy as np
import pytest

from services.domain.calendar import UnknownTime
from services.domain.instrument import Instrument
from services.domain.orders.order import (
    CancelReason,
    ExecType,
    Order,
    OrderEvent,
    OrderState,
    OrderType,
    Reservation,
    Side,
    TimeInForce,
)
from services.domain.tape import Kind, Series, Source, Tape, merge
from services.domain.venue.matching import Venue, VenueSettings
from services.marketdata.reference.sessions import Calendar, compile_calendar
from services.marketdata.reference.special_sessions import special_sessions

MINUTE = 60_000_000_000
DAY, GTC, GTD, OPG, CLS, IOC = (TimeInForce[name] for name in ("DAY", "GTC", "GTD", "OPG", "CLS", "IOC"))
INSTRUMENTS = {
    "NIFTY": Instrument("NIFTY", calendar="XNSE", price_increment=Decimal("0.05")),
    "GOOG": Instrument("GOOG", calendar="XNYS"),
    "BTC/USD": Instrument("BTC/USD", calendar="24/7"),
}


@pytest.fixture(scope="module")
def nse() -> Calendar:
    return compiled("XNSE")


@pytest.fixture(scope="module")
def new_york() -> Calendar:
    return compiled("XNYS")


def compiled(name: str) -> Calendar:
    found = compile_calendar(name)
    assert found is not None
    return found


def at(text: str) -> int:
    """ns of a UTC time like ``2019-01-02 03:45``."""
    return int(datetime.fromisoformat(text).replace(tzinfo=UTC).timestamp()) * 1_000_000_000


def shown(time: int) -> str:
    return datetime.fromtimestamp(time / 1e9, UTC).strftime("%Y-%m-%d %H:%M")


def bars(symbol: str, rows: Iterable[tuple[int, int, tuple[float, ...]]], interval: str) -> Series:
    """Bars of (start, end, prices and volume), ns."""
    starts, ends, values = zip(*rows, strict=True)
    columns = np.array(ends, np.int64), np.array(starts, np.int64)
    return Series(Source(Kind.BAR, symbol, interval), *columns, np.array(values, np.float64))


def order(symbol: str, number: int, tif: TimeInForce, limit: str = "", side: Side = Side.BUY, **more: int) -> Order:
    price = Decimal(limit) if limit else None
    return Order(
        order_id=f"{number}",
        client_order_id=f"{number}",
        portfolio_id="P",
        symbol=symbol,
        side=side,
        order_type=OrderType.MARKET if price is None else OrderType.LIMIT,
        time_in_force=tif,
        quantity=Decimal(1),
        limit_price=price,
        reservation=Reservation(headroom=Decimal(10) ** 9),
        **more,
    )


def run(tape: Tape, *sent: tuple[int, Order]) -> list[OrderEvent]:
    """Send each at its time, and go on to the tape's end."""
    venue, events, position = Venue(INSTRUMENTS, VenueSettings(volume_share=None)), list[OrderEvent](), 0
    venue.prime(tape, 0)
    for time, each in sent:
        through = int(tape.time.searchsorted(time, side="right"))
        while position < through:
            position, made = venue.advance(tape, position, through)
            events += made
        events += venue.accept(each._replace(basis_sequence=position, basis_time=time), position, time)
    while position < len(tape):
        position, made = venue.advance(tape, position, len(tape))
        events += made
    return events


def story(events: Iterable[OrderEvent], number: int) -> list[str]:
    """What became of one order, with the minute at which it did."""
    found = []
    for event in events:
        if event.order.order_id == f"{number}":
            reason = event.order.cancel_reason
            what = event.exec_type.name if reason is CancelReason.NONE else f"{event.exec_type.name} {reason.name}"
            price = f" {event.last_price.normalize():f}" if event.exec_type is ExecType.TRADE else ""
            found.append(f"{what}{price} {shown(event.transact_time)}")
    return found


def of(calendar: Calendar, first: str, last: str) -> Series:
    """The session edges of some dates."""
    return calendar.sessions.between(at(f"{first} 00:00"), at(f"{last} 23:59")).clock()


def nse_days(nse: Calendar, *dates: str) -> Tape:
    """Minute bars from the pre-open at 09:00 to 15:45 in India, each at its minute of the day as its price."""
    rows = []
    for date in dates:
        for minute in range(405):
            start = at(f"{date} 03:30") + minute * MINUTE
            rows.append((start, start + MINUTE, (minute + 1.0,) * 4 + (1000.0,)))
    return merge([of(nse, dates[0], dates[-1]), bars("NIFTY", rows, "1m")])


def hours(calendar: Calendar, date: str) -> list[str]:
    """A date's sessions, their hours in UTC."""
    day = int(np.datetime64(date, "D").astype(int))
    return [f"{shown(opens)[11:]}-{shown(closes)[11:]}" for _, opens, closes in calendar.between(day, day)]


def test_rule_24_each_day_on_which_the_nse_traded_is_one_of_its_calendar_and_no_other(
    shared: Path, nse: Calendar
) -> None:
    with (shared / "data" / "nse_observed_sessions_2000_2020.csv").open() as file:
        observed = [row["date"] for row in csv.DictReader(file)]
    first, last = (int(np.datetime64(date, "D").astype(int)) for date in (observed[0], observed[-1]))
    known = sorted({str(np.datetime64(day, "D")) for day, _, _ in nse.between(first, last)})
    assert known == observed
    # The library alone misses these, and makes up none.
    special = {str(np.datetime64(each.day, "D")) for each in special_sessions("XNSE") if each.day <= last}
    assert (len(special), special <= set(observed)) == (37, True)


@pytest.mark.parametrize(
    ("date", "sessions"),
    [
        # Regular days of each of its times.
        ("1996-01-01", ["04:30-10:00"]),
        ("2009-12-31", ["04:25-10:00"]),
        ("2010-01-04", ["03:30-10:00"]),
        ("2010-10-15", ["03:30-10:00"]),
        ("2010-10-18", ["03:45-10:00"]),
        ("2019-07-10", ["03:45-10:00"]),
        # Holidays of the exchange and weekends; an election, a consecration that was known two days before.
        ("2019-08-15", []),
        ("2019-07-13", []),
        ("2004-10-13", []),
        ("2024-01-22", []),
        ("2026-12-25", []),
        # Diwali's evening, on a weekday, a Saturday and a Sunday; in 2025 it was an afternoon.
        ("2018-11-07", ["12:00-13:00"]),
        ("2020-11-14", ["12:45-13:45"]),
        ("2019-10-27", ["12:45-13:45"]),
        ("2023-11-12", ["12:45-13:45"]),
        ("2025-10-21", ["08:15-09:15"]),
        ("2026-11-08", ["12:45-13:45"]),
        ("2026-11-07", []),
        # Budgets on a weekend, and the Saturday in the place of that Monday.
        ("2015-02-28", ["03:45-10:00"]),
        ("2020-02-01", ["03:45-10:00"]),
        ("2024-01-20", ["03:45-10:00"]),
        ("2026-02-01", ["03:45-10:00"]),
        # Trials of the second site.
        ("2003-03-22", ["05:30-07:30"]),
        ("2012-04-28", ["05:45-07:15"]),
        ("2024-03-02", ["03:45-04:30", "06:00-07:00"]),
        # Its network failed: it stayed open until five.
        ("2021-02-24", ["03:45-11:30"]),
        # A day that its library takes for a holiday.
        ("2004-10-12", ["04:25-10:00"]),
    ],
)
def test_rule_24_the_nses_days(nse: Calendar, date: str, sessions: list[str]) -> None:
    assert hours(nse, date) == sessions


def test_rule_24_the_nse_is_known_for_the_years_whose_holidays_are(nse: Calendar) -> None:
    assert (shown(nse.sessions.known_from), shown(nse.sessions.known_until)) == ("1996-01-01 00:00", "2027-01-01 00:00")
    for date in ("1995-12-29", "2027-01-01", "2035-01-01"):
        with pytest.raises(UnknownTime, match="XNSE is known from 1996-01-01 to 2026-12-31"):
            hours(nse, date)
        with pytest.raises(UnknownTime):
            nse.sessions.session_of(at(f"{date} 05:00"))


def test_rule_24_bombays_calendar_is_another(nse: Calendar) -> None:
    bombay = compiled("XBOM")
    assert [hours(each, "2014-10-23") for each in (nse, bombay)] == [["13:00-14:00"], []]
    assert [hours(each, "2001-01-01") for each in (nse, bombay)] == [["04:25-10:00"], []]
    assert nse.library.startswith("pandas_market_calendars ")
    assert bombay.library.startswith("exchange_calendars ")


def test_rules_12_and_15_orders_wait_for_diwalis_evening_and_end_with_it(nse: Calendar) -> None:
    # The 27th of October 2019 was a Sunday; trading was from 18:15 to 19:15 in India.
    opened, closed = "2019-10-27 12:45", "2019-10-27 13:45"
    rows = [(at(opened) + n * MINUTE, at(opened) + (n + 1) * MINUTE, (n + 1.0,) * 4 + (1000.0,)) for n in range(-5, 65)]
    tape = merge([of(nse, "2019-10-25", "2019-10-29"), bars("NIFTY", rows, "1m")])
    sunday = at("2019-10-27 06:00")
    events = run(
        tape,
        (sunday, order("NIFTY", 1, DAY)),
        (sunday, order("NIFTY", 2, OPG)),
        (sunday, order("NIFTY", 3, CLS)),
        (sunday, order("NIFTY", 4, DAY, "0.5")),
    )
    held = "HELD 2019-10-27 06:00"
    assert story(events, 1) == [held, f"NEW {opened}", f"TRADE 1 {opened}"]
    assert story(events, 2) == [held, f"NEW {opened}", f"TRADE 1 {opened}"]
    assert story(events, 3) == [held, f"NEW {opened}", f"TRADE 60 {closed}"]
    assert story(events, 4) == [held, f"NEW {opened}", f"EXPIRED END_OF_SESSION {closed}"]


def test_rule_15_a_days_orders_at_the_nse(nse: Calendar) -> None:
    tape = nse_days(nse, "2019-01-01", "2019-01-02", "2019-01-03")
    early, noon, late = at("2019-01-02 03:35"), at("2019-01-02 06:00"), at("2019-01-02 10:05")
    events = run(
        tape,
        (early, order("NIFTY", 1, DAY)),
        (early, order("NIFTY", 2, GTC)),
        (early, order("NIFTY", 3, OPG)),
        (early, order("NIFTY", 4, CLS)),
        (early, order("NIFTY", 5, IOC)),
        (noon, order("NIFTY", 6, DAY, "0.5")),
        (noon, order("NIFTY", 7, GTD, "0.5", expire_time=at("2019-01-02 12:00") + 1_000_000_000)),
        (noon, order("NIFTY", 8, OPG)),
        (noon, order("NIFTY", 9, CLS, "0.5")),
        (late, order("NIFTY", 10, DAY)),
        (late, order("NIFTY", 11, CLS)),
    )
    # The bar of 09:15 is the sixteenth of the day; those of the pre-open before it fill nobody.
    opened = "2019-01-02 03:45"
    assert story(events, 1) == ["HELD 2019-01-02 03:35", f"NEW {opened}", f"TRADE 16 {opened}"]
    assert story(events, 2) == ["NEW 2019-01-02 03:35", f"TRADE 16 {opened}"]
    assert story(events, 3) == ["HELD 2019-01-02 03:35", f"NEW {opened}", f"TRADE 16 {opened}"]
    # The last bar of the session is that of 15:29; the prints after 15:30 fill nobody either.
    assert story(events, 4) == ["HELD 2019-01-02 03:35", f"NEW {opened}", "TRADE 390 2019-01-02 10:00"]
    assert story(events, 5) == ["REJECTED 2019-01-02 03:35"]
    assert story(events, 6) == ["NEW 2019-01-02 06:00", "EXPIRED END_OF_SESSION 2019-01-02 10:00"]
    # To the second, at night.
    assert story(events, 7) == ["NEW 2019-01-02 06:00", "EXPIRED END_OF_TIME 2019-01-02 12:00"]
    ended = next(event for event in events if event.exec_id == "7-2")
    assert ended.transact_time == at("2019-01-02 12:00") + 1_000_000_000
    # Too late for this day's opening auction, in time for the next.
    assert story(events, 8) == ["HELD 2019-01-02 06:00", "NEW 2019-01-03 03:45", "TRADE 16 2019-01-03 03:45"]
    assert story(events, 9) == ["NEW 2019-01-02 06:00", "CANCELED AUCTION_OVER 2019-01-02 10:00"]
    assert story(events, 10) == ["HELD 2019-01-02 10:05", "NEW 2019-01-03 03:45", "TRADE 16 2019-01-03 03:45"]
    assert story(events, 11) == ["HELD 2019-01-02 10:05", "NEW 2019-01-03 03:45", "TRADE 390 2019-01-03 10:00"]


def goog(shared: Path, new_york: Calendar, first: str, last: str) -> Tape:
    """GOOG's real days, each in its session of New York."""
    sessions = new_york.sessions
    edges = {day: (sessions.opens[row], sessions.closes[row]) for row, day in enumerate(new_york.dates.tolist())}
    rows = []
    with (shared / "data" / "goog_daily_2004_2013.csv").open() as file:
        for row in csv.DictReader(file):
            if first <= row["date"] <= last:
                opens, closes = edges[int(np.datetime64(row["date"], "D").astype(int))]
                names = ("open", "high", "low", "close", "volume")
                rows.append((int(opens), int(closes), tuple(float(row[name]) for name in names)))
    return merge([of(new_york, first, last), bars("GOOG", rows, "1d")])


def test_rules_12_and_15_a_half_day_in_new_york_ends_at_one(shared: Path, new_york: Calendar) -> None:
    # Thanksgiving was the 22nd of November 2012; on the 23rd the market closed at 13:00, 18:00 UTC.
    tape = goog(shared, new_york, "2012-11-20", "2012-11-27")
    holiday = at("2012-11-22 15:00")
    events = run(
        tape,
        (holiday, order("GOOG", 1, DAY, "1")),
        (holiday, order("GOOG", 2, CLS)),
        (holiday, order("GOOG", 3, OPG)),
        (holiday, order("GOOG", 4, IOC)),
        (holiday, order("GOOG", 5, GTC)),
        (holiday, order("GOOG", 6, GTD, "1", expire_time=at("2012-11-23 17:59"))),
    )
    opened, closed = "2012-11-23 14:30", "2012-11-23 18:00"
    held = "HELD 2012-11-22 15:00"
    assert story(events, 1) == [held, f"NEW {opened}", f"EXPIRED END_OF_SESSION {closed}"]
    assert story(events, 2) == [held, f"NEW {opened}", f"TRADE 667.97 {closed}"]
    assert story(events, 3) == [held, f"NEW {opened}", f"TRADE 669.97 {opened}"]
    assert story(events, 4) == ["REJECTED 2012-11-22 15:00"]
    assert story(events, 5) == ["NEW 2012-11-22 15:00", f"TRADE 669.97 {opened}"]
    # A day's bar is known at its end: nothing is known to have happened before 17:59 but the open.
    assert story(events, 6) == ["NEW 2012-11-22 15:00", "EXPIRED END_OF_TIME 2012-11-23 17:59"]


def test_rule_15_summer_time_moves_new_yorks_hours_and_not_its_orders(shared: Path, new_york: Calendar) -> None:
    # The clocks went back on the 4th of November 2012; the week before, a storm had closed the market for two days.
    tape = goog(shared, new_york, "2012-10-01", "2013-02-28")
    assert {shown(int(time))[11:] for time in tape.time[tape.values[:, 4] > 0]} == {"20:00", "21:00", "18:00"}
    for weekend, opened, closed in (
        ("2012-11-03 12:00", "2012-11-05 14:30", "2012-11-05 21:00"),
        ("2012-10-27 12:00", "2012-10-31 13:30", "2012-10-31 20:00"),
    ):
        sent = at(weekend)
        events = run(tape, (sent, order("GOOG", 1, DAY)), (sent, order("GOOG", 2, CLS)), (sent, order("GOOG", 3, OPG)))
        assert [story(events, number)[-1][-16:] for number in (1, 2, 3)] == [opened, closed, opened]
        assert all(event.order.state is OrderState.FILLED for event in events if event.exec_type is ExecType.TRADE)


def test_rule_15_each_session_of_a_year_ends_the_orders_of_its_day(shared: Path, new_york: Calendar) -> None:
    tape = goog(shared, new_york, "2012-01-03", "2012-12-31")
    inside = (new_york.sessions.opens >= at("2012-01-03 00:00")) & (new_york.sessions.closes <= at("2012-12-31 23:00"))
    opens, closes = new_york.sessions.opens[inside].tolist(), new_york.sessions.closes[inside].tolist()
    assert len(opens) == 250
    sent = []
    for number, (opening, closing) in enumerate(zip(opens, closes, strict=True)):
        sent += [
            (opening - MINUTE, order("GOOG", 3 * number, OPG)),
            (opening - MINUTE, order("GOOG", 3 * number + 1, DAY)),
        ]
        sent.append((opening + MINUTE, order("GOOG", 3 * number + 2, DAY, "1")))
        assert closing - opening in {int(3.5 * 60) * MINUTE, int(6.5 * 60) * MINUTE}
    events = run(tape, *sent)
    ended = {event.order.order_id: event for event in events if event.order.leaves_quantity == 0}
    assert len(ended) == len(sent)
    for number, (opening, closing) in enumerate(zip(opens, closes, strict=True)):
        auction, market, resting = (ended[f"{3 * number + n}"] for n in range(3))
        assert (auction.exec_type, auction.transact_time) == (ExecType.TRADE, opening)
        assert (market.exec_type, market.transact_time) == (ExecType.TRADE, opening)
        assert auction.last_price == market.last_price
        assert (resting.exec_type, resting.transact_time) == (ExecType.EXPIRED, closing)


def test_rule_15_where_no_session_ends_a_day_order_rests_and_there_are_no_auctions() -> None:
    start = at("2019-01-05 23:30")
    rows = [(start + n * MINUTE, start + (n + 1) * MINUTE, (100.0,) * 4 + (10.0,)) for n in range(120)]
    tape = merge([bars("BTC/USD", rows, "1m")])
    sent = start + 5 * MINUTE
    events = run(
        tape,
        (sent, order("BTC/USD", 1, DAY, "90")),
        (sent, order("BTC/USD", 2, IOC)),
        (sent, order("BTC/USD", 3, OPG)),
        (sent, order("BTC/USD", 4, CLS)),
        (sent, order("BTC/USD", 5, GTD, "90", expire_time=at("2019-01-06 00:00"))),
    )
    assert story(events, 1) == ["NEW 2019-01-05 23:35"]
    assert story(events, 2) == ["NEW 2019-01-05 23:35", "TRADE 100 2019-01-05 23:35"]
    assert story(events, 3) == story(events, 4) == ["REJECTED 2019-01-05 23:35"]
    assert story(events, 5) == ["NEW 2019-01-05 23:35", "EXPIRED END_OF_TIME 2019-01-06 00:00"]
