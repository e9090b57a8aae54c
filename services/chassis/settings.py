"""Settings from the environment, one frozen class a service, every name beginning with `TICKMESH_`."""

from __future__ import annotations

import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Annotated, ClassVar, Literal, TypeVar

from pydantic import Field, StringConstraints, ValidationError, field_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

from services.chassis import catalog
from services.chassis.telemetry.setup import configure

PREFIX = "TICKMESH_"
EXIT_BAD_SETTINGS = 2
# Read before there are settings, and by tests alone; see failpoints.py.
NO_SETTINGS = frozenset({"TICKMESH_FAILPOINTS"})

Address = Annotated[
    str, StringConstraints(pattern=r"^(dns:///)?[^\s:/]+:[0-9]{1,5}$|^\[[0-9a-fA-F:]+\]:[0-9]{1,5}$|^unix:\S+$")
]


class ServiceSettings(BaseSettings):
    """What every service may be told.

    A service subclasses it, names itself in `service`, and prefixes its own fields with its name
    (`order_check_deadline_ms` is read from `TICKMESH_ORDER_CHECK_DEADLINE_MS`).
    An address is both where a service listens and where its peers dial it.
    """

    model_config = SettingsConfigDict(env_prefix=PREFIX, frozen=True, extra="ignore", env_ignore_empty=True)

    service: ClassVar[str] = ""

    data_directory: Path = Path(".tickmesh")
    marketdata_address: Address = catalog.MARKETDATA.default_address
    strategy_address: Address = catalog.STRATEGY.default_address
    order_address: Address = catalog.ORDER.default_address
    risk_address: Address = catalog.RISK.default_address
    portfolio_address: Address = catalog.PORTFOLIO.default_address
    marketdata_database_url: str | None = None
    strategy_database_url: str | None = None
    order_database_url: str | None = None
    risk_database_url: str | None = None
    portfolio_database_url: str | None = None

    redis_url: str | None = Field(default=None, description="For latest values; in process when unset.")
    otlp_endpoint: str | None = Field(default=None, description="OTLP/gRPC, as in http://127.0.0.1:4317.")
    trace_sample_ratio: float = Field(default=1.0, ge=0.0, le=1.0, description="Share of new traces exported.")
    log_level: Literal["DEBUG", "INFO", "WARNING", "ERROR"] = "INFO"
    call_deadline_seconds: float = Field(default=5.0, gt=0, description="Longest wait for another service.")
    # The contract's clients take 15 s of silence as an end, and a busy loop or network may add to this.
    heartbeat_seconds: float = Field(default=10.0, gt=0, le=14.0, description="Longest silence on a stream.")
    drain_seconds: float = Field(default=5.0, ge=0, description="How long running calls may go on after SIGTERM.")

    @field_validator("log_level", mode="before")
    @classmethod
    def _upper(cls, value: object) -> object:
        return value.upper() if isinstance(value, str) else value

    @property
    def address(self) -> str:
        """Where this service listens."""
        return self.peer(self.service)

    def peer(self, service: str) -> str:
        """Where another service is dialled."""
        return str(getattr(self, f"{service}_address"))

    @property
    def database_url(self) -> str:
        """This service's own database; a SQLite file in the data directory unless set."""
        url: str | None = getattr(self, f"{self.service}_database_url")
        if url:
            return url
        return f"sqlite:///{(self.data_directory / f'{self.service}.db').absolute()}"


S = TypeVar("S", bound=ServiceSettings)


def load(settings: type[S]) -> S:
    """Reads settings from the environment; on a bad one says which and why, and exits with code 2."""
    try:
        return settings()
    except ValidationError as error:
        for problem in error.errors():
            name = PREFIX + "_".join(str(part) for part in problem["loc"]).upper()
            sys.stderr.write(f"{name}: {problem['msg']} (got {problem['input']!r})\n")
        raise SystemExit(EXIT_BAD_SETTINGS) from None


def begin(settings: type[S]) -> S:
    """Reads a process's settings, as `load` does, and sets up its logs and traces by them; call it first."""
    made = load(settings)
    configure(made.service, otlp_endpoint=made.otlp_endpoint, ratio=made.trace_sample_ratio, log_level=made.log_level)
    return made


def unknown(settings: ServiceSettings, variables: Iterable[str]) -> list[str]:
    """Variables that look like settings of this service, or of all, and are none: a misspelt one does nothing.

    What begins with another's name is that one's own, and that one tells of it.
    """
    known = NO_SETTINGS | {f"{PREFIX}{name}".upper() for name in type(settings).model_fields}
    rooms = {*catalog.SERVICES, catalog.EDGE} - {settings.service}
    elsewhere = tuple(f"{PREFIX}{name}_".upper() for name in rooms)
    spelt = {variable: variable.upper() for variable in variables}
    mine = (variable for variable, name in spelt.items() if name.startswith(PREFIX) and not name.startswith(elsewhere))
    return sorted(variable for variable in mine if spelt[variable] not in known)
