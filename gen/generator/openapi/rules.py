"""protovalidate rules as JSON Schema keywords."""

import ast
import re
from typing import Any

from gen.generator.openapi.contract import Contract, Json

_STRING = {
    "const": "const",
    "in": "enum",
    "max_len": "maxLength",
    "min_len": "minLength",
    "pattern": "pattern",
}
_NUMBER = {
    "const": "const",
    "gt": "exclusiveMinimum",
    "gte": "minimum",
    "in": "enum",
    "lt": "exclusiveMaximum",
    "lte": "maximum",
}
_FORMATS = ("email", "hostname", "ipv4", "ipv6", "uri", "uuid")
_WIDE = ("int64", "sint64", "sfixed64", "uint64", "fixed64")
_NARROW = ("int32", "sint32", "sfixed32", "uint32", "fixed32", "float", "double")
# `'limit_price: must be …'`: such words name their field first.
_ANSWERS = re.compile(r"'([a-z_]+: [^']*)'")
_MATCHES = re.compile(r"this\.matches\((r?'(?:[^'\\]|\\.)*'|r?\"(?:[^\"\\]|\\.)*\")\)")


def keywords(contract: Contract, rules: Json) -> Json:
    """The keywords for one value, from its `buf.validate.field` rules (or those of a list's items).

    Rules that JSON Schema cannot say are told in `description`.
    """
    found: Json = {}
    told = _words(rules)
    for kind, of_kind in rules.items():
        if kind == "string":
            found |= _string(of_kind)
            predefined, messages = _predefined(contract, of_kind)
            found |= predefined
            told += messages
        elif kind in _NARROW:
            found |= _rename(of_kind, _NUMBER)
        elif kind in _WIDE:
            # These are strings in JSON, where no keyword bounds a value.
            told += [f"{_SIGNS[name]} {bound}" for name, bound in of_kind.items() if name in _SIGNS]
        elif kind == "bool" and "const" in of_kind:
            found["const"] = of_kind["const"]
        elif kind == "repeated":
            found |= _rename(of_kind, {"min_items": "minItems", "max_items": "maxItems", "unique": "uniqueItems"})
        elif kind == "map":
            found |= _rename(of_kind, {"min_pairs": "minProperties", "max_pairs": "maxProperties"})
    if rules.get("ignore") == "IGNORE_IF_ZERO_VALUE":
        found = _or_zero(found)
    if told:
        text = "; ".join(told)
        found["description"] = f"{text[0].upper()}{text[1:]}."
    return found


_SIGNS = {"gt": "above", "gte": "at least", "lt": "below", "lte": "at most"}


def message_rules(options: Json) -> list[str]:
    """What a message's rules over several fields say, for people."""
    rules = options.get("[buf.validate.message]", {})
    told = _words(rules)
    for oneof in rules.get("oneof", ()):
        count = "exactly one" if oneof.get("required") else "at most one"
        told.append(f"{count} of {', '.join(f'`{name}`' for name in oneof['fields'])}")
    return told


def _words(rules: Json) -> list[str]:
    """What CEL rules answer: each one's message, or all that its expression may."""
    return [
        words
        for rule in rules.get("cel", ())
        for words in ([rule["message"]] if rule.get("message") else _ANSWERS.findall(rule["expression"]))
    ]


def _string(rules: Json) -> Json:
    found = _rename(rules, _STRING)
    if "len" in rules:
        found |= {"minLength": int(rules["len"]), "maxLength": int(rules["len"])}
    if "not_in" in rules:
        found["not"] = {"enum": rules["not_in"]}
    for name in _FORMATS:
        if rules.get(name):
            found["format"] = name
    return found


def _rename(rules: Json, names: dict[str, str]) -> Json:
    return {names[name]: _number(value) for name, value in rules.items() if name in names}


def _number(value: Any) -> Any:
    # Lengths and counts are uint64 in the rules, hence strings in their JSON.
    return int(value) if isinstance(value, str) and value.isdecimal() else value


def _predefined(contract: Contract, rules: Json) -> tuple[Json, list[str]]:
    """Rules of our own: a CEL expression that only matches patterns becomes those, any other its message."""
    patterns: list[str] = []
    told: list[str] = []
    for name, value in rules.items():
        if not name.startswith("[") or value is False:
            continue
        options = contract.options(contract.pool.FindExtensionByName(name.strip("[]")))
        for rule in options["[buf.validate.predefined]"].get("cel", ()):
            found = _patterns(rule["expression"])
            patterns += found
            if not found:
                told.append(rule["message"])
    if len(patterns) > 1:
        return {"allOf": [{"pattern": pattern} for pattern in patterns]}, told
    return ({"pattern": patterns[0]} if patterns else {}), told


def _patterns(expression: str) -> list[str]:
    """The patterns that all must match, or none when the expression says more than that."""
    rest = _MATCHES.sub("", expression.strip().removeprefix("!rule ||"))
    if rest.strip("() ").replace("&&", "").strip():
        return []
    return [str(ast.literal_eval(literal)) for literal in _MATCHES.findall(expression)]


def _or_zero(found: Json) -> Json:
    """Loosens keywords so that the zero value, which the rules ignore, passes too."""
    loose = {name: value for name, value in found.items() if name not in ("minLength", "minItems", "minProperties")}
    for name in ("minimum", "exclusiveMinimum"):
        if loose.get(name, -1) >= 0:
            loose["minimum"] = 0
            loose.pop("exclusiveMinimum", None)
    if "pattern" in loose:
        loose["pattern"] = f"^$|{loose['pattern']}"
    if "allOf" in loose:
        loose["allOf"] = [{"pattern": f"^$|{each['pattern']}"} for each in loose["allOf"]]
    return loose
