"""What the console may be told."""

from __future__ import annotations

import difflib
import os
import re
from collections.abc import Iterator, Mapping
from typing import Any, ClassVar, NamedTuple

from pydantic_settings import BaseSettings

from gateway.settings import EdgeSettings
from services.chassis.settings import NO_SETTINGS, PREFIX, ServiceSettings, load

_PASSWORD = re.compile(r"(?<=//)([^/@:]*):([^/@]*)@")
_SECRET_NAME = re.compile(r"password|secret|token|api_key")
MASK = "***"


class ConsoleSettings(EdgeSettings):
    """Where everything is; the console has no settings of its own."""

    service: ClassVar[str] = "console"


class Effective(NamedTuple):
    """One setting in effect: its variable, its value as text, whether the environment set it, what it is for.

    Attributes:
        owner: the class of settings whose field it is.
    """

    variable: str
    value: str
    given: bool
    description: str
    owner: Any

    @property
    def name(self) -> str:
        """The field's."""
        return self.variable.removeprefix(PREFIX).lower()

    def read(self, text: str) -> object:
        """What a variable's text comes to; where it says nothing the default, as far as that follows from no other."""
        if not text:
            return self.owner.model_fields[self.name].default
        return getattr(self.owner(**{self.name: text}), self.name)


class Difference(NamedTuple):
    """A setting that is another one elsewhere: its variable, both values as text, and whether it was set here."""

    variable: str
    here: str
    there: str
    given: bool


def effective() -> Iterator[tuple[str, list[Effective]]]:
    """Every setting, secrets masked: those that all services share first, then each one's own."""
    from services.marketdata.settings import Settings as MarketdataSettings
    from services.order.settings import Settings as OrderSettings
    from services.portfolio.settings import Settings as PortfolioSettings
    from services.risk.settings import Settings as RiskSettings
    from services.strategy.settings import Settings as StrategySettings

    shared = set(ServiceSettings.model_fields)
    own = [
        load(each) for each in (MarketdataSettings, StrategySettings, OrderSettings, RiskSettings, PortfolioSettings)
    ]
    derived = {f"{each.service}_database_url": each.database_url for each in own}
    yield "every service", _listed(load(ConsoleSettings), shared, derived)
    for settings in (*own, load(EdgeSettings)):
        listed = _listed(settings, set(type(settings).model_fields) - shared, {})
        if listed:
            yield settings.service, listed


def unknown(environment: Mapping[str, str]) -> Iterator[tuple[str, str]]:
    """Variables that look like settings and are read by nobody, each with the setting that it resembles, if any."""
    known = [each.variable for _, listed in effective() for each in listed]
    for variable in sorted(environment):
        name = variable.upper()
        if name.startswith(PREFIX) and name not in known and name not in NO_SETTINGS:
            yield variable, next(iter(difflib.get_close_matches(name, known, n=1, cutoff=0.8)), "")


def differing(environment: Mapping[str, str]) -> Iterator[Difference]:
    """The settings that are others in another process's environment, secrets masked; not where its data are."""
    own, theirs = ({name.upper(): value for name, value in each.items()} for each in (os.environ, environment))
    for each in (each for _, listed in effective() for each in listed if each.variable != f"{PREFIX}DATA_DIRECTORY"):
        here, there = (each.read(variables.get(each.variable, "")) for variables in (own, theirs))
        if here != there:
            yield Difference(each.variable, masked(each.name, here), masked(each.name, there), each.given)


def _listed(settings: BaseSettings, names: set[str], derived: Mapping[str, str]) -> list[Effective]:
    fields = type(settings).model_fields
    return [
        Effective(
            f"{PREFIX}{name}".upper(),
            masked(name, derived.get(name) or getattr(settings, name)),
            name in settings.model_fields_set,
            field.description or "",
            type(settings),
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
