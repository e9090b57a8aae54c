"""What a market says: immutable values. Times are ns since the epoch, UTC; prices and sizes are the tape's doubles."""

from typing import NamedTuple


class PriceLevel(NamedTuple):
    """Units that others would trade at a price."""

    price: float
    size: float


class Quote(NamedTuple):
    """The best bid and ask, and what lies behind them where the source gives it (FIX 264, market depth).

    Attributes:
        bid_size, ask_size: units; 0 where the source gives none.
        bids, asks: the levels of a side, its best one first; empty where nothing behind either best is known.
    """

    symbol: str
    time: int
    bid: float
    ask: float
    bid_size: float = 0.0
    ask_size: float = 0.0
    bids: tuple[PriceLevel, ...] = ()
    asks: tuple[PriceLevel, ...] = ()


def sides_of(quote: Quote) -> tuple[tuple[PriceLevel, ...], tuple[PriceLevel, ...]]:
    """The levels of a quote's bids and of its asks that are known: their best ones at least, where there are any."""
    if quote.bids or quote.asks:
        return quote.bids, quote.asks
    best = PriceLevel(quote.bid, quote.bid_size), PriceLevel(quote.ask, quote.ask_size)
    bid, ask = ((level,) if level.price > 0 else () for level in best)
    return bid, ask


def requoted(quote: Quote, numerator: float, denominator: float) -> Quote:
    """A quote in the units after a split of ``numerator`` new ones for ``denominator`` old ones."""

    def price(old: float) -> float:
        return _tape_s(old * denominator / numerator)

    def size(old: float) -> float:
        return _tape_s(old * numerator / denominator)

    bids, asks = (
        tuple(PriceLevel(price(each.price), size(each.size)) for each in side) for side in (quote.bids, quote.asks)
    )
    figures = (price(quote.bid), price(quote.ask), size(quote.bid_size), size(quote.ask_size))
    return Quote(quote.symbol, quote.time, *figures, bids, asks)


def _tape_s(value: float) -> float:
    """A figure as tapes have them, of at most 15 digits: 0.7 times 3 is 2.1, which floors to other units than 2.09…."""
    return float(f"{value:.15g}")


class Trade(NamedTuple):
    """One print. ``size`` is units; 0 where the source gives none."""

    symbol: str
    time: int
    price: float
    size: float = 0.0


class Bar(NamedTuple):
    """Prices of ``[start, end)``; known at ``end``. ``interval`` is its name: ``1m``, ``1h``, ``1d``."""

    symbol: str
    interval: str
    start: int
    end: int
    open: float
    high: float
    low: float
    close: float
    volume: float


class Split(NamedTuple):
    """``numerator`` new units for ``denominator`` old ones, before the ex-date's first trade."""

    symbol: str
    time: int
    numerator: float
    denominator: float


class Auction(NamedTuple):
    """What an opening or a closing auction came to: its one price, and the units it traded; 0 where none are given."""

    symbol: str
    time: int
    price: float
    size: float
    opening: bool


class Halt(NamedTuple):
    """Trading in a symbol stops, or goes on."""

    symbol: str
    time: int
    halted: bool


class Clock(NamedTuple):
    """A session edge of a calendar: an open sorts before data of its time, a close after."""

    calendar: str
    time: int
    open: bool


Record = Quote | Trade | Bar | Split | Auction | Halt | Clock
