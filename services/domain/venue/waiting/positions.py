"""Positions as the venue knows them: from its own fills, and the tape's splits (rules 13 and 20).

A split needs no look at the positions: each is brought up to date when it is next asked about. So a venue that passes
over a split, because no order waits, cannot miss it.
"""

from collections.abc import Mapping
from decimal import Decimal

from services.domain.accounting.lots import split_quantity
from services.domain.instrument import Instrument
from services.domain.money import ZERO, decimal_of
from services.domain.orders.order import Side
from services.domain.tape_index import TapeIndex

Holder = tuple[str, str]
"""A portfolio's id and a symbol."""
_PLACE = Decimal("1e-9")
_BUY = Side.BUY


class _Held:
    """One holder's signed units, and the tape position that they are right at."""

    __slots__ = ("since", "units")

    def __init__(self, units: Decimal, since: int) -> None:
        self.units, self.since = units, since


class Positions:
    """Signed units by portfolio and symbol, each as of a tape position.

    Attributes:
        index: of the tape the venue stands on; None before there is one.
    """

    def __init__(self, instruments: Mapping[str, Instrument]) -> None:
        self._instruments = instruments
        self._held: dict[Holder, _Held] = {}
        self.index: TapeIndex | None = None

    def at(self, position: int) -> dict[Holder, Decimal]:
        """All that are not zero, at a tape position."""
        return {holder: units for holder in list(self._held) if (units := self.units(holder, position))}

    def units(self, holder: Holder, position: int) -> Decimal:
        """One holder's units at a tape position, no earlier than any asked about before."""
        held = self._held.get(holder)
        return ZERO if held is None else self._units(holder[1], held, position)

    def reducible(self, holder: Holder, side: Side, position: int) -> Decimal:
        """The units that an order of ``side`` can fill without opening or enlarging a position."""
        units = self.units(holder, position)
        return max(ZERO, -units if side is _BUY else units)

    def trade(self, holder: Holder, signed: Decimal, position: int) -> None:
        """Count a fill of ``signed`` units at a tape position."""
        held = self._held.get(holder)
        if held is None:
            self._held[holder] = _Held(signed, position)
            return
        if held.units:
            signed += self._units(holder[1], held, position)
        held.units, held.since = signed, position

    def restore(self, units: Mapping[Holder, Decimal], position: int) -> None:
        """Take back what was held at a tape position."""
        self._held.update({holder: _Held(each, position) for holder, each in units.items()})

    def stand_at(self, position: int) -> None:
        """What is held is held at ``position``: the way there was met before, or is none of the venue's."""
        for held in self._held.values():
            held.since = position

    def _units(self, symbol: str, held: _Held, position: int) -> Decimal:
        """The units through the splits of ``symbol`` up to ``position``; the books close fractions for cash."""
        index, units = self.index, held.units
        if not units or index is None or not index.splits(symbol):
            return units
        row, step = index.next_split(symbol, held.since), self._instruments[symbol].quantity_increment
        while row < position:
            numerator, denominator = map(decimal_of, index.tape.values[row, :2].tolist())
            units = split_quantity(units, numerator, denominator, _PLACE)
            units -= units % step
            row = index.next_split(symbol, row + 1)
        held.units, held.since = units, position
        return units
