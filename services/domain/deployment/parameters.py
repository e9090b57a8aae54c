"""Typed, documented parameters: a frozen dataclass whose fields say what they mean and how far they go.

    @dataclass(frozen=True)
    class Parameters:
        window: int = parameter(20, "Bars in the average.", minimum=2)

``parameters_from`` makes one out of what a user wrote as text or numbers, and says what is wrong with it.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from decimal import Decimal, InvalidOperation
from typing import Any, TypeVar, get_type_hints

P = TypeVar("P")
TYPES: dict[type, str] = {int: "integer", float: "number", Decimal: "decimal", bool: "boolean", str: "string"}
"""What a parameter may be, and what the contract calls it."""


class BadParameter(ValueError):
    """A value that a parameter does not take. ``parameter`` names it; empty where a combination is wrong."""

    def __init__(self, parameter: str, problem: str) -> None:
        super().__init__(f"{parameter}: {problem}" if parameter else problem)
        self.parameter = parameter
        self.problem = problem


@dataclass(frozen=True, slots=True)
class ParameterSpec:
    """One parameter as clients see it. ``type`` is a value of ``TYPES``; bounds are inclusive."""

    name: str
    type: str
    default: Any
    description: str
    minimum: Any = None
    maximum: Any = None
    choices: tuple[str, ...] = ()


def parameter(
    default: Any, description: str, *, minimum: Any = None, maximum: Any = None, choices: tuple[str, ...] = ()
) -> Any:
    """A dataclass field with its meaning and inclusive bounds."""
    bounds = {"description": description, "minimum": minimum, "maximum": maximum, "choices": choices}
    return field(default=default, metadata=bounds)


def parameter_specs(parameters: type[Any]) -> tuple[ParameterSpec, ...]:
    """What the dataclass ``parameters`` takes, in its fields' order.

    Raises:
        TypeError: a field has no default or a type that is none of ``TYPES``.
    """
    hints = get_type_hints(parameters)
    specs = []
    for item in fields(parameters):
        if hints[item.name] not in TYPES or not isinstance(item.default, hints[item.name]):
            raise TypeError(
                f"{parameters.__qualname__}.{item.name} needs a type of {sorted(TYPES.values())} and a default of it"
            )
        specs.append(
            ParameterSpec(
                name=item.name,
                type=TYPES[hints[item.name]],
                default=item.default,
                description=item.metadata.get("description", ""),
                minimum=item.metadata.get("minimum"),
                maximum=item.metadata.get("maximum"),
                choices=item.metadata.get("choices", ()),
            )
        )
    return tuple(specs)


def parameters_from(parameters: type[P], values: Mapping[str, object]) -> P:
    """``parameters`` filled from ``values`` (text, numbers or booleans), defaults elsewhere.

    Raises:
        BadParameter: an unknown name, a value of another type or out of bounds, or a combination the dataclass refuses.
    """
    specs = {spec.name: spec for spec in parameter_specs(parameters)}
    for name in values:
        if name not in specs:
            raise BadParameter(name, f"unknown; there are {', '.join(specs) or 'none'}")
    read = {name: _bounded(specs[name], _read(specs[name], value)) for name, value in values.items()}
    try:
        return parameters(**read)
    except BadParameter:
        raise
    except ValueError as error:
        raise BadParameter("", str(error)) from error


def _read(spec: ParameterSpec, value: object) -> Any:
    text = str(value).strip()
    problem = BadParameter(spec.name, f"{text[:40]!r} is no {spec.type}")
    if isinstance(value, bool) and spec.type != "boolean":
        raise problem
    try:
        match spec.type:
            case "integer":
                return int(value) if isinstance(value, float) and value.is_integer() else int(text)
            case "number":
                return _finite(float(text), problem)
            case "decimal":
                return _finite(Decimal(text), problem)
            case "boolean":
                return {"true": True, "false": False}[text.lower()]
            case _:
                return text
    except (ValueError, InvalidOperation, KeyError):
        raise problem from None


def _finite(value: Any, problem: BadParameter) -> Any:
    if not Decimal(value).is_finite():
        raise problem
    return value


def _bounded(spec: ParameterSpec, value: Any) -> Any:
    if spec.minimum is not None and value < spec.minimum:
        raise BadParameter(spec.name, f"{value} is below its minimum {spec.minimum}")
    if spec.maximum is not None and value > spec.maximum:
        raise BadParameter(spec.name, f"{value} is above its maximum {spec.maximum}")
    if spec.choices and value not in spec.choices:
        raise BadParameter(spec.name, f"{value!r} is none of {', '.join(spec.choices)}")
    return value
