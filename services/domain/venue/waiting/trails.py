"""Trailing stops that trail, held so that a new best price costs no look at each of them.

Orders that have seen the same best price have their triggers in the order of their distances, whatever the best price
is. So they are held in groups of one best price each. A better one swallows all groups behind it, the smaller into the
larger: an order changes its group some dozen times in its life at most, however many records set new bests.
"""

from bisect import bisect_left
from collections.abc import Iterator
from decimal import Decimal
from typing import NamedTuple

from services.domain.orders.order import Order, Side
from services.domain.prices import Prices
from services.domain.tape_index import NEVER
from services.domain.venue.offers.trailing import trailing_distance, trigger_at
from services.domain.venue.waiting.ladder import Entries, Watch


class _Member(NamedTuple):
    distance: Decimal
    live: int


class _Group:
    """Orders of one best price. ``head`` is its entry among the heads: its nearest trigger, signed, and its number."""

    __slots__ = ("best", "entries", "head", "live", "number", "size")

    def __init__(self, number: int, best: float) -> None:
        self.number, self.best, self.live, self.size = number, best, 0, 0
        self.entries = Entries()
        self.head = (0.0, 0)


class Trail:
    """The trailing stops of one side that trail by an amount, or of one side that trail by a percentage.

    Signed prices grow towards the market's favour: of sells they are prices, of buys their negatives.
    """

    def __init__(self, side: Side, by_percent: bool, stated: bool, step: Decimal) -> None:
        """``stated`` says that they know which way prices went inside a bar (rule 10)."""
        self._side, self._by_percent, self._stated, self._step = side, by_percent, stated, step
        self._sign = 1 if side is Side.SELL else -1
        self._groups: list[_Group] = []
        self._numbers: dict[int, _Group] = {}
        self._heads = Entries()
        self._members: dict[int, _Member] = {}
        self._where: dict[int, _Group] = {}
        self._last = 0

    def __bool__(self) -> bool:
        return bool(self._where)

    def __contains__(self, arrival: int) -> bool:
        return arrival in self._where

    def best(self, arrival: int) -> float:
        """The best price that an order has seen."""
        return self._where[arrival].best

    def add(self, order: Order, arrival: int, live: int, best: float) -> None:
        """Trail an order, live from ``live`` (ns), that has seen ``best``."""
        self._members[arrival] = _Member(trailing_distance(order), live)
        group = self._group(best)
        self._join(group, arrival)
        self._place(group)

    def remove(self, arrival: int) -> None:
        """Trail an order no more."""
        group = self._where.pop(arrival)
        group.entries.remove(self._entry(arrival))
        group.size -= 1
        del self._members[arrival]
        self._settle(group)

    def reached(self, prices: Prices) -> Iterator[int]:
        """Arrivals of the orders that ``prices`` may trigger: by their triggers, or by a new best and the close."""
        adverse, extreme = (prices.low, prices.high) if self._sign > 0 else (prices.high, prices.low)
        found: dict[int, None] = {}
        for _, number in self._heads.below((-self._sign * adverse, NEVER)):
            group = self._numbers[number]
            found.update(self._nearest(group, group.best, adverse))
        later = adverse if self._stated else prices.last
        for group in self._behind(extreme):
            found.update(self._nearest(group, extreme, later))
        return iter(found)

    def passed(self, prices: Prices, start: int) -> bool:
        """A record that began at ``start`` (ns) has been met: its best price counts for whoever was live.

        Returns:
            Whether any trigger moved.
        """
        extreme = prices.high if self._sign > 0 else prices.low
        behind = list(self._behind(extreme))
        moved = False
        for group in behind:
            if group.live <= start:
                self._swallow(group, extreme)
                moved = True
                continue
            # A bar that began before some were live, and ends after what they have met already.
            for arrival in [each for _, each in group.entries if self._members[each].live <= start]:
                group.entries.remove(self._entry(arrival))
                group.size -= 1
                self._join(self._group(extreme), arrival)
                moved = True
            self._settle(group)
        if moved:
            self._place(self._group(extreme))
        return moved

    def watches(self) -> Iterator[Watch]:
        """What concerns any order: the nearest trigger, and a price better than the least of the best ones."""
        if self._groups:
            yield Watch(self._side, -self._sign, True, self._heads.first[0])
            yield Watch(self._side, self._sign, False, self._sign * self._groups[-1].best)

    def _entry(self, arrival: int) -> tuple[float, int]:
        return float(self._members[arrival].distance), arrival

    def _behind(self, extreme: float) -> Iterator[_Group]:
        """The groups whose best price ``extreme`` betters, the farthest first."""
        for group in reversed(self._groups):
            if self._sign * group.best >= self._sign * extreme:
                return
            yield group

    def _nearest(self, group: _Group, best: float, price: float) -> dict[int, None]:
        """The members whose triggers, were ``best`` the best price, lie at ``price`` or nearer to the market."""
        found: dict[int, None] = {}
        for _, arrival in group.entries:
            trigger = self._trigger(self._members[arrival].distance, best)
            if self._sign * price > self._sign * trigger:
                break
            found[arrival] = None
        return found

    def _trigger(self, distance: Decimal, best: float) -> float:
        return float(trigger_at(self._side, self._by_percent, distance, best, self._step))

    def _group(self, best: float) -> _Group:
        """The group of a best price, an empty one if there is none yet."""
        at = self._place_of(best)
        if at < len(self._groups) and self._groups[at].best == best:
            return self._groups[at]
        self._last += 1
        group = self._numbers[self._last] = _Group(self._last, best)
        self._groups.insert(at, group)
        return group

    def _place_of(self, best: float) -> int:
        return bisect_left(self._groups, -self._sign * best, key=lambda group: -self._sign * group.best)

    def _join(self, group: _Group, arrival: int) -> None:
        group.entries.add(self._entry(arrival))
        group.size += 1
        group.live = max(group.live, self._members[arrival].live)
        self._where[arrival] = group

    def _swallow(self, group: _Group, best: float) -> None:
        """All members have seen ``best``: the group takes it, or joins the one that has it."""
        self._unplace(group)
        del self._groups[self._place_of(group.best)]
        other = self._group(best)
        small, large = (group, other) if group.size < other.size else (other, group)
        if large is group:
            self._unplace(other)
            self._groups[self._place_of(best)] = group
            del self._numbers[other.number]
            group.best = best
        else:
            del self._numbers[group.number]
        for _, arrival in small.entries:
            self._join(large, arrival)
        self._place(large)

    def _settle(self, group: _Group) -> None:
        """After members left: drop an empty group, else keep its head."""
        if group.size:
            self._place(group)
        else:
            self._unplace(group)
            del self._groups[self._place_of(group.best)]
            del self._numbers[group.number]

    def _place(self, group: _Group) -> None:
        """Keep the group's nearest trigger among the heads."""
        nearest = self._trigger(self._members[group.entries.first[1]].distance, group.best)
        head = (-self._sign * nearest, group.number)
        if head != group.head:
            self._unplace(group)
            self._heads.add(head)
            group.head = head

    def _unplace(self, group: _Group) -> None:
        if group.head[1]:
            self._heads.remove(group.head)
            group.head = (0.0, 0)
