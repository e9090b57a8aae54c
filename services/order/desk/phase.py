"""When commands are served: what the coordinator last said (rules 32 and 33)."""

from __future__ import annotations

from enum import Enum
from typing import Final


class Phase(Enum):
    """What the coordinator last said."""

    AWAY = "away"
    """Nothing since we lost it, or since we started."""
    IDLE = "idle"
    """Time stands still between two cycles."""
    GRANTED = "granted"
    """The venue is to run, after the commands that waited for this."""
    IN_CYCLE = "in_cycle"
    """The venue has run; books and strategies follow."""
    BLOCKED = "blocked"
    """Time stands still because somebody is missing."""
    ENDED = "ended"
    """The tape has ended."""


OTHERS_TURN: Final = frozenset({Phase.GRANTED, Phase.IN_CYCLE})
"""Phases in which orders from outside wait."""
