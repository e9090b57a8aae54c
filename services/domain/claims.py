"""What open orders and withdrawals lay claim to, and the portfolios that stand for it (rule 4)."""

from collections.abc import Iterable
from decimal import localcontext

from services.domain.buying_power import Claim, Funds
from services.domain.money import EXACT


class Claims:
    """Claims by order or transfer, each counted in its portfolio's funds."""

    def __init__(self) -> None:
        """None yet."""
        self._funds: dict[str, Funds] = {}
        self._claims: dict[str, Claim] = {}
        # Of orders whose new terms passed a check of which no event has come: what they claim without it.
        self._settled: dict[str, Claim] = {}

    def settled_claim(self, order_id: str) -> Claim | None:
        """What an open order claims by its events alone, whatever was checked for it since."""
        return self._settled.get(order_id) or self._claims.get(order_id)

    def drop_unconfirmed(self, ids: Iterable[str] | None = None) -> list[str]:
        """Release checks of which no event came: those of ``ids``, or every order's if the caller began anew (rule 4).

        An open order's new terms are forgotten likewise. A withdrawal's is released by its id alone: it does not come
        from the caller whose stream broke.

        Returns:
            The ids of new orders dropped.
        """
        chosen = list(self._claims if ids is None else ids)
        with localcontext(EXACT):
            for each in chosen:
                self._settle(each)
            found = [(each, claim) for each in chosen if (claim := self._claims.get(each)) is not None]
            dropped = [each for each, claim in found if not claim.confirmed and (claim.symbol or ids is not None)]
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
        self._funds[claim.portfolio_id].reserve(claim)

    def _settle(self, order_id: str) -> None:
        """An open order claims again what its events say."""
        claim = self._settled.pop(order_id, None)
        if claim is not None:
            self._release(order_id)
            self._claim(order_id, claim)

    def _release(self, order_id: str) -> None:
        claim = self._claims.pop(order_id, None)
        if claim is not None:
            self._funds[claim.portfolio_id].release(claim)
