"""Watches one replay through the services' streams and keeps what there is to see of it."""

from __future__ import annotations

import asyncio
import time
from collections import Counter, deque
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass, field
from decimal import Decimal
from functools import partial
from typing import Final, Protocol, TypeVar

from services.chassis.errors import ApiError
from services.console.processes.supervision import Process
from services.console.records import Fill, MarketNews, OrderNews, Portfolio, Replay, SignalNews

T = TypeVar("T")

AGAIN_SECONDS: Final = 0.5
REPLAY_SECONDS: Final = 0.5
RATE_SECONDS: Final = 5.0
KEPT_FILLS: Final = 50
KEPT_EQUITY: Final = 480


class Rate:
    """Events a second over the last seconds."""

    def __init__(self) -> None:
        self._seen: deque[tuple[float, int]] = deque()

    def add(self, now: float, count: int) -> None:
        """So many happened at `now`, s of a monotonic clock."""
        self._seen.append((now, count))

    def at(self, now: float) -> float:
        """The rate as it is at `now`."""
        while self._seen and self._seen[0][0] < now - RATE_SECONDS:
            self._seen.popleft()
        if not self._seen:
            return 0.0
        return sum(count for _, count in self._seen) / min(RATE_SECONDS, max(1.0, now - self._seen[0][0]))


class Curve:
    """A series of any length in bounded memory: whenever it is full, every second value is left out from then on."""

    def __init__(self) -> None:
        self.values: list[float] = []
        self._stride = 1
        self._count = 0

    def add(self, value: float) -> None:
        """The next value."""
        if self._count % self._stride == 0:
            self.values.append(value)
            if len(self.values) == KEPT_EQUITY:
                del self.values[1::2]
                self._stride *= 2
        self._count += 1


@dataclass(slots=True)
class Scene:
    """What there is to see. `begin_time` is when the console began, wall time in ns; clocks are monotonic seconds.

    Attributes:
        first_fill: seconds from the beginning to the first fill after it.
        opening: what each portfolio began with.
        equity: of each portfolio, as it changed.
        memory: bytes that all processes take together.
        exec_types: how many order events of each kind there were, all of the replay's past included.
    """

    begin_time: int
    replay: Replay | None = None
    attached: bool = False
    ticks: Rate = field(default_factory=Rate)
    cycles: Rate = field(default_factory=Rate)
    signals: int = 0
    exec_types: Counter[str] = field(default_factory=Counter)
    fills: deque[Fill] = field(default_factory=lambda: deque(maxlen=KEPT_FILLS))
    first_fill: float | None = None
    prices: dict[str, float] = field(default_factory=dict)
    moves: dict[str, int] = field(default_factory=dict)
    portfolios: dict[str, Portfolio] = field(default_factory=dict)
    opening: Decimal = Decimal(0)
    equity: dict[str, Curve] = field(default_factory=dict)
    health: dict[str, bool] = field(default_factory=dict)
    processes: list[Process] = field(default_factory=list)
    memory: int = 0

    @property
    def orders(self) -> int:
        """Orders that were accepted."""
        return self.exec_types["NEW"] + self.exec_types["HELD"]

    @property
    def filled(self) -> int:
        """Fills."""
        return self.exec_types["TRADE"]

    @property
    def refused(self) -> int:
        """Orders that were refused."""
        return self.exec_types["REJECTED"]

    def begin(self, replay: Replay, opening: Decimal) -> None:
        """Turns to another replay."""
        self.replay, self.opening = replay, opening
        self.ticks, self.cycles, self.signals = Rate(), Rate(), 0
        for each in (self.exec_types, self.fills, self.prices, self.moves, self.portfolios, self.equity):
            each.clear()

    def see_replay(self, replay: Replay, now: float) -> None:
        """Where it stands."""
        if self.replay is not None:
            self.cycles.add(now, max(0, replay.cycle - self.replay.cycle))
        self.replay = replay

    def see_market(self, news: MarketNews, now: float) -> None:
        """Records passed."""
        self.ticks.add(now, news.records)
        for symbol, price in news.prices.items():
            before = self.prices.get(symbol, price)
            if price != before:
                self.moves[symbol] = 1 if price > before else -1
            self.prices[symbol] = price

    def see_order(self, news: OrderNews) -> None:
        """Something happened to an order."""
        self.exec_types[news.exec_type] += 1
        if news.fill is not None:
            self.fills.append(news.fill)
            if self.first_fill is None and news.create_time >= self.begin_time:
                self.first_fill = (news.create_time - self.begin_time) / 1e9

    def see_portfolio(self, portfolio: Portfolio) -> None:
        """A portfolio as it is now."""
        self.portfolios[portfolio.portfolio_id] = portfolio
        self.equity.setdefault(portfolio.portfolio_id, Curve()).add(float(portfolio.equity))


class Streams(Protocol):
    """What watching needs of the mesh."""

    async def replay(self, environment_id: str) -> Replay:
        """One as it stands."""

    async def portfolios(self, environment_id: str) -> list[Portfolio]:
        """Those of an environment."""

    def market_news(self, environment_id: str) -> AsyncIterator[MarketNews]:
        """The latest prices, then records."""

    def order_news(self, environment_id: str, after: int) -> AsyncIterator[list[OrderNews]]:
        """Order events after a number."""

    def signal_news(self, environment_id: str, after: int) -> AsyncIterator[list[SignalNews]]:
        """Signals after a number."""

    def portfolio_news(self, portfolio_id: str) -> AsyncIterator[Portfolio]:
        """A portfolio now, and after each change."""


async def watch(mesh: Streams, scene: Scene, environment_id: str) -> None:
    """Keeps the scene up to date until the replay has ended, whichever services come and go meanwhile."""
    watcher = Watcher(mesh, scene, environment_id)
    async with asyncio.TaskGroup() as tasks:
        portfolios = await _patiently(lambda: mesh.portfolios(environment_id))
        for each in portfolios:
            scene.see_portfolio(each)
        streams: list[Callable[[], Awaitable[None]]] = [watcher.market, watcher.orders, watcher.signals]
        streams += [partial(watcher.portfolio, each.portfolio_id) for each in portfolios]
        followed = [tasks.create_task(_again(stream)) for stream in streams]
        while True:
            replay = await _patiently(lambda: mesh.replay(environment_id))
            scene.see_replay(replay, time.monotonic())
            if replay.ended:
                break
            await asyncio.sleep(REPLAY_SECONDS)
        # What the end itself brought is still on its way.
        await asyncio.sleep(AGAIN_SECONDS)
        for task in followed:
            task.cancel()


class Watcher:
    """The streams of one replay; each goes on after what the scene has seen of it."""

    def __init__(self, mesh: Streams, scene: Scene, environment_id: str) -> None:
        self._mesh = mesh
        self._scene = scene
        self._environment_id = environment_id
        self._order = 0
        self._signal = 0

    async def market(self) -> None:
        """Records."""
        async for news in self._mesh.market_news(self._environment_id):
            self._scene.see_market(news, time.monotonic())

    async def orders(self) -> None:
        """Order events, from the first on."""
        async for news in self._mesh.order_news(self._environment_id, self._order):
            for each in news:
                self._scene.see_order(each)
                self._order = each.sequence

    async def signals(self) -> None:
        """Signals, from the first on."""
        async for news in self._mesh.signal_news(self._environment_id, self._signal):
            self._scene.signals += len(news)
            self._signal = news[-1].sequence if news else self._signal

    async def portfolio(self, portfolio_id: str) -> None:
        """One portfolio."""
        async for each in self._mesh.portfolio_news(portfolio_id):
            self._scene.see_portfolio(each)


async def _again(stream: Callable[[], Awaitable[None]]) -> None:
    """Follows a stream, and again after every break."""
    while True:
        with suppress(ApiError):
            await stream()
        await asyncio.sleep(AGAIN_SECONDS)


async def _patiently(call: Callable[[], Awaitable[T]]) -> T:
    while True:
        try:
            return await call()
        except ApiError:
            await asyncio.sleep(AGAIN_SECONDS)
