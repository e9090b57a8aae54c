"""Positions as the venue knows them: from its own fills, and the tape's splits (rules 13 and 20).

A split needs no look at the positions: each is brought up to date when it is next asked about. So a venue that passes
over a split, because no order waits, cannot miss it.
"""

from collections.abc import Mapping
from decimal import Decimal, localcontext

from services.domain.accounting.lots import split_quantity
from services.domain.instrument import Instrument
from services.domain.money import EXACT, ZERO, decimal_of
from services.domain.orders.order import Side
from services.domain.tape_index import TapeIndex

Holder = tuple[str, str]
"""A portfolio's id and a symbol."""
_PLACE = Decimal("1e-9")
_BUY, _NOTHING = Side.BUY, (ZERO, 0)


class Positions:
    """Signed units by portfolio and symbol, each as of a tape position.

    Attributes:
        index: of the tape the venue stands on; None before there is one.
    """

    def __init__(self, instruments: Mapping[str, Instrument]) -> None:
        self._instruments = instruments
        # The units, and the tape position that they are right at.
        self._held: dict[Holder, tuple[Decimal, int]] = {}
        self.index: TapeIndex | None = None

    def at(self, position: int) -> dict[Holder, Decimal]:
        """All that are not zero, at a tape position."""
        return {holder: units for holder in list(self._held) if (units := self.units(holder, position))}

    def units(self, holder: Holder, position: int) -> Decimal:
        """One holder's units at a tape position, no earlier than any asked about before."""
        units, since = self._held.get(holder, _NOTHING)
        if units and self.index is not None and self.index.splits(holder[1]):
            units = self._split(holder[1], units, since, position)
            self._held[holder] = units, position
        return units

    def reducible(self, holder: Holder, side: Side, position: int) -> Decimal:
        """The units that an order of ``side`` can fill without opening or enlarging a position."""
        units = self.units(holder, position)
        return max(ZERO, -units if side is _BUY else units)

    def trade(self, holder: Holder, signed: Decimal, position: int) -> None:
        """Count a fill of ``signed`` units at a tape position."""
        if held := self.units(holder, position):
            signed += held
        self._held[holder] = signed, position

    def restore(self, units: Mapping[Holder, Decimal], position: int) -> None:
        """Take back what was held at a tape position."""
        self._held.update({holder: (each, position) for holder, each in units.items()})

    def stand_at(self, position: int) -> None:
        """What is held is held at ``position``: the way there was met before, or is none of the venue's."""
        self._held = {holder: (units, position) for holder, (units, _) in self._held.items()}

    def _split(self, symbol: str, units: Decimal, since: int, position: int) -> Decimal:
        """``units`` through the splits of ``symbol`` after ``since``; the books close fractions for cash."""
        index, step = self.index, self._instruments[symbol].quantity_increment
        if index is None:
            return units
        row = index.next_split(symbol, since)
        while row < position:
            numerator, denominator = map(decimal_of, index.tape.values[row, :2].tolist())
            with localcontext(EXACT):
                units = split_quantity(units, numerator, denominator, _PLACE)
                units -= units % step
            row = index.next_split(symbol, row + 1)
        return units
