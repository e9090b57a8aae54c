"""What open orders lay claim to, and the portfolios that stand for it (rule 4)."""

from collections.abc import Iterable, Mapping

from services.domain.orders.claim import Claim, pair_of, together
from services.domain.orders.order import Order
from services.domain.risk.buying_power import Funds

_NONE: Mapping[str, Claim] = {}


class Claims:
    """Claims by order, each counted in its portfolio's funds."""

    def __init__(self, *, detailed: bool = False) -> None:
        """None yet; ``detailed`` ones are counted for their strategies too."""
        self._detailed = detailed
        self._funds: dict[str, Funds] = {}
        self._claims: dict[str, Claim] = {}
        # Of orders whose new terms passed a check of which no event has come: what they claim without it.
        self._settled: dict[str, Claim] = {}
        # By list, the claims of the orders of which only one can fill, by order.
        self._pairs: dict[str, dict[str, Claim]] = {}

    def settled_claim(self, order_id: str) -> Claim | None:
        """What an open order claims by its events alone, whatever was checked for it since."""
        return self._settled.get(order_id) or self._claims.get(order_id)

    def drop_unconfirmed(self, ids: Iterable[str] | None = None) -> list[str]:
        """Release checks of which no event came: those of ``ids``, or every order's if the caller began anew (rule 4).

        An open order's new terms are forgotten likewise.

        Returns:
            The ids of new orders dropped.
        """
        chosen = list(self._claims if ids is None else ids)
        for each in chosen:
            self._settle(each)
        found = [(each, claim) for each in chosen if (claim := self._claims.get(each)) is not None]
        dropped = [each for each, claim in found if not claim.confirmed]
        for each in dropped:
            self._release(each)
        return dropped

    def _known(self, portfolio_id: str) -> Funds:
        funds = self._funds.get(portfolio_id)
        if funds is None:
            funds = self._funds[portfolio_id] = Funds()
        return funds

    def _claim(self, order_id: str, claim: Claim) -> None:
        self._claims[order_id] = claim
        funds = self._funds[claim.portfolio_id]
        sleeve = self._sleeve(claim) if self._detailed and claim.strategy_id else None
        if not claim.confirmed:
            self._expect(claim)
        if not claim.pair:
            funds.reserve(claim)
            if sleeve is not None:
                sleeve.reserve(claim)
            return
        legs = self._pairs.setdefault(claim.pair, {})
        self._set_aside(legs)
        legs[order_id] = claim
        self._take_back(legs)

    def _settle(self, order_id: str) -> None:
        """An open order claims again what its events say."""
        claim = self._settled.pop(order_id, None)
        if claim is not None:
            self._expect(claim, -1)
            self._release(order_id)
            self._claim(order_id, claim)

    def _confirm(self, order_id: str, claim: Claim, time: int) -> None:
        """An order that passed a check exists since market ``time`` (ns), and claims what it did."""
        self._claims[order_id] = claim
        if claim.pair:
            self._pairs[claim.pair][order_id] = claim
        self._expect(claim, -1)
        self._count(claim, time)

    def _expect(self, claim: Claim, number: int = 1) -> None:
        """An order, or new terms of one, passed a check; with -1, an event has said so, or none will."""
        self._funds[claim.portfolio_id].rate.expect(claim.symbol, number)
        if self._detailed and claim.strategy_id:
            self._sleeve(claim).rate.expect(claim.symbol, number)

    def _count(self, claim: Claim, time: int) -> None:
        """An event says that the order came, or was put on new terms, at market ``time`` (ns)."""
        self._funds[claim.portfolio_id].rate.count(time, claim.symbol)
        if self._detailed and claim.strategy_id:
            self._sleeve(claim).rate.count(time, claim.symbol)

    def _release(self, order_id: str) -> None:
        claim = self._claims.pop(order_id, None)
        if claim is None:
            return
        funds = self._funds[claim.portfolio_id]
        sleeve = self._sleeve(claim) if self._detailed and claim.strategy_id else None
        if not claim.confirmed:
            self._expect(claim, -1)
        if not claim.pair:
            funds.release(claim)
            if sleeve is not None:
                sleeve.release(claim)
            return
        legs = self._pairs[claim.pair]
        self._set_aside(legs)
        del legs[order_id]
        self._take_back(legs)
        if not legs:
            del self._pairs[claim.pair]

    def _twins(self, order: Order) -> Mapping[str, Claim]:
        """What the others claim of whom no more can fill than of this order, all together."""
        return self._pairs.get(pair_of(order), _NONE)

    def _set_aside(self, legs: Mapping[str, Claim]) -> None:
        """Count as if they claimed nothing."""
        if (claim := together(legs.values())) is not None:
            self._funds[claim.portfolio_id].release(claim)
            if self._detailed and claim.strategy_id:
                self._sleeve(claim).release(claim)

    def _take_back(self, legs: Mapping[str, Claim]) -> None:
        """Count them again."""
        if (claim := together(legs.values())) is not None:
            self._funds[claim.portfolio_id].reserve(claim)
            if self._detailed and claim.strategy_id:
                self._sleeve(claim).reserve(claim)

    def _sleeve(self, claim: Claim) -> Funds:
        """What the orders of the claim's strategy made of its portfolio; only detailed claims are counted there."""
        funds = self._funds[claim.portfolio_id]
        sleeve = funds.sleeve(claim.strategy_id)
        sleeve.holding(claim.symbol).multiplier = funds.holding(claim.symbol).multiplier
        return sleeve
