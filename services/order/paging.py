"""What a request for a list means: whose it is, where its page begins, and by which of the two orders it is told."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

from services.order.clients import Peers
from services.order.entry.intake import no_order, parse_order_id
from services.order.listing import Place, Wanted
from services.order.records import PageRow
from services.wire.pages import Page
from services.wire.values import time_range


class Asked(NamedTuple):
    """One page of a list.

    Attributes:
        beyond: where the page before ended.
    """

    page: Page
    wanted: Wanted
    beyond: Place | None

    @property
    def limit(self) -> int:
        """Elements to read: one more than are shown tells whether there is another page."""
        return self.page.size + 1

    def cut(self, rows: Sequence[PageRow]) -> tuple[list[bytes], str]:
        """The payloads that are shown, and the token of the next page."""
        shown, token = self.page.cut(rows, lambda row: (self.wanted.environment_id, row.time, row.sequence))
        return [row.payload for row in shown], token


class Paging:
    """Reads requests for lists."""

    def __init__(self, peers: Peers) -> None:
        self._peers = peers

    async def asked(self, request: Any) -> Asked:
        """What a validated request of a List method means.

        Raises:
            ApiError: INVALID_ARGUMENT for a time that is none, for times in the wrong order, or for another list's
                token; NOT_FOUND for an environment or a portfolio that there is not, an order that cannot be, or
                one that is not in the environment that is named; UNAVAILABLE while nobody can tell.
        """
        page, wanted = Page(request, 3), _wanted(request)
        if page.number is not None:
            wanted = wanted._replace(environment_id=page.after[0])
            return Asked(page, wanted, Place(page.value(1), page.number))
        return Asked(page, await self._placed(wanted, request), None)

    async def _placed(self, wanted: Wanted, request: Any) -> Wanted:
        """In which environment; where a portfolio is named and is read by its own index, in none."""
        named, order_id = wanted.environment_id, getattr(request, "order_id", "")
        if order_id:
            named, _ = parse_order_id(order_id)
            if not wanted.number or wanted.environment_id not in {"", named}:
                raise no_order(order_id)
            if not wanted.portfolio_id:
                return wanted._replace(environment_id=named)
        home = await self._peers.home(named, wanted.portfolio_id)
        read_by_portfolio = wanted.portfolio_id and not wanted.by_time and not order_id
        return wanted._replace(environment_id="" if read_by_portfolio else home)


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
