"""Own order events: held until they are decided on, none of others', none twice, none missing."""

import asyncio
from decimal import Decimal
from typing import Any

import pytest

from services.chassis.errors import ApiError
from services.domain.orders.order import ExecType, Order, OrderEvent, OrderType, Side, TimeInForce
from services.domain.tape import merge
from services.strategy.host.places import Place
from services.strategy.host.sites import OwnEvents, Sites
from services.strategy.records import Deployment, Moment, Progress, State
from services.wire.environments import Environment
from tests.unit.domain.markets import daily, walk


def event(deployment_id: str, number: int) -> OrderEvent:
    order = Order(
        "r1-1", "1-1-1", "p1", "A", Side.BUY, OrderType.MARKET, TimeInForce.GTC, Decimal(1), deployment_id=deployment_id
    )
    return OrderEvent(ExecType.NEW, order, 0, 0)


def place(deployment_id: str, head: int, *, ending: bool = False, environment_id: str = "r1") -> Place:
    deployment = Deployment(
        deployment_id, 1, "s1", "p1", environment_id, "", 0, "local", "local", deployment_number=1, state=State.RUNNING
    )
    return Place(deployment, Progress(3, 3, head, 0, "{}" if head else ""), ending=ending)


async def test_events_are_held_until_they_are_decided_on() -> None:
    events = OwnEvents(10, lambda _: True)
    waiting = asyncio.create_task(events.own("d1", 13))
    events.add(11, event("d1", 1))
    events.add(12, None)
    await asyncio.sleep(0)
    assert not waiting.done()
    events.add(13, event("d1", 2))
    events.add(14, event("d1", 3))
    assert await waiting == [event("d1", 1), event("d1", 2)]
    assert await events.own("d1", 13) == [event("d1", 1), event("d1", 2)]
    assert await events.own("d2", 13) == []
    events.decided("d1", 13)
    events.decided("d2", 13)
    assert await events.own("d1", 14) == [event("d1", 3)]
    events.forget("d1")
    assert await events.own("d1", 14) == []


async def test_an_event_counts_once_and_a_gap_is_seen() -> None:
    events = OwnEvents(0, lambda _: True)
    events.add(1, event("d1", 1))
    events.add(1, event("d1", 1))
    assert await events.own("d1", 1) == [event("d1", 1)]
    with pytest.raises(ApiError, match="Order event 2 is missing"):
        events.add(3, event("d1", 3))
    assert events.arrived == 1


class Market:
    """One environment's, asked for how often."""

    def __init__(self) -> None:
        self.asked = 0

    async def environment(self, environment_id: str) -> Environment:
        self.asked += 1
        return Environment(environment_id, ("A",), end_sequence=10)

    async def instruments(self, symbols: Any) -> Any:
        return {}

    async def tape(self, environment: Environment) -> Any:
        return merge([daily("A", walk(1, 10))])


class Feed:
    """Says what it was started with."""

    def __init__(self) -> None:
        self.started: list[int] = []
        self.ended = 0

    async def run(self, environment_id: str, events: OwnEvents) -> None:
        self.started.append(events.arrived)
        try:
            await asyncio.Event().wait()
        finally:
            self.ended += 1


@pytest.mark.parametrize(
    ("places", "heard"),
    [
        ([place("d1", 7), place("d2", 5)], 5),
        ([place("d1", 7), place("d2", 0)], 7),
        ([place("d1", 0)], 9),
        ([place("d1", 7), place("d2", 2, ending=True), place("d3", 1, environment_id="r2")], 7),
    ],
)
async def test_events_are_read_from_the_first_that_somebody_does_not_know(places: list[Place], heard: int) -> None:
    market, feed = Market(), Feed()
    sites = Sites(market, feed, {each.deployment.deployment_id: each for each in places})
    site = await sites.get(Moment("r1", 4, 4, 9))
    assert await sites.get(Moment("r1", 5, 5, 9)) is site
    await asyncio.sleep(0)
    assert (feed.started, market.asked) == ([heard], 1)
    assert [each for each in ("d1", "d2", "d3", "d4") if site.events.wanted(each)] == [
        each.deployment.deployment_id for each in places if not each.ending
    ]
    for each in places:
        each.ending = True
        sites.leave(each)
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    assert feed.ended == 1
    assert await sites.get(Moment("r1", 6, 6, 9)) is not site
    sites.close()
