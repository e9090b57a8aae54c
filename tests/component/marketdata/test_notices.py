"""Auctions and halts of a data set, in streams and lists of the running service."""

import json
from pathlib import Path
from typing import Any

from tickmesh.marketdata.v1 import environment_service_pb2, market_data_pb2, market_data_service_pb2

from tests.component.marketdata.calls import collect, refused
from tests.component.marketdata.support import client_of, copied, inner_of, running

Data = market_data_service_pb2
OPENING, CLOSING = market_data_pb2.AUCTION_TYPE_OPENING, market_data_pb2.AUCTION_TYPE_CLOSING
# The session of the 2nd of January 2013 in New York, 14:30 to 21:00 UTC.
DAY = "2013-01-02T"


def write_data_set(folder: Path) -> None:
    """ACME opens and closes by auctions, and stands still from 15:00 to 15:05 and from 20:00 on."""
    folder.mkdir(parents=True)
    instruments = [{"symbol": "ACME", "calendar": "XNYS", "price_increment": "0.01"}]
    (folder / "data_set.json").write_text(json.dumps({"instruments": instruments}))
    files = {
        "auctions": [
            "symbol,time,auction,price,size",
            f"ACME,{DAY}14:29:59Z,open,10,1200",
            f"ACME,{DAY}14:30:00Z,open,10.05,1200",
            f"ACME,{DAY}21:00:00Z,close,10.2,",
            f"ACME,{DAY}21:00:01Z,close,10.2,",
        ],
        "halts": [
            "symbol,time,state",
            f"ACME,{DAY}15:00:00Z,halt",
            f"ACME,{DAY}15:05:00Z,resume",
            f"ACME,{DAY}20:00:00Z,halt",
        ],
        "trades": ["symbol,time,price,size", *(f"ACME,{DAY}15:{n:02}:30Z,10.1,100" for n in range(0, 60, 5))],
    }
    for name, lines in files.items():
        (folder / f"{name}.csv").write_text("\n".join(lines) + "\n")


async def pages(call: Any, request: Any, name: str) -> list[Any]:
    """All of a list, one to a page."""
    found: list[Any] = []
    request.page_size = 1
    while True:
        answer = await call(request)
        found += getattr(answer, name)
        if not answer.next_page_token:
            return found
        request.page_token = answer.next_page_token


async def test_rule_15_auctions_and_halts_are_seen_as_time_reaches_them(template: Path, tmp_path: Path) -> None:
    directory = copied(template, tmp_path / "data")
    write_data_set(directory / "data-sets" / "acme")
    with running(directory) as service:
        async with client_of(service) as client:
            listing = await client.environments.ListDataSets(environment_service_pb2.ListDataSetsRequest(), timeout=60)
            assert list(listing.data_sets[0].kinds) == ["AUCTION", "HALT", "TRADE"]
            name = (made := await client.create(data_set_id="acme")).environment_id
            # Rule 29: of a session's auctions are those alone in which somebody could trade.
            listing = await client.environments.ListDataSets(environment_service_pb2.ListDataSetsRequest())
            assert listing.data_sets[0].description == "Refused records: 2 auction_outside_session."
            asked = {"symbol": "ACME", "environment_id": name}
            assert not (await client.prices.ListAuctions(Data.ListAuctionsRequest(**asked))).auctions
            assert not (await client.prices.ListHalts(Data.ListHaltsRequest(**asked))).halts
            async with inner_of(client, name):
                begun = await client.prices.StreamMarketData(Data.StreamMarketDataRequest(environment_id=name)).read()
                await client.move("Start", name)
                await client.until_state(name, "COMPLETED")
            auctions = await pages(client.prices.ListAuctions, Data.ListAuctionsRequest(**asked), "auctions")
            assert [(each.auction_type, each.price, each.size) for each in auctions] == [
                (OPENING, "10.05", "1200"),
                (CLOSING, "10.20", ""),
            ]
            halts = await pages(client.prices.ListHalts, Data.ListHaltsRequest(**asked), "halts")
            assert [each.halted for each in halts] == [True, False, True]
            at, until = halts[1].event_time, halts[2].event_time
            some = Data.ListHaltsRequest(**asked, start_time=at, end_time=until)
            assert list((await client.prices.ListHalts(some)).halts) == [halts[1]]
            # What was listed is what is streamed, in both encodings, to whoever names no kinds too.
            token = begun.resume_token
            rows = await collect(client, made.end_sequence, environment_id=name, resume_token=token)
            assert [each for message in rows for each in message.rows.auctions] == auctions
            assert [each for message in rows for each in message.rows.halts] == halts
            kinds = [market_data_pb2.DATA_KIND_HALT]
            call = client.prices.StreamMarketData(Data.StreamMarketDataRequest(environment_id=name, kinds=kinds))
            snapshot = (await call.read()).snapshot
            call.cancel()
            # Trading has stopped and not gone on; an auction's price is no last price.
            assert list(snapshot.halts) == [halts[2]]
            assert [each.last_price for each in snapshot.quotes] == ["10.10"]


async def test_what_is_not_in_the_environment_has_none(client: Any) -> None:
    made = await client.create(symbols=["AAPL"], start_time={"seconds": 1356998400})
    for request in (
        Data.ListAuctionsRequest(symbol="MSFT", environment_id=made.environment_id),
        Data.ListHaltsRequest(symbol="NOBODY", environment_id=made.environment_id),
    ):
        call = getattr(client.prices, type(request).__name__.removesuffix("Request"))
        assert (await refused(call(request)))[:2] == ("NOT_FOUND", "INSTRUMENT_NOT_FOUND")
        request.ClearField("environment_id")
        request.environment_id = "nobody"
        request.symbol = "AAPL"
        assert (await refused(call(request)))[:2] == ("NOT_FOUND", "ENVIRONMENT_NOT_FOUND")
