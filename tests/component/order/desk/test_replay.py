"""The venue's part in a replay's cycle: phases, grants and their repetition, the end of a tape (rules 31 to 33)."""

from pathlib import Path
from typing import Any

import pytest
from grpc import StatusCode
from tickmesh.marketdata.v1 import environment_pb2
from tickmesh.order.v1 import order_pb2, order_preview_pb2

from services.chassis.errors import ApiError
from services.wire.cycle import SEAT_KEY
from services.wire.values import timestamp
from tests.component.order.calls import cancel, refused
from tests.component.order.sessions import until
from tests.component.order.support import SEAT, Mesh, limit, make_tape, request, running, start_peer, stop_peer
from tests.component.order.turns import meanwhile, pending

STATE = order_pb2.OrderState
BLOCKED = environment_pb2.ENVIRONMENT_STATE_BLOCKED


def command(client_order_id: str, basis: int, **values: Any) -> Any:
    return request(client_order_id, **({"deployment_id": "d", "strategy_id": "s", "basis_sequence": basis} | values))


async def standstill(mesh: Mesh) -> ApiError:
    """Why nothing new comes in, once nothing does: nothing comes of a preview that is answered until then."""
    asked = request("preview")
    fields = {field.name: value for field, value in asked.ListFields() if field.name != "client_order_id"}

    async def objection() -> ApiError | None:
        try:
            await mesh.orders.PreviewOrder(order_preview_pb2.PreviewOrderRequest(**fields))
        except ApiError as error:
            return error
        return None

    found = await until(objection)
    assert found is not None
    return found


async def test_it_joins_at_the_start_and_takes_history_for_granted(mesh: Mesh) -> None:
    reached = await mesh.market.run(0, 3)
    assert (reached.tape_sequence, reached.order_head) == (3, 0)
    mesh.market.idle(3)
    order = await mesh.orders.CreateOrder(request("a"))
    assert order.basis_sequence == 3


async def test_a_grant_stops_after_the_first_record_that_makes_an_event(mesh: Mesh) -> None:
    await mesh.orders.CreateOrder(request("a"))
    await mesh.orders.CreateOrder(request("b", symbol="MSFT"))
    first = await mesh.market.run(1, 20)
    second = await mesh.market.run(2, 20)
    third = await mesh.market.run(3, 20)
    assert [(each.tape_sequence, each.order_head) for each in (first, second, third)] == [(4, 3), (5, 4), (20, 4)]


async def test_a_repeated_grant_gets_the_same_answer_whatever_came_since(mesh: Mesh) -> None:
    await mesh.orders.CreateOrder(request("a"))
    first = await mesh.market.run(1, 20)
    await mesh.orders.CreateOrder(command("1-4-1", 4), metadata=SEAT)
    assert await mesh.market.run(1, 20) == first
    assert await mesh.market.run(1, 4) == first


async def test_orders_from_outside_wait_until_time_stands_still(mesh: Mesh) -> None:
    await mesh.market.run(1, 5)
    waiting = await pending(mesh, mesh.orders.CreateOrder(request("a")))
    mesh.market.idle(5)
    assert (await waiting).basis_sequence == 5


async def test_orders_that_waited_come_in_before_the_next_grant_is_run(mesh: Mesh) -> None:
    await mesh.market.run(1, 5)
    waiting = await pending(mesh, mesh.orders.CreateOrder(request("a")))
    reached = await mesh.market.run(2, 9)
    assert (await waiting).basis_sequence == 5
    assert (reached.tape_sequence, reached.order_head) == (6, 2)


async def test_a_repeated_grant_does_not_let_outside_orders_in(mesh: Mesh) -> None:
    await mesh.market.run(1, 5)
    waiting = await pending(mesh, mesh.orders.CreateOrder(request("a")))
    await mesh.market.run(1, 5)
    await meanwhile(mesh)
    assert not waiting.done()
    mesh.market.idle(5)
    await waiting


async def test_a_strategys_orders_are_served_in_its_cycle_at_its_basis(mesh: Mesh) -> None:
    await mesh.market.run(1, 5)
    order = await mesh.orders.CreateOrder(command("1-5-1", 5), metadata=SEAT)
    assert (order.basis_sequence, order.deployment_id, order.strategy_id) == (5, "d", "s")
    for basis in (4, 6):
        error = await refused(mesh.orders.CreateOrder(command("1-x", basis), metadata=SEAT))
        assert (error.code, error.reason) == (StatusCode.ABORTED, "BASIS_STALE")
    await mesh.market.run(2, 9)
    # It is known, so it is answered, although the environment has left its basis.
    assert (await mesh.orders.CreateOrder(command("1-5-1", 5), metadata=SEAT)).order_id == order.order_id


def stranger(**values: Any) -> Any:
    return command("x", 5, **values)


@pytest.mark.parametrize(
    ("order", "metadata", "expected"),
    [
        (stranger(deployment_id="ghost"), SEAT, (StatusCode.NOT_FOUND, "DEPLOYMENT_NOT_FOUND", "")),
        (stranger(), (), (StatusCode.PERMISSION_DENIED, "SEAT_TOKEN_INVALID", "")),
        (stranger(), ((SEAT_KEY, "guessed"),), (StatusCode.PERMISSION_DENIED, "SEAT_TOKEN_INVALID", "")),
        (stranger(strategy_id="t"), SEAT, (StatusCode.INVALID_ARGUMENT, "INVALID_ARGUMENT", "strategy_id")),
        (stranger(portfolio_id="other"), SEAT, (StatusCode.INVALID_ARGUMENT, "INVALID_ARGUMENT", "portfolio_id")),
        (request("1-5-1"), (), (StatusCode.INVALID_ARGUMENT, "INVALID_ARGUMENT", "client_order_id")),
    ],
    ids=["no such deployment", "no token", "another token", "another strategy", "another portfolio", "its order ids"],
)
async def test_rule_32_only_a_deployment_gives_a_strategys_orders(
    mesh: Mesh, order: Any, metadata: Any, expected: tuple[StatusCode, str, str]
) -> None:
    await mesh.market.run(1, 5)
    error = await refused(mesh.orders.CreateOrder(order, metadata=metadata))
    assert (error.code, error.reason) == expected[:2]
    assert [each.field for each in error.field_violations] == [each for each in expected[2:] if each]
    assert not await mesh.events()


async def test_rule_32_who_takes_part_is_known_again_after_a_restart_and_forgotten_after_leaving(mesh: Mesh) -> None:
    await mesh.stop()
    await mesh.start()
    await mesh.market.joined()
    await mesh.market.run(1, 5)
    assert (await mesh.orders.CreateOrder(command("1-5-1", 5), metadata=SEAT)).deployment_id == "d"
    mesh.market.roll(e=("s", "trend"))
    # What comes on the stream after it is answered after it.
    await mesh.market.run(1, 5)
    assert (await refused(mesh.orders.CreateOrder(command("1-5-2", 5), metadata=SEAT))).reason == "DEPLOYMENT_NOT_FOUND"
    # What was placed is answered as it is, also to who has left since.
    assert (await mesh.orders.CreateOrder(command("1-5-1", 5), metadata=SEAT)).deployment_id == "d"


async def test_a_timers_order_is_not_filled_by_a_bar_that_began_before_it(mesh: Mesh) -> None:
    await mesh.market.run(1, 5)
    bar = int(mesh.market.tape.start[5])
    order = await mesh.orders.CreateOrder(command("1-5-1", 5, basis_time=timestamp(bar + 1)), metadata=SEAT)
    assert order.basis_time == timestamp(bar + 1)
    await mesh.market.run(2, 9)
    assert (await mesh.events())[-1].tape_sequence == 8
    for seconds in (-5, 10**12):
        odd = command("1-x", 5)
        odd.basis_time.seconds = seconds
        assert (await refused(mesh.orders.CreateOrder(odd, metadata=SEAT))).field_violations[0].field == "basis_time"


async def test_cancels_are_served_inside_a_cycle(mesh: Mesh) -> None:
    order = await mesh.orders.CreateOrder(limit("a"))
    await mesh.market.run(1, 5)
    canceled = await mesh.orders.CancelOrder(cancel(order.order_id))
    assert canceled.state == STATE.ORDER_STATE_CANCELED


async def test_a_blocked_environment_takes_cancels_and_repeats_and_nothing_else(mesh: Mesh) -> None:
    order = await mesh.orders.CreateOrder(limit("a"))
    await mesh.market.run(1, 5)
    mesh.market.idle(3, BLOCKED)
    assert (await standstill(mesh)).reason == "ENVIRONMENT_BLOCKED"
    error = await refused(mesh.orders.CreateOrder(limit("b")))
    assert (error.code, error.reason) == (StatusCode.UNAVAILABLE, "ENVIRONMENT_BLOCKED")
    assert error.retry_delay
    assert (await mesh.orders.CreateOrder(limit("a"))).order_id == order.order_id
    assert (await mesh.orders.CancelOrder(cancel(order.order_id))).state == STATE.ORDER_STATE_CANCELED
    # The strategy that decides just now is part of the cycle that is under way.
    assert (await mesh.orders.CreateOrder(command("1-5-1", 5), metadata=SEAT)).basis_sequence == 5
    await mesh.market.run(1, 5)
    mesh.market.idle(5)
    assert (await mesh.orders.CreateOrder(limit("b"))).state == STATE.ORDER_STATE_NEW


async def test_orders_that_wait_are_told_when_the_environment_blocks(mesh: Mesh) -> None:
    await mesh.market.run(1, 5)
    waiting = await pending(mesh, mesh.orders.CreateOrder(request("a")))
    mesh.market.idle(3, BLOCKED)
    assert (await refused(waiting)).reason == "ENVIRONMENT_BLOCKED"


async def test_while_the_coordinator_is_away_cancels_work_and_orders_are_refused(mesh: Mesh) -> None:
    order = await mesh.orders.CreateOrder(limit("a"))
    await stop_peer(mesh, "marketdata")
    assert (await standstill(mesh)).reason == "ENVIRONMENT_BLOCKED"
    error = await refused(mesh.orders.CreateOrder(limit("b")))
    assert (error.reason, error.metadata["blocked_on"]) == ("ENVIRONMENT_BLOCKED", "marketdata")
    assert (await mesh.orders.CancelOrder(cancel(order.order_id))).state == STATE.ORDER_STATE_CANCELED
    await start_peer(mesh, "marketdata")
    join = await mesh.market.joined(state=environment_pb2.ENVIRONMENT_STATE_RUNNING)
    assert (join.tape_sequence, join.cycle) == (3, 0)
    assert (await mesh.place(limit("b"))).state == STATE.ORDER_STATE_NEW


async def test_a_lost_stream_is_joined_again_where_the_venue_stands(mesh: Mesh) -> None:
    await mesh.orders.CreateOrder(request("a"))
    reached = await mesh.market.run(1, 9)
    mesh.market.hang_up()
    join = await mesh.market.joined(at=3)
    assert (join.tape_sequence, join.cycle) == (reached.tape_sequence, 1)
    assert await mesh.market.run(1, 9) == reached


async def test_at_the_tapes_end_what_rests_expires_and_nothing_more_comes_in(mesh: Mesh) -> None:
    kept = await mesh.orders.CreateOrder(limit("a"))
    end = len(mesh.market.tape)
    reached = await mesh.market.run(1, end)
    assert (reached.tape_sequence, reached.order_head) == (end, 1)
    waiting = await pending(mesh, mesh.orders.CreateOrder(limit("late")))
    final = await mesh.market.run(2, end, final=True)
    assert (final.tape_sequence, final.order_head) == (end, 2)
    assert await mesh.market.run(2, end, final=True) == final
    assert (await refused(waiting)).reason == "ENVIRONMENT_COMPLETED"
    mesh.market.announce(environment_pb2.ENVIRONMENT_STATE_COMPLETED)
    await meanwhile(mesh)
    ended = await mesh.get("a")
    assert (ended.state, ended.cancel_reason) == (
        STATE.ORDER_STATE_EXPIRED,
        order_pb2.CancelReason.CANCEL_REASON_END_OF_TAPE,
    )
    assert (await mesh.events())[-1].cause == "end_of_tape"
    error = await refused(mesh.orders.CreateOrder(limit("b")))
    assert (error.code, error.reason) == (StatusCode.FAILED_PRECONDITION, "ENVIRONMENT_COMPLETED")
    assert (await mesh.orders.CreateOrder(limit("a"))).order_id == kept.order_id
    error = await refused(mesh.orders.CancelOrder(cancel(kept.order_id)))
    assert (error.reason, error.metadata["state"]) == ("ORDER_ENDED", "EXPIRED")


async def test_an_ended_environment_is_still_known_after_a_restart(mesh: Mesh) -> None:
    kept = await mesh.orders.CreateOrder(limit("a"))
    final = await mesh.market.run(1, len(mesh.market.tape), final=True)
    await mesh.stop()
    await mesh.start()
    # Whether the coordinator has heard of it or not: it may have been killed as well.
    await mesh.market.joined()
    assert await mesh.market.run(1, len(mesh.market.tape), final=True) == final
    mesh.market.announce(environment_pb2.ENVIRONMENT_STATE_COMPLETED)
    assert (await refused(mesh.orders.CreateOrder(limit("b")))).reason == "ENVIRONMENT_COMPLETED"
    assert (await mesh.orders.CreateOrder(limit("a"))).order_id == kept.order_id
    assert len(await mesh.events()) == 2


async def test_after_a_restart_open_orders_are_live_again_where_the_venue_stood(mesh: Mesh) -> None:
    market = mesh.market
    await mesh.orders.CreateOrder(limit("rests", "100.0601"))
    await mesh.orders.CreateOrder(request("by-cash", quantity="", cash_quantity="5000"))
    first = await market.run(1, 4)
    # Nothing happens in these cycles, so nothing of them is stored.
    order = await mesh.orders.CancelOrder(
        cancel((await mesh.orders.CreateOrder(command("x", 4), metadata=SEAT)).order_id)
    )
    assert order.event_count == 2
    await market.run(2, 5)
    third = await market.run(3, 6)
    before = [await mesh.get(name) for name in ("rests", "by-cash")]
    await mesh.stop()
    await mesh.start()
    join = await market.joined(at=5)
    assert (join.tape_sequence, join.cycle) == (first.tape_sequence, 1)
    assert [await mesh.get(name) for name in ("rests", "by-cash")] == before
    assert await market.run(3, third.tape_sequence) == third
    assert (await market.run(4, 200)).tape_sequence == len(market.tape)


async def test_a_restarted_venue_follows_an_idle_that_is_ahead_of_it(mesh: Mesh) -> None:
    await mesh.orders.CreateOrder(limit("a"))
    await mesh.market.run(1, 9)
    await mesh.stop()
    await mesh.start()
    assert (await mesh.market.joined(at=9)).tape_sequence == 3
    assert (await mesh.orders.CreateOrder(limit("b"))).basis_sequence == 9


async def test_a_run_with_restarts_fills_as_one_without(tmp_path: Path) -> None:
    """The promise of rule 33, on orders of all kinds."""
    told = []
    for restarts in (False, True):
        async with running(tmp_path / str(restarts)) as mesh:
            await mesh.market.joined()
            cycle, position = 0, 3
            for n in range(6):
                await mesh.orders.CreateOrder(request(f"m-{n}", quantity=str(7 + n)))
                await mesh.orders.CreateOrder(limit(f"l-{n}", "100.06", time_in_force=1))
                stop = {"order_type": 3, "stop_price": "100.2", "time_in_force": 3}
                await mesh.orders.CreateOrder(request(f"s-{n}", **stop, quantity="", cash_quantity="900"))
                for _ in range(3):
                    cycle += 1
                    position = (await mesh.market.run(cycle, position + 3)).tape_sequence
                if restarts:
                    await mesh.stop()
                    await mesh.start()
                    await mesh.market.joined(at=position)
                else:
                    mesh.market.idle(position)
            await mesh.market.run(cycle + 1, len(mesh.market.tape))
            events = await mesh.events()
            for event in events:
                for name in ("create_time",):
                    event.ClearField(name)
                    event.order.ClearField(name)
                event.traceparent = ""
            told.append(events)
    assert told[0] == told[1]
    assert len(told[0]) > 24


async def test_a_long_grant_leaves_room_for_others(mesh: Mesh) -> None:
    """Other environments, streams and reads go on while a venue walks a long tape."""
    mesh.market.hang_up()
    mesh.market.tape = make_tape(30_000)
    mesh.market.environment_id = "replay-2"
    mesh.portfolios.known["far"] = "replay-2"
    await mesh.market.hear("hello")
    await mesh.market.hear("join")
    mesh.market.grant(1, len(mesh.market.tape))
    assert not (await mesh.orders.ListOrders(_nothing(), timeout=5)).orders
    assert (await mesh.market.hear("reached")).tape_sequence == len(mesh.market.tape)


def _nothing() -> Any:
    from tickmesh.order.v1 import order_service_pb2

    return order_service_pb2.ListOrdersRequest()
