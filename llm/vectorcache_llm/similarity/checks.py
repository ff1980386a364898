"""What every index asks of entries and queries, and the one way in which they are compared."""

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
"""How far from 1 a vector's length may be: what half-precision models round to. Cosines are exact all the same."""

CHECKED_AT_ONCE = 64
"""Entries that are checked on the event loop: about a millisecond."""


def check_entry(entry: IndexEntry, dimension: int) -> IndexEntry:
    """The entry with a vector of its own that nobody can change, (d,) float32.

    Raises:
        InvalidInput: names the field that is not as ``IndexEntry`` says.
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
        raise InvalidInput("vector", f"one of length {length:g}", "length 1, or zeros")
    if vector is entry.vector and not vector.flags.writeable:
        return entry
    own = vector.copy()
    own.flags.writeable = False
    return dataclasses.replace(entry, vector=own)


async def check_entries(entries: Sequence[IndexEntry], dimension: int) -> list[IndexEntry]:
    """``check_entry`` of each, in a thread where they are many."""

    def checked() -> list[IndexEntry]:
        return [check_entry(entry, dimension) for entry in entries]

    return checked() if len(entries) <= CHECKED_AT_ONCE else await asyncio.to_thread(checked)


def unit_query(vector: ArrayLike, dimension: int, k: int) -> Floats | None:
    """A query (d,) brought to length 1; None for zeros, which are similar to nothing.

    Raises:
        InvalidInput: ``k`` is less than 1, or the vector is of a wrong dimension or not finite.
    """
    check_k(k)
    query, length = _measured(vector, dimension)
    return query / np.float32(length) if length else None


def unit(vector: Floats) -> Floats:
    """A vector of an entry at length 1 to the last bit of float32; zeros as they are."""
    length = norm(vector)
    return vector / np.float32(length) if length else vector


def cosine(vector: Floats, query: Doubles) -> float:
    """The cosine of a vector with a query of length 1, in float64; 0 for zeros."""
    wide = vector.astype(np.float64)
    length = norm(wide)
    return float(wide.dot(query)) / length if length else 0.0


def best(
    entries: Sequence[IndexEntry], partition: Partition, query: Floats, k: int, min_similarity: float
) -> list[Match]:
    """The k best of candidates, compared exactly; nothing of another partition, whatever a server says."""
    wide = query.astype(np.float64)
    ours = (Match(entry, cosine(entry.vector, wide)) for entry in entries if entry.partition == partition)
    found = [match for match in ours if match.similarity >= min_similarity]
    found.sort(key=lambda match: (-match.similarity, match.entry.id))
    return found[:k]


def selects(selection: Selection, entry: IndexEntry) -> bool:
    """Whether an entry is selected."""
    return selection.matches(entry.partition.scope, entry.created_at, entry.tags, entry.id, entry.text)


def _measured(value: ArrayLike, dimension: int) -> tuple[Floats, float]:
    """The vector and its length."""
    vector = as_floats(value, "vector")
    if vector.shape != (dimension,):
        raise InvalidInput("vector", f"one of shape {vector.shape}", f"shape ({dimension},)")
    length = norm(vector)
    if not math.isfinite(length):
        raise InvalidInput("vector", "one that is not finite", "finite numbers")
    return vector, length


def _check_texts(entry: IndexEntry) -> None:
    texts = [("text", entry.text), *(("tags", tag) for tag in entry.tags)]
    texts += [("metadata", part) for pair in entry.metadata.items() for part in pair]
    for field, text in texts:
        try:
            text.encode()
        except (UnicodeEncodeError, AttributeError) as error:
            raise InvalidInput(field, text, "a string without half a surrogate pair") from error
    if not isinstance(entry.payload, bytes):
        raise InvalidInput("payload", entry.payload, "bytes")


def _check_times(entry: IndexEntry) -> None:
    for field, seconds in (("created_at", entry.created_at), ("expires_at", entry.expires_at)):
        if seconds is not None and not (isinstance(seconds, int | float) and math.isfinite(seconds)):
            raise InvalidInput(field, seconds, "seconds since the epoch")
