"""What is left of the caller's deadline is what the next hop gets."""

import asyncio

import grpc
import pytest

from services.chassis import deadline
from services.chassis.errors import ApiError


class Clock:
    """What the deadline reads in the place of the machine's clock: it moves when it is told to."""

    def __init__(self) -> None:
        self.now = 100.0

    def monotonic(self) -> float:
        return self.now


@pytest.fixture(autouse=True)
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    made = Clock()
    monkeypatch.setattr(deadline, "time", made)
    return made


async def test_without_a_deadline_a_call_takes_its_default() -> None:
    deadline.start(None)
    assert deadline.remaining() is None
    assert deadline.budget(5.0) == 5.0
    assert deadline.budget(None) is None


async def test_a_call_gets_what_is_left_less_a_few_percent(clock: Clock) -> None:
    deadline.start(1.5)
    clock.now += 0.5
    kept = pytest.approx((1.0 - deadline.SHAVE_SECONDS) * deadline.KEPT_SHARE - deadline.ROUNDING_SECONDS)
    assert deadline.budget(5.0) == kept
    assert deadline.budget(None) == kept
    assert deadline.budget(0.2) == 0.2
    # What is left for so short a call is still a time.
    deadline.start(deadline.SHAVE_SECONDS + 0.001)
    assert deadline.budget(5.0) == pytest.approx(0.0005)


async def test_an_expired_deadline_stops_the_call_before_it_is_made(clock: Clock) -> None:
    deadline.start(1.0)
    clock.now += 1.0 - deadline.SHAVE_SECONDS / 2
    with pytest.raises(ApiError) as caught:
        deadline.budget(5.0)
    assert caught.value.code is grpc.StatusCode.DEADLINE_EXCEEDED
    clock.now += 1.0
    assert deadline.remaining() == pytest.approx(deadline.SHAVE_SECONDS / 2 - 1.0)


async def test_a_limit_shortens_and_never_lengthens(clock: Clock) -> None:
    deadline.start(1.0)
    with deadline.limit(0.1):
        assert deadline.remaining() == pytest.approx(0.1)
        with deadline.limit(10.0):
            assert deadline.remaining() == pytest.approx(0.1)
        clock.now += 0.04
        assert deadline.remaining() == pytest.approx(0.06)
    assert deadline.remaining() == pytest.approx(0.96)


async def test_a_child_task_inherits_the_deadline_and_a_detached_one_does_not() -> None:
    async def left() -> float | None:
        return deadline.remaining()

    deadline.start(1.0)
    assert await asyncio.create_task(left()) == pytest.approx(1.0)
    assert await deadline.detach(left()) is None
