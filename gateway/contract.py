"""The contract as the edge needs it: RPCs, their HTTP bindings and the fields of what they take."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from google.api import annotations_pb2
from google.protobuf.descriptor_pb2 import DescriptorProto, FileDescriptorSet, MethodDescriptorProto

ROOT: Final = Path(__file__).resolve().parents[1]
DESCRIPTOR_SET: Final = ROOT / "gen" / "tickmesh.binpb"

_VERBS: Final = ("get", "put", "post", "delete", "patch")


@dataclass(frozen=True, slots=True)
class Binding:
    """One HTTP way to an RPC.

    Attributes:
        verb: in capitals.
        path: as in the protos, variables in braces.
        body: `*`, or empty where there is none.
    """

    verb: str
    path: str
    body: str


@dataclass(frozen=True, slots=True)
class Method:
    """One RPC.

    Attributes:
        service: its service's full name.
        name: its own.
        request: the full name of the message it takes.
        streaming: whether either side streams.
        bindings: its HTTP ways; none where it has only gRPC.
    """

    service: str
    name: str
    request: str
    streaming: bool
    bindings: tuple[Binding, ...]


@dataclass(frozen=True, slots=True)
class Contract:
    """All RPCs in the order of the protos, and all messages by full name (maps' entries too)."""

    methods: tuple[Method, ...]
    messages: Mapping[str, DescriptorProto]

    @classmethod
    def load(cls, path: Path = DESCRIPTOR_SET) -> Contract:
        """Reads a descriptor set."""
        files = FileDescriptorSet.FromString(path.read_bytes()).file
        messages = {name: message for file in files for name, message in _messages(file.package, file.message_type)}
        methods = [
            _method(f"{file.package}.{service.name}", method)
            for file in files
            for service in file.service
            for method in service.method
        ]
        return cls(tuple(methods), messages)

    def of(self, service: str) -> list[Method]:
        """A service's RPCs; none where the contract does not have it."""
        return [method for method in self.methods if method.service == service]


def _messages(scope: str, found: object) -> Iterator[tuple[str, DescriptorProto]]:
    for message in found:  # type: ignore[attr-defined]
        name = f"{scope}.{message.name}"
        yield name, message
        yield from _messages(name, message.nested_type)


def _method(service: str, method: MethodDescriptorProto) -> Method:
    rule = method.options.Extensions[annotations_pb2.http]
    rules = [rule, *rule.additional_bindings] if method.options.HasExtension(annotations_pb2.http) else []
    bindings = [
        Binding(verb.upper(), getattr(each, verb), each.body)
        for each in rules
        for verb in _VERBS
        if getattr(each, verb)
    ]
    return Method(
        service,
        method.name,
        method.input_type.removeprefix("."),
        method.client_streaming or method.server_streaming,
        tuple(bindings),
    )
