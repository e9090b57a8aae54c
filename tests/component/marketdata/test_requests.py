"""Environments, data sets, instruments, sessions, prices and bars over gRPC."""

import asyncio
import json
import uuid
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from tickmesh.marketdata.v1 import (
    environment_service_pb2,
    instrument_pb2,
    instrument_service_pb2,
    market_data_pb2,
    market_data_service_pb2,
)

from services.chassis.errors import ApiError
from tests.component.marketdata.calls import refused
from tests.component.marketdata.support import Client, client_of, copied, inner_of, running

Envs, Data, Ins = environment_service_pb2, market_data_service_pb2, instrument_service_pb2
CUT: dict[str, Any] = {"symbols": ["AAPL", "MSFT"], "start_time": {"seconds": 1356998400}}
SECOND = 1_000_000_000


async def test_the_packaged_prices_are_a_data_set(client: Client) -> None:
    (listed,) = (await client.environments.ListDataSets(Envs.ListDataSetsRequest())).data_sets
    assert (listed.data_set_id, listed.record_count) == ("us-daily", 12157)
    assert list(listed.symbols) == ["AAPL", "FB", "GOOG", "IBM", "MSFT"]
    assert (listed.start_time.seconds, listed.end_time.seconds) == (951921000, 1362171600)


async def test_a_replay_says_what_it_is(client: Client) -> None:
    made = await client.create(**CUT, warm_up_sessions=10, seed=7, display_name="two", pace={"multiple": 60})
    assert made.environment_id.startswith("replay-")
    assert list(made.symbols) == ["AAPL", "MSFT"]
    assert (made.start_sequence, made.end_sequence, made.seed) == (40, 164, 7)
    assert (made.display_name, made.owner) == ("two", "local")
    assert made.pace.multiple == 60
    assert made == await client.get(made.environment_id)
    same = await client.create(**CUT)
    assert (same.tape_digest, same.environment_id != made.environment_id) == (made.tape_digest, True)


async def test_a_repeat_of_a_request_makes_nothing_new(client: Client) -> None:
    request_id = str(uuid.uuid4())
    answers = await asyncio.gather(*(client.create(**CUT, request_id=request_id) for _ in range(10)))
    assert len({each.environment_id for each in answers}) == 1
    other = client.create(**CUT, request_id=request_id, seed=1)
    assert (await refused(other))[:2] == ("ALREADY_EXISTS", "REQUEST_ID_REUSED")
    named = await client.create(**CUT, environment_id="mine")
    assert await client.create(**CUT, environment_id="mine") == named
    assert (await refused(client.create(**CUT, environment_id="mine", seed=2)))[:2] == (
        "ALREADY_EXISTS",
        "ALREADY_EXISTS",
    )


@pytest.mark.parametrize(
    ("values", "code", "reason", "field"),
    [
        ({"data_set_id": "nothing"}, "NOT_FOUND", "DATA_SET_NOT_FOUND", None),
        ({"data_set_id": ""}, "INVALID_ARGUMENT", "INVALID_ARGUMENT", "data_set_id"),
        ({"data_set_id": "x" * 10_000}, "INVALID_ARGUMENT", "INVALID_ARGUMENT", "data_set_id"),
        ({"environment_id": "a:b"}, "INVALID_ARGUMENT", "INVALID_ARGUMENT", "environment_id"),
        ({"symbols": ["NOPE"]}, "INVALID_ARGUMENT", "INVALID_ARGUMENT", "symbols"),
        ({"symbols": ["aapl"]}, "INVALID_ARGUMENT", "INVALID_ARGUMENT", "symbols[0]"),
        ({"symbols": ["FB"], "end_time": {"seconds": 1000000000}}, "INVALID_ARGUMENT", "INVALID_ARGUMENT", "symbols"),
        (
            {"start_time": {"seconds": 2}, "end_time": {"seconds": 1}},
            "INVALID_ARGUMENT",
            "INVALID_ARGUMENT",
            "end_time",
        ),
        ({"start_time": {"seconds": 10**18}}, "INVALID_ARGUMENT", "INVALID_ARGUMENT", "start_time"),
        ({"warm_up_sessions": 3270}, "INVALID_ARGUMENT", "INVALID_ARGUMENT", "warm_up_sessions"),
        ({"warm_up_sessions": -1}, "INVALID_ARGUMENT", "INVALID_ARGUMENT", "warm_up_sessions"),
        ({"pace": {"multiple": 0}}, "INVALID_ARGUMENT", "INVALID_ARGUMENT", "pace.multiple"),
        ({"pace": {"multiple": float("nan")}}, "INVALID_ARGUMENT", "INVALID_ARGUMENT", "pace.multiple"),
        ({"request_id": "no uuid"}, "INVALID_ARGUMENT", "INVALID_ARGUMENT", "request_id"),
        ({"display_name": "a\0b"}, "INVALID_ARGUMENT", "INVALID_ARGUMENT", "display_name"),
    ],
)
async def test_bad_replays_are_refused_and_make_nothing(
    client: Client, values: dict[str, Any], code: str, reason: str, field: str | None
) -> None:
    before = await client.environments.ListEnvironments(Envs.ListEnvironmentsRequest(page_size=1000))
    found = await refused(client.create(**values))
    assert found[:2] == (code, reason)
    assert field is None or set(found[2]) == {field}
    after = await client.environments.ListEnvironments(Envs.ListEnvironmentsRequest(page_size=1000))
    assert [each.environment_id for each in after.environments] == [each.environment_id for each in before.environments]


async def test_a_replay_is_made_though_its_caller_went_away(client: Client) -> None:
    request = Envs.CreateReplayRequest(data_set_id="us-daily", request_id=str(uuid.uuid4()), display_name="patient")
    for seconds in (0.001, 0.01, 0.02, 0.03):
        with suppress(ApiError):
            await client.environments.CreateReplay(request, timeout=seconds)
    made = await client.environments.CreateReplay(request, timeout=20)
    listed = await client.environments.ListEnvironments(Envs.ListEnvironmentsRequest(page_size=1000))
    assert [each.environment_id for each in listed.environments if each.display_name == "patient"] == [
        made.environment_id
    ]


async def test_environments_are_listed_newest_first_in_pages(client: Client) -> None:
    made = [(await client.create(**CUT)).environment_id for _ in range(3)]
    names, token = [], ""
    while True:
        request = Envs.ListEnvironmentsRequest(page_size=2, page_token=token)
        page = await client.environments.ListEnvironments(request)
        names += [each.environment_id for each in page.environments]
        assert len(page.environments) <= 2
        if not (token := page.next_page_token):
            break
    assert names[:3] == made[::-1]
    assert len(names) == len(set(names))
    bad = client.environments.ListEnvironments(Envs.ListEnvironmentsRequest(page_token="AAAA"))
    assert (await refused(bad))[:2] == ("INVALID_ARGUMENT", "PAGE_TOKEN_INVALID")
    foreign = (await client.instruments.ListInstruments(Ins.ListInstrumentsRequest(page_size=1))).next_page_token
    assert foreign
    bad = client.environments.ListEnvironments(Envs.ListEnvironmentsRequest(page_token=foreign))
    assert (await refused(bad))[:2] == ("INVALID_ARGUMENT", "PAGE_TOKEN_INVALID")


@pytest.mark.parametrize("verb", ["Start", "Pause", "Resume", "Stop"])
async def test_an_unknown_environment_cannot_be_moved(client: Client, verb: str) -> None:
    assert (await refused(client.move(verb, "nowhere")))[:2] == ("NOT_FOUND", "ENVIRONMENT_NOT_FOUND")


async def test_instruments(client: Client) -> None:
    listed = await client.instruments.ListInstruments(Ins.ListInstrumentsRequest(page_size=2))
    assert [each.symbol for each in listed.instruments] == ["AAPL", "FB"]
    more = Ins.ListInstrumentsRequest(page_size=2, page_token=listed.next_page_token)
    assert [each.symbol for each in (await client.instruments.ListInstruments(more)).instruments] == ["GOOG", "IBM"]
    apple = await client.instruments.GetInstrument(Ins.GetInstrumentRequest(symbol="AAPL"))
    assert (apple.price_increment, apple.quantity_increment, apple.lot_size, apple.calendar) == (
        "0.0001",
        "1",
        "1",
        "XNYS",
    )
    values = {"symbol": "BTC/USD", "currency_code": "USD", "calendar": "24/7"}
    coin = instrument_pb2.Instrument(**values, price_increment="0.010", quantity_increment="0.00000001")
    made = await client.instruments.CreateInstrument(Ins.CreateInstrumentRequest(instrument=coin))
    assert (made.price_increment, made.contract_multiplier) == ("0.01", "1")
    assert made == await client.instruments.CreateInstrument(Ins.CreateInstrumentRequest(instrument=coin))
    coin.price_increment = "0.1"
    again = client.instruments.CreateInstrument(Ins.CreateInstrumentRequest(instrument=coin))
    assert (await refused(again))[:2] == ("ALREADY_EXISTS", "ALREADY_EXISTS")
    missing = client.instruments.GetInstrument(Ins.GetInstrumentRequest(symbol="NOPE"))
    assert (await refused(missing))[:2] == ("NOT_FOUND", "INSTRUMENT_NOT_FOUND")


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("price_increment", "0"),
        ("price_increment", "-1"),
        ("price_increment", "1e5"),
        ("price_increment", "NaN"),
        ("price_increment", ".5"),
        ("price_increment", "1234567890123456789"),
        ("currency_code", "usd"),
        ("symbol", "a"),
        ("calendar", "MARS"),
        ("calendar", "../etc"),
        ("display_name", "x" * 201),
        ("display_name", "\0"),
    ],
)
async def test_bad_instruments_are_refused(client: Client, field: str, value: str) -> None:
    values = {"symbol": "BAD", "currency_code": "USD", "calendar": "XNYS"}
    values |= {"price_increment": "0.01", "quantity_increment": "1", field: value}
    wanted = Ins.CreateInstrumentRequest(instrument=instrument_pb2.Instrument(**values))
    code, reason, fields = await refused(client.instruments.CreateInstrument(wanted, timeout=60))
    assert (code, reason, fields) == ("INVALID_ARGUMENT", "INVALID_ARGUMENT", [f"instrument.{field}"])


async def sessions(client: Client, first: str, last: str, calendar: str = "XNYS", **more: Any) -> Any:
    request = Ins.ListTradingSessionsRequest(calendar=calendar, start_date=first, end_date=last, **more)
    # A calendar that nobody asked for before is compiled first, which takes seconds, and more on a busy machine.
    return await client.instruments.ListTradingSessions(request, timeout=60)


async def test_rule_24_sessions_know_holidays_and_early_closes(client: Client) -> None:
    found = (await sessions(client, "2012-11-21", "2012-11-26")).trading_sessions
    assert [each.session_date for each in found] == ["2012-11-21", "2012-11-23", "2012-11-26"]
    hours = [(each.close_time.seconds - each.open_time.seconds) / 3600 for each in found]
    assert hours == [6.5, 3.5, 6.5]
    page = await sessions(client, "2012-01-01", "2012-12-31", page_size=200)
    rest = await sessions(client, "2012-01-01", "2012-12-31", page_size=200, page_token=page.next_page_token)
    assert len(page.trading_sessions) + len(rest.trading_sessions) == 250
    assert not rest.next_page_token


async def test_rule_24_dates_that_nobody_knows_are_refused(client: Client) -> None:
    for first, last in (("1989-01-01", "1989-12-31"), ("2012-01-01", "2099-01-01")):
        assert (await refused(sessions(client, first, last)))[:2] == ("NOT_FOUND", "CALENDAR_NOT_FOUND")
    assert (await refused(sessions(client, "2012-01-01", "2012-01-02", "MARS")))[:2] == (
        "NOT_FOUND",
        "CALENDAR_NOT_FOUND",
    )
    assert (await refused(sessions(client, "2012-02-30", "2012-03-02")))[2] == ["start_date"]
    assert (await refused(sessions(client, "2012-03-02", "2012-03-01")))[2] == ["end_date"]


async def test_rule_24_the_nse_has_days_of_two_sessions_and_no_year_whose_holidays_are_unknown(client: Client) -> None:
    token, found = "", []
    for _ in range(4):
        page = await sessions(client, "2024-03-01", "2024-03-04", "XNSE", page_size=1, page_token=token)
        found += [(each.session_date, each.open_time.seconds % 86_400 // 60) for each in page.trading_sessions]
        token = page.next_page_token
    # The 2nd was a Saturday; one session ran at each site.
    assert found == [("2024-03-01", 225), ("2024-03-02", 225), ("2024-03-02", 360), ("2024-03-04", 225)]
    assert not token
    outcome = await refused(sessions(client, "2026-12-01", "2027-01-31", "XNSE"))
    assert outcome[:2] == ("NOT_FOUND", "CALENDAR_NOT_FOUND")


async def quote(client: Client, symbol: str, environment_id: str) -> market_data_pb2.Quote:
    return await client.prices.GetQuote(Data.GetQuoteRequest(symbol=symbol, environment_id=environment_id))


async def test_a_quote_of_a_bar_is_its_close_and_never_of_the_future(client: Client) -> None:
    made = await client.create(**CUT, warm_up_sessions=2)
    name = made.environment_id
    found = await quote(client, "AAPL", name)
    # 2013-01-03 in the packaged prices.
    assert (found.last_price, found.source, found.tape_sequence) == ("542.0959", market_data_pb2.QUOTE_SOURCE_BAR, 6)
    assert (found.bid_price, found.ask_price, found.environment_id) == ("", "", name)
    batch = Data.BatchGetQuotesRequest(symbols=["MSFT", "NOPE", "AAPL"], environment_id=name)
    answer = await client.prices.BatchGetQuotes(batch)
    assert [each.symbol for each in answer.quotes] == ["MSFT", "AAPL"]
    assert list(answer.missing_symbols) == ["NOPE"]
    listed = await client.prices.ListQuotes(Data.ListQuotesRequest(environment_id=name, page_size=1))
    assert [each.symbol for each in listed.quotes] == ["AAPL"]
    more = Data.ListQuotesRequest(environment_id=name, page_token=listed.next_page_token, page_size=1)
    assert [each.symbol for each in (await client.prices.ListQuotes(more)).quotes] == ["MSFT"]
    cold = await client.create(**CUT)
    assert (await refused(quote(client, "AAPL", cold.environment_id)))[:2] == ("NOT_FOUND", "QUOTE_NOT_FOUND")
    assert (await refused(quote(client, "AAPL", "nowhere")))[:2] == ("NOT_FOUND", "ENVIRONMENT_NOT_FOUND")


async def test_who_names_no_environment_means_the_newest_running_one(template: Path, tmp_path: Path) -> None:
    with running(copied(template, tmp_path / "data")) as service:
        async with client_of(service) as client:

            async def default() -> str:
                found = await client.environments.GetDefaultEnvironment(Envs.GetDefaultEnvironmentRequest())
                assert (await quote(client, "AAPL", "")).environment_id == found.environment_id
                assert (await list_bars(client, "AAPL", "")).bars
                return found.environment_id

            asked = client.environments.GetDefaultEnvironment(Envs.GetDefaultEnvironmentRequest())
            assert (await refused(asked))[:2] == ("NOT_FOUND", "ENVIRONMENT_NOT_FOUND")
            first, second, third = [(await client.create(**CUT, warm_up_sessions=1)).environment_id for _ in range(3)]
            # None runs: the newest there is. Nobody takes part, so those that run are BLOCKED.
            assert await default() == third
            await client.move("Start", first)
            assert await default() == first
            await client.move("Start", second)
            assert await default() == second
            await client.move("Pause", second)
            assert await default() == first


async def test_a_split_brings_the_last_price_into_todays_units(client: Client) -> None:
    cut = {"symbols": ["AAPL"], "start_time": {"seconds": 1109289600}, "end_time": {"seconds": 1109721600}}
    made = await client.create(**cut, pace={"sessions_per_second": 1})
    # The tape: open, bar of 02-25 (88.99), close; open and split of 02-28, bar (44.86), close; …
    async with inner_of(client, made.environment_id):
        await client.move("Start", made.environment_id)
        await client.until(made.environment_id, lambda each: each.tape_sequence >= 2)
        assert (await quote(client, "AAPL", made.environment_id)).last_price == "88.9900"
        await client.until_state(made.environment_id, "COMPLETED")
    bars = await list_bars(client, "AAPL", made.environment_id)
    assert [each.close for each in bars.bars] == ["88.9900", "44.8600", "44.5000"]


async def list_bars(client: Client, symbol: str, environment_id: str, interval: str = "1d", **more: Any) -> Any:
    request = Data.ListBarsRequest(symbol=symbol, interval=interval, environment_id=environment_id, **more)
    return await client.prices.ListBars(request)


async def test_bars_up_to_now_in_pages_rows_and_columns(client: Client) -> None:
    made = await client.create(**CUT, warm_up_sessions=20)
    name = made.environment_id
    first = await list_bars(client, "AAPL", name, page_size=15)
    rest = await list_bars(client, "AAPL", name, page_size=15, page_token=first.next_page_token)
    bars = [*first.bars, *rest.bars]
    assert (len(bars), rest.next_page_token) == (20, "")
    assert (bars[0].open, bars[0].close, bars[0].volume) == ("553.8200", "549.0300", "20018500")
    assert bars[0].end_time.seconds - bars[0].start_time.seconds == 23400
    assert all(each.final for each in bars)
    columns = await list_bars(client, "AAPL", name, page_size=50_000, encoding=market_data_pb2.ENCODING_COLUMNS)
    assert not columns.bars
    assert list(columns.columns.closes) == [float(each.close) for each in bars]
    assert list(columns.columns.tape_sequences) == [each.tape_sequence for each in bars]
    within = await list_bars(client, "AAPL", name, start_time=bars[3].start_time, end_time=bars[6].end_time)
    assert list(within.bars) == bars[3:7]
    assert (await refused(list_bars(client, "AAPL", name, page_size=1001)))[:2] == (
        "INVALID_ARGUMENT",
        "INVALID_ARGUMENT",
    )
    for interval in ("1m", "2d"):
        assert (await refused(list_bars(client, "AAPL", name, interval)))[2] == ["interval"]
        with pytest.raises(ApiError, match="interval: cannot be made of what the tape has of AAPL: bars of 1d"):
            await list_bars(client, "AAPL", name, interval)
    assert (await refused(list_bars(client, "NOPE", name)))[:2] == ("NOT_FOUND", "INSTRUMENT_NOT_FOUND")
    assert (await refused(list_bars(client, "IBM", name)))[:2] == ("NOT_FOUND", "INSTRUMENT_NOT_FOUND")


def write_data_set(folder: Path, calendar: str = "24/7") -> None:
    """Quotes and minute bars of a market that never closes, with bad records among them."""
    folder.mkdir(parents=True)
    symbol = "EURUSD" if calendar == "24/7" else "XXX"
    described = {
        "display_name": "Made up",
        "max_move": 2,
        "instruments": [
            {"symbol": symbol, "calendar": calendar, "price_increment": "0.00001", "quantity_increment": "0.01"},
        ],
    }
    (folder / "data_set.json").write_text(json.dumps(described))
    quotes = ["symbol,time,bid,ask,bid_size,ask_size"]
    quotes += [f"EURUSD,2014-05-01T00:00:0{n}Z,1.3860{n},1.3861{n},100,2.5" for n in range(10)]
    quotes[3:3] = ["EURUSD,2014-05-01T00:00:01Z,1.4,1.3,1,1", "EURUSD,2014-05-01T00:00:01Z,0,1.3,1,1"]
    quotes += ["EURUSD,2014-04-01T00:00:01Z,1.38,1.39,1,1", "EURUSD,2014-05-01T00:01:01Z,abc,1.39,1,1"]
    quotes += ["EURUSD,never,1.38,1.39,1,1", "EURUSD,2014-05-01T00:01:02Z,9.38,9.39,1,1"]
    (folder / "quotes.csv").write_text("\n".join(quotes) + "\n")
    bars = ["symbol,start,open,high,low,close,volume"]
    bars += [f"EURUSD,2014-05-01T00:{n:02}:00Z,1.3861,1.3865,1.386,1.3862,{n + 1}" for n in range(10)]
    (folder / "bars.1m.csv").write_text("\n".join(bars) + "\n")


async def test_rule_29_bad_records_are_refused_counted_and_stop_nothing(template: Path, tmp_path: Path) -> None:
    directory = copied(template, tmp_path / "data")
    write_data_set(directory / "data-sets" / "fx")
    (directory / "data-sets" / "broken").mkdir()
    (directory / "data-sets" / "broken" / "data_set.json").write_text("{")
    write_data_set(directory / "data-sets" / "lost", calendar="MARS")
    with running(directory) as service:
        async with client_of(service) as client:
            listed = (await client.environments.ListDataSets(Envs.ListDataSetsRequest(), timeout=60)).data_sets
            assert [each.data_set_id for each in listed] == ["fx", "lost", "us-daily"]
            lost = client.create(data_set_id="lost")
            assert (await refused(lost))[:2] == ("NOT_FOUND", "CALENDAR_NOT_FOUND")
            assert (listed[0].record_count, list(listed[0].kinds)) == (26, ["BAR 1m", "QUOTE"])
            made = await client.create(data_set_id="fx")
            assert made.end_sequence == 20
            described = (await client.environments.ListDataSets(Envs.ListDataSetsRequest())).data_sets[0].description
            assert described == (
                "Refused records: 1 crossed_quote, 1 not_a_number, 1 price_not_positive, 1 spike, "
                "1 time_backwards, 1 unreadable."
            )
            async with inner_of(client, made.environment_id):
                await client.move("Start", made.environment_id)
                await client.until_state(made.environment_id, "COMPLETED")
            found = await quote(client, "EURUSD", made.environment_id)
            assert (found.bid_price, found.ask_price, found.bid_size, found.ask_size, found.last_price) == (
                *("1.38609", "1.38619", "100.00", "2.50"),
                "1.38620",
            )
            # Rule 25: made of the smaller ones, labelled by their start, final ones only.
            made_of = await list_bars(client, "EURUSD", made.environment_id, "4m")
            assert [(each.start_time.seconds % 3600, each.volume) for each in made_of.bars] == [
                (0, "10.00"),
                (240, "26.00"),
            ]
            assert {(each.high, each.tape_sequence) for each in made_of.bars} == {("1.38650", 0)}
            more = await list_bars(client, "EURUSD", made.environment_id, "2m", page_size=2)
            rest = await list_bars(client, "EURUSD", made.environment_id, "2m", page_token=more.next_page_token)
            assert [each.start_time.seconds % 3600 for each in (*more.bars, *rest.bars)] == [0, 120, 240, 360, 480]
            seconds = await list_bars(client, "EURUSD", made.environment_id, "5s")
            assert [each.start_time.seconds % 60 for each in seconds.bars] == [0, 5]
