"""The holdings that the venue's fills sold short, by which it knows what of its cash is no headroom (rule 19)."""

from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping
from decimal import Decimal

from services.domain.accounting.holding import Holding
from services.domain.accounting.lots import split_quantity
from services.domain.instrument import Instrument
from services.domain.money import ZERO
from services.domain.orders.claim import claim_of, pair_of, together
from services.domain.orders.order import TERMINAL, Order
from services.domain.venue.waiting.positions import Holder

_PLACE = Decimal("1e-9")


class Shorts:
    """Counts as risk does, with its ``Holding``, and says by how much each event changes what is held.

    A holding is followed from its first short on, so that who goes short again and again is not counted anew each time.
    """

    def __init__(self, instruments: Mapping[str, Instrument], orders_of: Callable[[Holder], Iterable[Order]]) -> None:
        """None yet; ``orders_of`` says which open orders a holder has."""
        self._instruments, self._orders_of = instruments, orders_of
        self._holdings: dict[Holder, Holding] = {}
        self._split: set[Holder] = set()

    def __bool__(self) -> bool:
        return bool(self._holdings)

    @property
    def collateral(self) -> dict[Holder, Decimal]:
        """Where there is any."""
        return {holder: each.collateral for holder, each in self._holdings.items() if each.collateral}

    def held_against(self, holder: Holder) -> Decimal:
        """The collateral of one of them."""
        holding = self._holdings.get(holder)
        return ZERO if holding is None else holding.collateral

    def take_split(self) -> set[Holder]:
        """The holdings that splits have changed since this was last asked."""
        taken, self._split = self._split, set()
        return taken

    def of(self, order: Order) -> Holding | None:
        """The holding that an order trades, where it is followed."""
        return self._holdings.get((order.portfolio_id, order.symbol)) if self._holdings else None

    def follow(self, holder: Holder, units: Decimal, collateral: Decimal) -> Holding:
        """Count a holding from here on."""
        holding = self._holdings[holder] = Holding(units, collateral=collateral)
        lists: dict[str, list[Order]] = defaultdict(list)
        for order in self._orders_of(holder):
            lists[pair_of(order) or order.order_id].append(order)
        for legs in lists.values():
            self._change(holding, (), legs)
        return holding

    def trade(self, order: Order, signed: Decimal, price: Decimal, units: Decimal) -> Decimal:
        """By how much more is held after a fill of ``order`` that found so many ``units``; its claim is as it was.

        The first that goes short makes its holding one that is followed. One that reserved nothing has passed no check
        by which it might go short.
        """
        holding = self.of(order)
        if holding is None:
            if signed >= 0 or units + signed >= 0 or not order.reservation.cash:
                return ZERO
            holding = self.follow((order.portfolio_id, order.symbol), units, ZERO)
        holding.quantity, held = units, holding.held
        holding.trade(signed, price * self._instruments[order.symbol].contract_multiplier, order.reservation.margin)
        return holding.held - held

    def claim(self, before: tuple[Order | None, ...], after: tuple[Order, Order | None]) -> Decimal:
        """By how much more is held once an order and its twin are as they are ``after``; who has ended is none."""
        holding = self.of(after[0])
        if holding is None:
            return ZERO
        legs = [each for each in after if each is not None and each.state not in TERMINAL]
        return self._change(holding, [each for each in before if each is not None], legs)

    def split(self, symbol: str, numerator: Decimal, denominator: Decimal, mark: Decimal) -> dict[str, Decimal]:
        """Split what is short of ``symbol``; by portfolio, by how much that moves the headroom.

        As in the books, what lies below the increment is closed for cash at ``mark``, the last price of an old unit.
        """
        instrument, moved = self._instruments[symbol], dict[str, Decimal]()
        price = mark * denominator / numerator * instrument.contract_multiplier
        for (portfolio_id, each), holding in self._holdings.items():
            if each != symbol or not holding.collateral:
                continue
            held = holding.held
            holding.resize(split_quantity(holding.quantity, numerator, denominator, _PLACE))
            if fraction := holding.quantity % instrument.quantity_increment:
                holding.cover(-fraction)
                holding.resize(holding.quantity - fraction)
            self._split.add((portfolio_id, symbol))
            moved[portfolio_id] = (fraction * price).quantize(_PLACE) + held - holding.held
        return moved

    def _change(self, holding: Holding, before: Iterable[Order], after: Iterable[Order]) -> Decimal:
        held = holding.held
        if (claim := together(map(claim_of, before))) is not None:
            holding.release(claim)
        if (claim := together(map(claim_of, after))) is not None:
            holding.reserve(claim)
        return holding.held - held
