"""What the portfolio service may be told."""

from __future__ import annotations

from typing import ClassVar

from services.chassis.settings import ServiceSettings


class Settings(ServiceSettings):
    """Nothing of its own: an address, a database and the peers' addresses are all it needs."""

    service: ClassVar[str] = "portfolio"
