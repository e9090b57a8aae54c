"""Tapes, orders and commands by which the paper venue and its slow model are driven, and what both say."""

from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from decimal import Decimal
from itertools import zip_longest
from random import Random
from typing import Protocol

import numpy as np
from hypothesis import strategies as st

from services.domain.costs import Commission, Costs, Slippage, Tier
from services.domain.filling import BarPath, VenueSettings
from services.domain.instrument import Instrument
from services.domain.orders.lists import SIZES, BadList, check_list, listed
from services.domain.orders.order import (
    LIMITED,
    STOPS,
    TOUCHED,
    ContingencyType,
    Order,
    OrderEvent,
    OrderType,
    Reservation,
    Side,
    TimeInForce,
)
from services.domain.orders.replacing import CannotReplace, Replacement
from services.domain.tape import LEVEL_VALUES, Kind, Levels, Series, Source, Tape, merge

MINUTE = 60_000_000_000
OTO = ContingencyType.OTO

INSTRUMENTS = {
    "AAA": Instrument("AAA", calendar="XNYS"),
    "BBB": Instrument("BBB", calendar="24/7", quantity_increment=Decimal("0.5"), price_increment=Decimal("0.5")),
}

SAME = Replacement()

type_of = {
    "M": OrderType.MARKET,
    "L": OrderType.LIMIT,
    "S": OrderType.STOP,
    "SL": OrderType.STOP_LIMIT,
    "TS": OrderType.TRAILING_STOP,
    "MIT": OrderType.MARKET_IF_TOUCHED,
    "LIT": OrderType.LIMIT_IF_TOUCHED,
}


RESTING = [TimeInForce.DAY, TimeInForce.GTC, TimeInForce.GTD]


def series(kind: Kind, symbol: str, rows: Iterable[tuple[int, int, Iterable[float]]], interval: str = "") -> Series:
    """A source's records from (start, time, values), in minutes."""
    table = list(rows)
    values = np.zeros((len(table), 5))
    for i, (_, _, row) in enumerate(table):
        figures = list(row)
        values[i, : len(figures)] = figures
    start = np.array([r[0] * MINUTE for r in table], np.int64)
    time = np.array([r[1] * MINUTE for r in table], np.int64)
    return Series(Source(kind, symbol, interval), time, start, values)


def deep(quotes: Series, levels: Iterable[Iterable[tuple[float, ...]]]) -> Series:
    """Quotes with the levels behind their best prices: of each quote (bid, bid_size, ask, ask_size), the best first."""
    table = [(row, level) for row, own in enumerate(levels) for level in own]
    rows = np.array([row for row, _ in table], np.int64)
    return replace(quotes, levels=Levels(rows, np.array([level for _, level in table]).reshape(-1, LEVEL_VALUES)))


def bars(rows: Iterable[tuple[float, ...]], symbol: str = "BBB", minutes: int = 1) -> Series:
    """One bar after the other, from time 0."""
    table = [(i * minutes, (i + 1) * minutes, row) for i, row in enumerate(rows)]
    return series(Kind.BAR, symbol, table, f"{minutes}m")


def order(
    number: int, side: str, kind: str, quantity: int | str = 10, price: float | str | None = None, **changes: object
) -> Order:
    """A shorthand: ``order(1, "B", "L", 10, 95)``; cash abounds unless a reservation is given.

    ``price`` is a LIMIT's limit, a TRAILING_STOP's amount, and the trigger of any other.
    """
    number_given = None if price is None else Decimal(str(price))
    value = Order(
        order_id=f"env-{number}",
        client_order_id=f"client-{number}",
        portfolio_id="P",
        symbol="BBB",
        side=Side.BUY if side == "B" else Side.SELL,
        order_type=type_of[kind],
        time_in_force=TimeInForce.GTC,
        quantity=Decimal(quantity),
        limit_price=number_given if kind == "L" else None,
        stop_price=number_given if kind in {"S", "SL", "MIT", "LIT"} else None,
        trailing_amount=number_given if kind == "TS" else None,
        reservation=Reservation(headroom=Decimal(10) ** 9),
    )
    return value._replace(**changes)  # type: ignore[arg-type]


@dataclass(frozen=True)
class Command:
    """An order at a position, or a list of them, or the cancel of one sent before, or its replacement."""

    position: int
    order: Order | None = None
    cancels: str = ""
    replaces: str = ""
    terms: Replacement = SAME
    listed: tuple[Order, ...] = ()

    @property
    def sent(self) -> tuple[Order, ...]:
        """The orders that it sends."""
        return self.listed if self.order is None else (self.order,)


class AnyVenue(Protocol):
    def prime(self, tape: Tape, through: int) -> None: ...
    def accept(self, order: Order, at: int, time: int) -> list[OrderEvent]: ...
    def accept_list(self, orders: Sequence[Order], at: int, time: int) -> list[OrderEvent]: ...
    def cancel(self, order_id: str, at: int, time: int) -> list[OrderEvent]: ...
    def replace(self, order_id: str, terms: Replacement, at: int, time: int) -> list[OrderEvent]: ...
    def advance(self, tape: Tape, after: int, through: int) -> tuple[int, list[OrderEvent]]: ...
    def expire_all(self, at: int, time: int) -> list[OrderEvent]: ...


def drive(
    venue: AnyVenue,
    tape: Tape,
    commands: list[Command],
    grants: Iterable[int] = (),
    between: Callable[[AnyVenue, int], AnyVenue] = lambda venue, position: venue,
) -> list[OrderEvent]:
    """Send each command at its position, grant the rest of the way in between; all events in order.

    ``grants`` are further positions to stop at; ``between`` may put another venue in its place after each step.
    """
    events: list[OrderEvent] = []
    position = 0
    venue.prime(tape, 0)
    by_position: dict[int, list[Command]] = {}
    for command in commands:
        by_position.setdefault(min(command.position, len(tape)), []).append(command)
    for stop in sorted({*by_position, *(g for g in grants if g <= len(tape)), len(tape)}):
        while position < stop:
            position, made = venue.advance(tape, position, stop)
            events += made
            venue = between(venue, position)
        time = int(tape.time[position - 1]) if position else 0
        for command in by_position.get(stop, []):
            if command.order is not None:
                sent = command.order._replace(basis_sequence=position, basis_time=time)
                events += venue.accept(sent, position, time)
            elif command.listed:
                orders = [each._replace(basis_sequence=position, basis_time=time) for each in command.listed]
                events += venue.accept_list(orders, position, time)
            elif command.replaces:
                with suppress(CannotReplace):
                    events += venue.replace(command.replaces, command.terms, position, time)
            else:
                events += venue.cancel(command.cancels, position, time)
            venue = between(venue, position)
    return events + venue.expire_all(position, time)


def told(events: Iterable[OrderEvent]) -> list[tuple[object, ...]]:
    """What the events say, for comparing."""
    return [
        (
            e.exec_id,
            e.exec_type.name,
            e.order.state.name,
            e.transact_time,
            e.tape_sequence,
            e.last_quantity,
            e.last_price,
            e.last_commission,
            e.order.quantity,
            e.order.cum_quantity,
            e.order.leaves_quantity,
            e.order.limit_price,
            e.order.stop_price,
            e.order.trailing_amount,
            e.order.display_quantity,
            e.order.cancel_reason.name,
        )
        for e in events
    ]


def _rows(rng: Random, kind: Kind, most: int, spread: int = 20) -> list[tuple[int, int, tuple[float, ...]]]:
    def price() -> float:
        return rng.randint(200 - spread, 200 + spread) / 2

    def size() -> float:
        return rng.choice([0.0, 10.0, 40.0, 100.0, 300.0])

    rows: list[tuple[int, int, tuple[float, ...]]] = []
    for _ in range(rng.randint(0, most)):
        begin, end = (minute := rng.randint(0, 59)), minute
        if kind is Kind.BAR:
            four = sorted(price() for _ in range(4))
            # One in three begins with a session, or ends with it.
            begin, length = rng.choice([(begin, 1), (begin, 1), (begin, 10), *_AUCTIONS])
            end = begin + length
            values: tuple[float, ...] = (four[rng.randint(0, 3)], four[3], four[0], four[rng.randint(0, 3)], size())
        elif kind is Kind.QUOTE:
            bid = price()
            values = (bid, bid + rng.choice([0.5, 1.0, 3.0]), size(), size())
            if rng.random() < 0.05:
                values = rng.choice([(0.0, values[1], 0.0, values[3]), (bid, 0.0, values[2], 0.0)])
        elif kind is Kind.TRADE:
            values = (price(), size())
        elif kind is Kind.AUCTION:
            begin, opening = rng.choice(
                [(0, 1.0), (1, 1.0), (20, 1.0), (10, 0.0), (30, 0.0), (begin, 1.0), (begin, 0.0)]
            )
            end, values = begin, (price(), size(), opening)
        elif kind is Kind.HALT:
            values = (float(rng.random() < 0.5),)
        else:
            values = rng.choice([(2.0, 1.0), (1.0, 2.0), (3.0, 2.0), (1.0, 50.0)])
        rows.append((begin, end, values))
    return sorted(rows, key=lambda row: row[1])


def _behind(rng: Random, quote: Sequence[float]) -> list[tuple[float, ...]]:
    """Up to three levels of either side behind a quote's best ones, or none; behind a side that is missing none."""
    if rng.random() < 0.4:
        return []
    sides = []
    for best, away in ((quote[0], -1), (quote[1], 1)):
        price, levels = best, []
        for _ in range(rng.randint(0, 3) if best else 0):
            price += away * rng.choice([0.5, 0.5, 2.0])
            levels.append((price, rng.choice([5.0, 10.0, 40.0, 300.0])))
        sides.append(levels)
    return [bid + ask for bid, ask in zip_longest(*sides, fillvalue=(0.0, 0.0))]


_AUCTIONS = [(20, 1), (0, 10), (40, 1), (49, 1), (29, 1), (20, 10)]
"""Start and length, in minutes, of bars at the edges of the sessions that ``any_tape`` has."""


def any_tape(rng: Random, most: int, spread: int = 20) -> Tape:
    """Three short days of two symbols in bars, quotes and prints; AAA has sessions; either may split.

    Prices lie within ``spread`` halves of 100.
    """
    clock = [(d * 20 + m, d * 20 + m, (1.0 - m // 10,)) for d in range(3) for m in (0, 10)]
    parts = [series(Kind.CLOCK, "XNYS", clock[rng.randint(0, 2) :])]
    for symbol in ("AAA", "BBB"):
        parts.append(series(Kind.SPLIT, symbol, _rows(rng, Kind.SPLIT, 1)))
        parts.append(series(Kind.BAR, symbol, _rows(rng, Kind.BAR, most, spread), "1m"))
        quotes = series(Kind.QUOTE, symbol, _rows(rng, Kind.QUOTE, most, spread))
        parts.append(deep(quotes, (_behind(rng, row) for row in quotes.values.tolist())))
        parts.append(series(Kind.TRADE, symbol, _rows(rng, Kind.TRADE, most, spread)))
        # Where a tape knows of auctions, no bar stands for them; so most do not.
        if rng.random() < 0.3:
            parts.append(series(Kind.AUCTION, symbol, _rows(rng, Kind.AUCTION, 4, spread)))
        if rng.random() < 0.3:
            parts.append(series(Kind.HALT, symbol, _rows(rng, Kind.HALT, 4)))
    return merge(parts)


def _price(rng: Random, spread: int) -> Decimal:
    return Decimal(rng.randint(200 - spread, 200 + spread)) / 2


def any_costs(rng: Random, iceberg: bool) -> Costs | None:
    """Commission, slippage, both or, mostly, neither. What an iceberg moves the price by depends on its slices."""
    if rng.random() < 0.6:
        return None
    commission = Commission(
        per_order=Decimal(rng.choice(["0", "1"])),
        per_unit=Decimal(rng.choice(["0", "0.005"])),
        basis_points=Decimal(rng.choice(["0", "2.5"])),
        tiers=rng.choice([(), (Tier(Decimal(0), Decimal(10)), Tier(Decimal(1000), Decimal(4)))]),
        minimum=Decimal(rng.choice(["0", "1.5"])),
        maximum=rng.choice([None, Decimal(3)]),
        maximum_basis_points=rng.choice([None, Decimal(7)]),
    )
    if rng.random() < 0.2:
        commission = Commission(basis_points=Decimal(rng.choice([5, 1000])), in_units=True)
    slippage = Slippage(
        basis_points=Decimal(rng.choice(["0", "5", "80"])),
        spread_share=Decimal(rng.choice(["0", "0.5"])),
        impact=Decimal(0 if iceberg else rng.choice(["0", "0.1"])),
    )
    return rng.choice([Costs(commission, slippage), Costs(commission), Costs(None, slippage)])


def any_order(rng: Random, number: int, spread: int = 20) -> Order:
    """An order of any type and time in force, with any instructions that go with them; at one of few prices."""
    # Where prices are close together, so are orders: more of them are limits, and wait.
    crowded = spread < 10
    kind = OrderType.LIMIT if crowded and rng.random() < 0.5 else rng.choice(list(OrderType))
    tif = rng.choice(RESTING if crowded and rng.random() < 0.5 else list(TimeInForce))
    changes: dict[str, object] = {}
    quantity = Decimal(rng.randint(1, 30))
    if kind is OrderType.TRAILING_STOP:
        tif = TimeInForce.DAY if tif in {TimeInForce.OPG, TimeInForce.CLS} else tif
        by = rng.choice(["trailing_amount", "trailing_percent"])
        changes[by] = Decimal(rng.choice(["0.5", "2", "3.5", "8"]))
    elif tif is not TimeInForce.FOK and rng.random() < 0.2:
        changes["cash_quantity"], quantity = Decimal(rng.randint(20, 3000)), Decimal(0)
    if "cash_quantity" not in changes and rng.random() < 0.3:
        changes["reduce_only"] = True
    if kind is OrderType.LIMIT:
        changes["post_only"] = tif in RESTING and rng.random() < 0.3
        if quantity > 1 and rng.random() < 0.4:
            changes["display_quantity"] = Decimal(rng.randint(1, int(quantity) - 1))
    return order(
        number,
        rng.choice("BS"),
        "M",
        quantity,
        symbol=rng.choice(["AAA", "BBB"]),
        order_type=kind,
        time_in_force=tif,
        limit_price=_price(rng, spread) if kind in LIMITED else None,
        stop_price=_price(rng, spread) if kind in STOPS | TOUCHED else None,
        expire_time=rng.randint(1, 62) * MINUTE if tif is TimeInForce.GTD else 0,
        costs=any_costs(rng, "display_quantity" in changes),
        latency=rng.choice([0, 0, MINUTE // 2, 3 * MINUTE]),
        fill_settings=any_settings(rng) if rng.random() < 0.3 else None,
        **changes,
    )


def any_list(rng: Random, number: int, spread: int = 20) -> tuple[Order, ...]:
    """A list of any kind, its orders numbered from ``number`` on."""
    kind = rng.choice([ContingencyType.OCO, ContingencyType.BRACKET, ContingencyType.BRACKET, ContingencyType.OTO])
    while True:
        orders = [
            any_order(rng, number + n, spread) for n in range(rng.randint(2, 3) if kind is OTO else SIZES[kind][0])
        ]
        # What is set is set for all of them.
        first, *others = [each._replace(fill_settings=orders[0].fill_settings) for each in orders]
        if kind is ContingencyType.OCO:
            same = {name: getattr(first, name) for name in ("symbol", "side", "quantity", "reduce_only")}
            others = [each._replace(**same) for each in others]
        elif kind is ContingencyType.BRACKET:
            # An iceberg's slices release its children piecemeal, which the slow model would tell otherwise.
            first = first._replace(display_quantity=None)
            opposite = Side.SELL if first.side is Side.BUY else Side.BUY
            good_for = {"time_in_force": others[0].time_in_force, "expire_time": others[0].expire_time}
            others = [each._replace(symbol=first.symbol, side=opposite, quantity=Decimal(0)) for each in others]
            others = [each._replace(**good_for, costs=others[0].costs) for each in others]
        try:
            check_list(kind, [first, *others])
        except BadList:
            continue
        return tuple(listed(kind, [first, *others]))


def _other(rng: Random, count: int, end: int, spread: int) -> Command:
    """A cancel or a replacement of an order that may work, be done, or be to come."""
    position, which = rng.randint(0, end), f"env-{rng.randint(1, count)}"
    if rng.random() < 0.3:
        return Command(position, cancels=which)
    values: dict[str, object] = {
        "quantity": Decimal(rng.randint(1, 40)),
        "cash_quantity": Decimal(rng.randint(20, 3000)),
        "limit_price": _price(rng, spread),
        "stop_price": _price(rng, spread),
        "trailing_amount": Decimal(rng.choice(["1", "2.5", "6"])),
        "trailing_percent": Decimal(rng.choice(["1", "4"])),
        "display_quantity": Decimal(rng.randint(1, 12)),
        "expire_time": rng.randint(1, 62) * MINUTE,
    }
    names = rng.choice(
        [
            ["quantity"],
            ["cash_quantity"],
            ["limit_price"],
            ["stop_price"],
            rng.sample(sorted(values), rng.randint(1, 2)),
        ]
    )
    return Command(position, replaces=which, terms=Replacement(**{name: values[name] for name in names}))  # type: ignore[arg-type]


def any_commands(rng: Random, most: int = 10, end: int = 80, spread: int = 20, lists: float = 0.3) -> list[Command]:
    """Orders and, among ``lists`` of them, lists; cancels and replacements; in order of position, up to ``end``."""
    count, sent = rng.randint(1, most), 0
    positions = sorted(rng.choices(range(end), k=count))
    commands = []
    for position in positions:
        if rng.random() < lists:
            commands.append(Command(position, listed=any_list(rng, sent + 1, spread)))
        else:
            commands.append(Command(position, any_order(rng, sent + 1, spread)))
        sent += len(commands[-1].sent)
    commands.extend(_other(rng, sent, end, spread) for _ in range(rng.randint(0, count)))
    return sorted(commands, key=lambda c: c.position)


def any_settings(rng: Random) -> VenueSettings:
    """Touch or not, a share of the volume or all of it, DAY orders held or not, and the way inside a bar or none."""
    return VenueSettings(
        fill_on_touch=rng.random() < 0.5,
        volume_share=rng.choice([None, Decimal("0.1"), Decimal(1)]),
        hold_day_orders=rng.random() < 0.8,
        bar_path=rng.choice(list(BarPath)),
    )


@st.composite
def tapes(draw: st.DrawFn) -> Tape:
    """Drawn by a seed and a size: figures each drawn by hypothesis shrink better, and take a hundred times as long."""
    return any_tape(Random(draw(st.integers(0, 2**32))), draw(st.integers(3, 25)))


@st.composite
def command_lists(draw: st.DrawFn) -> list[Command]:
    """Orders, cancels and replacements."""
    return any_commands(Random(draw(st.integers(0, 2**32))), draw(st.integers(1, 10)))


settings_drawn = st.builds(any_settings, st.integers(0, 2**32).map(Random))
