"""Hierarchical navigable small worlds (Malkov & Yashunin, 2016) by usearch."""

from __future__ import annotations

from typing import Any

import numpy as np

from vectorcache.vectors.metric import Floats
from vectorcache.vectors.topk import Rows
from vectorcache_llm.extras import require
from vectorcache_llm.similarity.local.ann import ANNIndex, ANNKind

FROM_ROWS = 2048
"""Below this comparing every vector is as fast."""
CONNECTIVITY = 24
"""Links of a node: of 16, 24 and 32 the one that finds most in the same time."""
SPARE = 8
"""Candidates beyond k: eight bits a component confuse near ties, by some 0.003."""


class HnswIndex(ANNIndex):
    """A graph of vectors in eight bits a component. Removed rows leave their place to the next that are added."""

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
    """Partitions are searched by HNSW; ``expansion`` is how many nodes of the graph a search keeps in sight.

    Raises:
        MissingExtra: usearch is not installed.
    """
    usearch = require("usearch.index", "llm")
    return ANNKind(
        FROM_ROWS,
        lambda rows, vectors: HnswIndex(usearch, rows.astype(np.uint64), vectors, expansion),
        lambda k: k + SPARE,
    )
