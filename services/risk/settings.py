"""What the risk service may be told, beyond what every service may."""

from typing import ClassVar

from pydantic import Field

from services.chassis.settings import ServiceSettings


class Settings(ServiceSettings):
    """Settings of the risk service."""

    service: ClassVar[str] = "risk"

    risk_check_patience_ms: int = Field(
        default=400,
        gt=0,
        description="How long a batch waits for the events it names: less long than its caller does.",
    )
    risk_warning_share: float = Field(
        default=0.8, gt=0, le=1, description="Of a bound: a figure beyond it is told of as near its breach."
    )
    risk_store_interval_ms: int = Field(
        default=250, gt=0, description="How often what was folded is stored; a restart folds the rest again."
    )
