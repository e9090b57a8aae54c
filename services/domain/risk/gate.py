"""The pre-trade gate of one environment, over all its portfolios (rules 3 to 5 and 19).

A passed check reserves at once, so two orders that fit alone but not together never both pass. An order's events carry
what was reserved: folding them turns the reservation into exposure, releases it, or, after a restart, makes it anew.
Nothing else is needed to rebuild every reservation, so between check and commit a kill neither leaks nor doubles.

What moves where:
    cash and positions   order events (``fold``) and the ledger's entries that are no fills (``fold_entry``)
    open orders          order events alone; a split's new quantities come as RESTATED events
    marks                ``mark``: the last price, in the units of today (a split changes both)
Each event and entry counts exactly once, in the order of their tape positions, entries first at the same one: a split's
units must be there before they are sold.
"""

from contextlib import suppress
from decimal import Decimal
from typing import NamedTuple

from services.domain.accounting.holding import round_down
from services.domain.accounting.ledger import Account, Entry, EntryKind
from services.domain.costs import NO_SLIP, Slip
from services.domain.instrument import Instrument
from services.domain.money import ZERO
from services.domain.orders.claim import Claim, alike, claim_of, pair_of, together
from services.domain.orders.events import position_change
from services.domain.orders.order import (
    INITIAL_MARGIN,
    TERMINAL,
    ExecType,
    Order,
    OrderEvent,
    Refusal,
    Reservation,
    Side,
)
from services.domain.risk.buying_power import Funds
from services.domain.risk.curve import Curve
from services.domain.risk.intents import beyond, intent_of, reservation_of_all
from services.domain.risk.limit import Checked, Counted, Intent, Where
from services.domain.risk.limits import KillScope, KillSwitch, stopping
from services.domain.risk.valued import Valued
from services.domain.values import new

# Bound once, for what every order passes (see ``ledger``).
_BUY, _TRADE, _REJECTED, _REPLACED = Side.BUY, ExecType.TRADE, ExecType.REJECTED, ExecType.REPLACED
_NOTHING, _FLOWS = Counted(Funds(), (), Curve()), frozenset({EntryKind.DEPOSIT, EntryKind.WITHDRAWAL})
# A figure that the check needs cannot be computed: of this order alone, and of it for good, however often it is sent.
_ARITHMETIC = Refusal("LIMIT_EXCEEDED", "arithmetic", ZERO, ZERO)


class Verdict(NamedTuple):
    """The answer to a check: a reservation or a refusal, never both.

    Attributes:
        checks: each limit that somebody set and that had something to say, up to the one that refused.
    """

    order_id: str
    reservation: Reservation | None = None
    refusal: Refusal | None = None
    checks: tuple[Checked, ...] = ()


class Gate(Valued):
    """Checks orders, and keeps what the answers depend on."""

    def __init__(self, *, detailed: bool = False) -> None:
        """No portfolios, no limits but buying power, no shorts, and maintenance margin.

        Args:
            detailed: know what each strategy holds, which its limits need, and which fills are to be valued: what
                those of the equity need. What is not known from the start cannot be known later.
        """
        super().__init__(detailed=detailed)
        self._kills: dict[KillScope, KillSwitch] = {}

    def open_portfolio(self, portfolio_id: str, cash: Decimal = ZERO) -> None:
        """Know a portfolio. ``cash`` is its balance so far, zero where its deposits come as entries."""
        funds = self._known(portfolio_id)
        funds.opened = True
        funds.cash += cash
        self._flow(funds, cash)

    def fold_entry(self, portfolio_id: str, entry: Entry) -> None:
        """Fold one of the ledger's entries: deposits, withdrawals, splits. Fills' own entries count nothing here."""
        if entry.kind in {EntryKind.TRADE, EntryKind.COMMISSION}:
            return
        funds = self._known(portfolio_id)
        funds.opened = True
        if entry.account is Account.CASH:
            funds.cash += entry.amount
            if entry.kind in _FLOWS:
                self._flow(funds, entry.amount)
        elif entry.account is Account.POSITION:
            funds.change_quantity(entry.asset, entry.amount, entry.kind is EntryKind.CASH_IN_LIEU)

    def engage(self, scope: KillScope, allow_reducing: bool = False, reason: str = "") -> None:
        """Stop new orders of ``scope``; with ``allow_reducing`` those that can do no more than reduce still pass."""
        self._kills[scope] = KillSwitch(allow_reducing, reason)

    def release(self, scope: KillScope) -> bool:
        """Let orders of ``scope`` pass again, as far as no other switch stops them; whether it was engaged."""
        return self._kills.pop(scope, None) is not None

    def kill_switches(self) -> dict[KillScope, KillSwitch]:
        """Those engaged."""
        return dict(self._kills)

    def check(
        self, order: Order, instrument: Instrument, reference_price: Decimal, time: int, *, slip: Slip = NO_SLIP
    ) -> Verdict:
        """Refuse the order or reserve for it, at market ``time`` (ns).

        A repeated check of an order of which no event has come replaces its first one: that verdict was void.

        Args:
            slip: what the venue can say of the slippage to come.

        Raises:
            ValueError: the order is open already.
        """
        claim = self._claims.get(order.order_id)
        if claim is not None and claim.confirmed:
            raise ValueError(f"order {order.order_id} is open: it was checked before")
        if claim is not None:
            self._release(order.order_id)
        funds = self._funds.get(order.portfolio_id)
        if funds is None or not funds.opened:
            return Verdict(order.order_id, refusal=Refusal("PORTFOLIO_NOT_FOUND", "portfolio", ZERO, ZERO))
        self._marks.begin(order.symbol, reference_price)
        twins = self._twins(order) if order.order_list_id else None
        if twins:
            self._set_aside(twins)
        try:
            intent = self._intent(order, instrument, reference_price, time, funds, slip=slip)
            refusal, checks = self._refusal(intent)
        except ArithmeticError:
            return Verdict(order.order_id, refusal=_ARITHMETIC)
        finally:
            if twins:
                self._take_back(twins)
        if refusal is not None:
            return Verdict(order.order_id, None, refusal, checks)
        cash, signed, fee, pair = intent.cash, intent.signed, intent.commission, pair_of(order)
        whose, told = (order.portfolio_id, order.symbol), (False, pair, order.strategy_id)
        self._claim(order.order_id, new(Claim, (*whose, signed, cash, intent.covering, *told, intent.closing)))
        margin = self._margin(order) if cash and order.side is not _BUY else INITIAL_MARGIN
        headroom = round_down(funds.spendable)
        reservation = new(Reservation, (cash - fee if fee else cash, signed, headroom, fee, margin))
        return Verdict(order.order_id, reservation, None, checks)

    def weigh(
        self, order: Order, instrument: Instrument, reference_price: Decimal, time: int, *, slip: Slip = NO_SLIP
    ) -> tuple[Verdict, Intent | None]:
        """What ``check`` would say of an order that never was, and as what the limits see it; changes nothing.

        Of a portfolio that is not known the limits see nothing, nor of figures that cannot be computed.
        """
        marked = order.symbol in self._marks
        verdict = self.check(order, instrument, reference_price, time, slip=slip)
        self.drop_unconfirmed([order.order_id])
        funds = self._funds.get(order.portfolio_id)
        intent = None
        if funds is not None and funds.opened and verdict.refusal is not _ARITHMETIC:
            intent = self._intent(order, instrument, reference_price, time, funds, slip=slip)
        if not marked and order.symbol in self._marks:
            self._marks.forget(order.symbol)
        return verdict, intent

    def check_replacement(
        self, order: Order, instrument: Instrument, reference_price: Decimal, time: int, *, slip: Slip = NO_SLIP
    ) -> Verdict:
        """Refuse the new terms of an open order, or reserve for them, at market ``time`` (ns).

        ``order`` is as it would be, with what has filled. Until its next event it claims the larger of what it did and
        of what it would; a verdict that is void, or a refusal, leaves it what it did.

        Raises:
            ValueError: the order is not open.
        """
        order_id = order.order_id
        self._settle(order_id)
        claim = self._claims.get(order_id)
        if claim is None or not claim.confirmed:
            raise ValueError(f"order {order_id} is not open")
        funds = self._funds[order.portfolio_id]
        counted = together(self._pairs.get(claim.pair, {order_id: claim}).values()) or claim
        self._release(order_id)
        twins = self._twins(order)
        self._set_aside(twins)
        refusal: Refusal | None = _ARITHMETIC
        checks: tuple[Checked, ...] = ()
        with suppress(ArithmeticError):
            intent = self._intent(order, instrument, reference_price, time, funds, slip=slip)
            reserved = reservation_of_all(intent)
            if order.side is not _BUY:
                reserved = reserved._replace(margin=self._margin(order))
            wanted = claim_of(order._replace(reservation=reserved))
            refusal, checks = self._refusal_of_terms(intent._replace(cash=wanted.cash), counted)
        self._take_back(twins)
        if refusal is not None:
            self._claim(order_id, claim)
            return Verdict(order_id, refusal=refusal, checks=checks)
        self._claim(order_id, wanted)
        verdict = Verdict(order_id, reserved._replace(headroom=round_down(funds.spendable)), checks=checks)
        self._release(order_id)
        self._claim(order_id, together((wanted, claim)) or wanted)
        self._settled[order_id] = claim
        self._expect(claim)
        return verdict

    def fold(self, event: OrderEvent, instrument: Instrument) -> None:
        """Fold one order event: what the order claims now replaces what it claimed, and a fill becomes exposure."""
        order, exec_type = event.order, event.exec_type
        left = None if order.state in TERMINAL else claim_of(order)
        if (settled := self._settled.pop(order.order_id, None)) is not None:
            self._expect(settled, -1)
        if exec_type is _REPLACED and left is not None:
            self._known(order.portfolio_id)
            self._count(left, event.transact_time)
        claim, funds = self._claims.get(order.order_id), self._funds.get(order.portfolio_id)
        if claim is not None:
            if left is not None and exec_type is not _TRADE and funds and alike(claim, left):
                # It claims what it did: nothing is to be released and set aside again.
                if not claim.confirmed:
                    self._confirm(order.order_id, left, event.transact_time)
                return
            self._release(order.order_id)
        if exec_type is _REJECTED:
            return
        funds = funds or self._known(order.portfolio_id)
        funds.holding(order.symbol).multiplier = instrument.contract_multiplier
        if exec_type is _TRADE:
            self._trade(funds, event)
        if left is None:
            return
        self._claim(order.order_id, left)
        if claim is None or not claim.confirmed:
            self._count(left, event.transact_time)

    def _trade(self, funds: Funds, event: OrderEvent) -> None:
        order = event.order
        signed = position_change(event)
        margin = order.reservation.margin
        funds.trade(order.symbol, signed, event.last_price, margin)
        funds.cash -= event.last_commission
        if self._detailed:
            self._filled[order.portfolio_id] = event.tape_sequence
            if order.strategy_id:
                sleeve = funds.sleeve(order.strategy_id)
                sleeve.holding(order.symbol).multiplier = funds.holdings[order.symbol].multiplier
                sleeve.trade(order.symbol, signed, event.last_price, margin)
                sleeve.cash -= event.last_commission
        self._marks.begin(order.symbol, event.last_price)

    def _intent(
        self, order: Order, instrument: Instrument, reference: Decimal, time: int, funds: Funds, *, slip: Slip
    ) -> Intent:
        margin = self._margin(order)
        return intent_of(order, instrument, reference, time, funds, mark=self._marks, margin=margin, slip=slip)

    def _margin(self, order: Order) -> Decimal:
        """What a short that the order opens sets aside beside its proceeds, as a fraction of them."""
        limits = self._limits
        return limits.initial_margin(order.portfolio_id, order.symbol) if limits.rated else INITIAL_MARGIN

    def _refusal_of_terms(self, intent: Intent, counted: Claim) -> tuple[Refusal | None, tuple[Checked, ...]]:
        """As ``_refusal``, of an order's new terms: one that only closes asks for nothing that is ``counted``."""
        if not intent.only_closes:
            return self._refusal(intent)
        legs = {intent.order.order_id: counted}
        self._take_back(legs)
        try:
            return self._refusal(beyond(intent, counted))
        finally:
            self._set_aside(legs)

    def _refusal(self, intent: Intent) -> tuple[Refusal | None, tuple[Checked, ...]]:
        """Why an order is refused, if it is, and what the limits that were set said until then."""
        if self._kills and (scope := stopping(self._kills, intent.order, intent.only_closes)) is not None:
            refusal = Refusal("KILL_SWITCH_ENGAGED", "kill_switch", ZERO, ZERO, ZERO, *scope)
            return refusal._replace(kill_switch_reason=self._kills[scope].reason), ()
        funds = intent.funds
        checks: tuple[Checked, ...] = ()
        for limit, breadth, told in self._limits.plan(intent.order):
            # What always holds looks at nothing but the portfolio.
            counted = self._counted(breadth, funds, intent.order.strategy_id) if told else _NOTHING
            measured = limit.measure(intent, counted)
            if measured is None:
                continue
            bound, value = measured
            if told:
                checks += (Checked(limit.name, limit.where, *((None, None) if limit.bare else measured)),)
            if value > bound:
                missing = value - bound if limit.tells_missing else ZERO
                figures = (ZERO, ZERO, ZERO) if limit.bare else (bound, value, missing)
                # What always holds is the portfolio's own.
                where = limit.where if told else Where(intent.order.portfolio_id)
                return Refusal(limit.reason, limit.name, *figures, *where), checks
        return None, checks
