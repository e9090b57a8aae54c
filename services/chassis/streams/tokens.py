"""Resume tokens, page tokens and pieces of pre-encoded messages: what travels with a cursor."""

from __future__ import annotations

import base64
import hashlib
import zlib
from collections.abc import Mapping
from functools import lru_cache
from typing import Final

from google.protobuf.message import Message

from services.chassis.errors import ApiError

_SEPARATOR: Final = "\x1f"


class TokenExpired(Exception):
    """The token was ours once; its history is gone. Send `reset {TOKEN_EXPIRED}` and a fresh snapshot."""


class ResumeTokens:
    """Writes and reads the opaque tokens of one kind of stream: {epoch, partition → sequence, hash of the filter}."""

    def __init__(self, epoch: str) -> None:
        """Takes the epoch: an id stored with durable events, or a new one a process where they live in memory."""
        self._epoch = epoch

    def encode(self, positions: Mapping[str, int], filter_hash: str = "") -> str:
        """The token (about 2 µs); `positions` are the sequences scanned."""
        return _pack([self._epoch, filter_hash, *(f"{name}={at}" for name, at in positions.items())])

    def decode(self, token: str, filter_hash: str = "") -> dict[str, int]:
        """Where to resume.

        Raises:
            ApiError: INVALID_ARGUMENT; RESUME_TOKEN_INVALID when it is none of ours, RESUME_TOKEN_FILTER_MISMATCH
                when it belongs to another filter.
            TokenExpired: when it is of another epoch.
        """
        try:
            epoch, hashed, *positions = _unpack(token)
            found = {name: int(at) for name, _, at in (each.rpartition("=") for each in positions)}
        except ValueError:
            raise ApiError.invalid_field("resume_token", "is no token of this stream", "RESUME_TOKEN_INVALID") from None
        if hashed != filter_hash:
            raise ApiError.invalid_field(
                "resume_token", "belongs to a subscription with another filter", "RESUME_TOKEN_FILTER_MISMATCH"
            )
        if epoch != self._epoch:
            raise TokenExpired
        return found


def filter_hash(request: Message, *ignored: str) -> str:
    """A short hash of a request and its kind, without fields which are no filter; `resume_token` never counts."""
    copy = type(request)()
    copy.CopyFrom(request)
    for name in {"resume_token", *ignored} & set(copy.DESCRIPTOR.fields_by_name):
        copy.ClearField(name)
    asked = copy.DESCRIPTOR.full_name.encode() + b"\0" + copy.SerializeToString(deterministic=True)
    return hashlib.blake2s(asked, digest_size=8).hexdigest()


def length_delimited(number: int, data: bytes) -> bytes:
    """A message encoded as field `number` of another: repeated fields concatenate, so batches need no re-encoding."""
    return _head(number, len(data)) + data


@lru_cache(8192)
def _head(number: int, length: int) -> bytes:
    """What stands before a field's bytes. Kept: an order's are written five times, and lengths come again."""
    return _varint(number << 3 | 2) + _varint(length)


def _varint(value: int) -> bytes:
    out = bytearray()
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)


def encode_page_token(*parts: str | int) -> str:
    """An opaque page token of the sort key's last values; survives inserts, as a key does and an offset does not."""
    return _pack([str(part) for part in parts])


def decode_page_token(token: str, count: int) -> list[str]:
    """The values of a page token, all as text; empty for an empty token.

    Raises:
        ApiError: INVALID_ARGUMENT `PAGE_TOKEN_INVALID`.
    """
    if not token:
        return []
    try:
        found = _unpack(token)
    except ValueError:
        found = []
    if len(found) != count:
        raise ApiError.invalid_field("page_token", "is no token of this list", "PAGE_TOKEN_INVALID")
    return found


def _pack(parts: list[str]) -> str:
    data = _SEPARATOR.join(parts).encode()
    return base64.urlsafe_b64encode(zlib.crc32(data).to_bytes(4) + data).decode().rstrip("=")


def _unpack(token: str) -> list[str]:
    raw = base64.b64decode(token + "=" * (-len(token) % 4), altchars=b"-_", validate=True)
    if int.from_bytes(raw[:4]) != zlib.crc32(raw[4:]):
        raise ValueError("not a token")
    return raw[4:].decode().split(_SEPARATOR)
