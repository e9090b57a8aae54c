"""What the market-data service may be told."""

from __future__ import annotations

from pathlib import Path
from typing import ClassVar

from pydantic import Field

from services.chassis.settings import ServiceSettings


class Settings(ServiceSettings):
    """Settings of the market-data service, from `TICKMESH_…`."""

    service: ClassVar[str] = "marketdata"

    marketdata_data_sets_directory: Path | None = Field(
        default=None, description="A folder of CSV data sets; `data-sets` in the data directory when unset."
    )
    marketdata_grant_records: int = Field(
        default=8192, ge=1, description="Records a cycle may pass at most, so that public streams flow at full speed."
    )
    marketdata_slow_consumer_records: int = Field(
        default=1_000_000, ge=1, description="How many records a live subscriber may fall behind before it is reset."
    )
    marketdata_silence_seconds: float = Field(
        default=10.0,
        ge=0.1,
        description="How long a participant may leave a replay waiting before `blocked_on` names it.",
    )

    @property
    def tapes_directory(self) -> Path:
        """Where tapes are kept, by digest."""
        return self.data_directory / "tapes"

    @property
    def data_sets_directory(self) -> Path:
        """Where CSV data sets lie."""
        return self.marketdata_data_sets_directory or self.data_directory / "data-sets"
