"""Where an equity curve stands: what a day's loss and a drawdown are measured from (rule 32c).

Points come at each session close and after fills. A deposit or withdrawal is neither gain nor loss: both figures move
with it.
"""

from dataclasses import dataclass
from decimal import Decimal

from services.domain.money import ZERO


@dataclass(slots=True)
class Curve:
    """The two figures of an equity curve that stops look at.

    Attributes:
        opened: the equity that the day began with: that of the last session close.
        peak: the highest point.
    """

    opened: Decimal = ZERO
    peak: Decimal = ZERO

    def flow(self, amount: Decimal) -> None:
        """Cash came from outside, or went there."""
        self.opened += amount
        self.peak += amount

    def point(self, equity: Decimal) -> None:
        """A point of the curve."""
        self.peak = max(self.peak, equity)

    def close(self, equity: Decimal) -> None:
        """The point of a session's close: the next day begins with it."""
        self.opened = equity
        self.point(equity)

    def day_loss(self, equity: Decimal) -> Decimal:
        """What has been lost since the day began; zero where nothing was."""
        return max(ZERO, self.opened - equity)

    def drawdown(self, equity: Decimal) -> Decimal:
        """The fall from the highest point, as a fraction of it; zero where there was nothing to lose."""
        return max(ZERO, self.peak - equity) / self.peak if self.peak > 0 else ZERO
