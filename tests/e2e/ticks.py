"""A data set of quotes and prints of a market that never closes, made from a seed."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np

START_NS = 1_400_000_000_000_000_000
STEP_NS = 1_000_000_000
DATA_SET, DEEP_DATA_SET = "ticks", "deep-ticks"


def write_ticks(data: Path, symbols: Sequence[str], count: int, seed: int, levels: int = 1) -> None:
    """Writes `ticks`, or `deep-ticks`, below a mesh's data directory: `count` quotes a symbol, one a second.

    Prices walk in cents around 100; sizes are such that an order of some dozen units takes several quotes. Every tenth
    quote of a symbol is followed by a print between bid and ask, and once in 200 trading stands still for a minute.
    Where quotes have more `levels` than the best, every fifth has none behind it, and every fifth one less.
    """
    folder = data / "data-sets" / (DATA_SET if levels == 1 else DEEP_DATA_SET)
    folder.mkdir(parents=True)
    instruments = [{"symbol": symbol, "calendar": "24/7", "price_increment": "0.01"} for symbol in symbols]
    (folder / "data_set.json").write_text(json.dumps({"instruments": instruments}))
    behind = "".join(f",bid_{n},bid_size_{n},ask_{n},ask_size_{n}" for n in range(2, levels + 1))
    quotes, trades = [f"symbol,time,bid,ask,bid_size,ask_size{behind}"], ["symbol,time,price,size"]
    halts = ["symbol,time,state"]
    rng = np.random.default_rng(seed)
    for number, symbol in enumerate(symbols):
        bids = np.maximum(10_000 + np.cumsum(rng.integers(-2, 3, size=count)), 1_000)
        spreads, sizes = rng.integers(1, 4, size=count), rng.integers(5, 60, size=(count, 2)) * 10
        for row in range(count):
            # No two records have the same time, so that their order is plain.
            time, bid, ask = START_NS + row * STEP_NS + number * 1_000_000, bids[row], bids[row] + spreads[row]
            given = levels - (row % 5 == 4) if row % 5 else 1
            more = _behind(bid, ask, sizes[row, 0], given, levels)
            quotes.append(f"{symbol},{time},{bid / 100:.2f},{ask / 100:.2f},{sizes[row, 0]},{sizes[row, 1]}{more}")
            if row % 200 == 100:
                halts += [f"{symbol},{time},halt", f"{symbol},{time + 60 * STEP_NS},resume"]
            if row % 10 == 9:
                price = bid + rng.integers(0, spreads[row] + 1)
                trades.append(f"{symbol},{time + STEP_NS // 2},{price / 100:.2f},{sizes[row, 0]}")
    (folder / "quotes.csv").write_text("\n".join(quotes) + "\n")
    (folder / "halts.csv").write_text("\n".join(halts) + "\n")
    (folder / "trades.csv").write_text("\n".join(trades) + "\n")


def _behind(bid: int, ask: int, size: int, given: int, named: int) -> str:
    """The cells of a quote's levels behind its best ones: a cent or two from each other, and larger the farther."""
    cells = [
        f",{(bid - 2 * n + 1) / 100:.2f},{size + 10 * n},{(ask + n) / 100:.2f},{size + 20 * n}" for n in range(1, given)
    ]
    return "".join(cells) + ",,,," * max(0, named - given)
