"""The `tickmesh` command. What a subcommand needs is imported when it is chosen, so that the others start fast."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Sequence

from services.console.layout import PROGRAMS, Trouble

Command = Callable[[argparse.Namespace], int]
_NOT_RUN_BY_HAND = 130


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs one command; its exit code."""
    options = _parser().parse_args(arguments)
    command: Command = options.command
    try:
        return command(options)
    except Trouble as trouble:
        sys.stderr.write(f"{trouble}\n")
        return 1
    except BrokenPipeError:
        # Whoever read us (head, less) has seen enough.
        sys.stderr.close()
        return 0
    except KeyboardInterrupt:
        return _NOT_RUN_BY_HAND


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="tickmesh", description="A mesh of trading services on this machine.")
    commands = parser.add_subparsers(metavar="COMMAND", required=True)

    up = commands.add_parser("up", help="start the mesh and its demonstration, and watch it; attaches to one that runs")
    up.add_argument("--plain", action="store_true", help="lines instead of a live view, as when it is no terminal")
    up.add_argument("--detach", action="store_true", help="leave it running and return")
    up.set_defaults(command=_up)

    down = commands.add_parser("down", help="pause its replays and stop the mesh; all of it is kept")
    down.set_defaults(command=_down)

    status = commands.add_parser(
        "status", help="processes, health, memory, replays; fails when something is not serving"
    )
    status.set_defaults(command=_status)

    logs = commands.add_parser("logs", help="what the processes have logged")
    logs.add_argument("service", nargs="?", choices=PROGRAMS, metavar="SERVICE", help="; ".join(PROGRAMS))
    logs.add_argument("-n", "--lines", type=int, default=20, help="how many of each at the end (20)")
    logs.add_argument("-f", "--follow", action="store_true", help="go on with what comes")
    logs.set_defaults(command=_logs)

    run = commands.add_parser("run", help="run one service here, in the foreground")
    run.add_argument("service", choices=PROGRAMS, metavar="SERVICE", help="; ".join(PROGRAMS))
    run.set_defaults(command=_run)

    config = commands.add_parser("config", help="the settings in effect, secrets masked")
    config.set_defaults(command=_config)

    _add_backtest(commands.add_parser("backtest", help="run strategies over a data set in this process"))
    return parser


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
    add("--environment", metavar="ID", help="repeat a replay of the running mesh and compare; alone")
    backtest.set_defaults(command=_backtest)


def _up(options: argparse.Namespace) -> int:
    from services.console.up import up

    return up(plain=options.plain, detach=options.detach)


def _down(_: argparse.Namespace) -> int:
    from services.console.up import down

    return down()


def _status(_: argparse.Namespace) -> int:
    from services.console.status import status

    return status()


def _logs(options: argparse.Namespace) -> int:
    from services.console.processes import logs

    return logs(options.service, options.lines, follow=options.follow)


def _run(options: argparse.Namespace) -> int:
    from services.console.processes import run

    return run(options.service)


def _config(_: argparse.Namespace) -> int:
    from services.console.processes import config

    return config()


def _backtest(options: argparse.Namespace) -> int:
    from services.console.backtest import backtest

    return backtest(options)


if __name__ == "__main__":
    sys.exit(main())
