"""What the console may be told."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import ClassVar, NamedTuple

from pydantic_settings import BaseSettings

from gateway.settings import EdgeSettings
from services.chassis.settings import PREFIX, ServiceSettings, load

_PASSWORD = re.compile(r"(?<=//)([^/@:]*):([^/@]*)@")
_SECRET_NAME = re.compile(r"password|secret|token|api_key")
MASK = "***"


class ConsoleSettings(EdgeSettings):
    """Where everything is; the console has no settings of its own."""

    service: ClassVar[str] = "console"


class Effective(NamedTuple):
    """One setting in effect: its variable, its value as text, whether the environment set it, what it is for."""

    variable: str
    value: str
    given: bool
    description: str


def effective() -> Iterator[tuple[str, list[Effective]]]:
    """Every setting, secrets masked: those that all services share first, then each one's own."""
    from services.marketdata.settings import Settings as MarketdataSettings
    from services.order.settings import Settings as OrderSettings
    from services.portfolio.settings import Settings as PortfolioSettings
    from services.risk.settings import Settings as RiskSettings
    from services.strategy.settings import Settings as StrategySettings

    shared = set(ServiceSettings.model_fields)
    yield "every service", _listed(load(ConsoleSettings), shared)
    own = (MarketdataSettings, StrategySettings, OrderSettings, RiskSettings, PortfolioSettings, EdgeSettings)
    for each in own:
        settings = load(each)
        listed = _listed(settings, set(each.model_fields) - shared)
        if listed:
            yield each.service or "edge", listed


def _listed(settings: BaseSettings, names: set[str]) -> list[Effective]:
    fields = type(settings).model_fields
    return [
        Effective(
            f"{PREFIX}{name}".upper(),
            masked(name, getattr(settings, name)),
            name in settings.model_fields_set,
            field.description or "",
        )
        for name, field in fields.items()
        if name in names
    ]


def masked(name: str, value: object) -> str:
    """A setting's value as it may be shown."""
    if value is None:
        return ""
    text = str(value)
    if text and _SECRET_NAME.search(name):
        return MASK
    return _PASSWORD.sub(lambda found: f"{found[1]}:{MASK}@", text)
