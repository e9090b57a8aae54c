"""The events of one partition that are kept in memory, and who is told of new ones."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from typing import Final, Generic, NamedTuple, TypeVar

from services.chassis.streams.news import News

E = TypeVar("E")

# Turns of the loop from a commit to its answer, by way of a desk and a session. Subscribers come after it: before it,
# their two messages kept a lone order's acknowledgement for half a millisecond.
ANSWERED_IN: Final = 3


class Entry(NamedTuple, Generic[E]):
    """An event: its number in the partition, the object filters look at, and its encoding, made once for everybody."""

    sequence: int
    event: E
    data: bytes = b""


@dataclass(slots=True)
class Ring(Generic[E]):
    """The latest events of one partition, and who waits for more.

    Attributes:
        head: the newest event's sequence.
        entries: the latest, up to the head.
        waiting: is told after each publication.
    """

    head: int = 0
    entries: list[Entry[E]] = field(default_factory=list)
    waiting: list[News] = field(default_factory=list)
    _waking: bool = False
    _flushing: bool = False

    @property
    def before(self) -> int:
        """The sequence before the ring's oldest."""
        return self.head - len(self.entries)

    def after(self, position: int, limit: int) -> list[Entry[E]]:
        """What follows a position that is not before `before`."""
        start = position - self.before
        return self.entries[start : start + limit]

    def wake(self) -> None:
        """Lets every subscriber look."""
        for each in self.waiting:
            each.tell()

    def flush(self) -> None:
        """Lets those look who keep news to have them together."""
        self._flushing = self._waking
        for each in self.waiting:
            each.flush()

    def wake_after_answers(self) -> None:
        """Tells every subscriber of news, once whoever asked for what was committed has been answered."""
        if self.waiting and not self._waking:
            self._waking = True
            self._wake_in(ANSWERED_IN)

    def _wake_in(self, turns: int) -> None:
        if turns:
            asyncio.get_running_loop().call_soon(self._wake_in, turns - 1)
        else:
            for each in self.waiting:
                each.tell() if self._flushing else each.keep()
            self._waking = self._flushing = False
