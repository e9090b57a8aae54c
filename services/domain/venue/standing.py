"""What a venue is asked about where it stands: its orders, what portfolios have and hold, and the market."""

from collections.abc import Mapping
from decimal import Decimal
from typing import NamedTuple

from services.domain.costs import Slip
from services.domain.filling import VenueSettings
from services.domain.instrument import Instrument
from services.domain.market import Quote
from services.domain.money import decimal_of, snap
from services.domain.orders.order import Order, Side
from services.domain.tape_index import TapeIndex
from services.domain.venue.offers.slips import slip_of
from services.domain.venue.waiting.blotter import Blotter
from services.domain.venue.waiting.positions import Holder


class Kept(NamedTuple):
    """Signed units, the collateral that is held against them, and what their portfolio can spend."""

    units: Decimal
    collateral: Decimal
    headroom: Decimal


class Standing:
    """A venue at a position of its tape."""

    def __init__(self, instruments: Mapping[str, Instrument], settings: VenueSettings | None = None) -> None:
        self._instruments = instruments
        self._settings = settings or VenueSettings()
        self._blotter = Blotter(instruments, self._settings)
        self._index: TapeIndex | None = None
        self._position = 0

    @property
    def position(self) -> int:
        """The tape sequence the venue stands at."""
        return self._position

    @property
    def headroom(self) -> dict[str, Decimal]:
        """By portfolio: cash that buys may use beyond their reservations (rule 19)."""
        return dict(self._blotter.headroom)

    @property
    def positions(self) -> dict[Holder, Decimal]:
        """By portfolio and symbol: the signed units that the venue's fills made, where there are any."""
        return self._blotter.positions.at(self._position)

    def held(self, portfolio_id: str, symbol: str) -> Decimal:
        """One of them."""
        return self._blotter.positions.units((portfolio_id, symbol), self._position)

    @property
    def collateral(self) -> dict[Holder, Decimal]:
        """By portfolio and symbol: what is held against a short, where there is one (rule 19)."""
        return self._blotter.shorts.collateral

    def kept(self, portfolio_id: str, symbol: str) -> Kept:
        """What is held of a symbol and against it, and the portfolio's headroom."""
        holder, blotter = (portfolio_id, symbol), self._blotter
        return Kept(self.held(*holder), blotter.shorts.held_against(holder), blotter.headroom[portfolio_id])

    def take_split(self) -> set[Holder]:
        """The shorts that splits have changed since this was last asked."""
        return self._blotter.shorts.take_split()

    def open_orders(self) -> list[Order]:
        """The orders that are not finished, by priority."""
        return list(self._blotter.orders.values())

    def order(self, order_id: str) -> Order | None:
        """An open order by its id; None if there is none."""
        return self._blotter.order(order_id)

    def reference_price(self, symbol: str, side: Side = Side.BUY) -> Decimal | None:
        """The last price at the position, snapped to the increment; of a quote the ask for buys, the bid for sells."""
        price = self._index.last_price(symbol, side, self._position) if self._index else None
        if price is None:
            return None
        increment = self._instruments[symbol].price_increment
        return max(increment, snap(decimal_of(price), increment))

    def slip(self, order: Order) -> Slip:
        """What can be said now of the records that will fill an order, if it walks or slips (rules 11 and 14)."""
        instrument = self._instruments[order.symbol]
        return slip_of(order, self._index, self._position, order.fill_settings or self._settings, instrument)

    def market(self, symbol: str) -> Quote | None:
        """The last quote at the position, with the levels that it shows, in today's units; None before the first."""
        return self._index.last_quote(symbol, self._position) if self._index else None
