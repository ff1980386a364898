"""Conversion of entries to JSON records, for exports."""

from __future__ import annotations

from collections.abc import Mapping

import msgspec

from vectorcache.errors import InvalidInput
from vectorcache_llm.kv.base import Entry
from vectorcache_llm.managed import Record
from vectorcache_llm.scope import Scope


class _Exported(msgspec.Struct, forbid_unknown_fields=True):
    tenant: str
    user: str
    scope: str
    key: str
    value: bytes  # base64 in JSON
    created_at: float
    expires_at: float | None = None
    tags: list[str] = []
    metadata: dict[str, str] = {}


def to_record(entry: Entry) -> Record:
    """Convert an entry to a record of JSON values."""
    exported = _Exported(
        tenant=entry.scope.tenant,
        user=entry.scope.user,
        scope=entry.scope.name,
        key=entry.key,
        value=entry.value,
        created_at=entry.created_at,
        expires_at=entry.expires_at,
        tags=sorted(entry.tags),
        metadata=dict(entry.metadata),
    )
    record: Record = msgspec.to_builtins(exported)
    return record


def from_record(record: Mapping[str, object]) -> Entry:
    """Convert a record to an entry.

    Raises:
        InvalidInput: the record is not valid output of ``to_record``; names the field.
    """
    try:
        exported = msgspec.convert(record, _Exported)
    except msgspec.ValidationError as error:
        field = str(error).rpartition("$")[2].strip("`.")
        raise InvalidInput(f"record.{field}" if field else "record", record, str(error)) from error
    return Entry(
        Scope(exported.tenant, exported.user, exported.scope),
        exported.key,
        exported.value,
        exported.created_at,
        exported.expires_at,
        frozenset(exported.tags),
        exported.metadata,
    )
