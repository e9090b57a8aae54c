"""Simulations to try: instruments, markets, and strategies that trade them in every way."""

from collections.abc import Callable, Sequence
from decimal import Decimal
from random import Random
from typing import Any

from services.domain.backtest.simulation import DeploymentPlan, PortfolioPlan, Simulation
from services.domain.deployment.context import Context
from services.domain.deployment.parameters import parameters_from
from services.domain.market import Bar
from services.domain.orders.order import LIMITED, STOPS, TOUCHED, OrderEvent, OrderType, Side, TimeInForce
from services.domain.strategies import SmaCross
from services.domain.strategy import Strategy
from services.domain.tape import Series, Tape, merge
from tests.unit.domain.markets import DAY, clock, daily, instrument, splits, walk

INSTRUMENTS = {symbol: instrument(symbol) for symbol in ("A", "B", "C")}
Make = Callable[[], Strategy]


def cross(symbols: Sequence[str] = ("A", "B"), **parameters: Any) -> Make:
    values = {"fast": 2, "slow": 5, "cash_quantity": 3_000, **parameters}
    return lambda: SmaCross(parameters_from(SmaCross.Parameters, values), symbols)


class OnBars(Strategy):
    """Does what it was told to at each bar, and keeps a diary."""

    kind = "on_bars"

    def __init__(self, act: Callable[[Context, Bar], object], symbols: Sequence[str] = ("A",)) -> None:
        super().__init__(None, symbols)
        self.act = act
        self.diary: list[tuple[str, int, str]] = []

    def on_bar(self, context: Context, bar: Bar) -> None:
        self.diary.append(("bar", context.tape_sequence, bar.symbol))
        self.act(context, bar)

    def on_order_event(self, context: Context, event: OrderEvent) -> None:
        self.diary.append(("event", context.tape_sequence, event.exec_type.name))


def anything(context: Context, bar: Bar) -> None:
    """Orders of every type and time in force, a function of position and price: it goes on from any state."""
    rng = Random(f"{context.tape_sequence}-{bar.symbol}-{bar.close}")
    if rng.random() < 0.4 or len(context.holdings.working) > 12:
        return
    near = [Decimal(repr(bar.close)) + Decimal(rng.randint(-200, 200)) / 100 for _ in range(3)]
    if rng.random() < 0.2:
        something_of_lists(context, bar.symbol, rng, near)
        return
    kind, tif = rng.choice(list(OrderType)), rng.choice(list(TimeInForce))
    if kind is OrderType.TRAILING_STOP and tif in {TimeInForce.OPG, TimeInForce.CLS}:
        tif = TimeInForce.DAY
    limit, trigger = (Decimal(repr(bar.close)) + Decimal(rng.randint(-200, 200)) / 100 for _ in range(2))
    resting = kind is OrderType.LIMIT and tif in {TimeInForce.DAY, TimeInForce.GTC, TimeInForce.GTD}
    context.place(
        rng.choice(list(Side)),
        bar.symbol,
        Decimal(rng.randint(3, 12)),
        order_type=kind,
        time_in_force=tif,
        limit_price=limit if kind in LIMITED else None,
        stop_price=trigger if kind in STOPS | TOUCHED else None,
        trailing_percent=Decimal(rng.randint(1, 4)) if kind is OrderType.TRAILING_STOP else None,
        expire_time=context.now + rng.randint(1, 4) * DAY // 3 if tif is TimeInForce.GTD else 0,
        post_only=resting and rng.random() < 0.3,
        reduce_only=rng.random() < 0.3,
        display_quantity=Decimal(2) if kind is OrderType.LIMIT and rng.random() < 0.3 else None,
    )


def something_of_lists(context: Context, symbol: str, rng: Random, near: list[Decimal]) -> None:
    """A list, or what may become of an order of one."""
    side, size, working = rng.choice(list(Side)), Decimal(rng.randint(3, 12)), context.working(symbol)
    # A bracket's exits lie on either side of its entry.
    lowest, entry, highest = min(near) - Decimal("0.01"), near[2], max(near) + Decimal("0.01")
    gain, loss = (highest, lowest) if side is Side.BUY else (lowest, highest)
    match rng.randint(0, 5):
        case 0:
            context.bracket(side, symbol, size, target={"limit_price": gain}, stop={"stop_price": loss})
        case 1:
            stop = {"trailing_amount": Decimal("0.5")}
            terms = {"order_type": OrderType.LIMIT, "limit_price": entry}
            context.bracket(side, symbol, size, target={"limit_price": gain}, stop=stop, **terms)
        case 2:
            terms = {"reduce_only": True} if rng.random() < 0.5 else {}
            context.oco(side, symbol, size, {"limit_price": near[0], **terms}, {"stop_price": near[1], **terms})
        case 3 if working:
            context.cancel(rng.choice(working).client_order_id)
        case 4 if limited := [each for each in working if each.order_type in LIMITED]:
            context.replace(rng.choice(limited).client_order_id, limit_price=near[2])
        case 5:
            other = Side.SELL if side is Side.BUY else Side.BUY
            then = {"symbol": symbol, "quantity": size, "order_type": OrderType.LIMIT, "limit_price": near[0]}
            closing = then | {"side": other, "reduce_only": True}
            context.oto({"side": side, "symbol": symbol, "quantity": size}, then | {"side": side}, closing)


def simulate(tape: Tape, *makes: Make, **options: Any) -> Simulation:
    """Each strategy in a portfolio of its own."""
    limits = options.pop("limits", ())
    cash = options.pop("cash", 20_000)
    portfolios = [PortfolioPlan(f"p{i}", f"Portfolio {i}", Decimal(cash), limits) for i in range(1, len(makes) + 1)]
    plans = [DeploymentPlan(i, f"d{i}", f"s{i}", make(), f"p{i}") for i, make in enumerate(makes, 1)]
    return Simulation(tape, INSTRUMENTS, portfolios, plans, **options)


def market(seed: int, length: int = 60, sessions: bool = True, split_day: int | None = None) -> Tape:
    series: list[Series] = [daily("A", walk(seed, length)), daily("B", walk(seed + 1, length, 40))]
    if sessions:
        series.append(clock(length))
    if split_day is not None:
        series.append(splits("A", {split_day: (3.0, 2.0)}))
    return merge(series)
