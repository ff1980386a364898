"""Nearest-neighbour search over vectors in memory: the interface, and the exact implementation."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from vectorcache.errors import InvalidInput
from vectorcache.vectors.metric import (
    Doubles,
    Floats,
    aligned,
    as_floats,
    as_vectors,
    largest_norm,
    metric_of,
    multiplying,
)
from vectorcache.vectors.native import kernel
from vectorcache.vectors.topk import Rows, select_nearest

_SPARE = 4  # candidates in addition to k, for near ties
_CACHED_BYTES = 1 << 20  # size of vectors that stay in the processor's cache
_BLOCK_BYTES = 32 << 20  # size of the float32 scores of a batch that are held at a time


class SearchResult(NamedTuple):
    """Indices int64 and distances float64, nearest first: (m,) for one query, (b, m) for a batch."""

    indices: Rows
    distances: Doubles


class VectorSearch(ABC):
    """Search for the vectors nearest to a query. Safe to share between threads.

    Args:
        k: default number of neighbours.
    """

    def __init__(self, k: int) -> None:
        self._k = check_k(k)

    @property
    @abstractmethod
    def dimension(self) -> int:
        """Number of components of a vector."""

    @abstractmethod
    def __len__(self) -> int:
        """Return the number of vectors."""

    def search(self, queries: ArrayLike, k: int | None = None) -> SearchResult:
        """Return the k nearest vectors of one query (d,) or of each query of a batch (b, d).

        Args:
            queries: finite numbers.
            k: number of neighbours; None takes the default. All vectors are returned if there are fewer.

        Raises:
            InvalidInput: ``k`` is less than 1, or the queries have a wrong shape, NaN or infinity.
        """
        k = min(self._k if k is None else check_k(k), len(self))
        batch, single = as_queries(queries, self.dimension)
        indices, distances = self.search_checked(batch, k)
        return SearchResult(indices[0], distances[0]) if single else SearchResult(indices, distances)

    @abstractmethod
    def search_checked(self, queries: Floats, k: int) -> SearchResult:
        """Search a checked batch (b, d), float32 and C-contiguous; k is from 1 to the number of vectors."""

    def chosen(self, queries: Floats, k: int) -> NDArray[np.int32]:
        """Return the indices (b, k) of ``search_checked`` in ascending order."""
        return np.sort(self.search_checked(queries, k).indices, axis=1).astype(np.int32)

    def work(self) -> float:
        """Return the approximate cost of one query, in multiplications."""
        return float(len(self) * self.dimension)


class ExactVectorSearch(VectorSearch):
    """Search that compares each query with all vectors. Order and distances equal those of brute force in float64.

    Equal distances are in the order of the vectors' indices.

    Args:
        vectors: (n, d), n >= 1. They are held as float32, without a copy if they are aligned float32.
        metric: "euclidean", "cosine" (distance ``1 - cos``) or "dot" (distance ``-x.q``).
        k: default number of neighbours.
    """

    def __init__(self, vectors: ArrayLike, metric: str = "euclidean", k: int = 10) -> None:
        self._vectors = aligned(as_vectors(vectors, "vectors"))
        if not len(self._vectors):
            raise InvalidInput("vectors", "an empty set", "at least one vector")
        self._metric = metric_of(metric)
        super().__init__(k)
        self._terms = self._metric.row_terms(self._vectors)
        self._largest_norm = largest_norm(self._vectors)
        self._kernel = kernel()

    @property
    def dimension(self) -> int:
        """Number of components of a vector."""
        return int(self._vectors.shape[1])

    def __len__(self) -> int:
        return len(self._vectors)

    def search_checked(self, queries: Floats, k: int) -> SearchResult:
        """See ``VectorSearch.search_checked``."""
        found = [top for block in self._blocks(queries) for top in self._search_block(block, k)]
        if len(found) == 1:
            return SearchResult(found[0].indices[None], found[0].distances[None])
        indices = np.array([one.indices for one in found], dtype=np.int64).reshape(len(queries), k)
        return SearchResult(indices, np.array([one.distances for one in found]).reshape(len(queries), k))

    def chosen(self, queries: Floats, k: int) -> NDArray[np.int32]:
        """See ``VectorSearch.chosen``. Takes half the time of ``search_checked``: float32 decides most rows."""
        chosen = [self._chosen(block, k) for block in self._blocks(queries)]
        return chosen[0] if len(chosen) == 1 else np.concatenate([np.empty((0, k), dtype=np.int32), *chosen])

    def _chosen(self, queries: Floats, k: int) -> NDArray[np.int32]:
        if self._kernel is None:
            return super().chosen(queries, k)
        vectors = (self._vectors, self._terms)
        return self._kernel.chosen_in_table(
            *(self._metric, queries, *vectors, k),
            dots=self._dots_of_many(queries),
            largest_norm=self._largest_norm,
        )

    def _blocks(self, batch: Floats) -> list[Floats]:
        """Divide a batch so that the size of the scores of each block is bounded."""
        size = max(1, _BLOCK_BYTES // (4 * len(self)))
        return [batch[start : start + size] for start in range(0, len(batch), size)]

    def _search_block(self, queries: Floats, k: int) -> list[SearchResult]:
        if self._kernel is not None:
            dots = self._dots_of_many(queries)
            return [
                SearchResult(nearest.rows, nearest.distances)
                for nearest in self._kernel.nearest_in_table(
                    self._metric,
                    queries,
                    self._vectors,
                    self._terms,
                    k,
                    dots=dots,
                    spare=_SPARE,
                    largest_norm=self._largest_norm,
                )
            ]
        scores = self._metric.fast(self._dots(self._metric.prepare(queries)), self._terms)
        return [self._nearest(row, query, k) for row, query in zip(scores, queries, strict=True)]

    def _dots_of_many(self, queries: Floats) -> Floats | None:
        """Return inner products computed by BLAS, or None if the kernel computes them faster.

        A single query is bound by memory bandwidth in both cases, and the kernel also selects in the same pass. For
        many queries BLAS reads each vector only once. This saves nothing if the vectors stay in the processor's cache.
        """
        if len(queries) == 1 or self._vectors.nbytes <= _CACHED_BYTES:
            return None
        return self._dots(self._metric.prepare(queries))

    def _dots(self, prepared: Floats) -> Floats:
        """Return the inner products (b, n) of prepared queries with all vectors."""
        with multiplying():
            # A product of matrix and vector is faster than one with a matrix of one row.
            if len(prepared) == 1:
                return np.asarray(np.dot(self._vectors, prepared[0])[None])
            return np.asarray(prepared @ self._vectors.T)

    def _nearest(self, fast: Floats, query: Floats, k: int) -> SearchResult:
        top = select_nearest(
            fast,
            k,
            score=lambda positions: (positions, self._metric.direct(self._vectors[positions], query)),
            bound_of=lambda distance: self._metric.bound(distance, query, self._largest_norm),
            spare=_SPARE,
        )
        return SearchResult(top.rows, top.distances)


def check_k(k: int, field: str = "k", most: int | None = None) -> int:
    """Return ``k``. Raises ``InvalidInput`` if it is not a whole number from 1 (to ``most``)."""
    if isinstance(k, bool) or not isinstance(k, int | np.integer) or k < 1 or (most is not None and k > most):
        allowed = "a whole number of at least 1" if most is None else f"a whole number from 1 to {most}"
        raise InvalidInput(field, k, allowed)
    return int(k)


def as_queries(queries: ArrayLike, dimension: int, field: str = "query") -> tuple[Floats, bool]:
    """Check queries and return them as (b, d) float32, and whether the input was a single query (d,)."""
    array = as_floats(queries, field)
    single = array.ndim == 1
    return as_vectors(array[None] if single else array, field, dimension=dimension), single
