"""What a record offers its orders: prices, and units by level (rule 11)."""

from collections.abc import Iterable, Mapping, Sequence
from decimal import Decimal

from services.domain.money import ZERO, decimal_of, floor_to
from services.domain.orders.order import LIMITED, Order, Side
from services.domain.prices import Prices, prices_of
from services.domain.tape import Kind, side_of
from services.domain.venue.offers.depth import NOTHING, Depth, Offer

_BUY, _SELL, _BAR, _QUOTE = Side.BUY, Side.SELL, Kind.BAR, Kind.QUOTE


class Supply:
    """What a record offers: prices for each side, and how many units the orders may still take of its sizes (rule 11).

    A bar's volume and a trade's size are one supply for both sides, a quote's sizes are two.

    Attributes:
        depth: the price levels that a quote shows, for orders of a side where it shows more than the best one.
    """

    __slots__ = ("_kind", "_most", "_sized", "_step", "_taken", "_values", "depth", "prices", "shared")

    def __init__(
        self, kind: Kind, values: list[float], sized: bool, step: Decimal, behind: Sequence[Sequence[float]] = ()
    ) -> None:
        """Of a record of these values; unless its source is ``sized``, orders get all they want.

        Args:
            behind: the price levels behind a quote's best ones, as ``tape.Levels`` has them.
        """
        self._kind, self._values, self._sized, self._step = kind, values, sized, step
        self._most: dict[tuple[Side, Decimal], Decimal] = {}
        self._taken = {_BUY: ZERO, _SELL: ZERO}
        self.shared = kind is not _QUOTE
        sells = prices_of(kind, values, _SELL)
        self.prices: Mapping[Side, Prices] = {
            _BUY: sells if self.shared else prices_of(kind, values, _BUY),
            _SELL: sells,
        }
        self.depth: dict[Side, Depth] = {}
        for side in (_BUY, _SELL) if behind else ():
            if len(levels := side_of(values, behind, asks=side is _BUY)) > 1:
                self.depth[side] = Depth(side, levels, step)

    def offers(self, order: Order, share: Decimal | None) -> Iterable[Offer]:
        """What ``order`` may take, level by level, if all together get ``share`` of each.

        A limit that is filled takes all levels at or better.
        """
        if order.side not in self.depth:
            return (Offer(self.units(order.side, share)),)
        return self.depth[order.side].offers(share if self._sized else None, worst_price(order))

    def offer(self, order: Order, share: Decimal | None) -> Offer:
        """The first of these."""
        return next(iter(self.offers(order, share)), NOTHING)

    def units(self, side: Side, share: Decimal | None) -> Decimal | None:
        """How many units orders of ``side`` may still take, in whole steps, if all together get ``share`` of the size.

        None for no limit.
        """
        if share is None or not self._sized:
            return None
        if self.shared:
            side = _BUY
        most = self._most.get((side, share))
        if most is None:
            most = self._most[side, share] = floor_to(share * self.size(side), self._step)
        return max(ZERO, most - self._taken[side])

    def beyond(self, ahead: Decimal) -> Decimal:
        """How many units of a trade are left of what went beyond those ahead of an order at its price (rule 9)."""
        return max(ZERO, floor_to(self.size(_BUY) - ahead, self._step) - self._taken[_BUY])

    def size(self, side: Side) -> Decimal:
        """The record's own size for orders of ``side``; 0 where it states none."""
        return decimal_of(self._values[4 if self._kind is _BAR else 1 if self.shared else 3 if side is _BUY else 2])

    @property
    def spread(self) -> Decimal:
        """What lies between a quote's two sides; none in bars and trades, or where a side is missing."""
        bid, ask = self._values[:2]
        return decimal_of(ask) - decimal_of(bid) if self._kind is _QUOTE and bid > 0 and ask > 0 else ZERO

    def take(self, side: Side, quantity: Decimal, level: float | None) -> None:
        """Use units up that an offer told of."""
        if level is not None:
            self.depth[side].take(level, quantity)
        else:
            self._taken[_BUY if self.shared else side] += quantity


def worst_price(order: Order) -> Decimal | None:
    """What an order pays at most, or wants at least; None where any price will do."""
    return order.limit_price if order.order_type in LIMITED else None
