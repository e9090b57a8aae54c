"""A thread of a loop's own: one piece of work after the other, and each is told what became of it."""

import asyncio
import threading
from functools import partial

import pytest

from services.chassis.storage.worker import Worker


async def test_work_is_done_in_the_order_it_was_given_in_one_thread() -> None:
    worker, done = Worker("test"), list[int]()

    def work(number: int) -> int:
        done.append(number)
        return threading.get_ident()

    threads = await asyncio.gather(*(worker.run(partial(work, number)) for number in range(50)))
    worker.close()
    assert done == list(range(50))
    assert set(threads) - {threading.get_ident()} == set(threads)
    assert len(set(threads)) == 1


async def test_what_work_raises_is_told_and_the_next_one_is_done() -> None:
    worker = Worker("test")

    def fail() -> None:
        raise KeyError("x")

    with pytest.raises(KeyError):
        await worker.run(fail)
    assert await worker.run(lambda: 1) == 1
    worker.close()


async def test_work_that_nobody_waits_for_any_more_is_done_all_the_same() -> None:
    worker, go, done = Worker("test"), threading.Event(), list[str]()

    def first() -> None:
        go.wait(5)
        done.append("first")

    waiting = worker.run(first)
    behind = worker.run(lambda: done.append("behind"))
    waiting.cancel()
    go.set()
    await behind
    worker.close()
    assert done == ["first", "behind"]


async def test_closing_waits_for_what_was_given() -> None:
    worker, done = Worker("test"), list[int]()
    for n in range(20):
        worker.run(partial(done.append, n))
    worker.close()
    assert done == list(range(20))
