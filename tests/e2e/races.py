"""Cancel, replacement and fill race for one order: `python -m tests.e2e.races --races 10000`.

A market of quotes moves on while clients of the same portfolio ask for different things of the same order, at once, by
calls and by sessions. Whatever wins, every word said to anybody must hold, and all who watch must see one history.
Prints what became of the orders. Ends with 1 at the first thing wrong, and leaves that mesh's data and logs where it
says.
"""

from __future__ import annotations

import argparse
import asyncio
import random
import sys
import time
from collections import Counter, defaultdict
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from decimal import Decimal

from tickmesh.common.v1 import money_pb2
from tickmesh.marketdata.v1 import environment_pb2, environment_service_pb2, market_data_service_pb2
from tickmesh.order.v1 import order_pb2, order_service_pb2, venue_model_pb2, venue_model_service_pb2
from tickmesh.portfolio.v1 import portfolio_service_pb2

from services.console.scenario import Scenario
from services.console.trial.trial import market_of
from services.marketdata.settings import Settings as MarketdataSettings
from tests.e2e.books import World, list_all
from tests.e2e.chronicle import Chronicle
from tests.e2e.client import Way
from tests.e2e.command import in_mesh
from tests.e2e.entry import entering
from tests.e2e.mesh import Clients, Mesh, repeated
from tests.e2e.racers import SYMBOLS, Racer
from tests.e2e.ticks import DATA_SET, write_ticks
from tests.e2e.witness import Witness

PORTFOLIOS = 3
CASH = "100000000"
# Two quotes a market second: some hundred records a second, of which an order that wants to trade meets a few.
QUOTES, MULTIPLE = 20_000, 80.0
AT_ONCE = 24
RACES_OF_AN_ENVIRONMENT = 1_000
RACES_OF_A_CHECK = 250


@dataclass
class Outcome:
    """What became of the orders that were raced for."""

    races: int = 0
    orders: int = 0
    answers: int = 0
    events: int = 0
    watchers: int = 0
    seconds: float = 0.0
    ends: Counter[str] = field(default_factory=Counter)

    def count(self, world: World) -> None:
        """Counts those of one environment."""
        for client in world.customers:
            self.answers += client.answers
            for told in client.told.values():
                life = world.chronicle.lives[told.order_id]
                state = order_pb2.OrderState.Name(life[-1].state).removeprefix("ORDER_STATE_")
                partly = state != "FILLED" and Decimal(life[-1].cum_quantity or 0) > 0
                self.orders += 1
                self.ends[f"{state} in part filled" if partly else state] += 1
                self.ends["replaced"] += any(each.order is not None for each in told.changes.values())
                reasons = [each.refusal.reason for each in told.changes.values() if each.refusal is not None]
                self.ends.update(f"replacement refused: {reason}" for reason in reasons)
                self.ends["cancel refused: ORDER_ENDED"] += bool(told.ended)
                self.ends["ended with its session"] += life[-1].cancel_reason == order_pb2.CANCEL_REASON_DISCONNECTED
        self.events += len(world.witnesses[0].events)

    def __str__(self) -> str:
        rows = [f"  {count:>7} {what}" for what, count in sorted(self.ends.items())]
        seen = f"{self.events} events seen alike by {self.watchers} watchers"
        done = f"{self.races} races, {self.orders} orders, {self.answers} answers"
        return "\n".join([f"{done}, {seen}, {self.seconds:.0f} s", *rows])


async def run_races(mesh: Mesh, seed: int, races: int, outcome: Outcome, *, name: str = "r") -> None:
    """So many races in one new environment, checked on the way and at its end."""
    chance, began = random.Random(seed), time.monotonic()
    async with AsyncExitStack() as stack:
        connections = [await stack.enter_async_context(mesh.clients()) for _ in range(3)]
        world = await create(mesh, connections[0], name, chance)
        late: list[Witness] = []
        try:
            for done in range(0, races, AT_ONCE):
                await lap(world, connections, done, min(AT_ONCE, races - done))
                if done % RACES_OF_A_CHECK < AT_ONCE:
                    late += watch_more(world, connections, chance)
                    await world.pause()
                    await world.check()
                    await world.resume()
            await world.end()
            await same_history(world, late)
        except BaseException:
            print(f"seed {seed}, {races} races")
            raise
        finally:
            await world.close()
            for witness in late:
                await witness.close()
    outcome.races += races
    outcome.count(world)
    outcome.watchers += len(late) + len(world.witnesses)
    outcome.seconds += time.monotonic() - began


async def create(mesh: Mesh, clients: Clients, name: str, chance: random.Random) -> World:
    """A market that moves, and those who trade it."""
    environment_id = f"races-{name}"
    request = environment_service_pb2.CreateReplayRequest(
        environment_id=environment_id,
        data_set_id=DATA_SET,
        symbols=SYMBOLS,
        pace=environment_pb2.Pace(multiple=MULTIPLE),
    )
    await repeated(clients.environments.CreateReplay, request, each=60.0)
    touching = venue_model_pb2.FillModel(fill_on_touch=True)
    setting = venue_model_service_pb2.SetVenueModelRequest(environment_id=environment_id, fills=touching)
    await repeated(clients.models.SetVenueModel, setting)
    racers = []
    for number in range(PORTFOLIOS):
        portfolio_id = f"{environment_id}-{number}"
        cash = money_pb2.Money(currency_code="USD", amount=CASH)
        opening = portfolio_service_pb2.CreatePortfolioRequest(
            portfolio_id=portfolio_id, environment_id=environment_id, initial_cash=cash
        )
        await repeated(clients.portfolios.CreatePortfolio, opening)
        racers.append(Racer(clients, environment_id, portfolio_id, random.Random(chance.randrange(10**9))))
    tape = Scenario(DATA_SET, (), symbols=SYMBOLS)
    market = await market_of(tape, MarketdataSettings(data_directory=mesh.data))
    chronicle = Chronicle(market, {each.portfolio_id: Decimal(CASH) for each in racers})
    begin = environment_service_pb2.StartReplayRequest(environment_id=environment_id)
    await repeated(clients.environments.StartReplay, begin)
    witnesses = [Witness(clients, environment_id)]
    witnesses += [Witness(clients, environment_id, each.portfolio_id) for each in racers]
    return World(clients, environment_id, racers, chronicle, witnesses)


async def lap(world: World, connections: list[Clients], first: int, count: int) -> None:
    """So many races side by side; what one of two sessions created and is still open then ends with it."""
    quotes = await last_quotes(world)
    _, second, third = connections
    async with entering(second.orders) as plain, entering(third.orders, cancel_on_disconnect=True) as ending:
        calls, sessions = [Way.of(each.orders) for each in connections], [Way.of(plain), Way.of(ending)]
        running = []
        for number in range(first, first + count):
            racer = world.customers[number % len(world.customers)]
            assert isinstance(racer, Racer)
            racer.quotes = quotes
            running.append(racer.race(number, calls, sessions))
        await asyncio.gather(*running)


async def last_quotes(world: World) -> dict[str, tuple[Decimal, Decimal]]:
    """Bid and ask of every symbol, once there are any."""
    request = market_data_service_pb2.ListQuotesRequest(environment_id=world.environment_id)
    async with asyncio.timeout(30):
        found = []
        while len(found) < len(SYMBOLS):
            found = (await repeated(world.clients.market.ListQuotes, request)).quotes
    return {each.symbol: (Decimal(each.bid_price), Decimal(each.ask_price)) for each in found}


def watch_more(world: World, connections: list[Clients], chance: random.Random) -> list[Witness]:
    """Two more who watch: one from any point of the past, and one who goes on where another one stands."""
    customer, clients = chance.choice(world.customers), chance.choice(connections)
    past = chance.randint(0, world.witnesses[0].last)
    portfolio_id = chance.choice(("", customer.portfolio_id))
    made = Witness(clients, world.environment_id, portfolio_id, after=past)
    return [made, chance.choice(world.witnesses).fork(clients)]


async def same_history(world: World, late: list[Witness]) -> None:
    """Who came later saw the rest of it, and who asks for one order's events gets those."""
    every = world.witnesses[0].events
    for witness in late:
        portfolio_id = witness.portfolio_id
        own = [
            each for each in every if each.sequence > witness.after and portfolio_id in {"", each.order.portfolio_id}
        ]
        await witness.come_to(own[-1].sequence if own else 0)
        assert witness.events == own
    of_order: dict[str, list[order_pb2.OrderEvent]] = defaultdict(list)
    for event in every:
        of_order[event.order.order_id].append(event)

    async def listed(order_id: str) -> None:
        request = order_service_pb2.ListOrderEventsRequest(order_id=order_id)
        assert await list_all(world.clients.orders.ListOrderEvents, request, "order_events") == of_order[order_id]

    ids = list(of_order)
    for start in range(0, len(ids), AT_ONCE):
        await asyncio.gather(*map(listed, ids[start : start + AT_ONCE]))


async def races(mesh: Mesh, seed: int, count: int) -> Outcome:
    """So many races, some to an environment; raises at the first thing that is wrong."""
    write_ticks(mesh.data, SYMBOLS, QUOTES, seed)
    outcome = Outcome()
    for start in range(0, count, RACES_OF_AN_ENVIRONMENT):
        some = min(RACES_OF_AN_ENVIRONMENT, count - start)
        await run_races(mesh, seed + start, some, outcome, name=str(start))
        print(f"{outcome.races} of {count}", flush=True)
    return outcome


def main() -> int:
    """The command."""
    parser = argparse.ArgumentParser(prog="python -m tests.e2e.races", description=__doc__)
    parser.add_argument("--races", type=int, default=10_000)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--postgres", action="store_true", help="instead of SQLite")
    options = parser.parse_args()

    async def run(mesh: Mesh) -> None:
        print(await races(mesh, options.seed, options.races))

    in_mesh("races", run, postgres=options.postgres)
    return 0


if __name__ == "__main__":
    sys.exit(main())
