"""Clustering: k-means centroids, and the assignment of vectors to cells.

A vector near a boundary is also copied to the neighbouring cells, by the relative-neighbourhood rule of SPANN (Chen et
al., "SPANN: Highly-efficient Billion-scale Approximate Nearest Neighbor Search", NeurIPS 2021, section 3.2).
"""

from __future__ import annotations

import math
from functools import partial
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from vectorcache.index.nearest import (
    CANDIDATES_FROM,
    ROUNDED,
    CellFinder,
    in_threads,
    k_means,
    make_finder,
    nearest_of_all,
    nearest_one,
)
from vectorcache.vectors.metric import Floats, comparable

CLOSURE_CAP = 8
"""Maximum number of cells that hold a copy of the same vector."""
TWO_LEVELS_FROM = 1024
"""Number of cells from which k-means runs on groups of the sample."""

_SAME = 2.0**-18  # relative distance of a vector and a mean of many like it, in float32
_SAMPLE_PER_GROUP = 1024  # vectors per group that the groups of a two-level k-means are trained on

_REFINEMENTS = 3
_REFINED_AT_ONCE = 65_536  # vectors

_ROWS_AT_ONCE = 1024


class Copies(NamedTuple):
    """Pairs of a row and a cell that holds it: (m,) int64 and (m,) int32, m >= n. A row's own cell comes first."""

    rows: NDArray[np.int64]
    cells: NDArray[np.int32]


class Assigned(NamedTuple):
    """Rows and their cells.

    Attributes:
        rows: (n,) row numbers.
        nearest: (n,) float32, squared distance of each row from the centroid of its own cell.
        copies: the own cell of each row, and the others that hold a copy.
    """

    rows: NDArray[np.int64]
    nearest: Floats
    copies: Copies


def train_centroids(sample: Floats, cells: int, *, spherical: bool, iterations: int, seed: int) -> Floats:
    """Return the (cells, d) float32 centroids of k-means over a sample (m, d), m >= cells.

    Many cells are trained in two levels: the sample is divided into groups, and each group gets cells in
    proportion to its size. A few steps over all cells follow. The squared error is less than 1 % larger than
    that of k-means over all cells, whose time grows with the square of their number.
    """
    if cells == 1:
        return np.ascontiguousarray(sample.mean(axis=0, keepdims=True), dtype=np.float32)
    if cells < TWO_LEVELS_FROM:
        return k_means(sample, cells, spherical=spherical, iterations=iterations, seed=seed)
    members = _groups(sample, math.isqrt(cells), spherical=spherical, iterations=iterations, seed=seed)
    parts = _in_proportion(cells, np.array([len(rows) for rows in members]))

    def train(group: int) -> Floats:
        # Not recursive: equal vectors are always in one group, so the recursion might not end.
        return k_means(
            np.ascontiguousarray(sample[members[group]]),
            int(parts[group]),
            spherical=spherical,
            iterations=iterations,
            seed=seed,
        )

    centroids = np.concatenate(list(in_threads(train, np.flatnonzero(parts).tolist())))
    return _refine(sample, centroids, spherical=spherical, seed=seed)


def _refine(sample: Floats, centroids: Floats, *, spherical: bool, seed: int) -> Floats:
    """Run a few more steps of k-means over all cells, because no cell could cross the boundary of its group."""
    centre = centroids.mean(axis=0, dtype=np.float64).astype(np.float32)
    centroids, sample = centroids - centre, sample - centre
    finder = make_finder(centroids, sample, seed=seed)
    blocks = np.array_split(sample, -(-len(sample) // _REFINED_AT_ONCE))
    for _ in range(_REFINEMENTS):
        nearest = in_threads(partial(finder.nearest, k=1, stretch=1.0), blocks)
        cells = np.concatenate([near.numbers[:, 0] for near in nearest])
        centroids = _means(sample, cells, centroids)
        if spherical:
            centroids = comparable(centroids + centre, "cosine") - centre
        finder = finder.moved(centroids)
    return np.ascontiguousarray(centroids + centre)


def _means(sample: Floats, cells: NDArray[np.int64], centroids: Floats) -> Floats:
    """Return the mean of each cell's vectors. An empty cell keeps its centroid."""
    sizes = np.bincount(cells, minlength=len(centroids))
    sums = [np.bincount(cells, weights=column, minlength=len(centroids)) for column in sample.T]
    means = np.stack(sums, axis=1) / np.maximum(sizes, 1)[:, None]
    return np.where(sizes[:, None] > 0, means, centroids).astype(np.float32)


def _groups(
    sample: Floats, count: int, *, spherical: bool, iterations: int, seed: int
) -> list[NDArray[np.int64]]:
    """Divide a sample into ``count`` groups of near vectors, and return the rows of each. A group may be empty."""
    some = np.ascontiguousarray(sample[:: max(1, len(sample) // (count * _SAMPLE_PER_GROUP))])
    hubs = k_means(some, count, spherical=spherical, iterations=iterations, seed=seed)
    groups = nearest_one(sample, hubs)
    return np.split(np.argsort(groups, kind="stable"), np.cumsum(np.bincount(groups, minlength=count))[:-1])


def _in_proportion(total: int, sizes: NDArray[np.int64]) -> NDArray[np.int64]:
    """Divide ``total`` in proportion to sizes, whose sum is at least ``total``. No part exceeds its size."""
    parts, remainders = np.divmod(sizes * total, sizes.sum())
    parts[np.argsort(-remainders, kind="stable")[: total - parts.sum()]] += 1
    return parts


class Assigner:
    """Assignment of vectors to cells, by ``close``. Safe to share between threads.

    Many centroids are searched through candidates, see ``CellFinder``.

    Args:
        centroids: (c, d) float32.
        spread: how much farther than the nearest centroid another may be to get a copy.
        sample: (m, d) float32, to choose the candidates by; None compares each vector with all centroids.
        seed: of all random choices.
    """

    def __init__(
        self, centroids: Floats, spread: float, *, sample: Floats | None = None, seed: int = 0
    ) -> None:
        # Squared distances are differences of squares, which consist of rounding errors far from the origin.
        self._centre = centroids.mean(axis=0, dtype=np.float64).astype(np.float32)
        self._centroids = centroids - self._centre
        self._spread = spread
        self._finder: CellFinder | None = None
        if sample is not None and len(centroids) >= CANDIDATES_FROM:
            self._finder = make_finder(self._centroids, sample - self._centre, seed=seed)

    def close(self, vectors: Floats, rows: NDArray[np.int64]) -> Assigned:
        """Return the own cell of each vector (n, d), numbered by ``rows``, and the cells across a near boundary.

        Further cells are considered in the order of distance. A cell gets a copy of the vector if its centroid is
        within ``1 + spread`` times the nearest distance, and if the centroid is not closer to that of a cell that
        already has the vector than to the vector. So the copies go to different sides of the vector, not to several
        cells on one side. If the second nearest centroid equals the vector, except for the rounding of a mean, the
        vector gets no copy: one of the cells of many equal vectors is enough.
        """
        squares = np.einsum("nd,nd->n", vectors, vectors)
        vectors = vectors - self._centre
        distances, numbers = self._nearest(vectors)
        if distances.shape[1] > 1:
            _recompute_near(distances, numbers, vectors, self._centroids)
        all_rows, all_cells = [rows], [numbers[:, 0]]
        if distances.shape[1] > 1:
            apart = distances[:, 1] > _SAME**2 * squares
            near = np.flatnonzero(apart & (distances[:, 1] <= _reach(distances[:, 0], self._spread)))
            taken = _closure(distances[near], numbers[near], self._centroids, self._spread)
            extra_rows, extra_places = np.nonzero(taken[:, 1:])
            all_rows.append(rows[near[extra_rows]])
            all_cells.append(numbers[near[extra_rows], extra_places + 1])
        copies = Copies(np.concatenate(all_rows), np.concatenate(all_cells).astype(np.int32))
        return Assigned(rows, np.maximum(distances[:, 0], 0), copies)

    def _nearest(self, vectors: Floats) -> tuple[Floats, NDArray[np.int64]]:
        if self._finder is not None:
            return self._finder.nearest(vectors, CLOSURE_CAP, 1 + self._spread)
        return nearest_of_all(vectors, self._centroids, CLOSURE_CAP, 1 + self._spread)


def _recompute_near(
    distances: Floats, numbers: NDArray[np.int64], vectors: Floats, centroids: Floats
) -> None:
    """Replace distances by directly computed ones if the fast ones are so small that they are mostly rounding."""
    rounded = np.flatnonzero(distances[:, 1] <= ROUNDED * np.einsum("nd,nd->n", vectors, vectors))
    for start in range(0, len(rounded), _ROWS_AT_ONCE):
        rows = rounded[start : start + _ROWS_AT_ONCE]
        gaps = centroids[numbers[rows]] - vectors[rows, None]
        direct = np.einsum("ncd,ncd->nc", gaps, gaps)
        direct[np.isinf(distances[rows])] = np.inf
        order = np.lexsort((numbers[rows], direct), axis=1)
        distances[rows] = np.take_along_axis(direct, order, axis=1)
        numbers[rows] = np.take_along_axis(numbers[rows], order, axis=1)


def _reach(nearest: Floats, spread: float) -> Floats:
    # Rounding may make the squared distances slightly negative.
    return np.asarray(np.maximum(nearest, 0) * np.float32((1 + spread) ** 2))


def _closure(
    distances: Floats, numbers: NDArray[np.int64], centroids: Floats, spread: float
) -> NDArray[np.bool_]:
    """Return a mask (n, c) of the nearest cells of each vector that get a copy of it."""
    taken = distances <= _reach(distances[:, 0], spread)[:, None]
    for place in range(1, distances.shape[1]):
        for earlier in range(place):
            both = np.flatnonzero(taken[:, place] & taken[:, earlier])
            apart = centroids[numbers[both, place]] - centroids[numbers[both, earlier]]
            taken[both, place] = np.einsum("ij,ij->i", apart, apart) > distances[both, place]
    return taken


def split_cell(vectors: Floats, parts: int, *, spherical: bool, seed: int) -> Floats:
    """Return the centroids of the parts of a cell that is too large."""
    return train_centroids(vectors, parts, spherical=spherical, iterations=5, seed=seed)
