"""Pages of lists, as they are served and as they are read."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from typing import Any, Final, TypeVar

from services.chassis.errors import ApiError
from services.chassis.streams.tokens import decode_page_token, encode_page_token, filter_hash

T = TypeVar("T")

DEFAULT_SIZE: Final = 100
_LARGEST: Final = 1000
_LARGEST_NUMBER: Final = 2**63 - 1


class Page:
    """Where a list stands. Its token names the list and its filter, so that no other list's is taken for it.

    Attributes:
        size: how many elements a page has.
        after: what the page before ended with, `width` values; empty on the first page.
    """

    def __init__(self, request: Any, width: int = 1) -> None:
        """Takes the request of a List method.

        Raises:
            ApiError: INVALID_ARGUMENT `PAGE_TOKEN_INVALID` for another list's token.
        """
        self.size: int = request.page_size or DEFAULT_SIZE
        self._asked = filter_hash(request, "page_token", "page_size", "encoding")
        named, *self.after = decode_page_token(request.page_token, width + 1) or [self._asked]
        if named != self._asked:
            raise _no_token()

    @property
    def number(self) -> int | None:
        """The last value, of a list ordered by numbers from 0; None on the first page.

        Raises:
            ApiError: INVALID_ARGUMENT `PAGE_TOKEN_INVALID` where it is none that a database could hold.
        """
        number = self.signed
        if number is not None and number < 0:
            raise _no_token()
        return number

    @property
    def signed(self) -> int | None:
        """As `number`, of a list ordered by days or times, which may lie before 1970."""
        return self.value(-1) if self.after else None

    def value(self, index: int) -> int:
        """One of the values that the page before ended with, a whole number.

        Raises:
            ApiError: INVALID_ARGUMENT `PAGE_TOKEN_INVALID` where it is none that a database could hold.
        """
        digits = self.after[index].removeprefix("-")
        if not (digits.isascii() and digits.isdecimal() and len(digits) <= 19 and int(digits) <= _LARGEST_NUMBER):
            raise _no_token()
        return int(self.after[index])

    def token(self, *values: str | int) -> str:
        """Goes on after these."""
        return encode_page_token(self._asked, *values)

    def cut(self, later: Sequence[T], last: Callable[[T], tuple[str | int, ...]]) -> tuple[Sequence[T], str]:
        """This page of what comes after the one before, and the next one's token; empty where this is the last.

        Args:
            later: at least one more than `size`, where there are so many.
            last: the values that a page ends with.
        """
        if len(later) <= self.size:
            return later, ""
        shown = later[: self.size]
        return shown, self.token(*last(shown[-1]))


async def pages(call: Callable[..., Awaitable[Any]], request: Any, name: str, **options: Any) -> list[Any]:
    """Everything that a List method has, page after page; `name` is the answer's field that holds it."""
    found: list[Any] = []
    request.page_size = _LARGEST
    while True:
        answer = await call(request, **options)
        found += getattr(answer, name)
        if not answer.next_page_token:
            return found
        request.page_token = answer.next_page_token


def _no_token() -> ApiError:
    return ApiError.invalid_field("page_token", "is no token of this list", "PAGE_TOKEN_INVALID")
