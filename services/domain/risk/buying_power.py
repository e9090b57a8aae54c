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
that closes by its proceeds. The venue counts the same, with the same ``Holding`` for what a short holds.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from decimal import Decimal

from services.domain.accounting.holding import Holding, round_up
from services.domain.money import ZERO, at_most_places
from services.domain.orders.claim import Claim
from services.domain.orders.order import INITIAL_MARGIN
from services.domain.risk.curve import Curve
from services.domain.risk.rate import Rate
from services.domain.risk.tally import Tally


@dataclass(slots=True)
class Funds:
    """One portfolio, or what one strategy's orders made of it: its sleeve.

    Attributes:
        opened: whether the portfolio is known, and not only an order event of it.
        reserved: cash set aside for open orders.
        collateral: sum of the holdings'.
        rate: the orders of the last market minute.
        curve: where the equity curve stands; a sleeve's equity is what its orders gained.
        sleeves: by strategy; empty where nobody asks for them.
        buying: the symbols that open orders buy, in the order in which they came.
        tally: what the holdings come to. One that ``holding`` hands out may change, and is counted anew.
        whole: a sleeve's portfolio.
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
    whole: "Funds | None" = field(default=None, repr=False, compare=False)

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
            holding = self.holdings[symbol] = Holding(whole=None if self.whole is None else self.whole.holding(symbol))
        return holding

    def sleeve(self, strategy_id: str) -> "Funds":
        """What the orders of a strategy made of this portfolio, nothing to begin with."""
        sleeve = self.sleeves.get(strategy_id)
        if sleeve is None:
            sleeve = self.sleeves[strategy_id] = Funds(whole=self)
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
        if claim.quantity or claim.covering or claim.closing:
            self.holding(claim.symbol).reserve(claim)
            if claim.quantity > 0:
                self.buying[claim.symbol] = None

    def release(self, claim: Claim) -> None:
        """Give back what ``reserve`` set aside."""
        self.reserved -= claim.cash
        if claim.quantity or claim.covering or claim.closing:
            holding = self.holding(claim.symbol)
            holding.release(claim)
            if claim.quantity > 0 and not holding.pending_buy:
                del self.buying[claim.symbol]

    def trade(self, symbol: str, signed: Decimal, price: Decimal, margin: Decimal = INITIAL_MARGIN) -> None:
        """Fold a fill of ``signed`` units: its cash, and the collateral it frees or, at ``margin``, needs.

        How far a sleeve's orders lead depends on what is held here, so there it is counted anew too.
        """
        holding = self.holding(symbol)
        for sleeve in self.sleeves.values():
            if symbol in sleeve.holdings:
                sleeve.tally.stale.add(symbol)
        value = price * holding.multiplier
        self.cash -= signed * value
        self.collateral += holding.trade(signed, value, margin)

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
            if symbol not in sleeve.holdings:
                continue
            part = sleeve.holding(symbol)
            if before:
                quantity = at_most_places(part.quantity * holding.quantity / before, 9)
                sleeve.collateral -= part.resize(quantity)
