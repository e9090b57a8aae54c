"""The order service and risk's gate: fail closed, epochs, voided verdicts, kill switches (rules 3 to 5)."""

import asyncio
from collections.abc import Callable
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from grpc import StatusCode
from tickmesh.order.v1 import order_pb2
from tickmesh.risk.v1 import risk_pb2

from services.domain.risk.limits import KillScope, make_limit
from services.order.gate.risk_gate import Checked, RiskGate
from services.order.journal import journal
from tests.component.order.calls import cancel, hold, refused, state_of
from tests.component.order.support import SEAT, Mesh, limit, request, running, start_peer, stop_peer

STATE = order_pb2.OrderState
REASON = order_pb2.CancelReason
SCOPE = risk_pb2.KillSwitchScope


async def test_without_risk_orders_are_refused_in_time_and_ids_stay_free(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    waits, check = list[float](), RiskGate.check

    async def counted(gate: RiskGate, batch: Callable[[int, int], Any], seconds: float) -> Checked:
        waits.append(seconds)
        return await check(gate, batch, seconds)

    monkeypatch.setattr(RiskGate, "check", counted)
    async with running(tmp_path, start=False) as mesh:
        await stop_peer(mesh, "risk")
        await mesh.start(TICKMESH_ORDER_RISK_DEADLINE_MS="2000")
        await mesh.market.joined()
        calls = [refused(mesh.orders.CreateOrder(limit(f"a-{n}"))) for n in range(5)]
        for error in await asyncio.gather(*calls):
            assert (error.code, error.reason) == (StatusCode.UNAVAILABLE, "RISK_UNAVAILABLE")
            assert error.retry_delay
        # All that came while the first waited were given up together.
        assert 1 <= len(waits) <= 2
        assert max(waits) <= 2
        assert not await mesh.events()
        await start_peer(mesh, "risk")
        orders = [await mesh.place(limit(f"a-{n}")) for n in range(5)]
        assert [order.order_id for order in orders] == [f"replay-1-{n}" for n in range(1, 6)]


async def test_a_silent_risk_is_given_up_and_leaks_nothing(tmp_path: Path) -> None:
    async with running(tmp_path, start=False) as mesh:
        await mesh.start(TICKMESH_ORDER_RISK_DEADLINE_MS="300")
        await mesh.market.joined()
        kept = await mesh.orders.CreateOrder(limit("kept"))
        mesh.gate.silent = True
        assert (await refused(mesh.orders.CreateOrder(limit("lost")))).reason == "RISK_UNAVAILABLE"
        mesh.gate.silent = False
        # The next connection drops what the silent one had reserved: its epoch is higher, its head says what became.
        order = await mesh.place(limit("next"))
        assert order.order_id == "replay-1-2"
        assert order.reservation.headroom == "99000.00"
        epochs = [epoch for epoch, _ in mesh.gate.connects]
        assert epochs == sorted(set(epochs))
        assert mesh.gate.connects[-1][1] == 1
        assert mesh.gate.gate.exposure("trend").reserved_cash == Decimal(1000)
        assert kept.state == STATE.ORDER_STATE_NEW


async def test_cancels_do_not_wait_for_risk(tmp_path: Path) -> None:
    async with running(tmp_path, start=False) as mesh:
        await mesh.start(TICKMESH_ORDER_RISK_DEADLINE_MS="60000")
        await mesh.market.joined()
        resting = await mesh.orders.CreateOrder(limit("a"))
        mesh.gate.silent = True
        waiting = asyncio.ensure_future(mesh.orders.CreateOrder(limit("b"), timeout=60))
        await asyncio.sleep(0.2)
        canceled = await mesh.orders.CancelOrder(cancel(resting.order_id), timeout=30)
        assert canceled.state == STATE.ORDER_STATE_CANCELED
        assert not waiting.done()
        mesh.gate.silent = False
        mesh.gate.hang_up()
        # It is asked about again, now knowing of the cancel.
        order = await waiting
    assert order.reservation.headroom == "99500.00"


async def test_a_stream_that_breaks_during_a_check_is_asked_anew(mesh: Mesh) -> None:
    async def break_once() -> None:
        mesh.gate.before_answer = None
        mesh.gate.hang_up()

    mesh.gate.before_answer = break_once
    order = await mesh.orders.CreateOrder(limit("a"))
    assert order.state == STATE.ORDER_STATE_NEW
    assert len(mesh.gate.connects) == 2
    assert mesh.gate.gate.exposure("trend").reserved_cash == Decimal(500)


async def test_a_check_brings_what_was_committed_since_the_one_before(mesh: Mesh) -> None:
    first = await mesh.orders.CreateOrder(limit("a"))
    await mesh.orders.CancelOrder(cancel(first.order_id))
    await mesh.orders.CreateOrder(limit("b"))
    await mesh.orders.CreateOrder(limit("c"))
    mesh.gate.hang_up()
    await mesh.orders.CreateOrder(limit("d"))
    await mesh.orders.CreateOrder(limit("e"))
    assert mesh.gate.carried == [[], [1, 2], [3], [], [5]]
    assert [head for _, head in mesh.gate.connects] == [0, 4]


async def test_a_check_whose_stream_broke_brings_the_same_once_more_or_says_it_with_its_head(mesh: Mesh) -> None:
    await mesh.orders.CreateOrder(limit("a"))

    async def break_once() -> None:
        mesh.gate.before_answer = None
        mesh.gate.hang_up()

    mesh.gate.before_answer = break_once
    await mesh.orders.CreateOrder(limit("b"))
    assert mesh.gate.carried == [[], [1], []]
    assert [head for _, head in mesh.gate.connects] == [0, 1]


async def test_events_that_are_too_many_for_a_check_come_by_their_stream_alone(
    mesh: Mesh, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(journal, "MOST_CARRIED", 2)
    placed = [await mesh.orders.CreateOrder(limit(f"a-{n}")) for n in range(2)]
    for each in placed:
        await mesh.orders.CancelOrder(cancel(each.order_id))
    order = await mesh.orders.CreateOrder(limit("b"))
    assert order.reservation.headroom == "99500.00"
    assert mesh.gate.carried == [[], [1], []]


async def test_one_batch_is_in_flight_and_carries_what_has_queued(mesh: Mesh) -> None:
    checking = 0

    async def slowly() -> None:
        nonlocal checking
        checking += 1
        assert checking == 1
        await asyncio.sleep(0.03)
        checking -= 1

    mesh.gate.before_answer = slowly
    await asyncio.gather(*(mesh.orders.CreateOrder(limit(f"a-{n}", "1")) for n in range(100)))
    assert sum(mesh.gate.batches) == 100
    assert len(mesh.gate.batches) < 20


async def test_a_kill_switch_cancels_what_is_in_its_scope_and_stays_engaged(mesh: Mesh) -> None:
    strategy = {"deployment_id": "d", "strategy_id": "s", "basis_sequence": 3}
    for name, values in (("a", {}), ("b", strategy), ("c", {"portfolio_id": "other"})):
        await mesh.orders.CreateOrder(limit(name, **values), metadata=SEAT)
    mesh.gate.kill(scope=SCOPE.KILL_SWITCH_SCOPE_STRATEGY, target_id="s")
    order = await state_of(mesh, "b", STATE.ORDER_STATE_CANCELED)
    assert order.cancel_reason == REASON.CANCEL_REASON_KILL_SWITCH
    event = (await mesh.events())[-1]
    assert (event.cause, event.principal) == ("kill_switch", "officer")
    assert (await mesh.get("a")).state == STATE.ORDER_STATE_NEW
    mesh.gate.kill(scope=SCOPE.KILL_SWITCH_SCOPE_PORTFOLIO, target_id="trend")
    await state_of(mesh, "a", STATE.ORDER_STATE_CANCELED)
    assert (await mesh.get("c", "other")).state == STATE.ORDER_STATE_NEW
    mesh.gate.kill(scope=SCOPE.KILL_SWITCH_SCOPE_ENVIRONMENT)
    await state_of(mesh, "c", STATE.ORDER_STATE_CANCELED, "other")


async def test_a_kill_switch_voids_the_verdicts_before_it(mesh: Mesh) -> None:
    """The verdict is on its way when the switch is engaged: the order is checked again, and refused."""

    async def engage() -> None:
        mesh.gate.before_answer = None
        mesh.gate.gate.engage(KillScope(), reason="drill")
        mesh.gate.kill(scope=SCOPE.KILL_SWITCH_SCOPE_ENVIRONMENT)

    mesh.gate.before_answer = engage
    error = await refused(mesh.orders.CreateOrder(limit("a")))
    assert (error.code, error.reason) == (StatusCode.FAILED_PRECONDITION, "KILL_SWITCH_ENGAGED")
    assert error.message == "The order was refused by kill_switch: KILL_SWITCH_ENGAGED (drill)."
    assert error.metadata["kill_switch_reason"] == "drill"
    assert (await mesh.get("a")).state == STATE.ORDER_STATE_REJECTED
    assert len(await mesh.events()) == 1


async def test_orders_that_reduce_stay_where_asked_for(mesh: Mesh) -> None:
    await mesh.orders.CreateOrder(request("long"))
    await mesh.market.run(1, 5)
    mesh.market.idle(5)
    await mesh.orders.CreateOrder(limit("more"))
    await mesh.orders.CreateOrder(limit("less", "200", side=2))
    mesh.gate.kill(scope=SCOPE.KILL_SWITCH_SCOPE_ENVIRONMENT, allow_reducing=True)
    await state_of(mesh, "more", STATE.ORDER_STATE_CANCELED)
    assert (await mesh.get("less")).state == STATE.ORDER_STATE_NEW
    mesh.gate.kill(scope=SCOPE.KILL_SWITCH_SCOPE_ENVIRONMENT)
    await state_of(mesh, "less", STATE.ORDER_STATE_CANCELED)


async def test_rule_5_of_the_buys_that_close_a_short_those_stay_that_never_open(mesh: Mesh) -> None:
    """Whatever else closes it first; to tell them apart needs nobody but risk: not the coordinator, not the tape."""
    await short(mesh)
    await mesh.orders.CreateOrder(limit("cover"))
    await mesh.orders.CreateOrder(limit("less", reduce_only=True))
    await mesh.orders.CreateOrder(limit("strict", portfolio_id="other", reduce_only=True))
    await mesh.stop()
    scopes = (
        {"scope": SCOPE.KILL_SWITCH_SCOPE_ENVIRONMENT, "allow_reducing": True},
        {"scope": SCOPE.KILL_SWITCH_SCOPE_PORTFOLIO, "target_id": "other"},
    )
    mesh.gate.kills += [risk_pb2.KillSwitch(engaged=True, principal="officer", **scope) for scope in scopes]
    await stop_peer(mesh, "marketdata")
    await mesh.start()
    await state_of(mesh, "strict", STATE.ORDER_STATE_CANCELED, "other")
    await state_of(mesh, "cover", STATE.ORDER_STATE_CANCELED)
    assert (await mesh.get("less")).state == STATE.ORDER_STATE_NEW


async def test_a_switch_engaged_while_we_were_away_is_learnt_at_the_handshake(mesh: Mesh) -> None:
    await mesh.orders.CreateOrder(limit("a"))
    await mesh.stop()
    mesh.gate.kills.append(
        risk_pb2.KillSwitch(scope=SCOPE.KILL_SWITCH_SCOPE_ENVIRONMENT, engaged=True, principal="officer")
    )
    await stop_peer(mesh, "marketdata")
    await mesh.start()
    # Kill switches need nobody but risk: not the coordinator, not the tape.
    await state_of(mesh, "a", STATE.ORDER_STATE_CANCELED)


async def test_without_a_price_there_is_nothing_to_check_against(tmp_path: Path) -> None:
    async with running(tmp_path, start=False) as mesh:
        mesh.market.start_sequence = 1
        await mesh.start()
        await mesh.market.joined()
        error = await refused(mesh.orders.CreateOrder(request("a")))
        assert (error.code, error.reason) == (StatusCode.FAILED_PRECONDITION, "NO_REFERENCE_PRICE")
        assert mesh.gate.batches == []
        assert (await refused(mesh.orders.CreateOrder(request("a")))).metadata == error.metadata


async def short(mesh: Mesh) -> None:
    """Sells ten short."""
    mesh.gate.gate.set_limit(make_limit("short_sale", Decimal(1)))
    await hold(mesh, side=2)
