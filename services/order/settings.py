"""What the order service may be told."""

from __future__ import annotations

from typing import ClassVar

from pydantic import Field

from services.chassis.settings import ServiceSettings


class Settings(ServiceSettings):
    """`TICKMESH_ORDER_…`, beside what every service has."""

    service: ClassVar[str] = "order"

    order_risk_deadline_ms: int = Field(
        default=2000, ge=50, description="Longest wait for risk's verdict; then RISK_UNAVAILABLE."
    )
    order_batch_size: int = Field(default=256, ge=1, le=1024, description="Most orders in one check and one commit.")
