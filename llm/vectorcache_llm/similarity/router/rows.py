"""Conversion between entries and rows of a collection."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterable, Mapping
from typing import Any

import msgspec
import numpy as np
import pyarrow as pa

from vectorcache.errors import CorruptData, InvalidInput
from vectorcache.wire import types
from vectorcache_llm.scope import Scope
from vectorcache_llm.similarity.base import IndexEntry, Partition
from vectorcache_llm.similarity.codec import identity_digest

_COLUMNS = pa.schema(
    [
        ("id", pa.string()),
        ("entry_id", pa.string()),
        ("fingerprint", pa.string()),
        *((name, pa.string()) for name in ("tenant", "user", "scope", "context", "text")),
        ("payload", pa.binary()),
        ("created_at", pa.float64()),
        ("expires_at", pa.float64()),
        ("tags", pa.list_(pa.string())),
        ("metadata", pa.string()),
    ]
)


class Row(msgspec.Struct):
    """The payload of a vector in a collection."""

    entry_id: str
    fingerprint: str
    tenant: str
    user: str
    scope: str
    context: str
    text: str
    payload: str
    created_at: float
    expires_at: float | None
    tags: list[str]
    metadata: str


def collection_table(entries: Iterable[IndexEntry], fingerprint: str) -> pa.Table:
    """Convert entries to a table from which ``vectorcache build`` builds a collection for ``RouterIndex``.

    Zero vectors are omitted, because they are similar to nothing.
    """
    rows = [_columns(entry, fingerprint) for entry in entries if entry.vector.any()]
    vectors = pa.array([row.pop("vector") for row in rows], type=pa.list_(pa.float32()))
    return pa.Table.from_pylist(rows, schema=_COLUMNS).append_column("vector", vectors)


def _columns(entry: IndexEntry, fingerprint: str) -> dict[str, Any]:
    scope = entry.partition.scope
    return {
        "id": identity_digest(scope, entry.id),
        "vector": entry.vector,
        "entry_id": entry.id,
        "fingerprint": fingerprint,
        "tenant": scope.tenant,
        "user": scope.user,
        "scope": scope.name,
        "context": entry.partition.context,
        "text": entry.text,
        "payload": entry.payload,
        "created_at": entry.created_at,
        "expires_at": entry.expires_at,
        "tags": sorted(entry.tags),
        "metadata": json.dumps(dict(entry.metadata)),
    }


def as_row(payload: Mapping[str, Any] | None) -> Row:
    """Decode the payload of a vector.

    Raises:
        InvalidInput: the collection was not built from ``collection_table``.
    """
    try:
        return msgspec.convert(payload or {}, Row)
    except msgspec.ValidationError as error:
        raise InvalidInput(
            "collection", "one with other columns", "one built from collection_table"
        ) from error


def partition_of(row: Row) -> Partition:
    """Return the partition of a row."""
    return Partition(Scope(row.tenant, row.user, row.scope), row.context)


def as_entry(item: types.VectorItem) -> IndexEntry:
    """Convert a vector with its payload to an entry.

    Raises:
        CorruptData: the vector is not a valid entry.
    """
    row = as_row(item.payload)
    try:
        payload, metadata = base64.b64decode(row.payload, validate=True), json.loads(row.metadata)
    except ValueError as error:
        raise CorruptData(f"vector {item.id} is not a valid entry: {error}") from error
    return IndexEntry(
        row.entry_id,
        partition_of(row),
        np.asarray(item.vector, dtype=np.float32),
        row.text,
        payload,
        row.created_at,
        row.expires_at,
        frozenset(row.tags),
        metadata,
    )
