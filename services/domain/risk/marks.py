"""The last prices of one environment, and what its portfolios' holdings come to at them."""

from collections.abc import Iterator
from decimal import Decimal

from services.domain.accounting.entries import as_decimal
from services.domain.money import ZERO
from services.domain.risk.buying_power import Funds
from services.domain.risk.tally import Sums, Tally, sums_of


class Marks:
    """Prices by symbol; called, it gives one as a decimal, zero where there is none."""

    def __init__(self) -> None:
        """None yet."""
        self._prices: dict[str, Decimal | float] = {}
        # Since somebody asked for sums.
        self._moved: set[str] = set()
        self._holders: dict[str, list[Tally]] = {}

    def __call__(self, symbol: str) -> Decimal:
        """The price of a unit."""
        return as_decimal(self._prices.get(symbol, ZERO))

    def __contains__(self, symbol: str) -> bool:
        """Whether it has a price."""
        return symbol in self._prices

    def __iter__(self) -> Iterator[str]:
        """The symbols that have one."""
        return iter(self._prices)

    def set(self, symbol: str, price: Decimal | float) -> None:
        """The last price is another."""
        if self._prices.get(symbol) != price:
            self._prices[symbol] = price
            self._moved.add(symbol)

    def begin(self, symbol: str, price: Decimal | float) -> None:
        """A price, where there was none."""
        if symbol not in self._prices:
            self.set(symbol, price)

    def forget(self, symbol: str) -> None:
        """It has no price."""
        del self._prices[symbol]
        self._moved.add(symbol)

    def sums(self, funds: Funds) -> Sums:
        """What all its holdings come to; of these only those are looked at that changed, or whose price did."""
        for symbol in self._moved:
            for tally in self._holders.get(symbol, ()):
                tally.stale.add(symbol)
        self._moved.clear()
        tally = funds.tally
        for symbol in tally.stale:
            sums = sums_of(funds.holdings[symbol], self(symbol))
            if symbol not in tally:
                self._holders.setdefault(symbol, []).append(tally)
            tally.count(symbol, sums)
        tally.stale.clear()
        return tally.total
