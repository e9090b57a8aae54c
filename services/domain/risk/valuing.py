"""Moves the equity curves of a gate along a tape: at each session close, and after fills (rule 32c).

Backtest and risk service call it alike, so that what a stop looks at is a function of tape and events: a record's fills
are valued together, at the marks of that record, before anything that happens later counts.
"""

from collections.abc import Callable, Collection
from decimal import Decimal

from services.domain.money import ZERO
from services.domain.risk.limit import Mark
from services.domain.risk.valued import Valued
from services.domain.timeline import Timeline

Observe = Callable[[int, Collection[str] | None, Mark], None]


class Valuing:
    """Values one environment's portfolios.

    Attributes:
        position: the last position whose session closes count.
    """

    def __init__(self, gate: Valued, timeline: Timeline, position: int, observe: Observe | None = None) -> None:
        """Stands at a position.

        Args:
            gate: a detailed one.
            position: closes up to there count already.
            observe: told before the curves move: the tape position, the portfolios (None for all), and the marks there.
        """
        self._gate = gate
        self._timeline = timeline
        self._observe = observe
        self.position = position

    def advance(self, through: int) -> None:
        """Value what was filled before ``through``, and every session close up to there; what happens there is next."""
        self._fills(through - 1)
        if through <= self.position:
            return
        for sequence, is_close in self._timeline.edges(self.position, through):
            if is_close:
                mark = self._marks(sequence)
                if self._observe is not None:
                    self._observe(sequence, None, mark)
                self._gate.close(mark)
        self.position = through

    def settle(self, at: int) -> None:
        """Value all up to ``at``: everything there has happened."""
        self.advance(at)
        self._fills(at)

    def _fills(self, through: int) -> None:
        filled = [each for each, sequence in self._gate.filled.items() if sequence <= through]
        if not filled:
            return
        # All of one record: those of an earlier one were valued before these counted.
        sequence = self._gate.filled[filled[0]]
        mark = self._marks(sequence)
        if self._observe is not None:
            self._observe(sequence, filled, mark)
        for portfolio_id in filled:
            self._gate.point(portfolio_id, mark)

    def _marks(self, sequence: int) -> Mark:
        def mark(symbol: str) -> Decimal:
            return self._timeline.mark(symbol, sequence) or ZERO

        return mark
