"""The order service's end of risk's gate: one `CheckOrders` stream an environment (rules 3 to 5).

A verdict counts only on the stream it came by, and only if no kill switch changed since: both raise `generation`, and
whoever waits for verdicts asks again.
"""

from __future__ import annotations

import asyncio
import logging
import random
from collections.abc import Awaitable, Callable, Iterable, Sequence
from typing import Any, Final, NamedTuple, Protocol

import grpc

from services.chassis.errors import ApiError
from services.domain.risk.gate import Verdict
from services.domain.risk.preview import Preview
from services.order.gate.mapping import Guard, Kill, Ready, Verdicts, connect, gate_answer

FIRST_BACKOFF_SECONDS: Final = 0.02
# Risk restarted by its supervisor is back within 2 s, which is all that an order waits.
LAST_BACKOFF_SECONDS: Final = 0.5

_log = logging.getLogger(__name__)


class RiskUnavailable(Exception):
    """Risk gave no verdict in time: nothing was decided, nothing is reserved."""


class Checked(NamedTuple):
    """Verdicts, or previews, of a batch, good for as long as the gate's generation is this one."""

    batch_id: int
    verdicts: tuple[Verdict, ...]
    previews: tuple[Preview, ...]
    generation: int


class Begin(Protocol):
    """Raises the durable epoch; by then whatever older verdicts led to is committed."""

    def __call__(self) -> Awaitable[tuple[int, Callable[[], int]]]:
        """Gives the epoch, and how to read the committed head."""
        ...


class _Broken(Exception):
    """The stream ended, or what was said on it is void."""


class RiskGate:
    """Keeps the stream open for as long as the environment lives, and asks for verdicts one batch at a time.

    Attributes:
        generation: what was answered under an older one is void.
    """

    def __init__(
        self,
        environment_id: str,
        open_stream: Callable[[], Any],
        begin: Begin,
        on_kill: Callable[[Kill], None],
        on_guards: Callable[[Sequence[Guard], bool], None],
    ) -> None:
        """Describes the stream; `run` opens it.

        Args:
            environment_id: whose orders are checked.
            open_stream: opens the call, `stub.CheckOrders`.
            begin: called before each connection.
            on_kill: called with every switch that is engaged at a connection or changes later, in order with verdicts.
            on_guards: called with runaway guards, and whether these are all there are: so at every connection.
        """
        self._environment_id = environment_id
        self._open = open_stream
        self._begin = begin
        self._on_kill = on_kill
        self._on_guards = on_guards
        self._call: Any = None
        self._ready = asyncio.Event()
        self.generation = 0
        self._batch_id = 0
        self._backoff = FIRST_BACKOFF_SECONDS
        self._pending: asyncio.Future[Verdicts] | None = None
        self._head: Callable[[], int] = lambda: 0
        self._told = 0

    @property
    def ready(self) -> bool:
        """Whether risk answers now."""
        return self._ready.is_set()

    async def run(self) -> None:
        """Connects and listens; until cancelled."""
        while True:
            try:
                await self._converse()
            except ApiError as error:
                _log.info("lost risk", extra={"environment_id": self._environment_id, "error": str(error)})
            except asyncio.CancelledError:
                if _told_to_end():
                    raise
            await asyncio.sleep(self._backoff * random.uniform(0.5, 1.0))
            self._backoff = min(2 * self._backoff, LAST_BACKOFF_SECONDS)

    async def check(self, batch: Callable[[int, int], Any], seconds: float) -> Checked:
        """Asks for the verdicts of one batch; where they are void, because the stream broke for instance, again.

        Args:
            batch: makes the message of a batch id and of what was committed after an event, anew at each try.
            seconds: the longest wait.

        Raises:
            RiskUnavailable: no verdict came within that; the stream is broken, so that none can come later.
        """
        try:
            async with asyncio.timeout(seconds):
                while True:
                    await self._ready.wait()
                    try:
                        return await self._ask(batch)
                    except (_Broken, ApiError):
                        # A stream that cannot be written to is found out by its reader too.
                        await asyncio.sleep(0)
        except TimeoutError:
            self._void()
            if self._call is not None:
                self._call.cancel()
            raise RiskUnavailable from None

    async def _ask(self, batch: Callable[[int, int], Any]) -> Checked:
        generation, call = self.generation, self._call
        self._batch_id += 1
        pending = self._pending = asyncio.get_running_loop().create_future()
        try:
            head = self._head()
            await call.write(batch(self._batch_id, self._told))
            if generation == self.generation:
                # Else another stream may have begun, with a head of its own.
                self._told = head
        except asyncio.CancelledError:
            if _told_to_end():
                raise
            raise _Broken from None
        answer = await pending
        return Checked(answer.batch_id, answer.verdicts, answer.previews, generation)

    async def _converse(self) -> None:
        """One life of the stream."""
        epoch, self._head = await self._begin()
        call = self._open()
        try:
            self._told = self._head()
            await call.write(connect(self._environment_id, epoch, self._told))
            while (message := await call.read()) is not grpc.aio.EOF:
                self._take(call, gate_answer(message))
        finally:
            self._ready.clear()
            self._call = None
            self._void()
            call.cancel()

    def _take(self, call: Any, answer: Ready | Verdicts | Kill | Guard | None) -> None:
        match answer:
            case Ready():
                self._call = call
                self._backoff = FIRST_BACKOFF_SECONDS
                self._ready.set()
                self._on_guards(answer.guards, True)
                self._tell(answer.kills)
                _log.info("risk is ready", extra={"environment_id": self._environment_id})
            case Verdicts() if self._pending is not None and answer.batch_id == self._batch_id:
                if not self._pending.done():
                    self._pending.set_result(answer)
            case Kill():
                self._void()
                self._tell([answer])
            case Guard():
                self._on_guards([answer], False)
            case _:
                pass

    def _tell(self, kills: Iterable[Kill]) -> None:
        for kill in kills:
            self._on_kill(kill)

    def _void(self) -> None:
        """Nothing that was said so far may be committed from here on."""
        self.generation += 1
        if self._pending is not None and not self._pending.done():
            self._pending.set_exception(_Broken())
            # Nobody may be waiting: a caller that gave up has its own answer.
            self._pending.exception()
        self._pending = None


def _told_to_end() -> bool:
    """Whether a cancellation is meant for the current task; one that is not says that a stream was given up here."""
    task = asyncio.current_task()
    return task is None or task.cancelling() > 0
