"""What a request for a list means: whose it is, where its page begins, and by which of the two orders it is told."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

from services.order.clients import Peers
from services.order.entry.intake import parse_order_id
from services.order.listing import Place, Wanted
from services.order.records import PageRow
from services.order.store import Store
from services.wire.pages import Page
from services.wire.values import time_range


class Asked(NamedTuple):
    """One page of a list.

    Attributes:
        wanted: None where nothing can fit.
        beyond: where the page before ended.
    """

    page: Page
    wanted: Wanted | None
    beyond: Place | None

    @property
    def limit(self) -> int:
        """Elements to read: one more than are shown tells whether there is another page."""
        return self.page.size + 1

    def cut(self, rows: Sequence[PageRow]) -> tuple[list[bytes], str]:
        """The payloads that are shown, and the token of the next page."""
        environment_id = "" if self.wanted is None else self.wanted.environment_id
        shown, token = self.page.cut(rows, lambda row: (environment_id, row.time, row.sequence))
        return [row.payload for row in shown], token


class Paging:
    """Reads requests for lists."""

    def __init__(self, store: Store, peers: Peers) -> None:
        self._store = store
        self._peers = peers

    async def asked(self, request: Any) -> Asked:
        """What a validated request of a List method means.

        Raises:
            ApiError: INVALID_ARGUMENT for a time that is none, for times in the wrong order, or for another list's
                token; where nothing is named, NOT_FOUND `ENVIRONMENT_NOT_FOUND`, or UNAVAILABLE.
        """
        page, wanted = Page(request, 3), _wanted(request)
        if page.number is not None:
            wanted = wanted._replace(environment_id=page.after[0])
            return Asked(page, wanted, Place(page.value(1), page.number))
        return Asked(page, await self._placed(wanted, request), None)

    async def _placed(self, wanted: Wanted, request: Any) -> Wanted | None:
        """In which environment; where a portfolio is named and is read by its own index, in none."""
        named = wanted.environment_id
        if getattr(request, "order_id", ""):
            home, _ = parse_order_id(request.order_id)
            return wanted._replace(environment_id=home) if wanted.number and named in {"", home} else None
        if wanted.portfolio_id:
            found = await self._store.portfolio(wanted.portfolio_id)
            if found is None or named not in {"", found.environment_id}:
                return None
            return wanted._replace(environment_id=found.environment_id if wanted.by_time else "")
        return wanted if named else wanted._replace(environment_id=await self._peers.default_environment())


def _wanted(request: Any) -> Wanted:
    start, end = time_range(request)
    return Wanted(
        environment_id=request.environment_id,
        portfolio_id=request.portfolio_id,
        symbol=request.symbol,
        number=parse_order_id(getattr(request, "order_id", ""))[1],
        start=start,
        end=end,
        after=request.after_sequence,
    )
