"""Names and bytes of entries in Redis."""

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

_HEAD = Struct(
    "<4sddI"
)  # the format's name, created_at, expires_at (infinite: never), bytes of tags and metadata
_FORMAT = b"VCK1"

TIMES_BYTES = _HEAD.size
"""As much of a value as says when it ends."""

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
"""A script: keep the bytes ARGV[1] for ARGV[2] milliseconds (0: for ever) unless what is there lives at ARGV[3].

``SET NX`` would not do: Redis may be late to remove what has expired.
"""

HEAD_BYTES = 4096
"""As much of a value as holds the head of nearly every entry."""


class Head(NamedTuple):
    """What is known of an entry besides its value."""

    created_at: float
    expires_at: float
    """Infinite for never."""
    tags: frozenset[str]
    metadata: dict[str, str]
    size: int
    """Bytes before the value."""


class Names:
    """Names in Redis: prefix, tenant, user, scope's name and key, joined by ":".

    Every part is percent-encoded, so that no part holds a ":" or anything that means something in a glob of Redis:
    no tenant, user or key can name an entry of another. The number of parts tells prefixes apart, too, where one is
    the beginning of another.

    Raises:
        InvalidInput: the prefix is not of letters, digits and ``_.:-``.
    """

    def __init__(self, prefix: str) -> None:
        if not re.fullmatch(r"[A-Za-z0-9_.:-]+", prefix):
            raise InvalidInput("prefix", prefix, "letters, digits, _, ., : and -")
        self._prefix = prefix

    def name(self, scope: Scope, key: str) -> str:
        """Of an entry."""
        return ":".join(
            (self._prefix, *(quote(part, safe="") for part in _parts(scope)), quote(key, safe=""))
        )

    def identity(self, name: bytes) -> tuple[Scope, str] | None:
        """Scope and key of a name; None where it is not one of ours."""
        start, *parts = name.decode(errors="replace").rsplit(":", 4)
        if len(parts) != 4 or start != self._prefix:
            return None
        try:
            tenant, user, scope_name, key = (unquote(part, errors="strict") for part in parts)
            identity = Scope(tenant, user, scope_name), key
        except ValueError:  # of unquote, or InvalidInput
            return None
        return identity if self.name(*identity).encode() == name else None

    def pattern(self, selection: Selection) -> str:
        """A glob of Redis for the names of a selection's scopes."""
        asked = (selection.tenant, selection.user, selection.name)
        parts = ("*" if part is None else quote(part, safe="") for part in asked)
        return ":".join((self._prefix, *parts, "*"))


def encode(entry: Entry) -> bytes:
    """The head, tags and metadata, then the value."""
    about = msgspec.msgpack.encode((sorted(entry.tags), dict(entry.metadata)))
    end = math.inf if entry.expires_at is None else entry.expires_at
    return _HEAD.pack(_FORMAT, entry.created_at, end, len(about)) + about + entry.value


def lives(start: bytes, now: float) -> bool:
    """Whether what begins with these ``TIMES_BYTES`` is an entry that is to be found."""
    return head_length(start) > 0 and _HEAD.unpack_from(start)[2] > now


def head_length(start: bytes) -> int:
    """Bytes of the head that begins with ``start``; 0 where that is none of ours."""
    if len(start) < _HEAD.size or not start.startswith(_FORMAT):
        return 0
    length: int = _HEAD.unpack_from(start)[3]
    return _HEAD.size + length


def decode_head(blob: bytes) -> Head | None:
    """The head; None where the bytes are not ours or too few."""
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
    """The entry; None where it is not there, has expired, or is not ours."""
    head = None if blob is None else decode_head(blob)
    if blob is None or head is None or head.expires_at <= now:
        return None
    end = None if math.isinf(head.expires_at) else head.expires_at
    return Entry(scope, key, blob[head.size :], head.created_at, end, head.tags, head.metadata)


def _parts(scope: Scope) -> tuple[str, str, str]:
    return scope.tenant, scope.user, scope.name
