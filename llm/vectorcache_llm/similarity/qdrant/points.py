"""Conversion of entries to Qdrant points, and filters on points."""

from __future__ import annotations

import base64
import binascii
import uuid
from collections.abc import Iterable, Iterator
from typing import Any

import numpy as np

from vectorcache.errors import CorruptData
from vectorcache_llm.scope import Scope, Selection
from vectorcache_llm.similarity.base import IndexEntry, Partition
from vectorcache_llm.similarity.codec import decode_entry, encode_rest, identity_digest, partition_digest

KEYWORDS = ("partition", "tenant", "user", "scope", "tags")
"""Payload fields with a keyword index."""
NUMBERS = ("created_at", "ends_at")
"""Payload fields with a numeric index."""
_NAMESPACE = uuid.UUID("6f0f5c52-9d0d-5b0e-8a55-2f2b6a0a5a52")  # an arbitrary constant
_NEVER = 1e300
REQUEST_BYTES = 8 << 20
"""Approximate maximum of JSON per request. Qdrant accepts 32 MiB by default, but the estimate may be too low."""


def point_id(scope: Scope, id: str) -> str:  # noqa: A002 - the field's name
    """Return a UUID (version 5) of an entry's identity."""
    return str(uuid.uuid5(_NAMESPACE, identity_digest(scope, id)))


def as_point(models: Any, entry: IndexEntry) -> Any:
    """Convert an entry to a point. A zero vector gets no partition, so that no search finds it."""
    scope = entry.partition.scope
    payload = {
        "tenant": scope.tenant,
        "user": scope.user,
        "scope": scope.name,
        "context": entry.partition.context,
        "text": entry.text,
        "tags": sorted(entry.tags),
        "created_at": entry.created_at,
        "ends_at": _NEVER if entry.expires_at is None else min(entry.expires_at, _NEVER),
        "entry": base64.b64encode(encode_rest(entry)).decode(),
    }
    if entry.vector.any():
        payload["partition"] = partition_digest(entry.partition)
    return models.PointStruct(id=point_id(scope, entry.id), vector=entry.vector.tolist(), payload=payload)


def in_requests(points: Iterable[Any]) -> Iterator[list[Any]]:
    """Yield points in order, in batches of at most ``REQUEST_BYTES``. A larger point forms a batch alone."""
    part: list[Any] = []
    size = 0
    for point in points:
        more = _json_bytes(point)
        if part and size + more > REQUEST_BYTES:
            yield part
            part, size = [], 0
        part.append(point)
        size += more
    if part:
        yield part


def _json_bytes(point: Any) -> int:
    """Estimate the JSON size of a point: 24 bytes per number, and 6 per character, which may be escaped."""
    return len(point.payload["entry"]) + 6 * len(point.payload["text"]) + 24 * len(point.vector)


def as_entry(point: Any) -> IndexEntry:
    """Convert a point to its entry.

    Raises:
        CorruptData: the point is not a valid entry.
    """
    try:
        rest = base64.b64decode(point.payload["entry"], validate=True)
        vector = np.asarray(point.vector, dtype="<f4").tobytes()
        return decode_entry(rest, point.payload["text"], vector)
    except (KeyError, TypeError, binascii.Error) as error:
        raise CorruptData(f"point {point.id} is not a valid entry: {error!r}") from error


class Conditions:
    """Builder of Qdrant filters."""

    def __init__(self, models: Any) -> None:
        self._models = models

    def partition(self, partition: Partition, now: float) -> Any:
        """Return the filter for unexpired entries of a partition."""
        tenant = self._is("tenant", partition.scope.tenant)
        return self._models.Filter(
            must=[tenant, self._is("partition", partition_digest(partition)), self._ends(gt=now)]
        )

    def selection(self, selection: Selection, now: float) -> Any:
        """Return the filter for unexpired selected entries, without the pattern."""
        parts = (("tenant", selection.tenant), ("user", selection.user), ("scope", selection.name))
        must = [self._ends(gt=now), *(self._is(field, value) for field, value in parts if value is not None)]
        if selection.tags:
            must.append(self._condition("tags", match=self._models.MatchAny(any=sorted(selection.tags))))
        if selection.created_before is not None:
            must.append(self._condition("created_at", range=self._models.Range(lt=selection.created_before)))
        return self._models.Filter(must=must)

    def ended(self, now: float) -> Any:
        """Return the filter for expired entries."""
        return self._models.Filter(must=[self._ends(lte=now)])

    def _is(self, field: str, value: str) -> Any:
        return self._condition(field, match=self._models.MatchValue(value=value))

    def _ends(self, **bound: float) -> Any:
        return self._condition("ends_at", range=self._models.Range(**bound))

    def _condition(self, field: str, **test: Any) -> Any:
        return self._models.FieldCondition(key=field, **test)
