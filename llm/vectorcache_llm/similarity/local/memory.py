"""The default in-process index: exact search in small partitions, HNSW in large ones."""

from __future__ import annotations

import time
from collections.abc import Callable

from vectorcache.errors import InvalidInput
from vectorcache.vectors.exact import check_k
from vectorcache_llm.similarity.local.ann import ANNKind
from vectorcache_llm.similarity.local.hnsw import hnsw
from vectorcache_llm.similarity.local.index import MAX_BYTES, MAX_ENTRIES, LocalIndex

METHODS = ("auto", "exact")
EXPANSION = 48


class MemoryIndex(LocalIndex):
    """In-process index with exact and HNSW search; see ``LocalIndex``.

    Args:
        fingerprint: fingerprint of the embedder.
        dimension: number of components of its vectors.
        method: "auto" searches small partitions exactly and large ones with HNSW; "exact" always compares all
            vectors.
        expansion: size of the candidate list of an HNSW search; larger values raise the recall and the latency.
        max_entries: maximum number of entries; the least recently used are evicted.
        max_bytes: approximate memory limit, in bytes.
        clock: returns seconds since the epoch.
        on_removed: called with the number of removed entries and the reason, "evicted" or "expired".

    Raises:
        MissingExtra: usearch is not installed, and ``method`` is "auto".
    """

    def __init__(
        self,
        fingerprint: str,
        dimension: int,
        *,
        method: str = "auto",
        expansion: int = EXPANSION,
        max_entries: int = MAX_ENTRIES,
        max_bytes: int = MAX_BYTES,
        clock: Callable[[], float] = time.time,
        on_removed: Callable[[int, str], None] | None = None,
    ) -> None:
        super().__init__(
            fingerprint,
            dimension,
            _ann_kind(method, expansion),
            max_entries=max_entries,
            max_bytes=max_bytes,
            clock=clock,
            on_removed=on_removed,
        )


def _ann_kind(method: str, expansion: int) -> ANNKind | None:
    if method not in METHODS:
        raise InvalidInput("method", method, ", ".join(METHODS))
    check_k(expansion, "expansion")
    return hnsw(expansion) if method == "auto" else None
