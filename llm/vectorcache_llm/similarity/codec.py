"""Encoding of entries as msgpack, shared by Redis, Qdrant and snapshots."""

from __future__ import annotations

import hashlib
from typing import Any

import msgspec
import numpy as np

from vectorcache.errors import CorruptData
from vectorcache_llm.scope import Scope
from vectorcache_llm.similarity.base import IndexEntry, Partition


class _Record(msgspec.Struct, array_like=True):
    tenant: str
    user: str
    name: str
    context: str
    id: str
    created_at: float
    expires_at: float | None
    tags: list[str]
    metadata: dict[str, str]
    payload: bytes
    text: str = ""
    vector: bytes = b""


_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(_Record).decode


def encode_entry(entry: IndexEntry) -> bytes:
    """Encode a whole entry."""
    return _encode(_record(entry, entry.text, vector_bytes(entry)))


def encode_rest(entry: IndexEntry) -> bytes:
    """Encode an entry without its text and vector, which the backend stores separately."""
    return _encode(_record(entry, "", b""))


def decode_entry(data: bytes, text: str | None = None, vector: bytes | None = None) -> IndexEntry:
    """Decode an entry. ``text`` and ``vector`` (little-endian float32) are given if they were stored separately.

    Raises:
        CorruptData: the bytes are not valid output of ``encode_entry`` or ``encode_rest``.
    """
    try:
        record = _decode(data)
        floats = np.frombuffer(record.vector if vector is None else vector, dtype="<f4")
        partition = Partition(Scope(record.tenant, record.user, record.name), record.context)
    except (msgspec.MsgspecError, ValueError) as error:
        raise CorruptData(f"an entry cannot be read: {error}") from error
    return IndexEntry(
        record.id,
        partition,
        floats,
        record.text if text is None else text,
        record.payload,
        record.created_at,
        record.expires_at,
        frozenset(record.tags),
        record.metadata,
    )


def vector_bytes(entry: IndexEntry) -> bytes:
    """Return the vector of an entry as little-endian float32."""
    return entry.vector.astype("<f4", copy=False).tobytes()


def digest(*parts: str, size: int = 16) -> str:
    """Return a digest of the parts with 2 * ``size`` hexadecimal digits. Boundaries between parts matter."""
    return hashlib.blake2b(msgspec.json.encode(parts), digest_size=size).hexdigest()


def partition_digest(partition: Partition) -> str:
    """Return the digest of a partition."""
    scope = partition.scope
    return digest(scope.tenant, scope.user, scope.name, partition.context)


def identity_digest(scope: Scope, id: str) -> str:  # noqa: A002 - the field's name
    """Return the digest of an entry's identity within an index."""
    return digest(scope.tenant, scope.user, scope.name, id)


def embedder_digest(fingerprint: str, dimension: int) -> str:
    """Return the short digest of an embedder, 16 hexadecimal digits."""
    return digest(fingerprint, str(dimension), size=8)


def _record(entry: IndexEntry, text: str, vector: bytes) -> Any:
    scope = entry.partition.scope
    return _Record(
        scope.tenant,
        scope.user,
        scope.name,
        entry.partition.context,
        entry.id,
        entry.created_at,
        entry.expires_at,
        sorted(entry.tags),
        dict(entry.metadata),
        entry.payload,
        text,
        vector,
    )
