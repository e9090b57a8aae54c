"""What the `tickmesh` command takes."""

from __future__ import annotations

import argparse

from services.console.layout import PROGRAMS


def parser() -> argparse.ArgumentParser:
    """The parser; the chosen command's name is in `command`."""
    made = argparse.ArgumentParser(prog="tickmesh", description="A mesh of trading services on this machine.")
    commands = made.add_subparsers(dest="command", metavar="COMMAND", required=True)

    up = commands.add_parser("up", help="start the mesh and its demonstration, and watch it; attaches to one that runs")
    up.add_argument("--plain", action="store_true", help="lines instead of a live view, as when it is no terminal")
    up.add_argument("--detach", action="store_true", help="leave it running and return")

    commands.add_parser("down", help="pause its replays and stop the mesh; all of it is kept")

    commands.add_parser("status", help="processes, health, memory, replays; fails when something is not serving")

    logs = commands.add_parser("logs", help="what the processes have logged")
    logs.add_argument("service", nargs="?", choices=PROGRAMS, metavar="SERVICE", help="; ".join(PROGRAMS))
    logs.add_argument("-n", "--lines", type=int, default=20, help="how many of each at the end (20)")
    logs.add_argument("-f", "--follow", action="store_true", help="go on with what comes")

    run = commands.add_parser("run", help="run one service here, in the foreground")
    run.add_argument("service", choices=PROGRAMS, metavar="SERVICE", help="; ".join(PROGRAMS))

    commands.add_parser("config", help="the settings in effect, secrets masked")

    explain = commands.add_parser("explain", help="why an order became what it is: decision, check, fills, ledger")
    explain.add_argument("order_id", metavar="ORDER_ID", help="as `ListOrders` and every event name it")

    _add_backtest(commands.add_parser("backtest", help="run strategies over a data set in this process"))
    return made


def _add_backtest(backtest: argparse.ArgumentParser) -> None:
    add = backtest.add_argument
    add("--data-set", metavar="ID", help="the records to use; default those of the demonstration")
    add("--symbols", metavar="A,B", help="default all of the data set's")
    add("--strategy", metavar="KIND", help="a kind of strategy; default both of the demonstration's")
    add("--parameter", metavar="NAME=VALUE", action="append", default=[], help="of that kind; may be repeated")
    add("--cash", metavar="USD", help="of each portfolio (100000)")
    add("--start", metavar="DATE", help="first day, 2004-08-19")
    add("--end", metavar="DATE", help="last day")
    add("--warm-up", metavar="SESSIONS", type=int, help="sessions that are history")
    add("--models", metavar="FILE", help="what trading costs: a JSON list of what SetVenueModel takes")
    add("--limits", metavar="FILE", help="what orders may do: a JSON list of what SetLimit takes")
    add("--environment", metavar="ID", help="repeat a replay of the running mesh and compare; alone")
