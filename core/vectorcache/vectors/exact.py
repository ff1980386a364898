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

_SPARE = 4  # candidates beyond k: room for near ties
_CACHED_BYTES = 1 << 20  # of vectors that stay in a processor's own cache
_BLOCK_BYTES = 32 << 20  # of float32 scores that a batch holds at a time


class SearchResult(NamedTuple):
    """Indices int64 and distances float64 of the nearest, nearest first: (m,) of one query, (b, m) of a batch."""

    indices: Rows
    distances: Doubles


class VectorSearch(ABC):
    """Finds the vectors nearest to a query. Safe to share between threads.

    Args:
        k: how many a search returns unless it says otherwise.
    """

    def __init__(self, k: int) -> None:
        self._k = check_k(k)

    @property
    @abstractmethod
    def dimension(self) -> int:
        """Components of a vector."""

    @abstractmethod
    def __len__(self) -> int:
        """Number of vectors."""

    def search(self, queries: ArrayLike, k: int | None = None) -> SearchResult:
        """The k nearest of one query (d,) or of each of a batch (b, d).

        Args:
            queries: finite numbers.
            k: how many; None takes the search's own setting. More than there are vectors gives them all.

        Raises:
            InvalidInput: ``k`` is less than 1, or the queries are of a wrong shape, NaN or infinite.
        """
        k = min(self._k if k is None else check_k(k), len(self))
        batch, single = as_queries(queries, self.dimension)
        indices, distances = self.search_checked(batch, k)
        return SearchResult(indices[0], distances[0]) if single else SearchResult(indices, distances)

    @abstractmethod
    def search_checked(self, queries: Floats, k: int) -> SearchResult:
        """``search`` of a batch (b, d), float32 and C-contiguous, that was checked already; k from 1 to all."""

    def chosen(self, queries: Floats, k: int) -> NDArray[np.int32]:
        """The indices (b, k) of ``search_checked`` in ascending order."""
        return np.sort(self.search_checked(queries, k).indices, axis=1).astype(np.int32)

    def work(self) -> float:
        """About how long the search of one query takes, in multiplications."""
        return float(len(self) * self.dimension)


class ExactVectorSearch(VectorSearch):
    """Compares each query with every vector; its answers equal brute force in float64, order and distance.

    Equal distances come in the order of the vectors' indices.

    Args:
        vectors: (n, d), n >= 1; held as float32, and not copied where they are that already and aligned.
        metric: "euclidean", "cosine" (distance ``1 - cos``) or "dot" (distance ``-x.q``).
        k: how many a search returns unless it says otherwise.
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
        """Components of a vector."""
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
        """See ``VectorSearch.chosen``: in half the time, since most rows are told apart in float32."""
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
        """Cut a batch so that the scores of one block stay within bounds."""
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
        """Inner products, where the kernel would take longer for them.

        One query waits for memory whoever multiplies, and the kernel selects on its way. Many share what BLAS
        reads, except where vectors stay in the processor's cache.
        """
        if len(queries) == 1 or self._vectors.nbytes <= _CACHED_BYTES:
            return None
        return self._dots(self._metric.prepare(queries))

    def _dots(self, prepared: Floats) -> Floats:
        """Inner products (b, n) of prepared queries with all vectors."""
        with multiplying():
            if (
                len(prepared) == 1
            ):  # a product of matrix and vector is faster than one with a matrix of one row
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
    """Return ``k``, or raise ``InvalidInput`` where it is not a whole number from 1 (to ``most``)."""
    if isinstance(k, bool) or not isinstance(k, int | np.integer) or k < 1 or (most is not None and k > most):
        allowed = "a whole number of at least 1" if most is None else f"a whole number from 1 to {most}"
        raise InvalidInput(field, k, allowed)
    return int(k)


def as_queries(queries: ArrayLike, dimension: int, field: str = "query") -> tuple[Floats, bool]:
    """Check queries and bring them to (b, d) float32; also say whether it was a single one, (d,)."""
    array = as_floats(queries, field)
    single = array.ndim == 1
    return as_vectors(array[None] if single else array, field, dimension=dimension), single
