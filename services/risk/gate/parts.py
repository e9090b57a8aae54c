"""A gate as it is stored, part by part: what of it its claims do not tell, and how it is made anew."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any, NamedTuple

from services.domain.accounting.holding import Holding
from services.domain.instrument import Instrument
from services.domain.money import ZERO
from services.domain.orders.claim import Claim
from services.domain.risk.buying_power import Funds
from services.domain.risk.curve import Curve
from services.domain.risk.gate import Gate
from services.domain.risk.rate import Rate
from services.domain.risk.watch import Told


class Cursor(NamedTuple):
    """Where an environment's gate stands: the last event, entry, position and cycle that count in it.

    Attributes:
        valued_sequence: the tape position up to which session closes are in the equity curves.
        last_order_id: the newest order of which an event counts.
    """

    order_sequence: int = 0
    ledger_sequence: int = 0
    tape_sequence: int = 0
    cycle: int = 0
    ended: bool = False
    valued_sequence: int = 0
    last_order_id: str = ""


@dataclass(frozen=True, slots=True)
class Part:
    """What changed in one environment since the part before; or, as loaded, everything.

    Attributes:
        marks: last prices by symbol, always all of them.
        portfolios: JSON-able state by portfolio id.
        claims: confirmed ones by order id.
        gone: ids of stored claims that are no more.
        curve: where the environment's equity curve stands: the day's opening, and the highest point.
        told: of limits whose figures came near their bounds, or went beyond, and have not calmed down.
    """

    environment_id: str
    cursor: Cursor
    marks: Mapping[str, str]
    portfolios: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    claims: Mapping[str, Claim] = field(default_factory=dict)
    gone: tuple[str, ...] = ()
    curve: tuple[str, str] = ("0", "0")
    told: tuple[Told, ...] = ()


class OpenGate(Gate):
    """A gate whose funds and claims can be read, and which can be made of stored parts."""

    def __init__(self) -> None:
        """Knows everything that any limit may count, as limits may be set at any time."""
        super().__init__(detailed=True)

    @property
    def funds(self) -> Mapping[str, Funds]:
        """By portfolio; not to be changed."""
        return self._funds

    @property
    def claims(self) -> Mapping[str, Claim]:
        """By order id; not to be changed."""
        return self._claims

    def marks(self) -> dict[str, str]:
        """The last prices as text."""
        return {symbol: str(self._marks(symbol)) for symbol in self._marks}

    def curve(self) -> tuple[str, str]:
        """Where the environment's equity curve stands, as text."""
        return str(self._curve.opened), str(self._curve.peak)

    def knows(self, portfolio_id: str) -> bool:
        """Whether the portfolio's opening entry has come."""
        funds = self._funds.get(portfolio_id)
        return funds is not None and funds.opened

    def knows_strategy(self, strategy_id: str) -> bool:
        """Whether there were orders of a strategy."""
        return any(strategy_id in funds.sleeves for funds in self._funds.values())

    def symbols(self) -> set[str]:
        """The symbols that are held or claimed."""
        held = {symbol for funds in self._funds.values() for symbol in funds.holdings}
        return held | {claim.symbol for claim in self._claims.values() if claim.symbol}

    def state_of(self, portfolio_id: str) -> dict[str, Any]:
        """What of a portfolio its claims do not tell, as JSON-able values."""
        funds = self._funds[portfolio_id]
        sleeves = {strategy_id: _state_of(sleeve) for strategy_id, sleeve in funds.sleeves.items()}
        return _state_of(funds) | {"sleeves": sleeves, "filled_at": self._filled.get(portfolio_id, 0)}

    def rebuild(self, part: Part) -> None:
        """Take everything that was stored; the gate must be new. Reservations are made anew of their claims."""
        for portfolio_id, state in part.portfolios.items():
            funds = self._funds[portfolio_id] = _funds_of(state)
            funds.sleeves = {strategy_id: _funds_of(each, funds) for strategy_id, each in state["sleeves"].items()}
            if state["filled_at"]:
                self._filled[portfolio_id] = state["filled_at"]
        for order_id, claim in part.claims.items():
            self._known(claim.portfolio_id)
            self._claim(order_id, claim)
        for symbol, price in part.marks.items():
            self.mark(symbol, Decimal(price))
        self._curve = Curve(*map(Decimal, part.curve))

    def set_multipliers(self, instruments: Mapping[str, Instrument]) -> None:
        """Give holdings their contract multipliers, which are not stored."""
        for funds in self._funds.values():
            for each in (funds, *funds.sleeves.values()):
                for symbol in each.holdings:
                    each.holding(symbol).multiplier = instruments[symbol].contract_multiplier


def _state_of(funds: Funds) -> dict[str, Any]:
    return {
        "opened": funds.opened,
        "cash": str(funds.cash),
        "recent": funds.rate.snapshot(),
        "holdings": {
            symbol: [str(holding.quantity), str(holding.collateral)]
            for symbol, holding in funds.holdings.items()
            if holding.quantity
        },
        "curve": [str(funds.curve.opened), str(funds.curve.peak)],
    }


def _funds_of(state: Mapping[str, Any], whole: Funds | None = None) -> Funds:
    # Without units there is no collateral: a split that left none of a short once kept it.
    holdings = {
        symbol: Holding(
            quantity=Decimal(quantity),
            collateral=Decimal(collateral),
            whole=None if whole is None else whole.holding(symbol),
        )
        for symbol, (quantity, collateral) in state["holdings"].items()
        if Decimal(quantity)
    }
    return Funds(
        cash=Decimal(state["cash"]),
        collateral=sum((holding.collateral for holding in holdings.values()), ZERO),
        opened=state["opened"],
        rate=Rate.restore(state["recent"]),
        holdings=holdings,
        curve=Curve(*map(Decimal, state["curve"])),
        whole=whole,
    )
