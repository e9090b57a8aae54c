"""Whose each row is."""

import sqlite3
from pathlib import Path

from tests.component.marketdata.support import StrategyPeer, client_of, copied, inner_of, running


async def test_every_row_of_an_environment_says_whose_it_is(template: Path, tmp_path: Path) -> None:
    directory = copied(template, tmp_path / "data")
    with running(directory) as service:
        async with client_of(service) as client:
            made = await client.create(symbols=["AAPL"], start_time={"seconds": 1356998400})
            async with inner_of(client, made.environment_id):
                strategy = StrategyPeer(client, made.environment_id, "d")
                strategy.up()
                # A replay that starts first may be over before anybody has joined.
                await client.until(made.environment_id, lambda each: bool(strategy.heard("welcome")))
                await client.move("Start", made.environment_id)
                await client.until(made.environment_id, lambda each: bool(strategy.heard("decide")))
                await strategy.down()
        service.stop()
    (path,) = directory.glob("marketdata*.db")
    with sqlite3.connect(path) as database:
        for table in ("environments", "controls", "positions", "enrolments"):
            query = f"SELECT DISTINCT environment_id, principal, owner FROM {table}"
            assert database.execute(query).fetchall() == [(made.environment_id, made.owner, made.owner)]
