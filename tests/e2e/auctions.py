"""A data set of the NSE with auctions and halts, made from a seed: two days, Diwali's evening, and a day more."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path

import numpy as np

from services.console.scenario import Scenario, Trader

DATA_SET = "auctions"
SYMBOLS = ("AAA", "BBB")
CALLING = str(Path(__file__).with_name("calling.py"))
# Opens and closes, UTC. The 27th was a Sunday, with an hour of trading in the evening; on the 28th there was none.
SESSIONS = (
    ("2019-10-24 03:45", "2019-10-24 10:00"),
    ("2019-10-25 03:45", "2019-10-25 10:00"),
    ("2019-10-27 12:45", "2019-10-27 13:45"),
    ("2019-10-29 03:45", "2019-10-29 10:00"),
)
AUCTIONED = Scenario(
    data_set_id=DATA_SET,
    traders=(
        Trader("Caller", "caller", "calls", "caller", {"size": "40"}),
        Trader("Second", "second", "later", "caller", {"size": "90"}),
    ),
    symbols=SYMBOLS,
    cash=Decimal(400_000),
)


def write_auctions(data: Path, seed: int = 3) -> None:
    """Writes it below a mesh's data directory: a quote each ten minutes, before and after the sessions too.

    Each session opens and closes by an auction, but for the last of BBB, whose closing auction is missing. Sizes are
    such that some orders get a part. In each session of AAA trading stands still for half an hour, and once over an
    auction.
    """
    folder = data / "data-sets" / DATA_SET
    folder.mkdir(parents=True)
    instruments = [{"symbol": symbol, "calendar": "XNSE", "price_increment": "0.05"} for symbol in SYMBOLS]
    (folder / "data_set.json").write_text(json.dumps({"instruments": instruments}))
    files = {
        "quotes": ["symbol,time,bid,ask,bid_size,ask_size"],
        "auctions": ["symbol,time,auction,price,size"],
        "halts": ["symbol,time,state"],
    }
    rng = np.random.default_rng(seed)
    for number, symbol in enumerate(SYMBOLS):
        ticks = 2_000
        for day, (opens, closes) in enumerate(SESSIONS):
            first, last = _at(opens), _at(closes)
            time = first - timedelta(minutes=15 - number)
            while time < last + timedelta(minutes=20):
                ticks += int(rng.integers(-3, 4))
                sizes = rng.integers(2, 12, size=2) * 100
                quote = f"{ticks / 20:.2f},{(ticks + 1) / 20:.2f},{sizes[0]},{sizes[1]}"
                files["quotes"].append(f"{symbol},{_text(time)},{quote}")
                time += timedelta(minutes=10)
            auctions = [(first, "open"), (last, "close")]
            if (symbol, day) == (SYMBOLS[1], len(SESSIONS) - 1):
                del auctions[1]
            for at, which in auctions:
                price = (ticks + int(rng.integers(-4, 5))) / 20
                # Diwali's are given by their date, as those that are called before the open must be.
                told = _text(at)[:10] if day == 2 else _text(at)
                files["auctions"].append(f"{symbol},{told},{which},{price:.2f},{int(rng.integers(1, 9)) * 100}")
            if symbol == SYMBOLS[0]:
                stop = last - timedelta(minutes=45)
                files["halts"] += [f"{symbol},{_text(stop)},halt"]
                # On the second day it lasts over the closing auction, and until the next session.
                on = stop + timedelta(minutes=30) if day != 1 else last + timedelta(hours=2)
                files["halts"] += [f"{symbol},{_text(on)},resume"]
    for name, lines in files.items():
        (folder / f"{name}.csv").write_text("\n".join(lines) + "\n")


def _at(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


def _text(time: datetime) -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%SZ")
