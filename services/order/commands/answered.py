"""How what somebody asks for is answered."""

from __future__ import annotations

import asyncio
from typing import Generic, TypeVar

from services.chassis.errors import ApiError

T = TypeVar("T")


class Answered(Generic[T]):
    """A command with one answer, which comes to nothing where nobody waits for it any more."""

    __slots__ = ()

    answer: asyncio.Future[T]

    def fail(self, error: ApiError) -> None:
        """Answers with an error."""
        if not self.answer.done():
            self.answer.set_exception(error)

    def answer_with(self, result: T) -> None:
        """Answers with what was asked for."""
        if not self.answer.done():
            self.answer.set_result(result)
