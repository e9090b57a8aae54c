"""Whoever waits for news is woken by them, or by a silence that is too long."""

import asyncio

import pytest

from services.chassis.news import News


async def spoken(silence: float) -> News:
    news = News(silence)
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


async def test_a_silence_ends_as_long_after_the_last_word_as_it_may_last(monkeypatch: pytest.MonkeyPatch) -> None:
    loop, now = asyncio.get_running_loop(), 1_000.0
    monkeypatch.setattr(loop, "time", lambda: now)

    async def pass_by(seconds: float) -> None:
        nonlocal now
        now += seconds
        for _ in range(5):
            await asyncio.sleep(0)

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
    news = await spoken(60.0)
    waiting = asyncio.create_task(news.wait())
    await asyncio.sleep(0)
    waiting.cancel()
    await asyncio.wait({waiting})
    timer = news._timer
    news.close()
    assert timer is not None
    assert timer.cancelled()
