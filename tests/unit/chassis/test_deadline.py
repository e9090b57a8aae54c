"""What is left of the caller's deadline is what the next hop gets."""

import asyncio

import grpc
import pytest

from services.chassis import deadline
from services.chassis.errors import ApiError


async def test_without_a_deadline_a_call_takes_its_default() -> None:
    deadline.start(None)
    assert deadline.remaining() is None
    assert deadline.budget(5.0) == 5.0
    assert deadline.budget(None) is None


async def test_a_call_gets_what_is_left_less_a_few_percent() -> None:
    deadline.start(1.0)
    assert deadline.budget(5.0) == pytest.approx(0.953, abs=0.01)
    assert deadline.budget(None) == pytest.approx(0.953, abs=0.01)
    assert deadline.budget(0.2) == 0.2
    # What is left for so short a call is still a time.
    deadline.start(deadline.SHAVE_SECONDS + 0.001)
    assert 0 < (deadline.budget(5.0) or 0) < 0.001


async def test_an_expired_deadline_stops_the_call_before_it_is_made() -> None:
    deadline.start(deadline.SHAVE_SECONDS / 2)
    with pytest.raises(ApiError) as caught:
        deadline.budget(5.0)
    assert caught.value.code is grpc.StatusCode.DEADLINE_EXCEEDED


async def test_a_limit_shortens_and_never_lengthens() -> None:
    deadline.start(1.0)
    with deadline.limit(0.1):
        assert deadline.remaining() == pytest.approx(0.1, abs=0.01)
        with deadline.limit(10.0):
            assert deadline.remaining() == pytest.approx(0.1, abs=0.01)
    assert deadline.remaining() == pytest.approx(1.0, abs=0.01)


async def test_a_child_task_inherits_the_deadline_and_a_detached_one_does_not() -> None:
    async def left() -> float | None:
        return deadline.remaining()

    deadline.start(1.0)
    assert await asyncio.create_task(left()) == pytest.approx(1.0, abs=0.01)
    assert await deadline.detach(left()) is None
