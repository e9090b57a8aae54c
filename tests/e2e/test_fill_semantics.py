"""The scenarios that other engines were run on, each with an account of its own, in the running mesh."""

from __future__ import annotations

from decimal import Decimal
from pathlib import Path

from services.console.scenario import Scenario, Trader
from services.domain.backtest.result import Result
from services.domain.risk.limits import LimitChange, make_limit
from tests.e2e.conftest import Meshes
from tests.e2e.scripted import BY_SYMBOL, DATA_SET, write_bars
from tests.e2e.trading import Replayed, trial
from tests.unit.domain.venue.fill_semantics.scenario import backtest

SCRIPTED = str(Path(__file__).with_name("scripted.py"))
WANTED = Scenario(
    data_set_id=DATA_SET,
    traders=tuple(Trader(each.name, each.name, each.name, "scripted", {"symbol": s}) for s, each in BY_SYMBOL.items()),
    symbols=tuple(BY_SYMBOL),
    cash=Decimal(10_000),
    limits=tuple(
        LimitChange(0, make_limit("short_sale", Decimal(1), each.name)) for each in BY_SYMBOL.values() if each.shorts
    ),
)


def told(result: Result, portfolio_id: str) -> list[tuple[str, str, Decimal, Decimal, str]]:
    """What became of a portfolio's orders: kind of event, side, quantity and price filled, why it was refused."""
    return [
        (
            event.exec_type.name,
            event.order.side.name,
            event.last_quantity,
            event.last_price,
            event.order.refusal.reason if event.order.refusal else "",
        )
        for event in result.events
        if event.order.portfolio_id == portfolio_id
    ]


async def test_rules_8_to_19_scenarios_of_the_reference_data_come_to_the_table_s_outcome(meshes: Meshes) -> None:
    async with meshes(strategy_path=SCRIPTED) as mesh, mesh.clients() as clients:
        write_bars(mesh.data)
        wanted = await trial(WANTED, mesh, SCRIPTED)
        for each in BY_SYMBOL.values():
            alone, _ = backtest(each.scenario)
            assert told(wanted.result, each.name) == told(alone, "p")
            assert wanted.result.ledgers[each.name].cash == alone.ledgers["p"].cash
        assert len(wanted.result.fills) == 8
        replay = Replayed(clients, WANTED, "reference", SCRIPTED)
        await replay.make()
        await replay.start()
        await replay.ended()
        assert await replay.digest(mesh) == wanted.digest
