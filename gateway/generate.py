"""Writes what the gateway derives from the contract, or checks that it is fresh.

`filter/contract.lua` holds the REST bindings and the fields of what they take; `envoy.yaml` is the configuration with
every default, to be started from the repository's folder.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator

from google.protobuf.descriptor_pb2 import DescriptorProto, FieldDescriptorProto

from gateway.contract import Contract
from gateway.render import GATEWAY, render
from gateway.settings import EdgeSettings
from services.chassis import catalog

_HEADER = "-- Generated from the protos by `make gen`; what the filter looks up.\n"
_DEFAULTS = "# Generated from envoy.template.yaml by `make gen`: the edge with every default.\n"


def main() -> int:
    """Writes the files; with `--check` only names those that are stale and returns 1."""
    parser = argparse.ArgumentParser(prog="python -m gateway.generate", description=__doc__)
    parser.add_argument("--check", action="store_true", help="name what is stale, change nothing")
    check = parser.parse_args().check
    stale = [name for name, text in files().items() if not _same(name, text)]
    if check and stale:
        sys.stderr.write("".join(["stale, run `make gen`:\n", *(f"  gateway/{name}\n" for name in stale)]))
        return 1
    for name in stale:
        (GATEWAY / name).write_text(files()[name])
    return 0


def files() -> dict[str, str]:
    """The generated files by name."""
    # Built from the defaults alone: whoever generates may have TICKMESH_… set.
    defaults = EdgeSettings.model_construct()
    return {"filter/contract.lua": lua(Contract.load()), "envoy.yaml": _DEFAULTS + render(defaults, root=".")}


def lua(contract: Contract) -> str:
    """The table of bindings and messages as a Lua module."""
    bindings = list(_bindings(contract))
    requests = [method.request for method in contract.methods if method.bindings and method.service in catalog.PUBLIC]
    messages: dict[str, dict[str, str]] = {}
    for name in requests:
        _collect(contract, name, messages)
    lines = [_HEADER, "return {", "  bindings = {", *bindings, "  },", "  messages = {"]
    for name, fields in messages.items():
        lines.append(f'    ["{_short(name)}"] = {{')
        lines += [f"      {field} = {kind}," for field, kind in fields.items()]
        lines.append("    },")
    return "\n".join([*lines, "  },", "}", ""])


def _same(name: str, text: str) -> bool:
    path = GATEWAY / name
    return path.is_file() and path.read_text() == text


def _bindings(contract: Contract) -> Iterator[str]:
    for method in contract.methods:
        if method.service not in catalog.PUBLIC:
            continue
        for binding in method.bindings:
            if binding.body not in {"", "*"}:
                raise ValueError(f"{binding.path}: a body of one field ({binding.body}) is not provided for")
            body, request = str(binding.body == "*").lower(), _short(method.request)
            yield f'    {{ verb = "{binding.verb}", path = "{binding.path}", body = {body}, request = "{request}" }},'


def _collect(contract: Contract, name: str, messages: dict[str, dict[str, str]], above: tuple[str, ...] = ()) -> None:
    """Adds a message and those in it: each field's message, `map`, or nothing for a value without names inside.

    `[]` goes before that of a list.
    """
    if name in messages:
        return
    fields = messages[name] = {}
    for field in contract.messages[name].field:
        inner, list_of = field.type_name.removeprefix("."), "[]" * (field.label == FieldDescriptorProto.LABEL_REPEATED)
        if field.type != FieldDescriptorProto.TYPE_MESSAGE or not inner.startswith("tickmesh."):
            fields[field.name] = f'"{list_of}"'  # A scalar, or a type with a JSON form of its own: a time, a duration.
            continue
        entry: DescriptorProto = contract.messages[inner]
        if entry.options.map_entry:
            if entry.field[1].type == FieldDescriptorProto.TYPE_MESSAGE:
                raise ValueError(f"{name}.{field.name}: a map of messages is not provided for")
            fields[field.name] = '"map"'
            continue
        if inner in (*above, name):
            raise ValueError(f"{name}.{field.name}: the filter would follow a message that holds itself without end")
        fields[field.name] = f'"{list_of}{_short(inner)}"'
        _collect(contract, inner, messages, (*above, name))


def _short(name: str) -> str:
    return name.removeprefix("tickmesh.")


if __name__ == "__main__":
    sys.exit(main())
