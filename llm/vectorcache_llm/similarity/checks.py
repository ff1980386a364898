"""Validation of entries and queries, and their exact comparison, shared by all indexes."""

from __future__ import annotations

import asyncio
import dataclasses
import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike

from vectorcache.errors import InvalidInput
from vectorcache.vectors.exact import check_k
from vectorcache.vectors.metric import Doubles, Floats, as_floats, norm
from vectorcache_llm.scope import MAX_CHARACTERS, Selection
from vectorcache_llm.similarity.base import IndexEntry, Match, Partition

LENGTH_TOLERANCE = 1e-3
"""Allowed deviation of a vector's length from 1, due to the rounding of half-precision models. It does not affect
cosines, which are computed exactly."""

INLINE_ENTRIES = 64
"""Maximum number of entries checked on the event loop, which takes about a millisecond."""


def check_entry(entry: IndexEntry, dimension: int) -> IndexEntry:
    """Validate an entry, and return it with a read-only copy of its vector, (d,) float32.

    Raises:
        InvalidInput: a field violates the contract of ``IndexEntry``; names the field.
    """
    if (
        not isinstance(entry.id, str)
        or not 1 <= len(entry.id) <= MAX_CHARACTERS
        or not entry.id.isprintable()
    ):
        raise InvalidInput("id", entry.id, f"1 to {MAX_CHARACTERS} printable characters")
    _check_texts(entry)
    _check_times(entry)
    vector, length = _measured(entry.vector, dimension)
    if length and abs(length - 1.0) > LENGTH_TOLERANCE:
        raise InvalidInput("vector", f"a vector of length {length:g}", "a vector of length 1, or zeros")
    if vector is entry.vector and not vector.flags.writeable:
        return entry
    own = vector.copy()
    own.flags.writeable = False
    return dataclasses.replace(entry, vector=own)


async def check_entries(entries: Sequence[IndexEntry], dimension: int) -> list[IndexEntry]:
    """Call ``check_entry`` on each entry, in a thread if there are many."""

    def checked() -> list[IndexEntry]:
        return [check_entry(entry, dimension) for entry in entries]

    return checked() if len(entries) <= INLINE_ENTRIES else await asyncio.to_thread(checked)


def unit_query(vector: ArrayLike, dimension: int, k: int) -> Floats | None:
    """Return a query (d,) scaled to length 1, or None for zeros, which are similar to nothing.

    Raises:
        InvalidInput: ``k`` is less than 1, or the vector has the wrong dimension or is not finite.
    """
    check_k(k)
    query, length = _measured(vector, dimension)
    return query / np.float32(length) if length else None


def unit(vector: Floats) -> Floats:
    """Return a vector scaled to length 1 in float32 precision. Zeros are returned unchanged."""
    length = norm(vector)
    return vector / np.float32(length) if length else vector


def cosine(vector: Floats, query: Doubles) -> float:
    """Return the cosine of a vector with a query of length 1, in float64; 0 for zeros."""
    wide = vector.astype(np.float64)
    length = norm(wide)
    return float(wide.dot(query)) / length if length else 0.0


def best(
    entries: Sequence[IndexEntry], partition: Partition, query: Floats, k: int, min_similarity: float
) -> list[Match]:
    """Return the k candidates of the partition that are most similar by exact comparison.

    Entries of other partitions are dropped, even if a server returned them.
    """
    wide = query.astype(np.float64)
    ours = (Match(entry, cosine(entry.vector, wide)) for entry in entries if entry.partition == partition)
    found = [match for match in ours if match.similarity >= min_similarity]
    found.sort(key=lambda match: (-match.similarity, match.entry.id))
    return found[:k]


def selects(selection: Selection, entry: IndexEntry) -> bool:
    """Return whether an entry is selected."""
    return selection.matches(entry.partition.scope, entry.created_at, entry.tags, entry.id, entry.text)


def _measured(value: ArrayLike, dimension: int) -> tuple[Floats, float]:
    """Return the vector as float32, and its length."""
    vector = as_floats(value, "vector")
    if vector.shape != (dimension,):
        raise InvalidInput("vector", f"a vector of shape {vector.shape}", f"shape ({dimension},)")
    length = norm(vector)
    if not math.isfinite(length):
        raise InvalidInput("vector", "a vector that is not finite", "finite numbers")
    return vector, length


def _check_texts(entry: IndexEntry) -> None:
    texts = [("text", entry.text), *(("tags", tag) for tag in entry.tags)]
    texts += [("metadata", part) for pair in entry.metadata.items() for part in pair]
    for field, text in texts:
        try:
            text.encode()
        except (UnicodeEncodeError, AttributeError) as error:
            raise InvalidInput(field, text, "a string without lone surrogates") from error
    if not isinstance(entry.payload, bytes):
        raise InvalidInput("payload", entry.payload, "bytes")


def _check_times(entry: IndexEntry) -> None:
    for field, seconds in (("created_at", entry.created_at), ("expires_at", entry.expires_at)):
        if seconds is not None and not (isinstance(seconds, int | float) and math.isfinite(seconds)):
            raise InvalidInput(field, seconds, "seconds since the epoch")
