"""A data set of quotes and prints of a market that never closes, made from a seed."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np

START_NS = 1_400_000_000_000_000_000
STEP_NS = 1_000_000_000
DATA_SET = "ticks"


def write_ticks(data: Path, symbols: Sequence[str], count: int, seed: int) -> None:
    """Writes the data set `ticks` below a mesh's data directory: `count` quotes a symbol, one a second.

    Prices walk in cents around 100; sizes are such that an order of some dozen units takes several quotes. Every tenth
    quote of a symbol is followed by a print between bid and ask, and once in 200 trading stands still for a minute.
    """
    folder = data / "data-sets" / DATA_SET
    folder.mkdir(parents=True)
    instruments = [{"symbol": symbol, "calendar": "24/7", "price_increment": "0.01"} for symbol in symbols]
    (folder / "data_set.json").write_text(json.dumps({"instruments": instruments}))
    quotes, trades = ["symbol,time,bid,ask,bid_size,ask_size"], ["symbol,time,price,size"]
    halts = ["symbol,time,state"]
    rng = np.random.default_rng(seed)
    for number, symbol in enumerate(symbols):
        bids = np.maximum(10_000 + np.cumsum(rng.integers(-2, 3, size=count)), 1_000)
        spreads, sizes = rng.integers(1, 4, size=count), rng.integers(5, 60, size=(count, 2)) * 10
        for row in range(count):
            # No two records have the same time, so that their order is plain.
            time, bid, ask = START_NS + row * STEP_NS + number * 1_000_000, bids[row], bids[row] + spreads[row]
            quotes.append(f"{symbol},{time},{bid / 100:.2f},{ask / 100:.2f},{sizes[row, 0]},{sizes[row, 1]}")
            if row % 200 == 100:
                halts += [f"{symbol},{time},halt", f"{symbol},{time + 60 * STEP_NS},resume"]
            if row % 10 == 9:
                price = bid + rng.integers(0, spreads[row] + 1)
                trades.append(f"{symbol},{time + STEP_NS // 2},{price / 100:.2f},{sizes[row, 0]}")
    (folder / "quotes.csv").write_text("\n".join(quotes) + "\n")
    (folder / "halts.csv").write_text("\n".join(halts) + "\n")
    (folder / "trades.csv").write_text("\n".join(trades) + "\n")
