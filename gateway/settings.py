"""The edge's settings."""

from __future__ import annotations

from typing import ClassVar

from pydantic import Field

from services.chassis import catalog
from services.chassis.settings import Address, ServiceSettings


class EdgeSettings(ServiceSettings):
    """What the edge may be told: where it listens, beside where the services do."""

    service: ClassVar[str] = "edge"

    edge_address: Address = f"127.0.0.1:{catalog.EDGE_PORT}"
    edge_admin_address: Address = f"127.0.0.1:{catalog.EDGE_ADMIN_PORT}"
    edge_timeout_seconds: float = Field(
        default=30.0, gt=0, description="Longest wait for the answer of a call that is no stream."
    )
    edge_cors_origins: str = Field(
        default=r"https?://(localhost|127\.0\.0\.1|\[::1\])(:[0-9]+)?",
        description="Regular expression (RE2) of the web origins that may call from a browser.",
    )
