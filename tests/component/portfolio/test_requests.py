"""What callers may ask, and what they are told when they ask for nonsense: a stated reason, and nothing changes."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import grpc
import pytest
from tickmesh.portfolio.v1 import portfolio_service_pb2 as api

from services.chassis.errors import ApiError
from tests.component.portfolio.peers import COMPLETED, STOPPED, Peers, Replay
from tests.component.portfolio.played import INSTRUMENTS, START, listed, run, simulation, tape
from tests.component.portfolio.running import Service

Refused = Callable[[Awaitable[Any]], Awaitable[ApiError]]
CODE = grpc.StatusCode
UUID = "6b1d6f0e-7a57-4c8e-9c1b-0d3b0c1f0a01"


@pytest.fixture(autouse=True)
def replay(peers: Peers) -> Replay:
    return peers.add(Replay("replay-1", tape(), INSTRUMENTS, START))


def wanted(portfolio_id: str = "trend", cash: str = "100000", currency: str = "USD", **more: str) -> Any:
    fields = {"portfolio_id": portfolio_id, "environment_id": "replay-1", **more}
    request = api.CreatePortfolioRequest(**fields)  # type: ignore[arg-type]
    request.initial_cash.currency_code, request.initial_cash.amount = currency, cash
    return request


async def test_a_portfolio_begins_with_its_deposit(service: Service, replay: Replay) -> None:
    made = await service.stub.CreatePortfolio(wanted(cash="1000.5", display_name="Trend"))
    assert (made.portfolio_id, made.environment_id, made.display_name) == ("trend", "replay-1", "Trend")
    assert [(each.currency_code, each.amount) for each in made.cash] == [("USD", "1000.50")]
    assert (made.equity.amount, made.realized_pnl.amount, made.base_currency_code) == ("1000.50", "0.00", "USD")
    assert (made.tape_sequence, made.opening_ledger_sequence, made.ledger_sequence) == (START, 1, 2)
    assert made.market_time.ToNanoseconds() == int(replay.tape.time[START - 1])
    assert (made.principal, made.owner) == ("local", "local")
    assert await service.stub.GetPortfolio(api.GetPortfolioRequest(portfolio_id="trend")) == made
    deposit = (await listed(service.stub, "trend"))[0]
    assert (deposit.amount, deposit.balance, deposit.asset, deposit.event_time) == (
        "1000.5",
        "1000.5",
        "USD",
        made.market_time,
    )


async def test_of_a_hundred_calls_at_once_one_opens_it(service: Service) -> None:
    made = await asyncio.gather(*(service.stub.CreatePortfolio(wanted(cash=cash)) for cash in ["5", "5.00"] * 50))
    assert len({each.SerializeToString() for each in made}) == 1
    assert len(await listed(service.stub, "trend")) == 2


async def test_an_id_with_other_values_is_taken(service: Service, refused: Refused) -> None:
    await service.stub.CreatePortfolio(wanted())
    for other in (wanted(cash="1"), wanted(display_name="Other"), wanted(environment_id="replay-2")):
        error = await refused(service.stub.CreatePortfolio(other))
        assert (error.code, error.reason) == (CODE.ALREADY_EXISTS, "ALREADY_EXISTS")
    assert len(await listed(service.stub, "trend")) == 2


async def test_a_request_id_finds_its_portfolio_again(service: Service, refused: Refused) -> None:
    made = await service.stub.CreatePortfolio(wanted("", request_id=UUID))
    assert made.portfolio_id == made.display_name == "portfolio-1"
    assert await service.stub.CreatePortfolio(wanted("", request_id=UUID)) == made
    error = await refused(service.stub.CreatePortfolio(wanted("", cash="1", request_id=UUID)))
    assert (error.code, error.reason) == (CODE.ALREADY_EXISTS, "REQUEST_ID_REUSED")
    assert error.metadata["portfolio_id"] == "portfolio-1"
    assert (await service.stub.CreatePortfolio(wanted(""))).portfolio_id == "portfolio-2"


async def test_repeats_survive_a_restart_and_an_absent_marketdata(
    peers: Peers, serve: Callable[..., Any], refused: Refused
) -> None:
    async with serve() as service:
        made = await service.stub.CreatePortfolio(wanted("", request_id=UUID))
    await peers.server.stop(0)
    async with serve() as service:
        assert await service.stub.CreatePortfolio(wanted("", request_id=UUID)) == made
        assert await service.stub.GetPortfolio(api.GetPortfolioRequest(portfolio_id=made.portfolio_id)) == made
        error = await refused(service.stub.CreatePortfolio(wanted("another")))
        assert (error.code, error.reason) == (CODE.UNAVAILABLE, "SERVICE_UNAVAILABLE")
        stream = service.stub.StreamLedgerEntries(api.StreamLedgerEntriesRequest(environment_id="unknown"))
        assert (await refused(anext(aiter(stream)))).reason == "SERVICE_UNAVAILABLE"


async def test_who_has_stopped_follows_no_events_over_a_closed_channel(serve: Callable[..., Any]) -> None:
    """Each attempt would be told as a fault, for as long as the process takes to end."""

    def following() -> int:
        return sum(task.get_name() == "order-events" for task in asyncio.all_tasks())

    async with serve() as service:
        await service.stub.CreatePortfolio(wanted())
        assert following() == 1
        await service.keeper.stop()
        assert following() == 0


@pytest.mark.parametrize("state", [COMPLETED, STOPPED])
async def test_an_environment_that_has_ended_takes_no_portfolio(
    peers: Peers, service: Service, replay: Replay, refused: Refused, state: int
) -> None:
    await service.stub.CreatePortfolio(wanted())
    peers.end(replay, state)
    error = await refused(service.stub.CreatePortfolio(wanted("late")))
    assert (error.code, error.reason) == (CODE.FAILED_PRECONDITION, "ENVIRONMENT_COMPLETED")
    assert (await service.stub.CreatePortfolio(wanted())).portfolio_id == "trend"


async def test_a_currency_that_nothing_trades_in_is_refused(service: Service, refused: Refused) -> None:
    error = await refused(service.stub.CreatePortfolio(wanted(currency="EUR")))
    assert (error.code, error.reason) == (CODE.INVALID_ARGUMENT, "INVALID_ARGUMENT")
    assert error.field_violations[0].field == "initial_cash.currency_code"


BAD = {
    "no environment": wanted(environment_id=""),
    "an id with a colon": wanted("a:b"),
    "an id of 10 kB": wanted("a" * 10_000),
    "a path for an id": wanted("../a"),
    "a negative amount": wanted(cash="-1"),
    "nothing": wanted(cash="0"),
    "nothing in nine places": wanted(cash="0.000000000"),
    "an exponent": wanted(cash="1e5"),
    "no number": wanted(cash="NaN"),
    "no digit before the point": wanted(cash=".5"),
    "19 digits": wanted(cash="1" * 19),
    "ten places": wanted(cash="1.0000000001"),
    "an empty amount": wanted(cash=""),
    "a currency in small letters": wanted(currency="usd"),
    "a request id that is no UUID": wanted(request_id="again"),
    "a name with a NUL": wanted(display_name="n\0"),
    "a name of 201 letters": wanted(display_name="n" * 201),
}


@pytest.mark.parametrize("request_", BAD.values(), ids=BAD.keys())
async def test_a_bad_creation_is_refused_by_its_rule(service: Service, refused: Refused, request_: Any) -> None:
    error = await refused(service.stub.CreatePortfolio(request_))
    assert (error.code, error.reason) == (CODE.INVALID_ARGUMENT, "INVALID_ARGUMENT")
    assert error.field_violations
    assert not (await service.stub.ListPortfolios(api.ListPortfoliosRequest())).portfolios


async def test_an_unknown_environment_is_not_found(service: Service, refused: Refused) -> None:
    error = await refused(service.stub.CreatePortfolio(wanted(environment_id="replay-9")))
    assert (error.code, error.reason) == (CODE.NOT_FOUND, "ENVIRONMENT_NOT_FOUND")
    stream = service.stub.StreamLedgerEntries(api.StreamLedgerEntriesRequest(environment_id="replay-9"))
    assert (await refused(anext(aiter(stream)))).reason == "ENVIRONMENT_NOT_FOUND"


OF_PORTFOLIO = {
    "GetPortfolio": api.GetPortfolioRequest,
    "ListPositions": api.ListPositionsRequest,
    "ListLots": api.ListLotsRequest,
    "ListLedgerEntries": api.ListLedgerEntriesRequest,
    "ListEquityPoints": api.ListEquityPointsRequest,
    "StreamPortfolio": api.StreamPortfolioRequest,
}


def call(service: Service, name: str, **fields: Any) -> Awaitable[Any]:
    answer = getattr(service.stub, name)(OF_PORTFOLIO[name](**fields))
    return anext(aiter(answer)) if name.startswith("Stream") else answer


@pytest.mark.parametrize("name", OF_PORTFOLIO)
async def test_an_unknown_portfolio_is_not_found(service: Service, refused: Refused, name: str) -> None:
    error = await refused(call(service, name, portfolio_id="unknown"))
    assert (error.code, error.reason) == (CODE.NOT_FOUND, "PORTFOLIO_NOT_FOUND")
    for bad in ("", "a:b", "a" * 10_000):
        error = await refused(call(service, name, portfolio_id=bad))
        assert (error.code, error.reason) == (CODE.INVALID_ARGUMENT, "INVALID_ARGUMENT")


@pytest.mark.parametrize("name", [name for name in OF_PORTFOLIO if name.startswith("List")])
async def test_a_page_has_its_bounds_and_its_own_token(service: Service, refused: Refused, name: str) -> None:
    await service.stub.CreatePortfolio(wanted())
    await service.stub.CreatePortfolio(wanted("other"))
    foreign = (await service.stub.ListPortfolios(api.ListPortfoliosRequest(page_size=1))).next_page_token
    assert foreign
    others = await service.stub.ListLedgerEntries(api.ListLedgerEntriesRequest(portfolio_id="other", page_size=1))
    for token in ("x", foreign, others.next_page_token, foreign[:-2]):
        error = await refused(call(service, name, portfolio_id="trend", page_token=token))
        assert (error.code, error.reason) == (CODE.INVALID_ARGUMENT, "PAGE_TOKEN_INVALID")
    for size in (-1, 1001):
        error = await refused(call(service, name, portfolio_id="trend", page_size=size))
        assert (error.code, error.reason) == (CODE.INVALID_ARGUMENT, "INVALID_ARGUMENT")


async def test_pages_join_to_the_whole_list(peers: Peers, service: Service, replay: Replay) -> None:
    ran = simulation(tape())
    for key in ("trend", "revert", "third"):
        await service.stub.CreatePortfolio(wanted(key))
    while not ran.books.ledgers["revert"].lots("A"):
        await run(peers, replay, ran, cycles=1)
    for name, field in (
        ("ListPositions", "positions"),
        ("ListLots", "lots"),
        ("ListLedgerEntries", "ledger_entries"),
        ("ListEquityPoints", "equity_points"),
    ):
        whole = getattr(await call(service, name, portfolio_id="revert", page_size=1000), field)
        parts: list[Any] = []
        token = ""
        while True:
            page = await call(service, name, portfolio_id="revert", page_size=1, page_token=token)
            parts += getattr(page, field)
            if not (token := page.next_page_token):
                break
        assert parts == list(whole), name
        assert whole, name
    entries = (await call(service, "ListLedgerEntries", portfolio_id="revert", page_size=1000)).ledger_entries
    for order_id in {entry.order_id for entry in entries if entry.order_id}:
        of_order = await call(service, "ListLedgerEntries", portfolio_id="revert", order_id=order_id)
        assert list(of_order.ledger_entries) == [entry for entry in entries if entry.order_id == order_id]
    assert not (await call(service, "ListLedgerEntries", portfolio_id="trend", order_id=order_id)).ledger_entries
    first = await service.stub.ListPortfolios(api.ListPortfoliosRequest(environment_id="replay-1", page_size=2))
    rest = await service.stub.ListPortfolios(
        api.ListPortfoliosRequest(environment_id="replay-1", page_size=2, page_token=first.next_page_token)
    )
    assert [p.portfolio_id for p in [*first.portfolios, *rest.portfolios]] == ["trend", "revert", "third"]
    with pytest.raises(ApiError) as unknown:
        await service.stub.ListPortfolios(api.ListPortfoliosRequest(environment_id="none"))
    assert unknown.value.reason == "ENVIRONMENT_NOT_FOUND"
