"""Lossless conversion between entries and JSON values."""

from __future__ import annotations

import msgspec
import numpy as np

from vectorcache.errors import InvalidInput
from vectorcache.vectors.metric import Floats
from vectorcache_llm.managed import Record
from vectorcache_llm.response.part import CACHE
from vectorcache_llm.response.reply import Reply, Stored
from vectorcache_llm.scope import Scope
from vectorcache_llm.similarity.base import IndexEntry, Partition


class ResponseRecord(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    """One exported entry. ``vector`` is little-endian float32, base64 in JSON; ``fingerprint`` is its embedder's."""

    cache: str = CACHE
    id: str
    tenant: str
    user: str
    scope: str
    context: str
    text: str
    reply: Reply
    vector: bytes
    fingerprint: str
    created_at: float
    fresh_until: float | None
    expires_at: float | None
    tags: list[str]
    metadata: dict[str, str]

    def entry(self, vector: Floats) -> IndexEntry:
        """Return the entry with this vector."""
        return IndexEntry(
            id=self.id,
            partition=Partition(Scope(self.tenant, self.user, self.scope), self.context),
            vector=vector,
            text=self.text,
            payload=Stored(self.reply, self.fresh_until).encode(),
            created_at=self.created_at,
            expires_at=self.expires_at,
            tags=frozenset(self.tags),
            metadata=self.metadata,
        )


def as_record(entry: IndexEntry, stored: Stored, fingerprint: str) -> Record:
    """Return an entry as JSON values."""
    scope = entry.partition.scope
    record = ResponseRecord(
        id=entry.id,
        tenant=scope.tenant,
        user=scope.user,
        scope=scope.name,
        context=entry.partition.context,
        text=entry.text,
        reply=stored.reply,
        vector=entry.vector.astype("<f4").tobytes(),
        fingerprint=fingerprint,
        created_at=entry.created_at,
        fresh_until=stored.fresh_until,
        expires_at=entry.expires_at,
        tags=sorted(entry.tags),
        metadata=dict(entry.metadata),
    )
    return msgspec.json.decode(msgspec.json.encode(record), type=Record)


def read(record: Record) -> ResponseRecord:
    """Validate a record.

    Raises:
        InvalidInput: a field is missing, unknown or of a wrong type, or the record belongs to another cache.
    """
    try:
        checked = msgspec.convert(record, ResponseRecord)
    except msgspec.ValidationError as error:
        raise InvalidInput("record", str(error), "a record made by export") from error
    if checked.cache != CACHE:
        raise InvalidInput("record.cache", checked.cache, CACHE)
    return checked


def vector_of(record: ResponseRecord, fingerprint: str, dimension: int) -> Floats | None:
    """Return the vector of a record, or None if another embedder made it.

    Raises:
        InvalidInput: the vector does not have the embedder's dimension.
    """
    if record.fingerprint != fingerprint:
        return None
    if len(record.vector) != 4 * dimension:
        raise InvalidInput("record.vector", f"{len(record.vector)} bytes", f"{4 * dimension} bytes")
    return np.frombuffer(record.vector, dtype="<f4").astype(np.float32)
