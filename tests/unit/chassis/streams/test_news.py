"""Whoever waits for news is woken by them, or by a silence that is too long."""

import asyncio
from collections.abc import Awaitable, Callable

import pytest

from services.chassis.streams.news import News

Clock = Callable[[float], Awaitable[None]]


@pytest.fixture
async def pass_by(monkeypatch: pytest.MonkeyPatch) -> Clock:
    """A loop whose time passes only when it is told to."""
    loop, now = asyncio.get_running_loop(), 1_000.0
    monkeypatch.setattr(loop, "time", lambda: now)

    async def go_on(seconds: float) -> None:
        nonlocal now
        now += seconds
        for _ in range(5):
            await asyncio.sleep(0)

    return go_on


async def spoken(silence: float, delay: float = 0.0) -> News:
    news = News(silence, delay)
    news.speak()
    return news


async def test_what_never_spoke_is_overdue() -> None:
    news = News(60.0)
    assert news.overdue
    assert not await news.wait()


async def test_news_wake_who_waits() -> None:
    news = await spoken(60.0)
    waiting = asyncio.create_task(news.wait())
    await asyncio.sleep(0)
    assert not waiting.done()
    news.tell()
    assert await waiting


async def test_news_that_came_before_the_wait_are_not_missed() -> None:
    news = await spoken(60.0)
    news.clear()
    news.tell()
    assert await news.wait()


async def test_news_that_were_looked_at_are_none() -> None:
    news = await spoken(0.02)
    news.tell()
    news.clear()
    assert not await news.wait()


async def test_news_are_kept_as_long_as_they_may_be_and_no_longer(pass_by: Clock) -> None:
    news = await spoken(600.0, 50.0)
    waiting = asyncio.create_task(news.wait())
    await pass_by(0.0)
    news.keep()
    await pass_by(30.0)
    news.keep()
    await pass_by(19.0)
    assert not waiting.done()
    await pass_by(2.0)
    assert waiting.done()
    assert waiting.result()


async def test_who_lets_no_news_wait_has_them_at_once() -> None:
    news = await spoken(60.0)
    news.keep()
    assert await news.wait()


async def test_a_flush_tells_news_that_are_kept_and_only_those() -> None:
    news = await spoken(60.0, 60.0)
    waiting = asyncio.create_task(news.wait())
    await asyncio.sleep(0)
    news.flush()
    await asyncio.sleep(0)
    assert not waiting.done()
    news.keep()
    await asyncio.sleep(0)
    assert not waiting.done()
    news.flush()
    assert await waiting


async def test_news_that_cannot_wait_take_with_them_what_was_kept() -> None:
    news = await spoken(60.0, 60.0)
    news.keep()
    news.tell()
    assert await news.wait()
    news.clear()
    waiting = asyncio.create_task(news.wait())
    await asyncio.sleep(0)
    news.flush()
    await asyncio.sleep(0)
    assert not waiting.done()
    waiting.cancel()


async def test_what_was_looked_at_does_not_hurry_what_comes_after_it(pass_by: Clock) -> None:
    news = await spoken(600.0, 50.0)
    news.keep()
    await pass_by(30.0)
    news.clear()
    waiting = asyncio.create_task(news.wait())
    await pass_by(0.0)
    news.keep()
    # The timer was set before, and must not count.
    await pass_by(49.0)
    assert not waiting.done()
    await pass_by(2.0)
    assert waiting.done()
    assert waiting.result()


async def test_a_silence_ends_as_long_after_the_last_word_as_it_may_last(pass_by: Clock) -> None:
    news = await spoken(50.0)
    waiting = asyncio.create_task(news.wait())
    await pass_by(30.0)
    news.speak()
    # The timer was set before the last word, and must not count.
    await pass_by(49.0)
    assert not waiting.done()
    await pass_by(2.0)
    assert waiting.done()
    assert not waiting.result()


async def test_a_wait_that_is_given_up_leaves_the_next_one_alone() -> None:
    news = await spoken(60.0)
    given_up = asyncio.create_task(news.wait())
    await asyncio.sleep(0)
    given_up.cancel()
    await asyncio.wait({given_up})
    waiting = asyncio.create_task(news.wait())
    await asyncio.sleep(0)
    news.tell()
    assert await waiting


async def test_nothing_is_left_behind_once_nobody_waits() -> None:
    news = await spoken(60.0, 60.0)
    waiting = asyncio.create_task(news.wait())
    await asyncio.sleep(0)
    news.keep()
    waiting.cancel()
    await asyncio.wait({waiting})
    timers = [news._timer, news._keeping]
    news.close()
    for timer in timers:
        assert timer is not None
        assert timer.cancelled()
