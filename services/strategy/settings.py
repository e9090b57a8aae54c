"""The strategy service's settings."""

from typing import ClassVar

from pydantic import Field

from services.chassis.settings import ServiceSettings


class Settings(ServiceSettings):
    """What the strategy service may be told."""

    service: ClassVar[str] = "strategy"

    strategy_path: str = Field(default="", description="Files and folders of users' strategies, separated as in PATH.")
    strategy_scanning: bool = Field(default=True, description="Skip records that a strategy says it would not act on.")
    strategy_welcome_seconds: float = Field(default=2.0, ge=0, description="Longest wait for a new deployment's place.")
