"""Finds the kinds of strategy there are: built-in, of installed packages, and in users' own files.

A package names its classes as entry points of the group `tickmesh.strategies`; a file may hold any number of classes.
What cannot be loaded is logged and left out: somebody's broken file must not stop anybody's trading.
"""

from __future__ import annotations

import hashlib
import importlib.util
import inspect
import logging
import os
import re
import sys
from collections.abc import Iterator, Mapping, Sequence
from decimal import Decimal
from importlib.metadata import EntryPoint, entry_points
from pathlib import Path
from types import ModuleType
from typing import Any, Final, NamedTuple

from services.domain.deployment.parameters import BadParameter, parameter_specs, parameters_from
from services.domain.money import NotADecimal, parse_decimal
from services.domain.strategies import BUILT_IN
from services.domain.strategy import Registry, Strategy, StrategyKind

GROUP: Final = "tickmesh.strategies"
BUILT_IN_ORIGIN: Final = "built-in"
_NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._~-]{0,63}")

_log = logging.getLogger(__name__)


class Kind(NamedTuple):
    """A kind, and where its code is from: `built-in`, a package's name or a file's."""

    kind: StrategyKind
    origin: str


class Kinds:
    """The kinds of strategy there are, by name."""

    def __init__(self) -> None:
        self._registry = Registry()
        self._classes: dict[str, type[Strategy]] = {}
        self._origins: dict[str, str] = {}

    def __contains__(self, kind: str) -> bool:
        return kind in self._classes

    def all(self) -> list[Kind]:
        """All kinds by name."""
        return [Kind(kind, self._origins[kind.kind]) for kind in self._registry.kinds()]

    def parameters(self, kind: str, values: Mapping[str, str]) -> dict[str, str]:
        """All parameters of a kind as text, defaults filled in.

        Raises:
            KeyError: there is no such kind.
            BadParameter: an unknown name, or a value that the parameter does not take.
        """
        cls = self._classes[kind]
        for spec in parameter_specs(cls.Parameters):
            if spec.type == "decimal" and spec.name in values:
                _require_plain(spec.name, values[spec.name])
        made = parameters_from(cls.Parameters, values)
        return {spec.name: parameter_text(getattr(made, spec.name)) for spec in parameter_specs(cls.Parameters)}

    def create(self, kind: str, parameters: Mapping[str, object], symbols: Sequence[str]) -> Strategy:
        """A new strategy.

        Raises:
            KeyError: there is no such kind.
            BadParameter: an unknown name, or a value that the parameter does not take.
        """
        return self._registry.create(kind, parameters, symbols)

    def add(self, strategy: type[Strategy], origin: str) -> None:
        """Takes a class in; one that cannot be is logged and left out."""
        kind = getattr(strategy, "kind", "")
        try:
            if not isinstance(kind, str) or _NAME.fullmatch(kind) is None:
                raise ValueError(f"{strategy.__qualname__}.kind is no name of a kind: {kind!r}")
            self._registry.add(strategy)
        except (TypeError, ValueError, NameError) as error:
            _log.error("a strategy was refused", extra={"origin": origin, "kind": str(kind), "error": str(error)})
            return
        self._classes[kind], self._origins[kind] = strategy, self._origins.get(kind, origin)


def discover(path: str = "") -> Kinds:
    """All kinds: the first to claim a name has it, in the order built-in, packages, files.

    Args:
        path: files and folders, separated as in `PATH`; of a folder every `*.py` that does not begin with `_`.
    """
    kinds = Kinds()
    for built_in in BUILT_IN:
        kinds.add(built_in, BUILT_IN_ORIGIN)
    for point in sorted(entry_points(group=GROUP), key=lambda each: (each.value, each.name)):
        for strategy in _of_package(point):
            kinds.add(strategy, point.dist.name if point.dist is not None else point.value)
    for file in _files(path):
        for strategy in _of_file(file):
            kinds.add(strategy, file.name)
    return kinds


def parameter_text(value: object) -> str:
    """A parameter's value as the contract writes it."""
    if isinstance(value, bool):
        return "true" if value else "false"
    return format(value, "f") if isinstance(value, Decimal) else str(value)


def _require_plain(name: str, text: str) -> None:
    """Refuses exponents: `1e999999999` is a finite decimal of a gigabyte."""
    try:
        parse_decimal(text.strip())
    except NotADecimal as error:
        raise BadParameter(name, str(error)) from None


def _of_package(point: EntryPoint) -> list[type[Strategy]]:
    try:
        found = point.load()
    except (Exception, SystemExit):  # noqa: BLE001 it is somebody else's code
        _log.exception(
            "a package's strategies cannot be loaded", extra={"entry_point": f"{point.name} = {point.value}"}
        )
        return []
    if isinstance(found, ModuleType):
        return _classes_of(found)
    if inspect.isclass(found) and issubclass(found, Strategy):
        return [found]
    _log.error("an entry point is no strategy", extra={"entry_point": f"{point.name} = {point.value}"})
    return []


def _files(path: str) -> Iterator[Path]:
    for part in filter(None, path.split(os.pathsep)):
        place = Path(part).expanduser()
        if place.is_dir():
            yield from sorted(file for file in place.glob("*.py") if not file.name.startswith("_"))
        elif place.is_file():
            yield place
        else:
            _log.error("there are no strategies here", extra={"path": str(place)})


def _of_file(file: Path) -> list[type[Strategy]]:
    # Two files of one name in two folders are two modules.
    name = f"tickmesh_strategy_{file.stem}_{hashlib.blake2s(str(file.absolute()).encode(), digest_size=4).hexdigest()}"
    try:
        module = _load(name, file)
    except (Exception, SystemExit):  # noqa: BLE001 it is somebody else's code
        sys.modules.pop(name, None)
        _log.exception("a strategy file cannot be loaded", extra={"path": str(file)})
        return []
    found = _classes_of(module)
    if not found:
        _log.warning("a strategy file holds no strategy", extra={"path": str(file)})
    return found


def _load(name: str, file: Path) -> ModuleType:
    spec = importlib.util.spec_from_file_location(name, file)
    if spec is None or spec.loader is None:
        raise ImportError(f"{file} is no Python file")
    module = importlib.util.module_from_spec(spec)
    # Dataclasses look their module up by name.
    sys.modules[name] = module
    spec.loader.exec_module(module)
    return module


def _classes_of(module: ModuleType) -> list[type[Strategy]]:
    """The strategies that a module itself defines, in its order; an abstract base of others is none."""
    classes: list[Any] = [each for each in vars(module).values() if inspect.isclass(each)]
    return [
        each
        for each in dict.fromkeys(classes)
        if issubclass(each, Strategy) and each.__module__ == module.__name__ and not inspect.isabstract(each)
    ]
