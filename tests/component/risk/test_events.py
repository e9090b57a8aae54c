"""Limits by scope, the audit of changes, and the stream of what happened, through the real service (rules 2 and 4)."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from decimal import Decimal
from pathlib import Path
from typing import Any

import grpc
import pytest
from tickmesh.risk.v1 import risk_event_pb2, risk_pb2
from tickmesh.risk.v1 import risk_gate_service_pb2 as gate_pb2
from tickmesh.risk.v1 import risk_service_pb2 as messages

from services.chassis.errors import ApiError
from services.domain.orders.order import ExecType, OrderEvent, OrderState, Refusal, Side
from services.risk.servicer import EDGE_KEY
from tests.component.risk.world import ENVIRONMENT, Desk, World, accepted, filled, risk_of, timestamp

KINDS = {number: name.removeprefix("RISK_EVENT_KIND_") for name, number in risk_event_pb2.RiskEventKind.items()}
ALL = [name for name in KINDS.values() if name != "UNSPECIFIED"]


async def set_limit(desk: Desk, kind: str, bound: str, **where: str) -> risk_pb2.Limit:
    limit_type = risk_pb2.LimitType.Value(f"LIMIT_TYPE_{kind}")
    request = messages.SetLimitRequest(environment_id=ENVIRONMENT, limit_type=limit_type, bound=bound, **where)
    return await desk.risk.SetLimit(request)


def refused(order: Any, limit: str, at: int) -> OrderEvent:
    after = order._replace(
        state=OrderState.REJECTED, refusal=Refusal("LIMIT_EXCEEDED", limit, Decimal(5), Decimal(10)), event_count=1
    )
    return OrderEvent(ExecType.REJECTED, after, 0, at)


async def some(stream: Any, number: int) -> list[risk_event_pb2.StreamRiskEventsResponse]:
    """Messages until they have brought so many events."""
    found: list[risk_event_pb2.StreamRiskEventsResponse] = []
    async with asyncio.timeout(30):
        while sum(len(each.risk_events.risk_events) for each in found) < number:
            found.append(await stream.read())
    return found


def told(messages: Sequence[risk_event_pb2.StreamRiskEventsResponse]) -> list[risk_event_pb2.RiskEvent]:
    return [event for each in messages for event in each.risk_events.risk_events]


@pytest.fixture
async def desk(world: World, tmp_path: Path) -> AsyncIterator[Desk]:
    world.open_portfolio("p1")
    async with risk_of(world, tmp_path, risk_store_interval_ms=20) as made:
        await made.connect()
        yield made


@pytest.mark.parametrize(
    ("where", "limit_id"),
    [
        ({}, "~~MAX_ORDER_QUANTITY"),
        ({"portfolio_id": "p1"}, "~p1~MAX_ORDER_QUANTITY"),
        ({"strategy_id": "s"}, "~~MAX_ORDER_QUANTITY~s~"),
        ({"symbol": "A"}, "~~MAX_ORDER_QUANTITY~~A"),
        ({"portfolio_id": "p1", "symbol": "A"}, "~p1~MAX_ORDER_QUANTITY~~A"),
        ({"strategy_id": "s", "symbol": "A"}, "~~MAX_ORDER_QUANTITY~s~A"),
    ],
)
async def test_rule_4_a_limit_of_any_scope_refuses_and_its_check_is_told(
    desk: Desk, where: dict[str, str], limit_id: str
) -> None:
    limit = await set_limit(desk, "MAX_ORDER_QUANTITY", "5", **where)
    assert limit.limit_id == f"{ENVIRONMENT}{limit_id}"
    assert (limit.portfolio_id, limit.strategy_id, limit.symbol) == tuple(
        where.get(name, "") for name in ("portfolio_id", "strategy_id", "symbol")
    )
    [passed, beyond] = await desk.check(
        desk.order(quantity="5", strategy_id="s"), desk.order(quantity="6", strategy_id="s")
    )
    assert (beyond.refusal.limit, beyond.refusal.bound, beyond.refusal.value) == ("max_order_quantity", "5", "6")
    for verdict, value in ((passed, "5"), (beyond, "6")):
        [check] = verdict.checks
        assert (check.limit, check.bound, check.value) == ("max_order_quantity", "5", value)
        assert (check.portfolio_id, check.strategy_id, check.symbol) == tuple(
            where.get(name, "") for name in ("portfolio_id", "strategy_id", "symbol")
        )
    for filters, found in ((where, 1), ({"symbol": "B"}, 0), ({"strategy_id": "t"}, 0)):
        listed = await desk.risk.ListLimits(messages.ListLimitsRequest(environment_id=ENVIRONMENT, **filters))
        assert len(listed.limits) == found
    deleted = await desk.risk.DeleteLimit(messages.DeleteLimitRequest(limit_id=limit.limit_id))
    assert deleted.version == 2
    [verdict] = await desk.check(desk.order(quantity="6", strategy_id="s"))
    assert verdict.HasField("reservation")
    assert not verdict.checks


async def test_a_symbol_that_does_not_trade_there_is_refused(desk: Desk) -> None:
    with pytest.raises(ApiError) as error:
        await set_limit(desk, "RESTRICTED", "1", symbol="ZZZZ")
    assert error.value.reason == "INSTRUMENT_NOT_IN_ENVIRONMENT"


async def test_the_changes_of_limits_say_who_set_what_from_what_and_where(world: World, tmp_path: Path) -> None:
    world.open_portfolio("p1")
    async with risk_of(world, tmp_path) as desk:
        await desk.connect()
        await set_limit(desk, "MAX_ORDER_QUANTITY", "5", strategy_id="s", symbol="A")
        order = desk.order(quantity="5", strategy_id="s")
        world.commit(accepted(order, (await desk.check(order))[0], at=10))
        await set_limit(desk, "MAX_ORDER_QUANTITY", "6", strategy_id="s", symbol="A")
        switch = {"environment_id": ENVIRONMENT, "scope": risk_pb2.KILL_SWITCH_SCOPE_STRATEGY, "target_id": "t"}
        await desk.risk.EngageKillSwitch(messages.EngageKillSwitchRequest(**switch, reason="drill"))
        limit_id = f"{ENVIRONMENT}~~MAX_ORDER_QUANTITY~s~A"
        await desk.risk.DeleteLimit(messages.DeleteLimitRequest(limit_id=limit_id))
    async with risk_of(world, tmp_path) as desk:
        changes, token = [], ""
        while True:
            request = messages.ListLimitChangesRequest(environment_id=ENVIRONMENT, page_size=2, page_token=token)
            page = await desk.risk.ListLimitChanges(request)
            changes += page.limit_changes
            if not (token := page.next_page_token):
                break
        assert [(each.previous_bound, each.limit.bound, each.deleted, each.sequence) for each in changes] == [
            ("", "5", False, 1),
            ("5", "6", False, 2),
            ("6", "6", True, 4),
        ]
        assert [each.limit.version for each in changes] == [1, 2, 3]
        assert {each.limit.limit_id for each in changes} == {limit_id}
        assert [each.after_order_id for each in changes] == ["", order.order_id, order.order_id]
        assert {(each.limit.principal, each.limit.tape_sequence) for each in changes} == {("local", 10)}
        request = messages.ListRiskEventsRequest(environment_id=ENVIRONMENT)
        events = (await desk.risk.ListRiskEvents(request)).risk_events
        assert [KINDS[each.kind] for each in events] == [
            "LIMIT_CHANGED",
            "LIMIT_CHANGED",
            "KILL_SWITCH_CHANGED",
            "LIMIT_CHANGED",
        ]
        assert (events[2].kill_switch.engaged, events[2].kill_switch.reason, events[2].strategy_id) == (
            True,
            "drill",
            "t",
        )
        assert (events[1].limit, events[1].bound, events[1].symbol) == ("max_order_quantity", "6", "A")
        assert events[1].limit_change == changes[1]


async def test_breaches_and_near_breaches_are_told_in_order_and_filtered(world: World, desk: Desk) -> None:
    await set_limit(desk, "MAX_POSITION_QUANTITY", "10", portfolio_id="p1")
    stream = desk.risk.StreamRiskEvents(messages.StreamRiskEventsRequest(environment_id=ENVIRONMENT, after_sequence=0))
    assert KINDS[told(await some(stream, 1))[0].kind] == "LIMIT_CHANGED"
    [verdict] = await desk.check(order := desk.order(quantity="9"))
    event = accepted(order, verdict, at=10)
    world.commit(
        event, filled(event, "9", "100", at=10), refused(desk.order(quantity="2"), "max_position_quantity", 10)
    )
    await world.fold(1, 11)
    breach, near = told(await some(stream, 2))
    assert (KINDS[breach.kind], breach.order_id, breach.portfolio_id, breach.symbol) == (
        "BREACH",
        f"{ENVIRONMENT}-2",
        "p1",
        "A",
    )
    assert (breach.limit, breach.bound, breach.value, breach.sequence) == ("max_position_quantity", "5", "10", 2)
    assert (KINDS[near.kind], near.limit, near.bound, near.value) == ("NEAR_BREACH", "max_position_quantity", "10", "9")
    assert (near.portfolio_id, near.symbol, near.tape_sequence) == ("p1", "A", 10)
    assert near.HasField("market_time")
    for kinds, number in ((["BREACH"], 1), (["NEAR_BREACH", "BREACH"], 2), (ALL, 3), ([], 3), (["CLEARED"], 0)):
        numbers = [risk_event_pb2.RiskEventKind.Value(f"RISK_EVENT_KIND_{each}") for each in kinds]
        request = messages.ListRiskEventsRequest(environment_id=ENVIRONMENT, kinds=numbers, portfolio_id="p1")
        assert len((await desk.risk.ListRiskEvents(request)).risk_events) == number
    figures = await desk.figures()
    [usage] = figures.limits
    assert (usage.limit_type, usage.symbol, usage.bound, usage.value) == (
        risk_pb2.LIMIT_TYPE_MAX_POSITION_QUANTITY,
        "A",
        "10",
        "9",
    )
    assert float(figures.leverage) == pytest.approx(float(figures.gross_exposure) / float(figures.equity), abs=1e-8)
    assert figures.concentration == figures.leverage


async def test_rule_2_a_stream_goes_on_after_a_restart_with_nothing_missed_and_nothing_twice(
    world: World, tmp_path: Path
) -> None:
    world.open_portfolio("p1")
    request = {"environment_id": ENVIRONMENT, "after_sequence": 0}
    seen: list[risk_event_pb2.RiskEvent] = []
    token = ""
    for life in range(1, 4):
        async with risk_of(world, tmp_path, risk_store_interval_ms=20) as desk:
            await desk.connect(epoch=life)
            stream = desk.risk.StreamRiskEvents(messages.StreamRiskEventsRequest(**request))
            orders = [desk.order(quantity="1")._replace(order_id=f"{ENVIRONMENT}-{life}{n}") for n in range(5)]
            world.commit(*(refused(each, "max_order_rate", 10) for each in orders))
            await set_limit(desk, "MAX_ORDER_RATE", str(life), portfolio_id="p1")
            received = await some(stream, 6)
            previous = seen[-1].sequence if seen else 0
            for message in received:
                assert message.previous_sequence == previous
                previous = message.sequence
            token = received[-1].resume_token
            seen += told(received)
            stream.cancel()
        request = {"environment_id": ENVIRONMENT, "resume_token": token}
    assert [each.sequence for each in seen] == list(range(1, 19))
    breaches = [each.order_id for each in seen if KINDS[each.kind] == "BREACH"]
    assert breaches == [f"{ENVIRONMENT}-{life}{n}" for life in range(1, 4) for n in range(5)]


async def test_a_runaway_guard_is_told_at_the_connection_and_when_it_changes(world: World, tmp_path: Path) -> None:
    world.open_portfolio("p1")
    async with risk_of(world, tmp_path) as desk:
        await set_limit(desk, "RUNAWAY_GUARD", "50")
        ready = await desk.connect(epoch=1)
        assert [(each.portfolio_id, each.bound) for each in ready.runaway_guards] == [("", "50")]
        await set_limit(desk, "RUNAWAY_GUARD", "7", portfolio_id="p1")
        guard = (await desk.call.read()).runaway_guard
        assert (guard.portfolio_id, guard.bound) == ("p1", "7")
        [verdict] = await desk.check(desk.order(quantity="1"))
        assert verdict.HasField("reservation")
        await desk.risk.DeleteLimit(messages.DeleteLimitRequest(limit_id=f"{ENVIRONMENT}~p1~RUNAWAY_GUARD"))
        guard = (await desk.call.read()).runaway_guard
        assert (guard.portfolio_id, guard.bound) == ("p1", "")
    async with risk_of(world, tmp_path) as desk:
        assert [each.bound for each in (await desk.connect(epoch=2)).runaway_guards] == ["50"]


async def test_a_figure_beyond_its_bound_is_told_once_and_so_are_the_ways_back_and_restarts_repeat_nothing(
    world: World, tmp_path: Path
) -> None:
    world.open_portfolio("p1")
    seen: list[tuple[str, str, str]] = []
    bounds: set[str] = set()
    for life, (bound, kinds) in enumerate(
        (("10", ["NEAR_BREACH"]), ("8", ["EXCEEDED"]), ("8", []), ("11", ["NEAR_BREACH"]), ("20", ["CLEARED"])), 1
    ):
        async with risk_of(world, tmp_path, risk_store_interval_ms=20) as desk:
            await desk.connect(epoch=life)
            await set_limit(desk, "MAX_POSITION_QUANTITY", bound, portfolio_id="p1")
            # Each time a buy and a sale of one unit: 9 are held after it.
            if life == 1:
                [verdict] = await desk.check(order := desk.order(quantity="9"))
                world.commit(event := accepted(order, verdict, at=10), filled(event, "9", "100", at=10))
            else:
                at = 10 + life
                sale, buy = desk.order(Side.SELL, "1"), desk.order(Side.BUY, "1")
                for each in (sale, buy):
                    named = each._replace(order_id=f"{ENVIRONMENT}-{life}{each.order_id[-1]}")
                    world.commit(event := accepted(named, gate_pb2.Verdict(), at=at), filled(event, "1", "100", at=at))
            await world.fold(life, 10 + life)
            stream = desk.risk.StreamRiskEvents(
                messages.StreamRiskEventsRequest(environment_id=ENVIRONMENT, after_sequence=0)
            )
            bounds.add(bound)
            found = told(await some(stream, len(bounds) + len(seen) + len(kinds)))
            stream.cancel()
            figures = [(KINDS[e.kind], e.bound, e.value) for e in found if KINDS[e.kind] != "LIMIT_CHANGED"]
            seen += [(kind, bound, "9") for kind in kinds]
            assert figures == seen


async def test_rule_23_a_runaway_is_stored_once_however_often_it_is_reported(world: World, tmp_path: Path) -> None:
    world.open_portfolio("p1")

    def report(begin_time: int, **other: Any) -> gate_pb2.ReportRunawayRequest:
        known = {"environment_id": ENVIRONMENT, "portfolio_id": "p1", "bound": "5", "value": 6, "principal": "ada"}
        return gate_pb2.ReportRunawayRequest(**(known | other), begin_time=timestamp(begin_time))

    async with risk_of(world, tmp_path) as desk:
        await desk.connect()
        await asyncio.gather(*(desk.gate.ReportRunaway(report(7)) for _ in range(5)))
        with pytest.raises(ApiError) as error:
            await desk.gate.ReportRunaway(report(7), metadata=[(EDGE_KEY, "1")])
        assert (error.value.code, error.value.reason) == (grpc.StatusCode.PERMISSION_DENIED, "NOT_OPEN_AT_EDGE")
        with pytest.raises(ApiError) as error:
            await desk.gate.ReportRunaway(report(7, environment_id="nobody"))
        assert error.value.reason == "ENVIRONMENT_NOT_FOUND"
        for wrong in ({"bound": "-1"}, {"value": 0}, {"portfolio_id": ""}):
            with pytest.raises(ApiError) as error:
                await desk.gate.ReportRunaway(report(7, **wrong))
            assert error.value.code is grpc.StatusCode.INVALID_ARGUMENT
    async with risk_of(world, tmp_path) as desk:
        await desk.gate.ReportRunaway(report(7))
        await desk.gate.ReportRunaway(report(8))
        request = messages.ListRiskEventsRequest(
            environment_id=ENVIRONMENT, kinds=[risk_event_pb2.RISK_EVENT_KIND_BREACH]
        )
        events = (await desk.risk.ListRiskEvents(request)).risk_events
    assert [(e.sequence, e.portfolio_id, e.limit, e.bound, e.value, e.order_id, e.principal) for e in events] == [
        (1, "p1", "runaway_guard", "5", "6", "", "ada"),
        (2, "p1", "runaway_guard", "5", "6", "", "ada"),
    ]


@pytest.mark.parametrize(
    ("request_", "code", "reason"),
    [
        ({"environment_id": "nobody"}, "NOT_FOUND", "ENVIRONMENT_NOT_FOUND"),
        ({"portfolio_id": "nobody"}, "NOT_FOUND", "PORTFOLIO_NOT_FOUND"),
        ({"environment_id": ENVIRONMENT, "resume_token": "x"}, "INVALID_ARGUMENT", "RESUME_TOKEN_INVALID"),
        ({"resume_token": "x", "after_sequence": 1}, "INVALID_ARGUMENT", "INVALID_ARGUMENT"),
    ],
)
async def test_a_stream_that_cannot_be_is_refused(desk: Desk, request_: dict[str, Any], code: str, reason: str) -> None:
    stream = desk.risk.StreamRiskEvents(messages.StreamRiskEventsRequest(**request_))
    with pytest.raises(ApiError) as error:
        await stream.read()
    assert (error.value.code, error.value.reason) == (grpc.StatusCode[code], reason)
