"""What is set of the venue: commission, slippage (rule 14), the time until an order is live (rule 12), how it fills.

An order carries the models it was taken on, so its value alone says what a check sets aside for it, what its fills cost
and when it is live: after a restart, at risk, and years later. Models that change hold for the orders that come then.
"""

import hashlib
from collections import deque
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from decimal import ROUND_CEILING, ROUND_FLOOR, Decimal
from typing import NamedTuple

from services.domain.filling import FillModel, VenueSettings, settled
from services.domain.instrument import Instrument
from services.domain.money import ZERO, at_most_places, floor_to

_PER_POINT = Decimal("0.0001")
_ENDLESS = Decimal(10) ** 27
"""More money than any order is for."""


class Tier(NamedTuple):
    """What of an order's traded money lies above ``above`` costs this much, up to the next tier."""

    above: Decimal
    basis_points: Decimal


@dataclass(frozen=True, slots=True)
class Commission:
    """What an order costs beyond its price: rates added up, then bounded. Never less for more units.

    It is charged as the order fills: each fill costs what the order's commission grows by. So a minimum is paid once,
    with the first fill, and a maximum holds for the whole order.

    Attributes:
        per_order, per_unit: money, in the instrument's currency.
        basis_points: hundredths of a per cent of the traded money.
        tiers: ascending by ``above``; marginal, like a tax's.
        minimum, maximum: of the sum; no maximum where it is None.
        maximum_basis_points: a maximum too, in hundredths of a per cent of the traded money; it holds over ``minimum``,
            as at brokers who charge "0.005 a share, at least 1.00, at most 1 %".
        in_units: a buy gets so many units fewer, in place of paying money; then there are ``basis_points`` alone.
    """

    per_order: Decimal = ZERO
    per_unit: Decimal = ZERO
    basis_points: Decimal = ZERO
    tiers: tuple[Tier, ...] = ()
    minimum: Decimal = ZERO
    maximum: Decimal | None = None
    maximum_basis_points: Decimal | None = None
    in_units: bool = False

    def total(self, quantity: Decimal, amount: Decimal) -> Decimal:
        """The commission of an order that traded ``quantity`` units for ``amount``; at most nine places."""
        if not quantity:
            return ZERO
        total = self.per_order + self.per_unit * quantity + self.basis_points * _PER_POINT * amount
        ends = [tier.above for tier in self.tiers[1:]]
        for tier, end in zip(self.tiers, [*ends, amount], strict=False):
            total += max(ZERO, min(amount, end) - tier.above) * tier.basis_points * _PER_POINT
        total = max(total, self.minimum)
        if self.maximum is not None:
            total = min(total, self.maximum)
        if self.maximum_basis_points is not None:
            total = min(total, self.maximum_basis_points * _PER_POINT * amount)
        return at_most_places(total, 9)

    def most_traded(self, quantity: Decimal, total: Decimal) -> Decimal:
        """The most money that ``quantity`` units may be traded for where their commission is ``total``, or less."""
        if self.maximum is not None and total >= self.maximum:
            return _ENDLESS
        fixed, capped = self.per_order + self.per_unit * quantity, ZERO
        if self.maximum_basis_points is not None:
            capped = total / (self.maximum_basis_points * _PER_POINT)
            if at_most_places(max(fixed, self.minimum), 9) > total:
                return capped
        return max(capped, self._most_rated(max(ZERO, total - fixed)))

    def _most_rated(self, left: Decimal) -> Decimal:
        """The most money that may be traded where ``left`` is what is paid by rates of it, or less."""
        above = [tier.above for tier in self.tiers]
        rates = [ZERO, *(tier.basis_points for tier in self.tiers)]
        for begin, end, rate in zip([ZERO, *above], [*above, _ENDLESS], rates, strict=True):
            each = (self.basis_points + rate) * _PER_POINT
            if left < (end - begin) * each:
                return begin + left / each
            left -= (end - begin) * each
        return _ENDLESS


@dataclass(frozen=True, slots=True)
class Slippage:
    """How far a fill is worse than the price that was reached: the parts add up.

    Attributes:
        basis_points: hundredths of a per cent of the price.
        spread_share: of a quote's spread; bars and trades have none.
        impact: what taking all of a record's size would move the price by, as a fraction of it; taking a part moves
            it by the part's square of that (zipline's VolumeShareSlippage). Sources without sizes have none.
    """

    basis_points: Decimal = ZERO
    spread_share: Decimal = ZERO
    impact: Decimal = ZERO

    def distance(self, price: Decimal, spread: Decimal, share: Decimal) -> Decimal:
        """How far ``price`` moves where orders take ``share`` of the size there is."""
        return price * (self.basis_points * _PER_POINT + self.impact * share * share) + spread * self.spread_share


class Level(NamedTuple):
    """A price level that an order walks to: how far it is from the best price, and the units that orders get of it."""

    distance: Decimal
    units: Decimal


class Slip(NamedTuple):
    """What a venue can say beforehand of the records that will fill an order, and of how far its price may move.

    Attributes:
        spread: the last quote's, which stands for that of the fill; zero where there is none.
        share: the most of a record's size that orders get; zero where records state none, or an order walks.
        levels: those of the last quote that orders get units of, the best first; what they do not get of the others
            is at the last. Empty where nothing behind the best price is known, or the order does not walk.
    """

    spread: Decimal = ZERO
    share: Decimal = ZERO
    levels: tuple[Level, ...] = ()


NO_SLIP = Slip()


def slipped(price: Decimal, distance: Decimal, step: Decimal, *, buys: bool, limit: Decimal | None) -> Decimal:
    """``price`` moved against the order by ``distance``, to the next whole step, never past its limit or to nothing."""
    if buys:
        worse = ((price + distance) / step).to_integral_value(ROUND_CEILING) * step
        return worse if limit is None else min(worse, max(limit, price))
    worse = max(step, ((price - distance) / step).to_integral_value(ROUND_FLOOR) * step)
    return worse if limit is None else max(worse, min(limit, price))


@dataclass(frozen=True, slots=True)
class Latency:
    """How long after its decision an order is live, ns: ``fixed``, and up to ``jitter`` more.

    The more is drawn by ``seed`` and the client's order id, so that a repeat draws the same (rule 34).
    """

    fixed: int = 0
    jitter: int = 0
    seed: int = 0

    def of(self, client_order_id: str) -> int:
        """The latency of one order, ns."""
        if not self.jitter:
            return self.fixed
        drawn = hashlib.blake2b(f"{self.seed}|{client_order_id}".encode(), digest_size=8).digest()
        return self.fixed + int.from_bytes(drawn, "big") % (self.jitter + 1)


class Costs(NamedTuple):
    """What an order's fills cost; None where it has no such model."""

    commission: Commission | None = None
    slippage: Slippage | None = None

    def charge(self, before: Decimal, quantity: Decimal, amount: Decimal) -> Decimal:
        """What a fill costs an order that was charged ``before``, and has then traded ``quantity`` for ``amount``.

        Never negative: a split may leave an order with fewer units than it was charged for.
        """
        return ZERO if self.commission is None else max(ZERO, self.commission.total(quantity, amount) - before)

    @property
    def in_units(self) -> bool:
        """Whether a buy is charged in units of what it bought."""
        return self.commission is not None and self.commission.in_units

    def keep(self, before: Decimal, quantity: Decimal, step: Decimal) -> Decimal:
        """The units, in whole steps, that a buy of so many does not get, beside those kept ``before``."""
        rate = ZERO if self.commission is None else self.commission.basis_points * _PER_POINT
        return max(ZERO, floor_to(quantity * rate, step) - before)

    def gross(self, units: Decimal, step: Decimal, traded: Decimal = ZERO, kept: Decimal = ZERO) -> Decimal:
        """The fewest units, in whole steps, that a buy must trade to get ``units`` of them: the others it pays with.

        Where all is kept it gets none, however many it trades: then ``units`` themselves.

        Args:
            traded, kept: what it has traded already, and what of that it did not get.
        """
        rate = ZERO if self.commission is None else self.commission.basis_points * _PER_POINT
        if not self.in_units or not units or rate >= 1:
            return units
        # Of t steps traded, those that come are the least whole number that is no less than t * (1 - rate).
        wanted = (units + traded - kept) // step
        return max(units, ((wanted - 1) // (1 - rate) + 1) * step - traded)


class Scope(NamedTuple):
    """For whom a model is set: orders of a portfolio, of a symbol, of both, or where both are empty of everybody."""

    portfolio_id: str = ""
    symbol: str = ""


class VenueModel(NamedTuple):
    """What is set for a scope; a part that is None says nothing, and a wider scope's holds.

    So it is with each of the settings in ``fills``.
    """

    commission: Commission | None = None
    slippage: Slippage | None = None
    latency: Latency | None = None
    fills: FillModel | None = None


class ModelChange(NamedTuple):
    """A model is set, or taken away where there is none: for the orders after the first ``order_count`` ones."""

    order_count: int
    scope: Scope
    model: VenueModel | None


class Terms(NamedTuple):
    """What an order is taken on; without ``fill_settings`` the venue's own hold."""

    costs: Costs | None = None
    latency: int = 0
    fill_settings: VenueSettings | None = None


_PLAIN, _FREE = Terms(), Costs()


class VenueModels:
    """The models of one environment.

    For an order, each part of a model, and each setting of how it fills, is that of the narrowest scope that has one:
    portfolio and symbol, portfolio, symbol, environment.
    """

    def __init__(self, changes: Iterable[ModelChange] = (), settings: VenueSettings | None = None) -> None:
        """None are set, and these will be, each once so many orders have come; ``settings`` are the venue's own."""
        self.models: dict[Scope, VenueModel] = {}
        self._changes = deque(sorted(changes, key=lambda change: change.order_count))
        self._settings = settings or VenueSettings()

    def put(self, scope: Scope, model: VenueModel | None) -> None:
        """Set a model, or take it away."""
        if model is None:
            self.models.pop(scope, None)
        else:
            self.models[scope] = model

    def reach(self, order_count: int) -> None:
        """So many orders have come: what was set for those after them holds from here on."""
        while self._changes and self._changes[0].order_count <= order_count:
            change = self._changes.popleft()
            self.put(change.scope, change.model)

    def terms(self, portfolio_id: str, instrument: Instrument, client_order_id: str) -> Terms:
        """What an order is taken on."""
        if not self.models:
            return _PLAIN
        found, fills = _found(self.models, portfolio_id, instrument.symbol)
        commission = found.commission
        if commission is not None and commission.in_units and instrument.quantity_increment >= 1:
            # Most orders would owe less than one whole unit, and pay nothing.
            commission = replace(commission, in_units=False)
        costs = Costs(commission, found.slippage)
        return Terms(
            None if costs == _FREE else costs,
            0 if found.latency is None else found.latency.of(client_order_id),
            settled(fills, self._settings) if fills else None,
        )


def _found(models: Mapping[Scope, VenueModel], portfolio_id: str, symbol: str) -> tuple[VenueModel, list[FillModel]]:
    """Each part of the narrowest scope that has it, and all that is said of how an order fills, narrowest first."""
    scopes = (Scope(portfolio_id, symbol), Scope(portfolio_id), Scope("", symbol), Scope())
    found, fills = VenueModel(), list[FillModel]()
    for model in (models[scope] for scope in scopes if scope in models):
        found = VenueModel(
            model.commission if found.commission is None else found.commission,
            model.slippage if found.slippage is None else found.slippage,
            model.latency if found.latency is None else found.latency,
        )
        if model.fills is not None:
            fills.append(model.fills)
    return found, fills
