"""The embedded default: exact search in small partitions, HNSW in large ones."""

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
    """Entries in this process, for one event loop; see ``LocalIndex``.

    Args:
        fingerprint: of the embedder.
        dimension: of its vectors.
        method: "auto" compares all vectors of a small partition and searches a large one by HNSW; "exact" compares
            all vectors always.
        expansion: how many nodes of the graph HNSW keeps in sight; more finds more and takes longer.
        max_entries: how many are kept; the least recently used leave.
        max_bytes: how much memory they take, about.
        clock: tells seconds since the epoch.
        on_removed: hears how many entries left by themselves, and why: "evicted" or "expired".

    Raises:
        MissingExtra: usearch is not installed, which "auto" needs.
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
