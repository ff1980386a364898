"""HNSW graphs (Malkov & Yashunin, 2016) with usearch."""

from __future__ import annotations

from typing import Any

import numpy as np

from vectorcache.vectors.metric import Floats
from vectorcache.vectors.topk import Rows
from vectorcache_llm.extras import require
from vectorcache_llm.similarity.local.ann import ANNIndex, ANNKind

MIN_ROWS = 2048
"""Number of entries below which an exact search is as fast."""
CONNECTIVITY = 24
"""Links of a node. Of 16, 24 and 32 this gives the best recall for the same search time."""
SPARE = 8
"""Candidates beyond k. With eight bits per component, similarities have an error of about 0.003."""


class HnswIndex(ANNIndex):
    """An HNSW graph of vectors with eight bits per component. Rows added later reuse the slots of removed ones."""

    def __init__(self, usearch: Any, rows: Rows, vectors: Floats, expansion: int) -> None:
        self._index = usearch.Index(
            ndim=vectors.shape[1],
            metric="ip",
            dtype="i8",
            connectivity=CONNECTIVITY,
            expansion_search=expansion,
        )
        self.add(rows, vectors)

    def __len__(self) -> int:
        return len(self._index)

    def add(self, rows: Rows, vectors: Floats) -> None:
        """See ``ANNIndex.add``."""
        self._index.add(rows, vectors, threads=1)

    def remove(self, rows: Rows) -> None:
        """See ``ANNIndex.remove``."""
        self._index.remove(rows, threads=1)

    def nearest(self, query: Floats, count: int) -> list[int]:
        """See ``ANNIndex.nearest``."""
        found: list[int] = self._index.search(query, count, threads=1).keys.tolist()
        return found


def hnsw(expansion: int) -> ANNKind:
    """Return the HNSW kind of ANN index. ``expansion`` is the size of the candidate list of a search.

    Raises:
        MissingExtra: usearch is not installed.
    """
    usearch = require("usearch.index", "llm")
    return ANNKind(
        MIN_ROWS,
        lambda rows, vectors: HnswIndex(usearch, rows.astype(np.uint64), vectors, expansion),
        lambda k: k + SPARE,
    )
