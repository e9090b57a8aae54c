"""What the view shows, at the sizes that terminals have."""

import io
import json
import shlex
from decimal import Decimal

import pytest
from rich.console import Console

from services.console.records import Fill, MarketNews, OrderNews, Portfolio, Replay
from services.console.screen import view
from services.console.screen.watch import KEPT_EQUITY, Curve, Rate, Scene

SYMBOLS = ("AAPL", "FB", "GOOG", "IBM", "MSFT")
NOON = 957_182_400_000_000_000


def replay(**changes: object) -> Replay:
    made = Replay("replay-1", "Demonstration", "RUNNING", (), "us-daily", SYMBOLS, 100, 1100, 600, NOON, 40)
    return made._replace(**changes)  # type: ignore[arg-type]


@pytest.fixture
def scene() -> Scene:
    made = Scene(begin_time=1_000_000_000)
    made.begin(replay(), Decimal(100_000))
    for label, equity in (("Trend", "101234.56"), ("Reversion", "99000")):
        made.see_portfolio(
            Portfolio(label.lower(), label, "USD", Decimal(5000), Decimal(equity), {"AAPL": Decimal(1200)})
        )
    made.see_market(MarketNews(3, {"AAPL": 130.5, "IBM": 112.0}), 0.0)
    made.see_market(MarketNews(2, {"AAPL": 131.5, "IBM": 111.0}), 0.5)
    fill = Fill("trend", "AAPL", "BUY", Decimal("153.00"), Decimal("130.5000"), NOON)
    made.see_order(OrderNews(1, "NEW", 7_000_000_000, None))
    made.see_order(OrderNews(2, "TRADE", 7_200_000_000, fill))
    made.see_order(OrderNews(3, "REJECTED", 7_300_000_000, None))
    made.health = dict.fromkeys(("marketdata", "strategy", "order", "risk", "portfolio", "edge"), True)
    return made


def drawn(scene: Scene, width: int, height: int) -> list[str]:
    out = io.StringIO()
    console = Console(file=out, width=width, height=height, highlight=False)
    console.print(view.frame(scene, view.commands("127.0.0.1:8080", "trend"), width, height))
    return out.getvalue().splitlines()


@pytest.mark.parametrize(("width", "height"), [(80, 24), (100, 30), (120, 50), (200, 60)])
def test_it_fits_and_says_what_matters(scene: Scene, width: int, height: int) -> None:
    lines = drawn(scene, width, height)
    assert len(lines) <= height
    assert max(map(len, lines)) <= width
    text = "\n".join(lines)
    for part in ("replay-1", "RUNNING", "2000-05-01 12:00", "50.0% of the tape", "101,234.56", "+1.23%", "-1.00%"):
        assert part in text
    assert "Trend BUY 153 AAPL @ 130.5" in text
    assert "the first 6.2 s after the start" in text
    assert "1 orders" in text.replace("   ", " ")
    assert "Ctrl-C stops the mesh" in text


def test_a_large_terminal_shows_every_command_and_a_small_one_whole_ones(scene: Scene) -> None:
    large, small = "\n".join(drawn(scene, 120, 50)), "\n".join(drawn(scene, 80, 24))
    assert "OrderService/CreateOrder" in large
    assert "tickmesh backtest" in large
    assert small.count("'") % 2 == 0


def test_what_does_not_serve_is_named(scene: Scene) -> None:
    scene.health["risk"] = False
    assert "not serving: risk" in view.status_line(scene)
    scene.replay = replay(state="BLOCKED", blocked_on=("risk",))
    assert "BLOCKED on risk" in view.status_line(scene)
    assert "BLOCKED on risk" in "\n".join(drawn(scene, 100, 40))


def test_the_commands_can_be_pasted_into_a_shell() -> None:
    for command in view.commands("127.0.0.1:8080", "trend"):
        words = shlex.split(command.replace("\\\n", " "))
        bodies = [json.loads(word) for word in words if word.startswith("{")]
        assert all(body["portfolio_id"] == "trend" and body["quantity"] == "10" for body in bodies)


def test_an_attached_view_says_that_the_mesh_goes_on(scene: Scene) -> None:
    scene.attached = True
    text = "\n".join(drawn(scene, 100, 40))
    assert "Ctrl-C leaves this view" in text
    assert "after the start" not in text


def test_a_scene_with_nothing_in_it_can_be_drawn() -> None:
    assert drawn(Scene(begin_time=0), 80, 24)
    assert view.status_line(Scene(begin_time=0)) == "no replay yet"


def test_a_fill_of_before_the_start_is_not_the_first() -> None:
    made = Scene(begin_time=10_000_000_000)
    fill = Fill("trend", "AAPL", "SELL", Decimal(1), Decimal(1), 0)
    made.see_order(OrderNews(1, "TRADE", 9_000_000_000, fill))
    assert (made.filled, made.first_fill) == (1, None)
    made.see_order(OrderNews(2, "TRADE", 12_500_000_000, fill))
    assert made.first_fill == 2.5


def test_prices_remember_which_way_they_went(scene: Scene) -> None:
    assert scene.moves == {"AAPL": 1, "IBM": -1}
    scene.see_market(MarketNews(1, {"AAPL": 131.5}), 1.0)
    assert scene.moves["AAPL"] == 1


@pytest.mark.parametrize(
    ("values", "curve"),
    [([], ""), ([5.0], "▁"), ([1.0, 1.0], "▁▁"), ([0.0, 7.0], "▁█"), ([0.0] * 30 + [1.0] * 30, "▁▁██")],
)
def test_sparkline(values: list[float], curve: str) -> None:
    assert view.sparkline(values, 4) == curve


def test_a_curve_covers_everything_in_bounded_memory() -> None:
    curve = Curve()
    for value in range(10 * KEPT_EQUITY):
        curve.add(float(value))
    assert len(curve.values) < KEPT_EQUITY
    steps = {b - a for a, b in zip(curve.values, curve.values[1:], strict=False)}
    assert len(steps) == 1
    assert curve.values[0] == 0.0
    assert curve.values[-1] > 9 * KEPT_EQUITY


def test_a_rate_forgets_what_is_long_past() -> None:
    rate = Rate()
    rate.add(0.0, 100)
    assert rate.at(0.5) == 100.0
    assert rate.at(4.0) == 25.0
    rate.add(10.0, 10)
    assert rate.at(11.0) == 10.0
    assert rate.at(30.0) == 0.0
