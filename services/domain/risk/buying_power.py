"""A portfolio's money as risk sees it: reserved, held as collateral, or free to spend (rules 4 and 19).

    spendable  = cash - reserved - (collateral - pledged)
    collateral = 150 % of what the open shorts brought in: the proceeds, which are in ``cash`` but held, and the initial
                 margin of 50 % on top of them
    pledged    = the part of it that open buy orders set free when they cover, as far as it pays for them: so a short
                 can be covered with its own collateral. What open reduce-only orders may cover first is not theirs:
                 those reserve nothing, because the collateral of what they cover pays for them

Collateral is counted at the shorts' opening prices, and averaged over their units. So spendable cash moves only with
orders, fills and transfers, never with the market: it is the same in a replay whatever was quoted in between.

A reservation holds all that its fills use at the price it was made at, and is used up pro rata. So the fill of a buy
changes spendable cash by (its share of the reservation - its cost), or by more where it covers, and that of a sale
that closes by its proceeds. The venue, which knows only orders, counts the same; what shorts and their collateral
change beside that it learns from the headroom of the next verdict.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from decimal import ROUND_CEILING, ROUND_FLOOR, Decimal, InvalidOperation

from services.domain.money import ZERO, at_most_places
from services.domain.orders.order import Side
from services.domain.risk.claim import Claim
from services.domain.risk.curve import Curve
from services.domain.risk.rate import Rate
from services.domain.risk.tally import Sums, Tally

INITIAL_MARGIN = Decimal("0.5")
"""Of a short sale's value, beside its proceeds, where no other rate is set."""
_PLACE = Decimal("1e-9")


def round_up(amount: Decimal) -> Decimal:
    """To the wire's nine places, never less: what is set aside must be the same after it has been sent."""
    return _rounded(amount, ROUND_CEILING)


def round_down(amount: Decimal) -> Decimal:
    """To the wire's nine places, never more: what can be spent must be the same after it has been sent."""
    return _rounded(amount, ROUND_FLOOR)


def _rounded(amount: Decimal, rounding: str) -> Decimal:
    try:
        rounded = amount.quantize(_PLACE, rounding)
    except InvalidOperation:
        # From 10^51 on, which units, price and multiplier can come to, none of the 60 digits is behind the ninth place.
        return amount
    return amount if rounded == amount else rounded


@dataclass(slots=True)
class Holding:
    """One symbol of one portfolio.

    Attributes:
        quantity: signed units held.
        pending_buy, pending_sell: units that open orders may still buy or sell, both positive.
        reserved: cash set aside for the open orders that buy.
        covering: units that open reduce-only orders may buy.
        collateral: cash held against a short; zero for a long.
        multiplier: the instrument's contract multiplier.
    """

    quantity: Decimal = ZERO
    pending_buy: Decimal = ZERO
    pending_sell: Decimal = ZERO
    reserved: Decimal = ZERO
    collateral: Decimal = ZERO
    multiplier: Decimal = Decimal(1)
    covering: Decimal = ZERO

    def closing(self, signed: Decimal) -> Decimal:
        """How many of an order's ``signed`` units only close what no other open order closes already."""
        if signed > 0:
            return max(ZERO, min(signed, -self.quantity - self.pending_buy))
        return max(ZERO, min(-signed, self.quantity - self.pending_sell))

    def extreme(self, side: Side, more: Decimal = ZERO) -> Decimal:
        """The largest position, in absolute units, that open orders of ``side`` and ``more`` units can lead to."""
        if side is Side.BUY:
            return max(ZERO, self.quantity + self.pending_buy + more)
        return max(ZERO, self.pending_sell + more - self.quantity)

    def worst(self, signed: Decimal = ZERO) -> Decimal:
        """The larger of both extremes, with an order of ``signed`` units on top: the units at risk."""
        return max(self.extreme(Side.BUY, max(signed, ZERO)), self.extreme(Side.SELL, max(-signed, ZERO)))

    @property
    def uncovered(self) -> Decimal:
        """Units of a short of which no open order uses the collateral, if it buys all that it asks for."""
        return max(ZERO, -self.quantity - self.covering - self.pending_buy)

    def sums(self, price: Decimal) -> Sums:
        """What it comes to at the price of a unit."""
        each, quantity = price * self.multiplier, self.quantity
        long, short = quantity + self.pending_buy, self.pending_sell - quantity
        return Sums(self.worst() * each, long * each, short * each, quantity * each, abs(quantity) * each)

    def pledged(self, more: Decimal = ZERO, cash: Decimal = ZERO, covering: Decimal = ZERO) -> Decimal:
        """The collateral that pays for open buy orders, and for one of ``more`` units that reserves ``cash``.

        What reduce-only orders may cover, those that are open and one of ``covering`` units, pays for no other.
        """
        if not self.collateral:
            return ZERO
        units = max(ZERO, min(self.pending_buy + more, -self.quantity - self.covering - covering))
        return min(round_down(self.collateral * units / -self.quantity), self.reserved + cash)

    def cover(self, units: Decimal) -> Decimal:
        """Take the collateral of ``units`` that are covered: their share, and all of it with the last one."""
        freed = self.collateral if units == -self.quantity else round_down(self.collateral * units / -self.quantity)
        self.collateral -= freed
        return freed

    def resize(self, quantity: Decimal) -> Decimal:
        """Stand for other units of the same worth; the collateral that this frees: all of it where none are left."""
        freed = ZERO if quantity else self.collateral
        self.quantity, self.collateral = quantity, self.collateral - freed
        return freed


@dataclass(slots=True)
class Funds:
    """One portfolio, or what one strategy's orders made of it: its sleeve.

    Attributes:
        opened: whether the portfolio is known, and not only an order event of it.
        reserved: cash set aside for open orders and withdrawals.
        collateral: sum of the holdings'.
        rate: the orders of the last market minute.
        curve: where the equity curve stands; a sleeve's equity is what its orders gained.
        sleeves: by strategy; empty where nobody asks for them.
        buying: the symbols that open orders buy, in the order in which they came.
        tally: what the holdings come to. One that ``holding`` hands out may change, and is counted anew.
    """

    cash: Decimal = ZERO
    reserved: Decimal = ZERO
    collateral: Decimal = ZERO
    opened: bool = False
    rate: Rate = field(default_factory=Rate)
    holdings: dict[str, Holding] = field(default_factory=dict)
    curve: Curve = field(default_factory=Curve)
    sleeves: dict[str, "Funds"] = field(default_factory=dict)
    buying: dict[str, None] = field(default_factory=dict)
    tally: Tally = field(default_factory=Tally, compare=False)

    def __post_init__(self) -> None:
        """Nothing is counted yet of holdings that are there from the start."""
        self.tally.stale.update(self.holdings)

    @property
    def spendable(self) -> Decimal:
        """Cash that neither an order nor a short lays claim to; see the module's formula."""
        return self.cash - self.reserved - self.held

    @property
    def held(self) -> Decimal:
        """Collateral that is not pledged to open orders."""
        if not self.collateral:
            return ZERO
        return self.collateral - sum((self.holdings[symbol].pledged() for symbol in self.buying), ZERO)

    def holding(self, symbol: str) -> Holding:
        """What is held of ``symbol``, an empty one to begin with."""
        self.tally.stale.add(symbol)
        holding = self.holdings.get(symbol)
        if holding is None:
            holding = self.holdings[symbol] = Holding()
        return holding

    def sleeve(self, strategy_id: str) -> "Funds":
        """What the orders of a strategy made of this portfolio, nothing to begin with."""
        sleeve = self.sleeves.get(strategy_id)
        if sleeve is None:
            sleeve = self.sleeves[strategy_id] = Funds()
        return sleeve

    def equity(self, mark: Callable[[str], Decimal]) -> Decimal:
        """Cash and positions, at the prices that ``mark`` knows."""
        held = ((symbol, holding) for symbol, holding in self.holdings.items() if holding.quantity)
        return self.cash + sum((each.quantity * each.multiplier * mark(symbol) for symbol, each in held), ZERO)

    def cost(self, symbol: str, signed: Decimal, price: Decimal, margin: Decimal = INITIAL_MARGIN) -> Decimal:
        """Cash to reserve for an order of ``signed`` units at ``price``, such that no partial fill outruns its share.

        A buy needs its value. A sale that opens a short needs the initial ``margin``, on all of its units: its closing
        units fill first and would otherwise use up, by their share, what the opening ones need. A sale that only closes
        needs nothing.
        """
        holding = self.holding(symbol)
        value = abs(signed) * price * holding.multiplier
        if signed > 0:
            return round_up(value)
        return round_up(value * margin) if holding.closing(signed) < -signed else ZERO

    def pledge(self, symbol: str, signed: Decimal, cash: Decimal) -> Decimal:
        """The collateral that would pay for an order of ``signed`` units which reserves ``cash``."""
        holding = self.holding(symbol)
        return holding.pledged(signed, cash) - holding.pledged() if signed > 0 and holding.collateral else ZERO

    def unpledge(self, symbol: str, covering: Decimal) -> Decimal:
        """The collateral that pays for open buy orders, and would not with a reduce-only one of ``covering`` units."""
        holding = self.holding(symbol)
        return holding.pledged() - holding.pledged(covering=covering) if holding.collateral else ZERO

    def reserve(self, claim: Claim) -> None:
        """Set its cash and units aside."""
        self.reserved += claim.cash
        if claim.covering:
            self.holding(claim.symbol).covering += claim.covering
        if claim.quantity > 0:
            holding = self.holding(claim.symbol)
            holding.pending_buy += claim.quantity
            holding.reserved += claim.cash
            self.buying[claim.symbol] = None
        elif claim.quantity < 0:
            self.holding(claim.symbol).pending_sell -= claim.quantity

    def release(self, claim: Claim) -> None:
        """Give back what ``reserve`` set aside."""
        self.reserved -= claim.cash
        if claim.covering:
            self.holding(claim.symbol).covering -= claim.covering
        if claim.quantity > 0:
            holding = self.holding(claim.symbol)
            holding.pending_buy -= claim.quantity
            holding.reserved -= claim.cash
            if not holding.pending_buy:
                del self.buying[claim.symbol]
        elif claim.quantity < 0:
            self.holding(claim.symbol).pending_sell += claim.quantity

    def trade(self, symbol: str, signed: Decimal, price: Decimal, margin: Decimal = INITIAL_MARGIN) -> None:
        """Fold a fill of ``signed`` units: its cash, and the collateral it frees or, at ``margin``, needs."""
        holding = self.holding(symbol)
        value = price * holding.multiplier
        self.cash -= signed * value
        if holding.quantity < 0 < signed:
            self.collateral -= holding.cover(min(signed, -holding.quantity))
        opened = min(-signed, -signed - holding.quantity)
        holding.quantity += signed
        if opened > 0:
            more = opened * value * (1 + margin)
            holding.collateral += more
            self.collateral += more

    def change_quantity(self, symbol: str, change: Decimal, closes: bool) -> None:
        """Fold a movement of units that was no fill: a split keeps a short's collateral, closing frees its share.

        A split that leaves nothing of a short frees all of it. Each sleeve's units change by the same factor, to nine
        places; money paid for a fraction stays the portfolio's.
        """
        holding = self.holding(symbol)
        if closes and holding.quantity < 0:
            self.collateral -= holding.cover(change)
        before = holding.quantity
        self.collateral -= holding.resize(before + change)
        for sleeve in self.sleeves.values():
            if symbol in sleeve.holdings and before:
                part = sleeve.holding(symbol)
                quantity = at_most_places(part.quantity * holding.quantity / before, 9)
                sleeve.collateral -= part.resize(quantity)
