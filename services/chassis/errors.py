"""One typed error in Python, one `google.rpc.Status` with `ErrorInfo` on the wire, and the way between, both ways."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

import grpc
from google.protobuf import any_pb2
from google.protobuf.message import Message
from google.rpc import error_details_pb2, status_pb2

from services.chassis import details
from services.chassis.details import FieldViolation, PreconditionViolation, QuotaViolation, ResourceInfo, clip

DOMAIN: Final = "tickmesh"
DETAILS_KEY: Final = "grpc-status-details-bin"
# Bytes: the message travels in escapes of 3 a byte, and the whole status once more, in base64 (5.5 KiB then).
MAX_MESSAGE: Final = 512
MAX_STATUS: Final = 4096

_log = logging.getLogger(__name__)
_TRANSPORT: Final = {
    grpc.StatusCode.DEADLINE_EXCEEDED: (grpc.StatusCode.DEADLINE_EXCEEDED, "DEADLINE_EXCEEDED"),
    grpc.StatusCode.RESOURCE_EXHAUSTED: (grpc.StatusCode.RESOURCE_EXHAUSTED, "TOO_LARGE"),
    grpc.StatusCode.UNIMPLEMENTED: (grpc.StatusCode.UNIMPLEMENTED, "METHOD_NOT_FOUND"),
}
_CODES: Final = {code.value[0]: code for code in grpc.StatusCode}


class ApiError(Exception):
    """An answer other than the result. Handlers raise it, and so do stubs on our channels.

    `reason` is a name of the contract's enum of reasons without its prefix; `metadata` carries the bound that was hit.
    """

    def __init__(
        self,
        code: grpc.StatusCode,
        reason: str,
        message: str,
        *,
        metadata: Mapping[str, str] | None = None,
        field_violations: Sequence[FieldViolation] = (),
        precondition_violations: Sequence[PreconditionViolation] = (),
        resource: ResourceInfo | None = None,
        quota_violations: Sequence[QuotaViolation] = (),
        retry_delay: float | None = None,
    ) -> None:
        super().__init__(message)
        self.code = code
        self.reason = reason
        self.message = message
        self.metadata = dict(metadata or {})
        self.field_violations = tuple(field_violations)
        self.precondition_violations = tuple(precondition_violations)
        self.resource = resource
        self.quota_violations = tuple(quota_violations)
        self.retry_delay = retry_delay

    def __str__(self) -> str:
        return f"{self.code.name} {self.reason}: {self.message}"

    @classmethod
    def invalid_argument(cls, message: str, reason: str = "INVALID_ARGUMENT", **more: Any) -> ApiError:
        """A request that can never succeed; give `field_violations`."""
        return cls(grpc.StatusCode.INVALID_ARGUMENT, reason, message, **more)

    @classmethod
    def invalid_field(cls, field: str, description: str, reason: str = "INVALID_ARGUMENT", **more: Any) -> ApiError:
        """One field that is wrong in a way no rule of the protos can say."""
        violation = FieldViolation(field, description, reason)
        return cls.invalid_argument(f"{field}: {description}", reason, field_violations=[violation], **more)

    def within(self, path: str) -> ApiError:
        """The same of a message that is itself a field, by `path`, of what was asked."""
        inner = [each._replace(field=f"{path}.{each.field}") for each in self.field_violations]
        message = f"{path}.{self.message}"
        return ApiError(self.code, self.reason, message, metadata=self.metadata, field_violations=inner)

    @classmethod
    def not_found(cls, kind: str, name: str, reason: str, message: str = "", **more: Any) -> ApiError:
        """Nothing of this `kind` has this `name`."""
        message = message or f"There is no {kind.replace('_', ' ')} {clip(name)}."
        return cls(grpc.StatusCode.NOT_FOUND, reason, message, resource=ResourceInfo(kind, name), **more)

    @classmethod
    def already_exists(cls, kind: str, name: str, reason: str, message: str = "", **more: Any) -> ApiError:
        """Something of this `kind` has this `name` already, and other values."""
        message = message or f"The {kind.replace('_', ' ')} {clip(name)} exists already."
        return cls(grpc.StatusCode.ALREADY_EXISTS, reason, message, resource=ResourceInfo(kind, name), **more)

    @classmethod
    def failed_precondition(
        cls, reason: str, message: str, *, kind: str = "STATE", subject: str = "", **more: Any
    ) -> ApiError:
        """The state forbids it: funds, session, state or risk (`kind`). Put the bound into `metadata`."""
        more.setdefault("precondition_violations", [PreconditionViolation(kind, subject, message)])
        return cls(grpc.StatusCode.FAILED_PRECONDITION, reason, message, **more)

    @classmethod
    def resource_exhausted(
        cls, reason: str, message: str, *, subject: str = "", retry_delay: float = 1.0, **more: Any
    ) -> ApiError:
        """A quota is used up; may work after `retry_delay` seconds."""
        more.setdefault("quota_violations", [QuotaViolation(subject, message)])
        return cls(grpc.StatusCode.RESOURCE_EXHAUSTED, reason, message, retry_delay=retry_delay, **more)

    @classmethod
    def unavailable(cls, reason: str, message: str, *, retry_delay: float = 1.0, **more: Any) -> ApiError:
        """Not now, and nothing was done; repeat after `retry_delay` seconds."""
        return cls(grpc.StatusCode.UNAVAILABLE, reason, message, retry_delay=retry_delay, **more)

    @classmethod
    def aborted(cls, reason: str, message: str, **more: Any) -> ApiError:
        """A lost race: read again, then decide again."""
        return cls(grpc.StatusCode.ABORTED, reason, message, **more)

    @classmethod
    def deadline_exceeded(cls, message: str, reason: str = "DEADLINE_EXCEEDED", **more: Any) -> ApiError:
        """Time is up; whether it was done is unknown."""
        return cls(grpc.StatusCode.DEADLINE_EXCEEDED, reason, message, **more)

    @classmethod
    def unauthenticated(cls, reason: str, message: str, **more: Any) -> ApiError:
        """Nobody known asks."""
        return cls(grpc.StatusCode.UNAUTHENTICATED, reason, message, **more)

    @classmethod
    def permission_denied(cls, reason: str, message: str, **more: Any) -> ApiError:
        """The caller is known and may not."""
        return cls(grpc.StatusCode.PERMISSION_DENIED, reason, message, **more)

    @classmethod
    def internal(cls, message: str = "Something went wrong here; it was logged.", **more: Any) -> ApiError:
        """Our own mistake, never a caller's."""
        return cls(grpc.StatusCode.INTERNAL, "INTERNAL_ERROR", message, **more)

    def to_status(self) -> status_pb2.Status:
        """The status as it travels: in the trailers, or as the last message `closed {status}` of a stream."""
        status = status_pb2.Status(code=self.code.value[0], message=clip(self.message, MAX_MESSAGE))
        for detail in self._details():
            status.details.add().Pack(detail)
            if status.ByteSize() > MAX_STATUS:
                del status.details[-1]
        return status

    def _details(self) -> Iterator[Message]:
        """The details that apply, the most important first."""
        yield details.error_info(self.reason, DOMAIN, self.metadata)
        if self.retry_delay is not None:
            yield details.retry_info(self.retry_delay)
        if self.field_violations:
            yield details.bad_request(self.field_violations)
        if self.precondition_violations:
            yield details.precondition_failure(self.precondition_violations)
        if self.resource is not None:
            yield details.resource_info(self.resource)
        if self.quota_violations:
            yield details.quota_failure(self.quota_violations)

    @classmethod
    def from_status(cls, status: status_pb2.Status) -> ApiError:
        """The typed error of a status; without ErrorInfo its reason is the code's name."""
        code = _CODES.get(status.code, grpc.StatusCode.UNKNOWN)
        error = cls(code, code.name, status.message)
        for packed in status.details:
            _read_detail(error, packed)
        return error

    @classmethod
    def from_rpc_error(cls, error: grpc.aio.AioRpcError) -> ApiError:
        """The typed error of a failed call; a broken connection is UNAVAILABLE `SERVICE_UNAVAILABLE`."""
        for key, value in error.trailing_metadata() or ():
            if key == DETAILS_KEY and isinstance(value, bytes):
                return cls.from_status(status_pb2.Status.FromString(value))
        # Our peers always say more, so the transport broke: a killed peer shows as any of several codes.
        code, reason = _TRANSPORT.get(error.code(), (grpc.StatusCode.UNAVAILABLE, "SERVICE_UNAVAILABLE"))
        retry_delay = 1.0 if code is grpc.StatusCode.UNAVAILABLE else None
        return cls(code, reason, error.details() or code.name, retry_delay=retry_delay)


def api_error(error: BaseException) -> ApiError:
    """What a caller is told of any exception: ours as it is, a peer's passed on, else INTERNAL and a log."""
    if isinstance(error, ApiError):
        return error
    if isinstance(error, grpc.aio.AioRpcError):
        return ApiError.from_rpc_error(error)
    if isinstance(error, TimeoutError):
        return ApiError.deadline_exceeded("The deadline passed while the call was running.")
    _log.error("a call failed unexpectedly", exc_info=error)
    return ApiError.internal()


def _read_detail(error: ApiError, packed: any_pb2.Any) -> None:
    rpc = error_details_pb2
    info, bad, failure = rpc.ErrorInfo(), rpc.BadRequest(), rpc.PreconditionFailure()
    resource, quota, retry = rpc.ResourceInfo(), rpc.QuotaFailure(), rpc.RetryInfo()
    if packed.Unpack(info):
        error.reason, error.metadata = info.reason, dict(info.metadata)
    elif packed.Unpack(bad):
        error.field_violations = tuple(FieldViolation(v.field, v.description, v.reason) for v in bad.field_violations)
    elif packed.Unpack(failure):
        found = failure.violations
        error.precondition_violations = tuple(PreconditionViolation(v.type, v.subject, v.description) for v in found)
    elif packed.Unpack(resource):
        error.resource = ResourceInfo(resource.resource_type, resource.resource_name, resource.description)
    elif packed.Unpack(quota):
        error.quota_violations = tuple(QuotaViolation(v.subject, v.description) for v in quota.violations)
    elif packed.Unpack(retry):
        error.retry_delay = retry.retry_delay.ToNanoseconds() / 1e9
