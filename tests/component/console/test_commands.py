"""Commands as processes of their own, where nothing runs."""

import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest


def tickmesh(*arguments: str, directory: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    clean = {name: value for name, value in os.environ.items() if not name.startswith("TICKMESH_")}
    return subprocess.run(
        [sys.executable, "-m", "services.console.main", *arguments],
        env=clean | {"TICKMESH_DATA_DIRECTORY": str(directory)} | environment,
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
    )


def test_status_down_and_logs_of_nothing(tmp_path: Path) -> None:
    missing = tmp_path / "not yet"
    status = tickmesh("status", directory=missing)
    assert (status.returncode, status.stderr) == (3, "")
    assert "Nothing runs" in status.stdout
    down = tickmesh("down", directory=missing)
    assert down.returncode == 0
    assert "Nothing runs" in down.stdout
    assert tickmesh("logs", directory=missing).returncode == 0
    assert not missing.exists()


def test_a_taken_port_is_named_and_nothing_is_started(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        address = f"127.0.0.1:{taken.getsockname()[1]}"
        up = tickmesh("up", "--plain", directory=tmp_path, TICKMESH_RISK_ADDRESS=address)
    assert up.returncode == 1
    assert address in up.stderr
    assert "TICKMESH_RISK_ADDRESS" in up.stderr
    assert "Nothing was started" in up.stderr
    assert not (tmp_path / "supervisord.conf").exists()


def test_a_data_directory_that_cannot_be_made_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    up = tickmesh("up", directory=tmp_path / "file" / "data")
    assert up.returncode == 1
    assert "TICKMESH_DATA_DIRECTORY" in up.stderr


@pytest.mark.parametrize("arguments", [["nonsense"], ["run", "nobody"], [], ["backtest", "--cash"]])
def test_a_wrong_command_is_refused(arguments: list[str], tmp_path: Path) -> None:
    assert tickmesh(*arguments, directory=tmp_path).returncode == 2


def test_help_is_there_at_once(tmp_path: Path) -> None:
    """Nothing heavy is imported before a command is chosen."""
    assert "backtest" in tickmesh("--help", directory=tmp_path).stdout
    heavy = ("pydantic", "grpc", "rich", "numpy")
    code = f"import sys, services.console.main; print([name for name in {heavy} if name in sys.modules])"
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True)
    assert loaded.stdout.strip() == "[]"


def test_a_backtest_of_the_demonstration_gives_one_digest(tmp_path: Path) -> None:
    first = tickmesh("backtest", directory=tmp_path)
    assert first.returncode == 0, first.stderr
    assert (tmp_path / "calendars" / "XNYS.npz").exists()
    second = tickmesh("backtest", directory=tmp_path)
    digests = [each.stdout.splitlines()[-1] for each in (first, second)]
    assert digests[0] == digests[1]
    assert digests[0].startswith("digest ")
    assert "Trend" in first.stdout
    assert "Reversion" in first.stdout


def test_a_strategy_of_ones_own_is_found(tmp_path: Path) -> None:
    file = tmp_path / "holder.py"
    file.write_text(
        "from decimal import Decimal\n"
        "from services.domain.strategy import Strategy\n"
        "class Holder(Strategy):\n"
        '    "Buys one unit and keeps it."\n'
        '    kind = "holder"\n'
        "    def on_bar(self, context, bar):\n"
        "        if context.idle(bar.symbol) and not context.position(bar.symbol):\n"
        "            context.buy(bar.symbol, Decimal(1))\n"
    )
    answer = tickmesh(
        "backtest", "--strategy", "holder", "--symbols", "IBM,MSFT", "--start", "2010-01-01", "--end", "2010-03-01",
        directory=tmp_path, TICKMESH_STRATEGY_PATH=str(file),
    )  # fmt: skip
    assert answer.returncode == 0, answer.stderr
    row = next(line for line in answer.stdout.splitlines() if line.startswith("holder"))
    assert row.split()[1] == "2"


def test_a_repeat_without_a_mesh_says_so(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as free:
        address = f"127.0.0.1:{free.getsockname()[1]}"
    answer = tickmesh("backtest", "--environment", "replay-1", directory=tmp_path, TICKMESH_MARKETDATA_ADDRESS=address)
    assert answer.returncode == 1
    assert "tickmesh status" in answer.stderr
