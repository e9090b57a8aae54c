"""The form of what is stored for ever. Every stored event says its own, so that old logs are read for what they are.

A new form gets the next number here and in its log under `tests/data`, and its reader keeps reading the old ones.
"""

from __future__ import annotations

from typing import Final

# 2: all types, times in force and instructions, REPLACED, and the order's place in the queue.
ORDER_EVENT: Final = 2
LEDGER_ENTRY: Final = 1
SIGNAL: Final = 1
# 2: what happened at the gate beside changes of limits and kill switches, whose scopes and bounds before are told.
# 3: figures beyond their bounds, and portfolios whose orders were turned away at the door.
RISK_EVENT: Final = 3


class UnknownVersion(ValueError):
    """It was stored by a newer release. To read it as what it is not would be worse than not to go on."""


def check_version(version: int, newest: int, what: str) -> None:
    """Refuses a form that came after this release.

    Raises:
        UnknownVersion: so it is.
    """
    if version > newest:
        raise UnknownVersion(f"{what} has version {version}; this release reads up to {newest}")
