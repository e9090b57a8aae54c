"""The `tickmesh` command. What a subcommand needs is imported when it is chosen, so that the others start fast."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Sequence
from typing import Final

from services.console.arguments import parser
from services.console.layout import Trouble

INTERRUPTED: Final = 130


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs one command; its exit code."""
    options = parser().parse_args(arguments)
    try:
        return COMMANDS[options.command](options)
    except Trouble as trouble:
        sys.stderr.write(f"{trouble}\n")
        return 1
    except BrokenPipeError:
        # Whoever read us (head, less) has seen enough.
        sys.stderr.close()
        return 0
    except KeyboardInterrupt:
        return INTERRUPTED


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


def _explain(options: argparse.Namespace) -> int:
    from services.console.explain import explain

    return explain(options.order_id)


COMMANDS: Final[dict[str, Callable[[argparse.Namespace], int]]] = {
    "up": _up,
    "down": _down,
    "status": _status,
    "logs": _logs,
    "run": _run,
    "config": _config,
    "backtest": _backtest,
    "explain": _explain,
}


if __name__ == "__main__":
    sys.exit(main())
