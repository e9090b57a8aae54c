"""Limits and kill switches through the real service (rules 4 and 5)."""

import asyncio
import sqlite3
from collections.abc import Awaitable, Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from grpc import StatusCode
from grpc_health.v1 import health_pb2, health_pb2_grpc
from tickmesh.risk.v1 import risk_pb2
from tickmesh.risk.v1 import risk_service_pb2 as messages

from services.chassis.calls.channel import connect
from services.chassis.errors import ApiError
from services.domain.orders.order import OrderType, Side
from tests.component.risk.world import ENVIRONMENT, Desk, World, accepted, filled, risk_of

KILL = {"environment_id": ENVIRONMENT, "scope": risk_pb2.KILL_SWITCH_SCOPE_ENVIRONMENT}


async def set_limit(desk: Desk, kind: str, bound: str, portfolio_id: str = "p1") -> risk_pb2.Limit:
    limit_type = risk_pb2.LimitType.Value(f"LIMIT_TYPE_{kind}")
    return await desk.risk.SetLimit(
        messages.SetLimitRequest(
            environment_id=ENVIRONMENT, portfolio_id=portfolio_id, limit_type=limit_type, bound=bound
        )
    )


async def verdict_on(desk: Desk, side: Side = Side.BUY, quantity: str = "10", **terms: Any) -> Any:
    [verdict] = await desk.check(desk.order(side, quantity, **terms), time=terms.pop("time", 0))
    return verdict


@pytest.mark.parametrize("portfolio_id", ["p1", ""])
@pytest.mark.parametrize(
    ("kind", "bound", "fits", "beyond", "value", "reason"),
    [
        ("MAX_ORDER_NOTIONAL", "1000", {"quantity": "10"}, {"quantity": "11"}, "1100", "LIMIT_EXCEEDED"),
        ("MAX_POSITION_QUANTITY", "10", {"quantity": "10"}, {"quantity": "11"}, "11", "LIMIT_EXCEEDED"),
        (
            "PRICE_BAND",
            "0.05",
            {"order_type": OrderType.LIMIT, "limit_price": "95"},
            {"order_type": OrderType.LIMIT, "limit_price": "94.99"},
            "0.0501",
            "PRICE_OUT_OF_BAND",
        ),
    ],
)
async def test_rule_4_a_limit_passes_at_its_bound_and_refuses_beyond_with_both(
    world: World,
    tmp_path: Path,
    kind: str,
    bound: str,
    fits: dict[str, Any],
    beyond: dict[str, Any],
    value: str,
    reason: str,
    portfolio_id: str,
) -> None:
    world.open_portfolio("p1")
    async with risk_of(world, tmp_path) as desk:
        await desk.connect()
        limit = await set_limit(desk, kind, bound, portfolio_id)
        assert limit.limit_id == f"{ENVIRONMENT}~{portfolio_id}~{kind}"
        assert (limit.bound, limit.version, limit.tape_sequence, limit.principal) == (bound, 1, 10, "local")
        [refused] = await desk.check(desk.order(**beyond))
        refusal = refused.refusal
        assert (refusal.reason, refusal.limit, refusal.bound) == (reason, kind.lower(), bound)
        assert refusal.value == value
        assert (await desk.check(desk.order(**fits)))[0].HasField("reservation")


async def test_rule_4_the_order_rate_counts_market_minutes(world: World, tmp_path: Path) -> None:
    minute = 60_000_000_000
    world.open_portfolio("p1")
    async with risk_of(world, tmp_path) as desk:
        await desk.connect()
        await set_limit(desk, "MAX_ORDER_RATE", "2")
        orders = [desk.order(quantity="1") for _ in range(3)]
        verdicts = await desk.check(*orders, time=minute)
        assert [each.WhichOneof("outcome") for each in verdicts] == ["reservation", "reservation", "refusal"]
        assert (verdicts[2].refusal.reason, verdicts[2].refusal.value) == ("ORDER_RATE_EXCEEDED", "3")


async def test_gross_exposure_counts_positions_at_their_marks(world: World, tmp_path: Path) -> None:
    world.open_portfolio("p1")
    async with risk_of(world, tmp_path) as desk:
        await desk.connect()
        [verdict] = await desk.check(order := desk.order(quantity="10"))
        event = accepted(order, verdict, at=10)
        world.commit(event, filled(event, "10", "100", at=10))
        figures = await desk.figures()
        mark = float(figures.symbols[0].mark_price)
        assert mark > 0
        await set_limit(desk, "MAX_GROSS_EXPOSURE", f"{mark * 12:.4f}")
        assert (await verdict_on(desk, quantity="3")).refusal.limit == "max_gross_exposure"
        assert (await verdict_on(desk, quantity="2")).HasField("reservation")
        assert float(figures.gross_exposure) == pytest.approx(mark * 10)
        assert float(figures.equity) == pytest.approx(99_000 + mark * 10)


async def test_limits_are_versioned_listed_page_by_page_deleted_and_journalled(world: World, tmp_path: Path) -> None:
    world.open_portfolio("p1")
    async with risk_of(world, tmp_path) as desk:
        for bound, version in (("5", 1), ("5", 1), ("6", 2)):
            assert (await set_limit(desk, "MAX_ORDER_RATE", bound)).version == version
        await set_limit(desk, "SHORT_SALES", "1", "")
        await set_limit(desk, "MAX_ORDER_NOTIONAL", "1000.50")
        pages, token = [], ""
        while True:
            page = await desk.risk.ListLimits(
                messages.ListLimitsRequest(environment_id=ENVIRONMENT, page_size=2, page_token=token)
            )
            pages.append([limit.limit_id.removeprefix("replay-1~") for limit in page.limits])
            if not (token := page.next_page_token):
                break
        assert pages == [["p1~MAX_ORDER_NOTIONAL", "p1~MAX_ORDER_RATE"], ["~SHORT_SALES"]]
        request = messages.DeleteLimitRequest(limit_id="replay-1~p1~MAX_ORDER_RATE")
        deleted = await desk.risk.DeleteLimit(request)
        assert (deleted.bound, deleted.version) == ("6", 3)
        assert await desk.risk.DeleteLimit(request) == deleted
        assert len((await desk.risk.ListLimits(messages.ListLimitsRequest(portfolio_id="p1"))).limits) == 1
    async with risk_of(world, tmp_path) as desk:
        assert len((await desk.risk.ListLimits(messages.ListLimitsRequest())).limits) == 2
        assert (await set_limit(desk, "MAX_ORDER_RATE", "7")).version == 4
        await desk.connect()
        assert (await verdict_on(desk, quantity="11")).refusal.limit == "max_order_notional"
    with sqlite3.connect(tmp_path / "risk.db") as database:
        rows = database.execute("select sequence, kind, tape_sequence from events order by sequence").fetchall()
    kinds = ["LIMIT_SET"] * 4 + ["LIMIT_DELETED", "LIMIT_SET"]
    assert rows == [(number, kind, 10) for number, kind in enumerate(kinds, 1)]


async def test_rule_5_a_kill_switch_comes_in_order_with_verdicts_and_stops_new_orders(
    world: World, tmp_path: Path
) -> None:
    world.open_portfolio("p1")
    async with risk_of(world, tmp_path) as desk:
        await desk.connect()
        assert (await verdict_on(desk)).HasField("reservation")
        engaged = await desk.risk.EngageKillSwitch(messages.EngageKillSwitchRequest(**KILL, reason="drill"))
        assert (engaged.engaged, engaged.version, engaged.reason) == (True, 1, "drill")
        [verdict] = await desk.check(desk.order())
        assert [switch.version for switch in desk.switches] == [1]
        assert (verdict.refusal.reason, verdict.refusal.limit) == ("KILL_SWITCH_ENGAGED", "kill_switch")
        assert verdict.refusal.kill_switch_reason == "drill"
        again = await desk.risk.EngageKillSwitch(messages.EngageKillSwitchRequest(**KILL, reason="again"))
        assert again == engaged
        released = await desk.risk.ReleaseKillSwitch(messages.ReleaseKillSwitchRequest(**KILL))
        assert (released.engaged, released.version) == (False, 2)
        assert (await verdict_on(desk)).HasField("reservation")
        assert [switch.engaged for switch in desk.switches] == [True, False]
        assert await desk.risk.ReleaseKillSwitch(messages.ReleaseKillSwitchRequest(**KILL)) == released


async def test_rule_5_a_kill_switch_survives_restarts_and_is_told_at_the_handshake(
    world: World, tmp_path: Path
) -> None:
    world.open_portfolio("p1")
    switch = {**KILL, "scope": risk_pb2.KILL_SWITCH_SCOPE_STRATEGY, "target_id": "s1"}
    async with risk_of(world, tmp_path) as desk:
        await desk.risk.EngageKillSwitch(messages.EngageKillSwitchRequest(**switch))
    async with risk_of(world, tmp_path) as desk:
        desk.epoch = 5
        [told] = (await desk.connect()).kill_switches
        assert (told.scope, told.target_id, told.engaged) == (risk_pb2.KILL_SWITCH_SCOPE_STRATEGY, "s1", True)
        assert (await verdict_on(desk, strategy_id="s1")).refusal.reason == "KILL_SWITCH_ENGAGED"
        assert (await verdict_on(desk, strategy_id="s2")).HasField("reservation")
        listed = await desk.risk.ListKillSwitches(messages.ListKillSwitchesRequest())
        assert [each.target_id for each in listed.kill_switches] == ["s1"]
        await desk.risk.ReleaseKillSwitch(messages.ReleaseKillSwitchRequest(**switch))
    async with risk_of(world, tmp_path) as desk:
        desk.epoch = 6
        assert not (await desk.connect()).kill_switches


async def test_rule_5_orders_that_only_reduce_pass_where_asked_for(world: World, tmp_path: Path) -> None:
    world.open_portfolio("p1")
    switch = {**KILL, "scope": risk_pb2.KILL_SWITCH_SCOPE_PORTFOLIO, "target_id": "p1"}
    async with risk_of(world, tmp_path) as desk:
        await desk.connect()
        [verdict] = await desk.check(order := desk.order(quantity="10"))
        event = accepted(order, verdict, at=10)
        world.commit(event, filled(event, "10", "100", at=10))
        await desk.risk.EngageKillSwitch(messages.EngageKillSwitchRequest(**switch, allow_reducing=True))
        assert (await verdict_on(desk, Side.BUY, "1")).refusal.reason == "KILL_SWITCH_ENGAGED"
        assert (await verdict_on(desk, Side.SELL, "4")).HasField("reservation")
        stricter = await desk.risk.EngageKillSwitch(messages.EngageKillSwitchRequest(**switch))
        assert (stricter.version, stricter.allow_reducing) == (2, False)
        assert (await verdict_on(desk, Side.SELL, "4")).refusal.reason == "KILL_SWITCH_ENGAGED"


async def test_what_is_asked_of_a_portfolio_that_is_just_being_opened_waits_for_it(
    world: World, tmp_path: Path
) -> None:
    async with risk_of(world, tmp_path) as desk:
        world.openings["p1"] = 2
        asking = asyncio.create_task(desk.figures())
        await asyncio.sleep(0.1)
        assert not asking.done()
        world.open_portfolio("p1", "250")
        assert (await asking).buying_power == "250.00"


Call = Callable[[Desk], Awaitable[Any]]


def limit(**fields: Any) -> Call:
    wanted = {"environment_id": ENVIRONMENT, "limit_type": 1, "bound": "1", **fields}
    return lambda desk: desk.risk.SetLimit(messages.SetLimitRequest(**wanted))


def kill(**fields: Any) -> Call:
    return lambda desk: desk.risk.EngageKillSwitch(messages.EngageKillSwitchRequest(**{**KILL, **fields}))


BAD_DECIMALS = ("-1", "1e5", "NaN", ".5", "", "9" * 19)
BAD: list[tuple[Call, str, str]] = [
    *(
        (limit(bound=bound), "INVALID_ARGUMENT", "INVALID_ARGUMENT")
        for bound in ("-1", "1e5", "NaN", ".5", "", "9" * 19)
    ),
    (limit(limit_type=99), "INVALID_ARGUMENT", "INVALID_ARGUMENT"),
    (limit(limit_type=0), "INVALID_ARGUMENT", "INVALID_ARGUMENT"),
    (limit(limit_type=6, bound="2"), "INVALID_ARGUMENT", "INVALID_ARGUMENT"),
    (limit(limit_type=16, bound="0.0"), "INVALID_ARGUMENT", "INVALID_ARGUMENT"),
    (limit(environment_id=""), "INVALID_ARGUMENT", "INVALID_ARGUMENT"),
    (limit(environment_id="a:b"), "INVALID_ARGUMENT", "INVALID_ARGUMENT"),
    (limit(portfolio_id="x" * 10_000), "INVALID_ARGUMENT", "INVALID_ARGUMENT"),
    (limit(environment_id="nowhere"), "NOT_FOUND", "ENVIRONMENT_NOT_FOUND"),
    (limit(portfolio_id="nobody"), "NOT_FOUND", "PORTFOLIO_NOT_FOUND"),
    (kill(scope=99), "INVALID_ARGUMENT", "INVALID_ARGUMENT"),
    (kill(target_id="p1"), "INVALID_ARGUMENT", "INVALID_ARGUMENT"),
    (kill(scope=2), "INVALID_ARGUMENT", "INVALID_ARGUMENT"),
    (kill(reason="x" * 201), "INVALID_ARGUMENT", "INVALID_ARGUMENT"),
    (kill(scope=2, target_id="nobody"), "NOT_FOUND", "PORTFOLIO_NOT_FOUND"),
    (kill(environment_id="nowhere"), "NOT_FOUND", "ENVIRONMENT_NOT_FOUND"),
    (
        lambda desk: desk.risk.ReleaseKillSwitch(messages.ReleaseKillSwitchRequest(**KILL)),
        "NOT_FOUND",
        "KILL_SWITCH_NOT_FOUND",
    ),
    (
        lambda desk: desk.risk.DeleteLimit(messages.DeleteLimitRequest(limit_id="no~such~LIMIT")),
        "NOT_FOUND",
        "LIMIT_NOT_FOUND",
    ),
    (
        lambda desk: desk.risk.GetPortfolioRisk(messages.GetPortfolioRiskRequest(portfolio_id="nobody")),
        "NOT_FOUND",
        "PORTFOLIO_NOT_FOUND",
    ),
    (
        lambda desk: desk.risk.ListLimits(messages.ListLimitsRequest(page_token="rubbish")),
        "INVALID_ARGUMENT",
        "PAGE_TOKEN_INVALID",
    ),
    (
        lambda desk: desk.risk.ListLimits(messages.ListLimitsRequest(environment_id="nobody")),
        "NOT_FOUND",
        "ENVIRONMENT_NOT_FOUND",
    ),
    (
        lambda desk: desk.risk.ListLimits(messages.ListLimitsRequest(portfolio_id="nobody")),
        "NOT_FOUND",
        "PORTFOLIO_NOT_FOUND",
    ),
    (
        lambda desk: desk.risk.ListKillSwitches(messages.ListKillSwitchesRequest(environment_id="nobody")),
        "NOT_FOUND",
        "ENVIRONMENT_NOT_FOUND",
    ),
    (
        lambda desk: desk.risk.ListKillSwitches(messages.ListKillSwitchesRequest(page_token="rubbish")),
        "INVALID_ARGUMENT",
        "PAGE_TOKEN_INVALID",
    ),
    (
        lambda desk: desk.risk.ListLimits(messages.ListLimitsRequest(page_size=1001)),
        "INVALID_ARGUMENT",
        "INVALID_ARGUMENT",
    ),
]


async def test_bad_input_gets_its_stated_reason_and_changes_nothing(world: World, tmp_path: Path) -> None:
    async with risk_of(world, tmp_path) as desk:
        for number, (call, code, reason) in enumerate(BAD):
            with pytest.raises(ApiError) as raised:
                await call(desk)
            assert (number, raised.value.code.name, raised.value.reason) == (number, code, reason)
        assert not (await desk.risk.ListLimits(messages.ListLimitsRequest())).limits
        assert not (await desk.risk.ListKillSwitches(messages.ListKillSwitchesRequest())).kill_switches


async def test_health_tells_of_peers_beside_its_own(tmp_path: Path, world: World) -> None:
    async with risk_of(world, tmp_path) as desk:
        await desk.connect()
        world.open_portfolio("p1")
        await desk.figures()
        async with connect(desk.address) as channel:
            health = health_pb2_grpc.HealthStub(channel)
            for service in ("", "tickmesh.risk.v1.RiskService", "marketdata", "order", "portfolio"):
                answer = await health.Check(health_pb2.HealthCheckRequest(service=service))
                assert answer.status == health_pb2.HealthCheckResponse.SERVING, service
    lonely = World(world.tape, world.instruments)
    lonely.port = 1
    async with risk_of(lonely, tmp_path) as desk, connect(desk.address) as channel:
        health = health_pb2_grpc.HealthStub(channel)
        assert (await health.Check(health_pb2.HealthCheckRequest())).status == health_pb2.HealthCheckResponse.SERVING
        for _ in range(100):
            with suppress(ApiError):
                answer = await health.Check(health_pb2.HealthCheckRequest(service="marketdata"))
                break
            await asyncio.sleep(0.05)
        assert answer.status == health_pb2.HealthCheckResponse.NOT_SERVING


def kill(strategy_id: str) -> messages.EngageKillSwitchRequest:
    scope = risk_pb2.KILL_SWITCH_SCOPE_STRATEGY
    return messages.EngageKillSwitchRequest(environment_id=ENVIRONMENT, scope=scope, target_id=strategy_id)


def limit_of(strategy_id: str) -> messages.SetLimitRequest:
    of = {"environment_id": ENVIRONMENT, "limit_type": risk_pb2.LIMIT_TYPE_MAX_ORDER_QUANTITY, "bound": "5"}
    return messages.SetLimitRequest(**of, strategy_id=strategy_id)


async def test_a_strategy_that_nobody_has_is_not_found(world: World, tmp_path: Path) -> None:
    world.open_portfolio("p1")
    world.strategies = {"mine"}
    async with risk_of(world, tmp_path) as desk:
        await desk.connect()
        # Before the coordinator has told who takes part, there may be any.
        await desk.risk.EngageKillSwitch(kill("early"))
        await world.enrol("outside")
        await world.enrol()
        traded = desk.order(strategy_id="traded")
        [verdict] = await desk.check(traded)
        world.commit(accepted(traded, verdict, at=10))
        await desk.figures()
        for known in ("early", "mine", "outside", "traded"):
            assert (await desk.risk.EngageKillSwitch(kill(known))).engaged
            if known != "early":
                assert (await desk.risk.SetLimit(limit_of(known))).strategy_id == known
        for call, request in ((desk.risk.EngageKillSwitch, kill("mien")), (desk.risk.SetLimit, limit_of("mien"))):
            with pytest.raises(ApiError) as error:
                await call(request)
            assert (error.value.code, error.value.reason) == (StatusCode.NOT_FOUND, "STRATEGY_NOT_FOUND")
            assert error.value.resource is not None
            assert error.value.resource[:2] == ("strategy", "mien")
        switches = await desk.risk.ListKillSwitches(messages.ListKillSwitchesRequest(environment_id=ENVIRONMENT))
        assert {each.target_id for each in switches.kill_switches} == {"early", "mine", "outside", "traded"}


@pytest.mark.parametrize("hangs", [False, True])
async def test_rule_5_a_kill_switch_works_while_nobody_can_say_whether_there_is_such_a_strategy(
    world: World, tmp_path: Path, hangs: bool
) -> None:
    world.open_portfolio("p1")

    async def away() -> None:
        if hangs:
            await asyncio.Event().wait()
        raise ApiError.unavailable("SERVICE_UNAVAILABLE", "away")

    async with risk_of(world, tmp_path) as desk:
        await desk.connect()
        await world.enrol()
        with pytest.raises(ApiError):
            await desk.risk.EngageKillSwitch(kill("s1"))
        world.strategies_answer = away
        assert (await desk.risk.EngageKillSwitch(kill("s1"))).engaged
        assert (await desk.risk.SetLimit(limit_of("s1"))).version == 1
        # What was set is set again, and taken away, whoever has such a strategy by then.
        world.strategies_answer = None
        assert (await desk.risk.EngageKillSwitch(kill("s1"))).engaged
        assert (await desk.risk.SetLimit(limit_of("s1"))).version == 1


async def test_a_limit_that_there_cannot_be_is_told_why(world: World, tmp_path: Path) -> None:
    world.open_portfolio("p1")
    async with risk_of(world, tmp_path) as desk:
        for kind, bound, field, words in (
            ("SHORT_SALES", "0.5", "bound", "short_sale is a switch: its bound is 1 for on or 0 for off, not 0.5"),
            ("MAX_ORDER_RATE", "1.5", "bound", "the bound of max_order_rate counts: it is a whole number, not 1.5"),
            ("RUNAWAY_GUARD", "1.5", "bound", "the bound of runaway_guard counts: it is a whole number, not 1.5"),
            ("INITIAL_MARGIN", "0", "bound", "the bound of initial_margin is above 0, not 0"),
            (
                "RESTRICTED",
                "1",
                "limit_type",
                "restricted is set for a symbol, a portfolio and a symbol, a strategy and a symbol; not for",
            ),
        ):
            with pytest.raises(ApiError) as refused:
                await set_limit(desk, kind, bound)
            [violation] = refused.value.field_violations
            assert violation.field == field
            assert violation.description.startswith(words)
