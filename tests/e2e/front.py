"""The mesh as its clients see it: every method by gRPC and by REST, made of the descriptors alone."""

from __future__ import annotations

import asyncio
import contextlib
import re
import shutil
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlencode

import grpc
import httpx
import tickmesh
from google.api import annotations_pb2, http_pb2
from google.protobuf import descriptor_pool, json_format, message_factory
from google.protobuf.descriptor import MethodDescriptor
from google.rpc import error_details_pb2
from grpc_status import rpc_status

from services.chassis.calls.server import import_services
from services.chassis.catalog import SERVICES
from tests.e2e.mesh import Mesh
from tests.nursery import Nursery

HOMES = {service: name for name, each in SERVICES.items() for service in (*each.public, *each.internal)}
SECONDS = 20.0


@dataclass(frozen=True)
class Answer:
    """What a call came to.

    Attributes:
        code: a status code's name; `OK` for success.
        reason: of the ErrorInfo; empty without one.
        body: of a success: one message as a dict of its JSON, of a stream the first.
        message: for people.
        metadata: of the ErrorInfo.
        fields: the paths of the fields that are wrong.
    """

    code: str
    reason: str = ""
    body: dict[str, Any] = field(default_factory=dict)
    message: str = ""
    metadata: dict[str, str] = field(default_factory=dict)
    fields: tuple[str, ...] = ()

    @property
    def outcome(self) -> tuple[str, str]:
        """What the contract states of a refusal."""
        return self.code, self.reason


def methods(*, internal: bool = False) -> dict[str, MethodDescriptor]:
    """All there are, by a short name: `OrderService/CreateOrder`."""
    import_services(tickmesh)
    pool = descriptor_pool.Default()
    names = [name for each in SERVICES.values() for name in (each.internal if internal else each.public)]
    services = [pool.FindServiceByName(name) for name in names]
    return {f"{service.name}/{method.name}": method for service in services for method in service.methods}


def bindings(method: MethodDescriptor) -> list[tuple[str, str]]:
    """Its (verb, path template) pairs, the canonical one first; none for a stream of requests."""
    rule = method.GetOptions().Extensions[annotations_pb2.http]
    return [_binding(each) for each in (rule, *rule.additional_bindings) if each.WhichOneof("pattern")]


def _binding(rule: http_pb2.HttpRule) -> tuple[str, str]:
    verb = str(rule.WhichOneof("pattern"))
    return verb.upper(), getattr(rule, verb)


class Front:
    """Calls, blocking; one client of one mesh."""

    def __init__(self, mesh: Mesh) -> None:
        self.mesh = mesh
        self.url = f"http://{mesh.addresses['edge']}"
        self.rest = httpx.Client(base_url=self.url, timeout=SECONDS)
        self._channels = {name: grpc.insecure_channel(address) for name, address in mesh.addresses.items()}

    def close(self) -> None:
        """Drops the connections."""
        self.rest.close()
        for channel in self._channels.values():
            channel.close()

    def grpc(self, method: MethodDescriptor, *requests: Mapping[str, Any] | bytes, via: str = "") -> Answer:
        """Calls a method with requests in JSON's form, or as bytes; several for a stream of them.

        Args:
            via: `edge`, or a service; default the service that has the method.
        """
        try:
            answer = self._call(method, requests, via)
            if method.server_streaming:
                first = next(answer)
                answer.cancel()
                answer = first
        except grpc.RpcError as error:
            return _refusal(error)
        except StopIteration:
            return Answer("OK")
        return Answer("OK", body=_json(answer))

    def answers(self, method: MethodDescriptor, *requests: Mapping[str, Any], via: str = "") -> list[dict[str, Any]]:
        """All that a stream answers, which must not fail, in JSON's form."""
        return [_json(each) for each in self._call(method, requests, via)]

    def _call(self, method: MethodDescriptor, requests: Sequence[Mapping[str, Any] | bytes], via: str) -> Any:
        channel = self._channels[via or HOMES[method.containing_service.full_name]]
        request_type = message_factory.GetMessageClass(method.input_type)
        made = [
            each
            if isinstance(each, bytes)
            else json_format.ParseDict(dict(each), request_type()).SerializePartialToString()
            for each in requests
        ]
        kind = f"{'stream' if method.client_streaming else 'unary'}_{'stream' if method.server_streaming else 'unary'}"
        call = getattr(channel, kind)(
            f"/{method.containing_service.full_name}/{method.name}",
            response_deserializer=message_factory.GetMessageClass(method.output_type).FromString,
        )
        return call(iter(made) if method.client_streaming else made[0], timeout=SECONDS)

    def http(self, method: MethodDescriptor, request: Mapping[str, Any], *, binding: int = 0, **more: Any) -> Answer:
        """The same over REST; what is in neither path nor query is the body. `more` is httpx's."""
        verb, path, rest = self.target(method, request, binding)
        if verb == "POST":
            more = {"json": rest, **more}
        elif rest:
            path += f"?{urlencode(list(_query(rest)))}"
        return self.send(verb, path, **more)

    def target(
        self, method: MethodDescriptor, request: Mapping[str, Any], binding: int = 0
    ) -> tuple[str, str, dict[str, Any]]:
        """Verb, path, and the fields that are not in the path."""
        verb, template = bindings(method)[binding]
        rest = dict(request)
        path = re.sub(r"{(\w+)}", lambda match: quote(str(rest.pop(match[1], "")), safe=""), template)
        return verb, path, rest

    def send(self, verb: str, path: str, **more: Any) -> Answer:
        """Any request over HTTP. Of a stream only the first event is read."""
        with self.rest.stream(verb, path, **more) as answer:
            if answer.headers.get("content-type", "").startswith("text/event-stream") and answer.status_code == 200:
                return Answer("OK", body={"data": next(answer.iter_lines())})
            answer.read()
        if answer.status_code == 200:
            return Answer("OK", body=answer.json())
        assert answer.headers["content-type"] == "application/json", answer.text
        return refused(answer.json())


def refused(error: dict[str, Any]) -> Answer:
    """A status in JSON's form."""
    assert set(error) == {"code", "message", "details"}, error
    infos = [each for each in error["details"] if each["@type"].endswith("google.rpc.ErrorInfo")]
    code = next(each.name for each in grpc.StatusCode if each.value[0] == error["code"])
    info = infos[0] if infos else {"reason": ""}
    fields = tuple(wrong.get("field", "") for each in error["details"] for wrong in each.get("field_violations", ()))
    return Answer(code, info["reason"], message=error["message"], metadata=info.get("metadata", {}), fields=fields)


def _query(fields: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, str]]:
    for name, value in fields.items():
        if isinstance(value, Mapping):
            yield from _query(value, f"{prefix}{name}.")
            continue
        for each in value if isinstance(value, list) else [value]:
            yield f"{prefix}{name}", str(each).lower() if isinstance(each, bool) else str(each)


def _refusal(error: Any) -> Answer:
    status = rpc_status.from_call(error)
    info, bad = error_details_pb2.ErrorInfo(), error_details_pb2.BadRequest()
    for detail in status.details if status else ():
        _ = detail.Unpack(info) or detail.Unpack(bad)
    told, fields = error.details() or "", tuple(each.field for each in bad.field_violations)
    return Answer(error.code().name, info.reason, message=told, metadata=dict(info.metadata), fields=fields)


def _json(message: Any) -> dict[str, Any]:
    found: dict[str, Any] = json_format.MessageToDict(
        message, preserving_proto_field_name=True, always_print_fields_with_no_presence=True
    )
    return found


@contextlib.contextmanager
def standing(folder: Path, prepared: Path, nursery: Nursery, **settings: str) -> Iterator[Front]:
    """A mesh with its edge, for a whole module; afterwards nobody may have ended but by a kill."""
    shutil.copytree(prepared, folder / "data")
    mesh = Mesh(folder, nursery, edge=True, **settings)
    mesh.start()
    front = Front(mesh)
    try:
        asyncio.run(mesh.serving())
        open_edge(front)
        yield front
    except BaseException:
        print(mesh.logs())
        raise
    finally:
        front.close()
        mesh.stop()
    assert not mesh.failures, f"{mesh.failures}\n{mesh.logs()}"


def open_edge(front: Front, seconds: float = 30.0) -> None:
    """Returns when the edge sees all five services serve."""
    deadline = time.monotonic() + seconds
    while True:
        with contextlib.suppress(httpx.HTTPError):
            if front.rest.get("/healthz").status_code == 200:
                return
        assert time.monotonic() < deadline, f"no edge\n{front.mesh.logs()}"
        time.sleep(0.05)
