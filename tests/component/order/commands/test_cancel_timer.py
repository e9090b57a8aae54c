"""The cancel timer: not armed again in time, it cancels what is open, also where nobody was there to do it."""

import uuid
from pathlib import Path

import sqlalchemy as sa
from grpc import StatusCode

from services.chassis.storage.database import Database
from services.order.tables import CANCEL_TIMERS
from tests.component.order.calls import STANDING, TIMED_OUT, arm, how, refused, timed_out
from tests.component.order.support import ENVIRONMENT, Mesh, limit, running


async def test_what_is_open_is_canceled_once_unless_the_timer_is_armed_again(mesh: Mesh) -> None:
    await mesh.orders.CreateOrder(limit("a"))
    await mesh.orders.CreateOrder(limit("b"))
    await mesh.orders.CreateOrder(limit("c", portfolio_id="other"))
    armed = await arm(mesh, 1)
    later = await arm(mesh, 2)
    assert (later.environment_id, later.portfolio_id, later.principal) == (ENVIRONMENT, "trend", "local")
    assert later.trigger_time.ToNanoseconds() > armed.trigger_time.ToNanoseconds()
    await timed_out(mesh, "a")
    ended = (await mesh.events())[-2:]
    assert [each.order.client_order_id for each in ended] == ["a", "b"]
    assert {(each.cause, each.principal) for each in ended} == {("cancel_timer", "local")}
    assert ended[0].create_time.ToNanoseconds() >= later.trigger_time.ToNanoseconds()
    assert how(await mesh.get("c", "other")) == STANDING
    # It has gone off: what comes later works.
    await mesh.orders.CreateOrder(limit("d"))
    await arm(mesh, 1, portfolio_id="other")
    await timed_out(mesh, "c", "other")
    assert how(await mesh.get("d")) == STANDING


async def test_a_disarmed_timer_cancels_nothing(mesh: Mesh) -> None:
    await mesh.orders.CreateOrder(limit("a"))
    await mesh.orders.CreateOrder(limit("b", portfolio_id="other"))
    await arm(mesh, 1)
    await arm(mesh, 1, portfolio_id="other")
    disarmed = await arm(mesh, 0)
    assert not disarmed.HasField("trigger_time")
    assert await arm(mesh, 0) == disarmed
    await timed_out(mesh, "b", "other")
    assert how(await mesh.get("a")) == STANDING


async def test_one_for_an_environment_covers_all_of_the_callers_portfolios(mesh: Mesh) -> None:
    await mesh.orders.CreateOrder(limit("a"))
    await mesh.orders.CreateOrder(limit("b", portfolio_id="other"))
    armed = await arm(mesh, 1, portfolio_id="", environment_id=ENVIRONMENT)
    assert (armed.environment_id, armed.portfolio_id) == (ENVIRONMENT, "")
    await timed_out(mesh, "a")
    await timed_out(mesh, "b", "other")


async def test_one_that_should_have_gone_off_while_nobody_was_there_does_so_at_the_start(tmp_path: Path) -> None:
    async with running(tmp_path) as mesh:
        await mesh.market.joined()
        await mesh.orders.CreateOrder(limit("a"))
        await arm(mesh, 3600)
        await mesh.stop()
        async with await Database.open(f"sqlite:///{tmp_path}/order.db") as database:
            await database.run(lambda connection: connection.execute(sa.update(CANCEL_TIMERS).values(trigger_time=1)))
        await mesh.start()
        await timed_out(mesh, "a")
        # Nothing is left of it: another start cancels nothing more.
        await mesh.market.joined()
        await mesh.orders.CreateOrder(limit("b"))
        await mesh.stop()
        await mesh.start()
        assert how(await mesh.get("b")) == STANDING
        assert (await mesh.events())[-1].order.client_order_id == "b"


async def test_a_kill_after_the_cancels_are_durable_repeats_none_of_them(tmp_path: Path) -> None:
    async with running(tmp_path, start=False) as mesh:
        # The first commit is the order's, the second the timer's cancel.
        mesh.spawn(TICKMESH_FAILPOINTS="order.after_commit=kill:2")
        await mesh.market.joined()
        await mesh.place(limit("a"))
        await arm(mesh, 1)
        assert await mesh.died() == -9
        mesh.spawn()
        await mesh.ready()
        assert how(await mesh.get("a")) == TIMED_OUT
        await mesh.market.joined()
        await mesh.place(limit("b"))
        assert [each.order.client_order_id for each in await mesh.events()] == ["a", "a", "b"]
        assert how(await mesh.get("b")) == STANDING


async def test_a_request_is_done_once_and_one_that_comes_late_does_not_arm_again(mesh: Mesh) -> None:
    request_id = str(uuid.uuid4())
    armed = await arm(mesh, 3600, request_id=request_id)
    assert await arm(mesh, 3600, request_id=request_id) == armed
    await arm(mesh, 0)
    late = await arm(mesh, 3600, request_id=request_id)
    assert not late.HasField("trigger_time")
    error = await refused(arm(mesh, 60, request_id=request_id))
    assert (error.code, error.reason) == (StatusCode.ALREADY_EXISTS, "REQUEST_ID_REUSED")


async def test_what_cannot_be_armed_is_refused(mesh: Mesh) -> None:
    for seconds, fields, reason in (
        (-1, {}, "INVALID_ARGUMENT"),
        (86_401, {}, "INVALID_ARGUMENT"),
        (1, {"portfolio_id": ""}, "INVALID_ARGUMENT"),
        (1, {"environment_id": ENVIRONMENT}, "INVALID_ARGUMENT"),
        (1, {"portfolio_id": "nobody"}, "PORTFOLIO_NOT_FOUND"),
        (1, {"portfolio_id": "", "environment_id": "nowhere"}, "ENVIRONMENT_NOT_FOUND"),
    ):
        assert (await refused(arm(mesh, seconds, **fields))).reason == reason, fields
    await mesh.market.run(1, len(mesh.market.tape), final=True)
    ended = await refused(arm(mesh, 1))
    assert (ended.code, ended.reason) == (StatusCode.FAILED_PRECONDITION, "ENVIRONMENT_COMPLETED")
