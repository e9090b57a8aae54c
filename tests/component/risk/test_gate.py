"""`CheckOrders` through the real service: reservations, epochs, restarts (rules 3 and 4)."""

import asyncio
import random
from dataclasses import replace
from decimal import Decimal
from pathlib import Path

import pytest
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from tickmesh.order.v1 import order_pb2, order_service_pb2
from tickmesh.risk.v1 import risk_gate_service_pb2 as gate_pb2

from services.chassis.errors import ApiError
from services.chassis.telemetry import tracing
from services.chassis.telemetry.exporting import export
from services.domain.orders.order import OrderType, Side
from tests.component.risk.world import ENVIRONMENT, World, accepted, canceled, filled, replaced, risk_of


async def test_a_passed_check_reserves_and_a_fill_turns_it_into_exposure(world: World, tmp_path: Path) -> None:
    world.open_portfolio("p1", "5000")
    async with risk_of(world, tmp_path) as desk:
        await desk.connect()
        order = desk.order(quantity="20", order_type=OrderType.LIMIT, limit_price=100)
        [verdict] = await desk.check(order)
        assert (verdict.reservation.cash, verdict.reservation.quantity) == ("2000", "20")
        assert verdict.reservation.headroom == "3000"
        event = accepted(order, verdict, at=10)
        world.commit(event)
        figures = await desk.figures()
        assert (figures.cash, figures.reserved_cash, figures.buying_power) == ("5000.00", "2000.00", "3000.00")
        assert figures.reservation_count == 1
        partly = filled(event, "5", "99", at=10)
        world.commit(partly)
        figures = await desk.figures()
        assert (figures.cash, figures.reserved_cash, figures.buying_power) == ("4505.00", "1500.00", "3005.00")
        assert [(s.symbol, s.quantity, s.pending_buy_quantity) for s in figures.symbols] == [("A", "5", "15")]
        world.commit(canceled(partly, at=10))
        figures = await desk.figures()
        assert (figures.reserved_cash, figures.buying_power, figures.reservation_count) == ("0.00", "4505.00", 0)


async def test_rule_4_of_two_orders_that_fit_only_singly_exactly_one_passes_in_1000_tries(
    world: World, tmp_path: Path
) -> None:
    rng = random.Random(4)
    world.open_portfolio("p1", "1000")
    async with risk_of(world, tmp_path) as desk:
        await desk.connect()
        for _ in range(1000):
            units = rng.randint(6, 10), rng.randint(6, 10)
            orders = [desk.order(quantity=str(each)) for each in units]
            if rng.random() < 0.5:
                verdicts = await desk.check(*orders)
                world.commit(event := accepted(orders[0], verdicts[0], at=10))
            else:
                verdicts = await desk.check(orders[0])
                world.commit(event := accepted(orders[0], verdicts[0], at=10))
                verdicts += await desk.check(orders[1])
            assert [verdict.WhichOneof("outcome") for verdict in verdicts] == ["reservation", "refusal"]
            refusal = verdicts[1].refusal
            assert (refusal.reason, refusal.limit) == ("INSUFFICIENT_BUYING_POWER", "buying_power")
            assert int(refusal.missing) == sum(units) * 100 - 1000
            world.commit(canceled(event, at=10))
        assert (await desk.figures()).buying_power == "1000.00"


async def test_rule_4_a_new_epoch_drops_what_became_no_order_and_keeps_the_rest(world: World, tmp_path: Path) -> None:
    world.open_portfolio("p1", "1000")
    async with risk_of(world, tmp_path) as desk:
        assert (await desk.connect()).epoch == 1
        kept, lost = desk.order(quantity="4"), desk.order(quantity="5")
        verdicts = await desk.check(kept, lost)
        world.commit(accepted(kept, verdicts[0], at=10))
        desk.hang_up()
        await desk.connect()
        assert (await desk.figures()).reserved_cash == "400.00"
        [verdict] = await desk.check(desk.order(quantity="6"))
        assert verdict.reservation.headroom == "0"


@pytest.mark.parametrize("how", ["epoch", "batch", "kill", "refused"])
async def test_rule_4_new_terms_that_came_to_nothing_leave_the_order_its_own(
    world: World, tmp_path: Path, how: str
) -> None:
    world.open_portfolio("p1", "1000")
    order = None
    async with risk_of(world, tmp_path, risk_store_interval_ms=10) as desk:
        await desk.connect()
        asked = desk.order(quantity="3")
        placed = accepted(asked, (await desk.check(asked))[0])
        world.commit(placed)
        order = placed.order._replace(quantity=Decimal(20 if how == "refused" else 8))
        order = order._replace(leaves_quantity=order.quantity)
        [verdict] = await desk.check(order)
        assert verdict.HasField("refusal") is (how == "refused")
        figures = await desk.figures()
        assert figures.reserved_cash == ("300.00" if how == "refused" else "800.00")
        if how == "epoch":
            await desk.connect()
        elif how == "batch":
            await desk.check(desk.order(quantity="1"))
            await desk.connect()
        # What is stored meanwhile is what the order's events say.
        await asyncio.sleep(0.1)
        if how != "kill":
            assert (await desk.figures()).reserved_cash == "300.00"
    if how == "kill":
        async with risk_of(world, tmp_path) as desk:
            await desk.connect(epoch=5)
            assert (await desk.figures()).reserved_cash == "300.00"
            [verdict] = await desk.check(order)
            world.commit(replaced(order, verdict))
            assert (await desk.figures()).reserved_cash == "800.00"


async def test_a_check_waits_for_no_events_that_it_brings(world: World, tmp_path: Path) -> None:
    world.open_portfolio("p1", "1000")
    async with risk_of(world, tmp_path) as desk:
        await desk.connect()
        first = desk.order(quantity="4")
        await desk.check(first)
        world.orders_away = True
        [verdict] = [gate_pb2.Verdict(reservation=order_pb2.Reservation(cash="400", quantity="4", headroom="600"))]
        for _ in range(3):
            before = world.head
            world.commit(event := accepted(first, verdict, at=10))
            [verdict] = await desk.check(desk.order(quantity="6"), order_events=world.carried(before))
            assert verdict.reservation.headroom == "0"
            before = world.head
            world.commit(canceled(event, at=10))
            again = desk.order(quantity="4")
            [verdict] = await desk.check(again, order_events=world.carried(before))
            assert verdict.reservation.headroom == "600"
            first = again
        # What it brought comes by the stream too, and counts once.
        world.orders_away = False
        world.commit(accepted(first, verdict, at=10))
        figures = await desk.figures()
        assert (figures.reserved_cash, figures.reservation_count) == ("400.00", 1)


@pytest.mark.parametrize("how", ["session", "kill"])
async def test_rule_2_events_that_a_batch_brought_count_once_whatever_breaks_behind_it(
    world: World, tmp_path: Path, how: str
) -> None:
    world.open_portfolio("p1", "1000")
    async with risk_of(world, tmp_path, risk_store_interval_ms=10) as desk:
        await desk.connect()
        order = desk.order(quantity="4")
        [verdict] = await desk.check(order)
        world.orders_away = True
        world.commit(accepted(order, verdict, at=10))
        await desk.check(desk.order(quantity="1"), order_events=world.carried(0))
        if how == "session":
            desk.hang_up()
            world.orders_away = False
            await desk.connect()
            assert (await desk.figures()).reserved_cash == "400.00"
        # Stored with the cursor.
        await asyncio.sleep(0.1)
    world.orders_away = False
    async with risk_of(world, tmp_path) as desk:
        await desk.connect(epoch=9)
        figures = await desk.figures()
        assert (figures.reserved_cash, figures.reservation_count, figures.order_sequence) == ("400.00", 1, 1)


@pytest.mark.parametrize("how", ["nonsense", "gap", "amount"])
async def test_a_batch_with_events_that_are_none_is_refused_and_changes_nothing(
    world: World, tmp_path: Path, how: str
) -> None:
    world.open_portfolio("p1", "1000")
    async with risk_of(world, tmp_path) as desk:
        await desk.connect()
        order = desk.order(quantity="4")
        [verdict] = await desk.check(order)
        world.orders_away = True
        event = accepted(order, verdict, at=10)
        world.commit(event, filled(event, "1", "100", at=10))
        bad = order_pb2.OrderEvent(sequence=1, order=order_pb2.Order(quantity="x"))
        unreadable = order_service_pb2.OrderEvents(events=[bad]).SerializeToString()
        brought = {"nonsense": b"x", "gap": world.carried(1), "amount": unreadable}[how]
        await desk.ask(desk.order(quantity="1"), order_events=brought)
        with pytest.raises(ApiError) as raised:
            await desk.call.read()
        assert raised.value.reason == "INVALID_ARGUMENT"
        world.orders_away = False
        await desk.connect()
        assert (await desk.figures()).reserved_cash == "300.00"


async def test_a_batch_that_was_voided_reserves_nothing_for_the_next(world: World, tmp_path: Path) -> None:
    world.open_portfolio("p1", "1000")
    async with risk_of(world, tmp_path) as desk:
        await desk.connect()
        await desk.check(desk.order(quantity="5"), desk.order(quantity="5"))
        [verdict] = await desk.check(desk.order(quantity="10"))
        assert verdict.reservation.headroom == "0"


async def test_rule_4_what_stands_counts_before_its_events_come_and_what_was_voided_does_not(
    world: World, tmp_path: Path
) -> None:
    world.open_portfolio("p1", "1000")
    async with risk_of(world, tmp_path) as desk:
        await desk.connect()
        first, second = desk.order(quantity="5"), desk.order(quantity="4")
        [one] = await desk.check(first)
        [two] = await desk.check(second, standing=[1])
        assert two.reservation.headroom == "100"
        [refused] = await desk.check(desk.order(quantity="2"), standing=[1, 2])
        assert refused.refusal.missing == "100"
        # The second is void, and the first still on its way.
        [void] = await desk.check(desk.order(quantity="5"), standing=[1])
        assert void.reservation.headroom == "0"
        world.commit(accepted(first, one, at=10))
        [verdict] = await desk.check(desk.order(quantity="1"))
        assert verdict.reservation.headroom == "400"


async def test_an_event_on_its_way_when_the_stream_broke_counts_before_the_gate_is_ready(
    world: World, tmp_path: Path
) -> None:
    world.open_portfolio("p1", "1000")
    async with risk_of(world, tmp_path) as desk:
        await desk.connect()
        order = desk.order(quantity="10")
        [verdict] = await desk.check(order)
        desk.hang_up()
        connecting = asyncio.create_task(desk.connect(head=1))
        await asyncio.sleep(0.05)
        assert not connecting.done()
        world.commit(accepted(order, verdict, at=10))
        await connecting
        [verdict] = await desk.check(desk.order(quantity="1"))
        assert verdict.refusal.missing == "100"


async def test_an_epoch_that_is_not_above_the_last_is_stale_also_after_a_restart(world: World, tmp_path: Path) -> None:
    async with risk_of(world, tmp_path) as desk:
        await desk.connect(epoch=7)
        with pytest.raises(ApiError, match="Epoch 7 is not above 7") as raised:
            await desk.connect(epoch=7)
        assert raised.value.reason == "BASIS_STALE"
    async with risk_of(world, tmp_path) as desk:
        with pytest.raises(ApiError, match="Epoch 6 is not above 7"):
            await desk.connect(epoch=6)
        await desk.connect(epoch=8)


async def test_a_newer_connection_ends_the_older_one(world: World, tmp_path: Path) -> None:
    world.open_portfolio("p1")
    async with risk_of(world, tmp_path) as desk:
        await desk.connect()
        older = desk.call
        await desk.connect()
        with pytest.raises(ApiError) as raised:
            await older.read()
        assert raised.value.reason == "BASIS_STALE"
        assert (await desk.check(desk.order()))[0].HasField("reservation")


async def test_a_batch_waits_for_the_events_and_entries_it_names(world: World, tmp_path: Path) -> None:
    async with risk_of(world, tmp_path, risk_check_patience_ms=5000) as desk:
        await desk.connect()
        order = desk.order()
        checking = asyncio.create_task(desk.check(order, ledger_sequence=2))
        await asyncio.sleep(0.05)
        assert not checking.done()
        assert world.open_portfolio("p1") == 2
        [verdict] = await checking
        assert verdict.HasField("reservation")
        checking = asyncio.create_task(desk.check(desk.order(), order_head=1))
        await asyncio.sleep(0.05)
        assert not checking.done()
        world.commit(accepted(order, verdict, at=10))
        assert (await checking)[0].reservation.headroom == "98000"


async def test_rule_3_what_does_not_arrive_in_time_gets_no_verdict(world: World, tmp_path: Path) -> None:
    world.open_portfolio("p1")
    async with risk_of(world, tmp_path, risk_check_patience_ms=50) as desk:
        await desk.connect()
        with pytest.raises(ApiError) as raised:
            await desk.check(desk.order(), order_head=1)
        assert (raised.value.code.name, raised.value.reason) == ("UNAVAILABLE", "RISK_UNAVAILABLE")
        await desk.connect()
        assert (await desk.check(desk.order()))[0].HasField("reservation")


async def test_the_gate_is_closed_at_the_edge(world: World, tmp_path: Path) -> None:
    async with risk_of(world, tmp_path) as desk:
        call = desk.gate.CheckOrders(metadata=(("x-tickmesh-edge", "1"),))
        with pytest.raises(ApiError) as raised:
            await call.read()
        assert (raised.value.code.name, raised.value.reason) == ("PERMISSION_DENIED", "NOT_OPEN_AT_EDGE")


async def test_a_repeated_check_replaces_its_first_and_an_open_order_is_none_to_check(
    world: World, tmp_path: Path
) -> None:
    world.open_portfolio("p1", "1000")
    async with risk_of(world, tmp_path) as desk:
        await desk.connect()
        order = desk.order(quantity="10")
        for _ in range(3):
            [verdict] = await desk.check(order)
            assert verdict.reservation.headroom == "0"
        world.commit(accepted(order, verdict, at=10))
        with pytest.raises(ApiError) as raised:
            await desk.check(order)
        assert raised.value.code.name == "INVALID_ARGUMENT"


async def test_a_portfolio_that_nobody_opened_is_refused(world: World, tmp_path: Path) -> None:
    async with risk_of(world, tmp_path) as desk:
        await desk.connect()
        [verdict] = await desk.check(desk.order(portfolio_id="nobody"))
        assert verdict.refusal.reason == "PORTFOLIO_NOT_FOUND"


async def test_peers_that_are_away_at_the_start_are_found_later(world: World, tmp_path: Path) -> None:
    world.open_portfolio("p1")
    world.orders_away = True
    async with risk_of(world, tmp_path) as desk:
        connecting = asyncio.create_task(desk.connect(head=0))
        await asyncio.sleep(0.2)
        world.orders_away = False
        await connecting
        event = accepted(order := desk.order(), (await desk.check(order))[0], at=10)
        world.commit(event)
        assert (await desk.figures()).reservation_count == 1


async def test_a_check_is_a_span_of_its_orders_trace_and_of_no_other(world: World, tmp_path: Path) -> None:
    exporter = InMemorySpanExporter()
    export("risk", exporter, batch=False)
    try:
        world.open_portfolio("p1")
        async with risk_of(world, tmp_path) as desk:
            await desk.connect()
            for sampled in ("01", "00"):
                [verdict] = await desk.check(order := desk.order(), traceparent=f"00-{'a' * 32}-{'b' * 16}-{sampled}")
                assert verdict.HasField("reservation")
                assert world.commit(accepted(order, verdict, at=10))
    finally:
        tracing.shutdown()
    name = "tickmesh.risk.v1.RiskGateService/CheckOrders"
    [span] = [each for each in exporter.get_finished_spans() if each.name == name]
    assert span.parent is not None
    assert (f"{span.parent.trace_id:x}", f"{span.parent.span_id:x}") == ("a" * 32, "b" * 16)
    assert span.attributes is not None
    assert span.attributes["tickmesh.order_id"] == f"{ENVIRONMENT}-1"


async def test_a_short_needs_permission_and_margin(world: World, tmp_path: Path) -> None:
    world.open_portfolio("p1", "1000")
    async with risk_of(world, tmp_path) as desk:
        await desk.connect()
        [verdict] = await desk.check(desk.order(Side.SELL, "1"))
        assert (verdict.refusal.reason, verdict.refusal.missing) == ("SHORT_NOT_ALLOWED", "1")


async def test_a_preview_sets_nothing_aside_and_is_answered_as_a_check_would_be(world: World, tmp_path: Path) -> None:
    world.open_portfolio("p1", "5000")
    async with risk_of(world, tmp_path) as desk:
        await desk.connect()
        order = desk.order(quantity="20")
        for _ in range(2):
            [found] = await desk.preview(order)
            assert (found.verdict.reservation.cash, found.verdict.reservation.headroom) == ("2000", "3000")
            assert (found.price, found.quantity, found.notional) == ("100", "20", "2000")
            assert (found.largest_quantity, found.next_refusal.limit) == ("50", "buying_power")
        assert (await desk.figures()).reservation_count == 0
        [verdict] = await desk.check(order)
        assert verdict == found.verdict
        world.commit(accepted(order, verdict, at=10))
        [after] = await desk.preview(desk.order(quantity="31"))
        assert (after.verdict.refusal.missing, after.largest_quantity) == ("100", "30")


async def test_an_order_beyond_all_money_is_refused_and_the_others_of_its_batch_are_not(
    world: World, tmp_path: Path
) -> None:
    most = "999999999999999999.999999999"
    world.instruments["A"] = replace(world.instruments["A"], contract_multiplier=Decimal(most))
    world.open_portfolio("p1", "1000")
    async with risk_of(world, tmp_path) as desk:
        await desk.connect()
        huge = desk.order(quantity=most, order_type=OrderType.LIMIT, limit_price=999999999999999)
        refused, passed = await desk.check(huge, desk.order(quantity="1", symbol="B"))
        assert (refused.refusal.limit, refused.refusal.bound) == ("buying_power", "1000")
        assert Decimal(refused.refusal.value) == Decimal(most) * Decimal(most) * 999999999999999
        assert passed.reservation.cash == "100"
        [found] = await desk.preview(huge)
        assert (found.verdict, found.largest_quantity) == (refused, "0")
