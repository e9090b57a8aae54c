"""What each subcommand does. What it needs is imported when it is chosen, so that the others start fast."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from typing import Final


def _up(options: argparse.Namespace) -> int:
    from services.console.up import up

    return up(plain=options.plain, detach=options.detach)


def _down(_: argparse.Namespace) -> int:
    from services.console.up import down

    return down()


def _status(_: argparse.Namespace) -> int:
    from services.console.screen.status import status

    return status()


def _logs(options: argparse.Namespace) -> int:
    from services.console.processes.processes import logs

    return logs(options.service, options.lines, follow=options.follow)


def _run(options: argparse.Namespace) -> int:
    from services.console.processes.processes import run

    return run(options.service)


def _config(_: argparse.Namespace) -> int:
    from services.console.processes.processes import config

    return config()


def _backtest(options: argparse.Namespace) -> int:
    from services.console.trial.backtest import backtest

    return backtest(options)


def _explain(options: argparse.Namespace) -> int:
    from services.console.story.explain import explain

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
