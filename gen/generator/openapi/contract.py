"""The protos as the generator sees them: descriptors, their comments, and their options as plain JSON."""

from collections.abc import Iterator, Sequence
from typing import Any, Protocol

from google.protobuf.compiler.plugin_pb2 import CodeGeneratorRequest
from google.protobuf.descriptor import FileDescriptor, ServiceDescriptor
from google.protobuf.descriptor_pb2 import (
    DescriptorProto,
    EnumDescriptorProto,
    FileDescriptorProto,
    ServiceDescriptorProto,
)
from google.protobuf.descriptor_pool import DescriptorPool
from google.protobuf.json_format import MessageToDict
from google.protobuf.message import Message
from google.protobuf.message_factory import GetMessageClass

Json = dict[str, Any]

# Field numbers in descriptor.proto, of which a source location's path is made.
_FILE_MESSAGE, _FILE_ENUM, _FILE_SERVICE = 4, 5, 6
_MESSAGE_FIELD, _MESSAGE_NESTED, _MESSAGE_ENUM, _MESSAGE_ONEOF = 2, 3, 4, 8
_ENUM_VALUE, _SERVICE_METHOD = 2, 2


class Described(Protocol):
    """Any descriptor."""

    @property
    def full_name(self) -> str:
        """The dotted name, package included."""

    def GetOptions(self) -> Message:  # noqa: N802
        """The options, extensions unread."""


class Contract:
    """A generator request, indexed. A pool of its own resolves the extensions that this process has not imported."""

    def __init__(self, request: CodeGeneratorRequest) -> None:
        """Reads all files of the request, imported ones included."""
        self.pool = DescriptorPool()
        self._comments: dict[str, str] = {}
        for file in request.proto_file:
            self.pool.Add(file)
            self._comments.update(_comments(file))
        self.files: list[FileDescriptor] = [self.pool.FindFileByName(name) for name in request.file_to_generate]

    def services(self) -> Iterator[ServiceDescriptor]:
        """The services of the files asked for, in their order."""
        for file in self.files:
            yield from file.services_by_name.values()

    def comment(self, described: Described) -> str:
        """The leading comment, as written, or nothing."""
        return self._comments.get(described.full_name, "")

    def enum_value_comment(self, enum_name: str, value: str) -> str:
        """The comment of one value; its own full name leaves out the enum's, so it is asked for by both."""
        return self._comments.get(f"{enum_name}.{value}", "")

    def options(self, described: Described) -> Json:
        """The options with extensions under `[full.name]`, field names as in the protos, 64-bit integers as strings."""
        options = described.GetOptions()
        known = GetMessageClass(self.pool.FindMessageTypeByName(options.DESCRIPTOR.full_name))
        parsed = known.FromString(options.SerializeToString())
        return MessageToDict(parsed, preserving_proto_field_name=True, descriptor_pool=self.pool)


def _comments(file: FileDescriptorProto) -> dict[str, str]:
    texts = {tuple(place.path): _text(place.leading_comments) for place in file.source_code_info.location}
    names = dict(_names(file))
    return {names[path]: text for path, text in texts.items() if path in names and text}


def _text(comment: str) -> str:
    return "\n".join(line.removeprefix(" ").rstrip() for line in comment.splitlines()).strip()


Path = tuple[int, ...]


def _names(file: FileDescriptorProto) -> Iterator[tuple[Path, str]]:
    yield from _message_names(file.message_type, (_FILE_MESSAGE,), file.package)
    yield from _enum_names(file.enum_type, (_FILE_ENUM,), file.package)
    yield from _service_names(file.service, file.package)


def _message_names(messages: Sequence[DescriptorProto], path: Path, scope: str) -> Iterator[tuple[Path, str]]:
    for index, message in enumerate(messages):
        here, name = (*path, index), f"{scope}.{message.name}"
        yield here, name
        yield from (((*here, _MESSAGE_FIELD, i), f"{name}.{field.name}") for i, field in enumerate(message.field))
        yield from (((*here, _MESSAGE_ONEOF, i), f"{name}.{oneof.name}") for i, oneof in enumerate(message.oneof_decl))
        yield from _message_names(message.nested_type, (*here, _MESSAGE_NESTED), name)
        yield from _enum_names(message.enum_type, (*here, _MESSAGE_ENUM), name)


def _enum_names(enums: Sequence[EnumDescriptorProto], path: Path, scope: str) -> Iterator[tuple[Path, str]]:
    for index, enum in enumerate(enums):
        here, name = (*path, index), f"{scope}.{enum.name}"
        yield here, name
        yield from (((*here, _ENUM_VALUE, i), f"{name}.{value.name}") for i, value in enumerate(enum.value))


def _service_names(services: Sequence[ServiceDescriptorProto], scope: str) -> Iterator[tuple[Path, str]]:
    for index, service in enumerate(services):
        here, name = (_FILE_SERVICE, index), f"{scope}.{service.name}"
        yield here, name
        yield from (((*here, _SERVICE_METHOD, i), f"{name}.{rpc.name}") for i, rpc in enumerate(service.method))
