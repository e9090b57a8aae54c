"""A strategy that sends what a scenario of the reference data does, and a data set of the bars of all of them."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from services.domain.market import Bar
from services.domain.strategy import Context, Strategy, parameter
from tests.unit.domain.venue.fill_semantics.reference import REFERENCES, orders_of
from tests.unit.domain.venue.fill_semantics.scenario import ALL, place

DATA_SET = "reference"
MINUTE = 60_000_000_000
BY_SYMBOL = {each.name[0]: each for each in REFERENCES if each.settings is ALL}
"""Each trades a symbol of its own: the first letter of its name."""


class Scripted(Strategy):
    """Sends each action at the close of its bar."""

    kind = "scripted"

    @dataclass(frozen=True)
    class Parameters:
        symbol: str = parameter("A", "Whose scenario.")

    def __init__(self, parameters: Any, symbols: tuple[str, ...]) -> None:
        super().__init__(parameters, symbols)
        self.bars = 0

    def on_bar(self, context: Context, bar: Bar) -> None:
        if bar.symbol != self.parameters.symbol:
            return
        for action in BY_SYMBOL[bar.symbol].actions.get(self.bars, []):
            place(context, orders_of(1, action), bar.symbol)
        self.bars += 1

    def state(self) -> dict[str, Any]:
        return {"bars": self.bars}

    def restore(self, state: Mapping[str, Any]) -> None:
        self.bars = state["bars"]


def write_bars(data: Path) -> None:
    """Writes the data set `reference` below a mesh's data directory: minutes of markets that never close."""
    folder = data / "data-sets" / DATA_SET
    folder.mkdir(parents=True)
    instruments = [{"symbol": symbol, "calendar": "24/7"} for symbol in BY_SYMBOL]
    (folder / "data_set.json").write_text(json.dumps({"instruments": instruments}))
    rows = ["symbol,start,open,high,low,close,volume"]
    for symbol, each in BY_SYMBOL.items():
        for number, bar in enumerate(each.bars):
            rows.append(f"{symbol},{1_400_000_040_000_000_000 + number * MINUTE},{','.join(map(str, bar))}")
    (folder / "bars.1m.csv").write_text("\n".join(rows) + "\n")
