"""How a scene looks: a live view for a terminal, and lines for everything else."""

from __future__ import annotations

import time
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from itertools import pairwise
from typing import Final

from rich.console import Console, Group, RenderableType
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from services.console.layout import PROGRAMS
from services.console.records import Fill
from services.console.screen.watch import Scene

_BLOCKS: Final = "▁▂▃▄▅▆▇█"
_CURVE_WIDTH: Final = 24
_WIDE: Final = 100
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_STATES: Final = {"RUNNING": "green", "PAUSED": "yellow", "BLOCKED": "red", "COMPLETED": "cyan", "STOPPED": "cyan"}
_ARROWS: Final = {1: ("▲", "green"), -1: ("▼", "red"), 0: (" ", "dim")}
# What is on the screen besides fills and commands.
_FIXED_LINES: Final = 16
_MOST_FILLS: Final = 8
_FEWEST_FILLS: Final = 3


def frame(scene: Scene, commands: Sequence[str], width: int, height: int) -> RenderableType:
    """The whole live view; commands that do not fit are left out, the last first."""
    room = height - _FIXED_LINES - len(scene.portfolios)
    lines = sum(len(each.splitlines()) for each in commands)
    fills = max(_FEWEST_FILLS, min(_MOST_FILLS, room - lines))
    parts: list[RenderableType] = [
        _title(scene),
        _progress(scene),
        Text(),
        _health(scene),
        Text(),
        _counters(scene),
        _prices(scene),
        Text(),
        _portfolios(scene, _CURVE_WIDTH if width >= _WIDE else _CURVE_WIDTH // 2),
        Text(),
        _fills(scene, fills),
    ]
    room -= fills
    shown: list[str] = []
    for each in commands:
        shown += each.splitlines() if len(shown) + len(each.splitlines()) <= room else []
    if shown:
        parts += [Text(), Text("Try it from another terminal", "bold"), *(_line(f"  {line}", "cyan") for line in shown)]
    leave = (
        "leaves this view; the mesh goes on"
        if scene.attached
        else "stops the mesh; the replay goes on at the next start"
    )
    return Group(*parts, Text(), _line(f"Ctrl-C {leave}", "dim"))


def commands(edge_address: str, portfolio_id: str) -> list[str]:
    """What to try, the most telling first. Quotes hold over the lines of one command, so that it can be pasted."""
    edge = edge_address.replace("127.0.0.1", "localhost")
    create = f"{edge} tickmesh.order.v1.OrderService/CreateOrder"
    order = (
        f'    "portfolio_id": "{portfolio_id}", "symbol": "AAPL", "side": "SIDE_BUY",\n'
        '    "order_type": "ORDER_TYPE_MARKET", "time_in_force": "TIME_IN_FORCE_DAY"}\''
    )
    return [
        f"http://{edge}/docs",
        f"grpcurl -plaintext {edge} list",
        f"curl -N '{edge}/api/v1/market-data:stream?symbols=AAPL'",
        f"curl '{edge}/api/v1/orders?portfolio_id={portfolio_id}&page_size=3'",
        f'curl {edge}/api/v1/orders -d \'{{"client_order_id": "mine-1", "quantity": "10",\n{order}',
        f'grpcurl -plaintext -d \'{{"client_order_id": "mine-2", "quantity": "10",\n{order} \\\n    {create}',
        "tickmesh status; tickmesh logs --follow; tickmesh backtest",
    ]


def introduction(edge_address: str, portfolio_id: str) -> list[str]:
    """What those are told once who see lines: where to look, and the first commands."""
    edge = edge_address.replace("127.0.0.1", "localhost")
    reference, *others = commands(edge_address, portfolio_id)
    return [f"See http://{edge}/ and {reference}, or try from another terminal:", *(f"  {each}" for each in others[:3])]


def market_time(time_ns: int) -> str:
    """To the minute, UTC."""
    return (_EPOCH + timedelta(microseconds=time_ns // 1000)).strftime("%Y-%m-%d %H:%M") if time_ns else "–"


def money(amount: Decimal | float, *, signed: bool = False) -> str:
    """With thousands and cents."""
    return f"{amount:+,.2f}" if signed else f"{amount:,.2f}"


def quantity(units: Decimal) -> str:
    """Units without trailing zeros."""
    return f"{units.normalize():,f}" if units else "0"


def sparkline(values: Sequence[float], width: int = _CURVE_WIDTH) -> str:
    """A curve of one line: each column the mean of its share of the values."""
    if len(values) > width:
        edges = [round(place * len(values) / width) for place in range(width + 1)]
        values = [sum(values[a:b]) / (b - a) for a, b in pairwise(edges)]
    low, high = min(values, default=0.0), max(values, default=0.0)
    scale = (len(_BLOCKS) - 1) / (high - low) if high > low else 0.0
    return "".join(_BLOCKS[round((value - low) * scale)] for value in values)


def fill_line(scene: Scene, fill: Fill) -> str:
    """One fill in words."""
    who = scene.portfolios.get(fill.portfolio_id)
    label = who.label if who else fill.portfolio_id
    price = f"{fill.price.normalize():f}"
    return f"{label} {fill.side} {quantity(fill.quantity)} {fill.symbol} @ {price}"


def status_line(scene: Scene) -> str:
    """The scene in one line."""
    replay, now = scene.replay, time.monotonic()
    if replay is None:
        return "no replay yet"
    blocked = f" on {', '.join(replay.blocked_on)}" if replay.blocked_on else ""
    down = ", ".join(name for name, serving in scene.health.items() if not serving)
    parts = [
        f"{replay.environment_id} {replay.state}{blocked}",
        market_time(replay.market_time),
        f"{scene.ticks.at(now):.1f} ticks/s",
        f"{scene.cycles.at(now):.1f} cycles/s",
        f"signals {scene.signals}",
        f"orders {scene.orders}",
        f"fills {scene.filled}",
        f"refused {scene.refused}",
        *(f"{each.label} {money(each.equity)}" for each in scene.portfolios.values()),
        *([f"not serving: {down}"] if down else []),
    ]
    return "  ".join(parts)


def terminal() -> Console:
    """Where the console speaks to people."""
    return Console(highlight=False)


def _title(scene: Scene) -> RenderableType:
    grid = Table.grid(expand=True)
    grid.add_column()
    grid.add_column(justify="right")
    replay = scene.replay
    left = Text.assemble(("tickmesh", "bold"))
    right = Text()
    if replay is not None:
        left.append(f"  {replay.environment_id}  ").append(replay.state, f"bold {_STATES.get(replay.state, 'white')}")
        if replay.blocked_on:
            left.append(f" on {', '.join(replay.blocked_on)}", "red")
        right = Text.assemble((market_time(replay.market_time), "bold"), (" UTC", "dim"))
    grid.add_row(left, right)
    return grid


def _progress(scene: Scene) -> RenderableType:
    grid = Table.grid(expand=True, padding=(0, 1))
    grid.add_column(ratio=1)
    grid.add_column(justify="right")
    done = scene.replay.progress if scene.replay else 0.0
    bar = ProgressBar(total=1.0, completed=done, complete_style="blue", finished_style="cyan")
    grid.add_row(bar, Text(f"{done:.1%} of the tape", "dim"))
    return grid


def _health(scene: Scene) -> RenderableType:
    line = _line()
    for name in PROGRAMS:
        serving = scene.health.get(name)
        style = "dim" if serving is None else "green" if serving else "red"
        line.append("● ", style).append(name, "" if serving is not False else "red").append("  ")
    restarts = sum(each.restarts for each in scene.processes)
    if scene.memory:
        line.append(f"{scene.memory / 1e6:.0f} MB", "dim")
    if restarts:
        line.append(f"  {restarts} restart{'s' if restarts > 1 else ''}", "yellow")
    return line


def _counters(scene: Scene) -> RenderableType:
    now = time.monotonic()
    pairs = [
        (f"{scene.ticks.at(now):,.1f}", "ticks/s"),
        (f"{scene.cycles.at(now):,.1f}", "cycles/s"),
        (f"{scene.signals:,}", "signals"),
        (f"{scene.orders:,}", "orders"),
        (f"{scene.filled:,}", "fills"),
        (f"{scene.refused:,}", "refused"),
    ]
    line = _line()
    for figure, name in pairs:
        line.append(figure, "bold").append(f" {name}   ", "dim")
    return line


def _prices(scene: Scene) -> RenderableType:
    line = _line()
    for symbol in scene.replay.symbols if scene.replay else ():
        price = scene.prices.get(symbol)
        arrow, style = _ARROWS[scene.moves.get(symbol, 0)]
        line.append(f"{symbol} ", "dim").append("–" if price is None else f"{price:,.2f}").append(f"{arrow}   ", style)
    return line


def _portfolios(scene: Scene, curve: int) -> RenderableType:
    table = Table(box=None, expand=True, padding=(0, 2, 0, 0), header_style="dim", pad_edge=False)
    for name, right in (("Portfolio", False), ("Equity", True), ("Change", True), ("", False), ("Cash", True)):
        table.add_column(name, justify="right" if right else "left", no_wrap=True)
    table.add_column("Holds", ratio=1, no_wrap=True, overflow="ellipsis")
    for each in scene.portfolios.values():
        change = each.equity - scene.opening
        share = f" {change / scene.opening:+.2%}" if scene.opening else ""
        style = "green" if change > 0 else "red" if change < 0 else "dim"
        held = "  ".join(f"{symbol} {quantity(units)}" for symbol, units in each.positions.items())
        table.add_row(
            Text(each.label, "bold"),
            money(each.equity),
            Text(f"{money(change, signed=True)}{share}", style),
            Text(sparkline(scene.equity[each.portfolio_id].values, curve), style),
            money(each.cash),
            held or Text("–", "dim"),
        )
    return table


def _fills(scene: Scene, count: int) -> RenderableType:
    began = (
        "" if scene.attached or scene.first_fill is None else f", the first {scene.first_fill:.1f} s after the start"
    )
    lines: list[RenderableType] = [_line(f"Last fills{began}", "dim")]
    recent = list(scene.fills)[-count:][::-1]
    for fill in recent:
        style = "green" if fill.side == "BUY" else "red"
        when = _line(f"{market_time(fill.transact_time)}  ", "dim")
        lines.append(when.append(fill_line(scene, fill), style))
    lines += [Text()] * (count - len(recent))
    return Group(*lines)


def _line(text: str = "", style: str = "") -> Text:
    """A text that stays one line, however narrow the terminal."""
    return Text(text, style, no_wrap=True, overflow="ellipsis")
