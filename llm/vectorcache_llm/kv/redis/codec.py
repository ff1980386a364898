"""Encoding of keys and entries in Redis."""

from __future__ import annotations

import math
import re
from struct import Struct
from typing import NamedTuple
from urllib.parse import quote, unquote

import msgspec

from vectorcache.errors import InvalidInput
from vectorcache_llm.kv.base import Entry
from vectorcache_llm.scope import Scope, Selection

# Format name, created_at, expires_at (infinite for no expiry), length of tags and metadata in bytes.
_HEAD = Struct("<4sddI")
_FORMAT = b"VCK1"

TIMES_BYTES = _HEAD.size
"""Length of the prefix of a value that contains its expiry time, in bytes."""

PUT_NEW = f"""
local start = redis.call('GETRANGE', KEYS[1], 0, {_HEAD.size - 1})
if #start == {_HEAD.size} and string.sub(start, 1, 4) == '{_FORMAT.decode()}' then
    local _, ends = struct.unpack('<dd', string.sub(start, 5))
    if ends > tonumber(ARGV[3]) then
        return 0
    end
end
if ARGV[2] == '0' then
    redis.call('SET', KEYS[1], ARGV[1])
else
    redis.call('SET', KEYS[1], ARGV[1], 'PX', ARGV[2])
end
return 1
"""
"""Script: store ARGV[1] for ARGV[2] milliseconds (0 for no expiry), unless an unexpired entry exists at time ARGV[3].

``SET NX`` is not sufficient, because Redis may remove expired entries late.
"""

HEAD_BYTES = 4096
"""Length of the prefix of a value that contains the head of nearly every entry, in bytes."""


class Head(NamedTuple):
    """The attributes of an entry, without its value."""

    created_at: float
    expires_at: float
    """Infinite for no expiry."""
    tags: frozenset[str]
    metadata: dict[str, str]
    size: int
    """Length of the head, which precedes the value, in bytes."""


class Names:
    """Redis keys: prefix, tenant, user, name of the scope, and key, joined by ":".

    Every part is percent-encoded, so it contains neither ":" nor a special character of a Redis glob. No tenant, user
    or key can therefore address an entry of another. The number of parts distinguishes prefixes of which one starts
    with the other.

    Raises:
        InvalidInput: the prefix contains characters other than letters, digits and ``_.:-``.
    """

    def __init__(self, prefix: str) -> None:
        if not re.fullmatch(r"[A-Za-z0-9_.:-]+", prefix):
            raise InvalidInput("prefix", prefix, "letters, digits, _, ., : and -")
        self._prefix = prefix

    def name(self, scope: Scope, key: str) -> str:
        """Return the Redis key of an entry."""
        return ":".join(
            (self._prefix, *(quote(part, safe="") for part in _parts(scope)), quote(key, safe=""))
        )

    def identity(self, name: bytes) -> tuple[Scope, str] | None:
        """Return scope and key of a Redis key; None if it does not belong to this store."""
        start, *parts = name.decode(errors="replace").rsplit(":", 4)
        if len(parts) != 4 or start != self._prefix:
            return None
        try:
            tenant, user, scope_name, key = (unquote(part, errors="strict") for part in parts)
            identity = Scope(tenant, user, scope_name), key
        except ValueError:  # raised by unquote, or InvalidInput
            return None
        return identity if self.name(*identity).encode() == name else None

    def pattern(self, selection: Selection) -> str:
        """Return a Redis glob for the keys of the selected scopes."""
        asked = (selection.tenant, selection.user, selection.name)
        parts = ("*" if part is None else quote(part, safe="") for part in asked)
        return ":".join((self._prefix, *parts, "*"))


def encode(entry: Entry) -> bytes:
    """Encode an entry: the head with tags and metadata, then the value."""
    about = msgspec.msgpack.encode((sorted(entry.tags), dict(entry.metadata)))
    end = math.inf if entry.expires_at is None else entry.expires_at
    return _HEAD.pack(_FORMAT, entry.created_at, end, len(about)) + about + entry.value


def is_live(start: bytes, now: float) -> bool:
    """Return whether the first ``TIMES_BYTES`` of a value belong to an unexpired entry."""
    return head_length(start) > 0 and _HEAD.unpack_from(start)[2] > now


def head_length(start: bytes) -> int:
    """Return the length of the head that starts with ``start``, in bytes; 0 if the format is unknown."""
    if len(start) < _HEAD.size or not start.startswith(_FORMAT):
        return 0
    length: int = _HEAD.unpack_from(start)[3]
    return _HEAD.size + length


def decode_head(blob: bytes) -> Head | None:
    """Decode the head; None if the format is unknown or the bytes are too few."""
    size = head_length(blob)
    if not 0 < size <= len(blob):
        return None
    _, created_at, expires_at, _ = _HEAD.unpack_from(blob)
    try:
        tags, metadata = msgspec.msgpack.decode(
            blob[_HEAD.size : size], type=tuple[frozenset[str], dict[str, str]]
        )
    except msgspec.MsgspecError:
        return None
    return Head(created_at, expires_at, tags, metadata, size)


def decode(scope: Scope, key: str, blob: bytes | None, now: float) -> Entry | None:
    """Decode an entry; None if it does not exist, has expired, or has an unknown format."""
    head = None if blob is None else decode_head(blob)
    if blob is None or head is None or head.expires_at <= now:
        return None
    end = None if math.isinf(head.expires_at) else head.expires_at
    return Entry(scope, key, blob[head.size :], head.created_at, end, head.tags, head.metadata)


def _parts(scope: Scope) -> tuple[str, str, str]:
    return scope.tenant, scope.user, scope.name
