"""faiss for large partitions: flat, inverted lists (IVF), IVF with product quantisation, or HNSW."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from typing import Any

from vectorcache.errors import InvalidInput
from vectorcache.vectors.metric import Floats
from vectorcache.vectors.topk import Rows
from vectorcache_llm.extras import require
from vectorcache_llm.similarity.local.ann import ANNIndex, ANNKind
from vectorcache_llm.similarity.local.index import MAX_BYTES, MAX_ENTRIES, LocalIndex

MIN_ROWS = 2048
"""Number of entries below which an exact search is as fast, and there are too few vectors for training."""
SPARE = 8
CODE_SPARE = 120
"""Candidates beyond k for product-quantised vectors, whose similarities are imprecise."""
MAX_GROWTH = 4
"""Growth factor of the index, relative to its training rows, at which it is trained again."""
TRAINING_ROWS = 4096
"""Maximum number of training rows. Centroids may be approximate, because candidates are compared exactly."""
_SUBVECTOR = 8
_ROUNDS = 10
_MIN_POINTS = 1  # per centroid, so that faiss does not warn about few training rows


class _Lists(ANNIndex):
    """A flat or IVF index, in which faiss manages the ids."""

    def __init__(self, index: Any, rows: Rows, vectors: Floats) -> None:
        self._index = index
        self._trained_on = math.inf if index.is_trained else len(rows)  # a flat index needs no training
        index.train(vectors[:TRAINING_ROWS])
        self.add(rows, vectors)

    def __len__(self) -> int:
        return int(self._index.ntotal)

    def add(self, rows: Rows, vectors: Floats) -> None:
        """See ``ANNIndex.add``."""
        self._index.add_with_ids(vectors, rows)

    def remove(self, rows: Rows) -> None:
        """See ``ANNIndex.remove``."""
        self._index.remove_ids(rows)

    def nearest(self, query: Floats, count: int) -> list[int]:
        """See ``ANNIndex.nearest``."""
        found: list[int] = self._index.search(query[None], count)[1][0].tolist()
        return [row for row in found if row >= 0]

    @property
    def compared(self) -> int:
        """See ``ANNIndex.compared``."""
        return len(self)

    @property
    def needs_rebuild(self) -> bool:
        """Whether the index has grown far beyond its training rows."""
        return len(self) > MAX_GROWTH * self._trained_on


class _Graph(ANNIndex):
    """An HNSW index. faiss cannot delete from it, so removed rows are skipped until the index is rebuilt."""

    def __init__(self, index: Any, rows: Rows, vectors: Floats) -> None:
        self._index = index
        self._row_at: list[int] = []
        self._place_of: dict[int, int] = {}
        self.add(rows, vectors)

    def __len__(self) -> int:
        return len(self._place_of)

    def add(self, rows: Rows, vectors: Floats) -> None:
        """See ``ANNIndex.add``."""
        self._index.add(vectors)
        for row in rows.tolist():
            self._place_of[row] = len(self._row_at)
            self._row_at.append(row)

    def remove(self, rows: Rows) -> None:
        """See ``ANNIndex.remove``."""
        for row in rows.tolist():
            place = self._place_of.pop(row, None)
            if place is not None:
                self._row_at[place] = -1

    def nearest(self, query: Floats, count: int) -> list[int]:
        """See ``ANNIndex.nearest``; requests more candidates until enough of them have not been removed."""
        wanted = min(count, len(self))
        while True:
            places = self._index.search(query[None], count)[1][0].tolist()
            rows = [row for place in places if place >= 0 and (row := self._row_at[place]) >= 0]
            if len(rows) >= wanted or count >= len(self._row_at):
                return rows
            count = min(4 * count, len(self._row_at))

    @property
    def needs_rebuild(self) -> bool:
        """Whether more than half of the rows have been removed."""
        return len(self._row_at) > 2 * len(self)


def _flat(faiss: Any, rows: Rows, vectors: Floats) -> ANNIndex:
    return _Lists(faiss.IndexIDMap(faiss.IndexFlatIP(vectors.shape[1])), rows, vectors)


def _ivf(faiss: Any, rows: Rows, vectors: Floats) -> ANNIndex:
    dimension, lists = vectors.shape[1], math.isqrt(len(rows))
    quantizer = faiss.IndexFlatIP(dimension)
    index = faiss.IndexIVFFlat(quantizer, dimension, lists, faiss.METRIC_INNER_PRODUCT)
    return _Lists(_probing(index, lists), rows, vectors)


def _ivfpq(faiss: Any, rows: Rows, vectors: Floats) -> ANNIndex:
    dimension, lists = vectors.shape[1], math.isqrt(len(rows))
    codes = next(parts for parts in range(max(1, dimension // _SUBVECTOR), 0, -1) if dimension % parts == 0)
    quantizer = faiss.IndexFlatIP(dimension)
    index = faiss.IndexIVFPQ(quantizer, dimension, lists, codes, 8, faiss.METRIC_INNER_PRODUCT)
    index.pq.cp.min_points_per_centroid, index.pq.cp.niter = _MIN_POINTS, _ROUNDS
    return _Lists(_probing(index, lists), rows, vectors)


def _hnsw(faiss: Any, rows: Rows, vectors: Floats) -> ANNIndex:
    index = faiss.IndexHNSWFlat(vectors.shape[1], 32, faiss.METRIC_INNER_PRODUCT)
    index.hnsw.efSearch = 128
    return _Graph(index, rows, vectors)


def _probing(index: Any, lists: int) -> Any:
    index.cp.min_points_per_centroid = _MIN_POINTS
    index.nprobe = max(8, 2 * lists // 3)
    return index


KINDS: dict[str, tuple[Callable[[Any, Rows, Floats], ANNIndex], int]] = {
    "flat": (_flat, SPARE),
    "ivf": (_ivf, SPARE),
    "ivfpq": (_ivfpq, CODE_SPARE),
    "hnsw": (_hnsw, SPARE),
}
"""Builder of each kind, and the number of candidates beyond k."""


class FaissIndex(LocalIndex):
    """In-process index that searches large partitions with faiss; see ``LocalIndex``.

    Args:
        fingerprint: fingerprint of the embedder.
        dimension: number of components of its vectors.
        kind: "flat", "ivf", "ivfpq" or "hnsw".
        max_entries: maximum number of entries; the least recently used are evicted.
        max_bytes: approximate memory limit, in bytes.
        clock: returns seconds since the epoch.
        on_removed: called with the number of removed entries and the reason, "evicted" or "expired".

    Raises:
        MissingExtra: faiss is not installed.
    """

    name = "faiss"

    def __init__(
        self,
        fingerprint: str,
        dimension: int,
        *,
        kind: str = "hnsw",
        max_entries: int = MAX_ENTRIES,
        max_bytes: int = MAX_BYTES,
        clock: Callable[[], float] = time.time,
        on_removed: Callable[[int, str], None] | None = None,
    ) -> None:
        super().__init__(
            fingerprint,
            dimension,
            _ann_kind(kind),
            max_entries=max_entries,
            max_bytes=max_bytes,
            clock=clock,
            on_removed=on_removed,
        )


def _ann_kind(kind: str) -> ANNKind:
    if kind not in KINDS:
        raise InvalidInput("kind", kind, ", ".join(KINDS))
    faiss = require("faiss", "build")
    build, spare = KINDS[kind]
    return ANNKind(MIN_ROWS, lambda rows, vectors: build(faiss, rows, vectors), lambda wanted: wanted + spare)
