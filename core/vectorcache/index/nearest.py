"""Search for the centroids nearest to each of many vectors, by matrix products of numpy's BLAS.

Faiss includes its own BLAS. That may not support a recent processor, and then takes four times as long.
"""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import NamedTuple, TypeVar

import faiss
import numpy as np
from numpy.typing import NDArray

from vectorcache.vectors.metric import Floats, multiplying

CANDIDATES_FROM = 1024
"""Number of centroids from which a vector is compared only with candidates."""
ROUNDED = 2.0**-16
"""Rounding error of a squared distance that is computed as a difference of squares, relative to these squares."""

_HUBS_PER_ROOT = 4  # hubs per square root of the number of centroids
_SAMPLES_PER_HUB = 400
_SAMPLE_STRETCH = 1.25  # candidates of a sampled vector are within this multiple of the nearest distance
_SAMPLE_NEAREST = 8
_SAMPLES_AT_ONCE = 16_384

SCORES_AT_ONCE = 1 << 20
"""Number of scores computed at a time: 4 MiB, about the size of a processor's cache."""
_CROWDED = 4  # if more than this multiple of k values reach the floor, a partition is faster than a sort

Item = TypeVar("Item")
Result = TypeVar("Result")


class Near(NamedTuple):
    """The nearest centroids of each vector, in ascending order of distance.

    Attributes:
        distances: (n, k) float32, squared; infinite where fewer than k are within reach.
        numbers: (n, k) int64, numbers of the centroids; 0 where the distance is infinite.
    """

    distances: Floats
    numbers: NDArray[np.int64]


def in_threads(work: Callable[[Item], Result], items: Iterable[Item]) -> Iterator[Result]:
    """Yield results in the order of the items, computed by as many threads as there are processors.

    Faiss uses one thread in each of them, because its own threads mostly wait if the work is in small pieces.
    """
    threads = len(os.sched_getaffinity(0))
    with ThreadPoolExecutor(threads, initializer=faiss.omp_set_num_threads, initargs=(1,)) as pool:
        yield from pool.map(work, items)


def k_means(sample: Floats, k: int, *, spherical: bool, iterations: int, seed: int) -> Floats:
    """Return the centroids (k, d) float32 of a sample (m, d), m >= k."""
    kmeans = faiss.Kmeans(
        sample.shape[1],
        k,
        niter=iterations,
        seed=seed,
        spherical=spherical,
        min_points_per_centroid=1,
        max_points_per_centroid=len(sample),  # the caller chose the sample
    )
    kmeans.train(sample)
    return np.ascontiguousarray(kmeans.centroids, dtype=np.float32)


def best_above(scores: Floats, floor: Floats, k: int) -> tuple[Floats, NDArray[np.int64]]:
    """Return the k largest values of each row (m, c) that are not below the row's floor (m,).

    Returns:
        Values (m, k) in descending order and their columns (m, k); minus infinity and 0 where there are fewer than k.
        Equal values are in the order of their columns. If many equal the k-th value, an arbitrary choice is returned.
    """
    count, columns = scores.shape
    rows, places = np.divmod(np.flatnonzero(scores >= floor[:, None]), columns)
    crowded = np.bincount(rows, minlength=count) > _CROWDED * k
    if crowded.any():
        many = np.flatnonzero(crowded)
        kept = ~crowded[rows]
        best = np.argpartition(scores[many], columns - k, axis=1)[:, columns - k :]
        rows = np.concatenate([rows[kept], np.repeat(many, k)])
        places = np.concatenate([places[kept], best.ravel()])
    found = scores[rows, places]
    order = np.lexsort((places, -found, rows))
    rows, places, found = rows[order], places[order], found[order]
    rank = np.arange(len(rows)) - np.searchsorted(rows, np.arange(count))[rows]
    within = rank < k
    values = np.full((count, k), -np.inf, dtype=np.float32)
    numbers = np.zeros((count, k), dtype=np.int64)
    values[rows[within], rank[within]] = found[within]
    numbers[rows[within], rank[within]] = places[within]
    return values, numbers


def nearest_of_all(vectors: Floats, centroids: Floats, k: int, stretch: float) -> Near:
    """Return the k nearest centroids (c, d) of each vector (n, d), by comparing all pairs.

    Centroids farther than ``stretch`` times the distance of the nearest one, within rounding, are left out.
    """
    k = min(k, len(centroids))
    halves = half_squares(centroids)
    near = Near(np.empty((len(vectors), k), np.float32), np.empty((len(vectors), k), np.int64))
    step = max(1, SCORES_AT_ONCE // len(centroids))
    for start in range(0, len(vectors), step):
        block = vectors[start : start + step]
        squares = np.float32(2) * half_squares(block)
        scores = _scores(block, centroids, halves)
        nearest = np.maximum(squares - 2 * scores.max(axis=1), 0)
        reach = np.float32(stretch**2) * nearest + np.float32(ROUNDED) * squares
        values, numbers = best_above(scores, np.minimum((squares - reach) / 2, scores.max(axis=1)), k)
        near.distances[start : start + step] = squares[:, None] - 2 * values
        near.numbers[start : start + step] = numbers
    return near


def nearest_one(vectors: Floats, centroids: Floats) -> NDArray[np.int64]:
    """Return the number of the nearest centroid of each vector: (n,). Ties go to the smaller number."""
    halves = half_squares(centroids)
    step = max(1, SCORES_AT_ONCE // len(centroids))
    parts = [
        _scores(vectors[start : start + step], centroids, halves).argmax(axis=1)
        for start in range(0, len(vectors), step)
    ]
    return np.concatenate(parts) if parts else np.empty(0, np.int64)


def distances_to_nearest(vectors: Floats, centroids: Floats) -> Floats:
    """Return the distance of each vector from its nearest centroid: (n,)."""
    centre = centroids.mean(axis=0)
    # Computed directly, because the scores that select the nearest centroid have rounding errors.
    apart = vectors - centroids[nearest_one(vectors - centre, centroids - centre)]
    return np.asarray(np.sqrt(np.einsum("nd,nd->n", apart, apart)))


def _scores(vectors: Floats, centroids: Floats, halves: Floats) -> Floats:
    """Return ``x.c - |c|^2 / 2 = (|x|^2 - distance^2) / 2``: (n, c). The nearest centroid has the largest score."""
    with multiplying():
        scores: Floats = vectors @ centroids.T
    scores -= halves
    return scores


def half_squares(vectors: Floats) -> Floats:
    """Return half of the squared norm of each vector: (n,)."""
    return np.asarray(np.einsum("nd,nd->n", vectors, vectors) * np.float32(0.5))


class CellFinder:
    """Search for the nearest of many centroids among candidates. Safe to share between threads.

    The centroids are clustered around hubs. All vectors that are nearest to one hub share candidates: the centroids
    near to any of a sample of such vectors, which are a few hundred of 6000. For a few percent of the vectors the
    candidates do not include the nearest centroid, but one that is hardly farther.

    Args:
        centroids: (c, d) float32.
        hubs: (h, d) float32.
        candidates: for each hub, numbers of its candidates.
    """

    def __init__(self, centroids: Floats, hubs: Floats, candidates: list[NDArray[np.int64]]) -> None:
        self._centroids = centroids
        self._hubs = hubs
        self._candidates = candidates

    def moved(self, centroids: Floats) -> CellFinder:
        """Return a finder for centroids that have moved a little, with the same candidates."""
        return CellFinder(centroids, self._hubs, self._candidates)

    def nearest(self, vectors: Floats, k: int, stretch: float) -> Near:
        """Return the nearest candidates of each vector; see ``nearest_of_all``."""
        hubs = nearest_one(vectors, self._hubs)
        order = np.argsort(hubs, kind="stable")
        bounds = np.searchsorted(hubs[order], np.arange(len(self._hubs) + 1))
        near = Near(np.full((len(vectors), k), np.inf, np.float32), np.zeros((len(vectors), k), np.int64))
        for hub in np.unique(hubs).tolist():
            rows = order[bounds[hub] : bounds[hub + 1]]
            candidates = self._candidates[hub]
            found = nearest_of_all(vectors[rows], self._centroids[candidates], k, stretch)
            width = found.numbers.shape[1]
            near.distances[rows, :width] = found.distances
            near.numbers[rows, :width] = candidates[found.numbers]
        return near


def make_finder(centroids: Floats, sample: Floats, *, seed: int) -> CellFinder:
    """Cluster centroids (c, d), and choose candidates by a sample (m, d) of the vectors to be searched for."""
    count = min(len(centroids), _HUBS_PER_ROOT * math.isqrt(len(centroids)))
    hubs = k_means(centroids, count, spherical=False, iterations=8, seed=seed)
    some = sample[:: -(-len(sample) // (_SAMPLES_PER_HUB * count))]
    # The hubs and centroids are included, so that each hub has a candidate.
    vectors = np.concatenate([some, hubs, centroids])

    def find(block: Floats) -> Near:
        return nearest_of_all(block, centroids, _SAMPLE_NEAREST, _SAMPLE_STRETCH)

    seen = np.zeros((count, len(centroids)), dtype=bool)
    blocks = np.array_split(vectors, -(-len(vectors) // _SAMPLES_AT_ONCE))
    for block, near in zip(blocks, in_threads(find, blocks), strict=True):
        rows, places = np.nonzero(np.isfinite(near.distances))
        seen[nearest_one(block, hubs)[rows], near.numbers[rows, places]] = True
    return CellFinder(centroids, hubs, [np.flatnonzero(row) for row in seen])
