"""From vectors to cells: k-means centroids, and the cells that each vector belongs to.

A vector near a boundary also goes to the neighbouring cells: the relative-neighbourhood rule of SPANN (Chen et
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
"""No vector stands in more cells than this."""
TWO_LEVELS_FROM = 1024
"""Number of cells from which k-means runs on groups of the sample."""

_SAME = 2.0**-18  # relative distance of a vector and a mean of many like it, in float32
_SAMPLE_PER_GROUP = 1024  # vectors that the groups of a two-level k-means are made from

_REFINEMENTS = 3
_REFINED_AT_ONCE = 65_536  # vectors

_ROWS_AT_ONCE = 1024


class Copies(NamedTuple):
    """Which row stands in which cell: (m,) int64 and (m,) int32, m >= n; a row's own cell comes first."""

    rows: NDArray[np.int64]
    cells: NDArray[np.int32]


class Assigned(NamedTuple):
    """Rows and their cells.

    Attributes:
        rows: (n,) their numbers.
        nearest: (n,) float32, squared distance of each from the centroid of its own cell.
        copies: of each, in its own cell and in others.
    """

    rows: NDArray[np.int64]
    nearest: Floats
    copies: Copies


def train_centroids(sample: Floats, cells: int, *, spherical: bool, iterations: int, seed: int) -> Floats:
    """k-means over a sample (m, d), m >= cells: (cells, d) float32.

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
        # Not in two levels again: of equal vectors all are in one group, however often they are divided.
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
    """A few more steps of k-means over all cells: groups had hard boundaries between them."""
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
    """The mean of each cell's vectors; an empty cell keeps its centroid."""
    sizes = np.bincount(cells, minlength=len(centroids))
    sums = [np.bincount(cells, weights=column, minlength=len(centroids)) for column in sample.T]
    means = np.stack(sums, axis=1) / np.maximum(sizes, 1)[:, None]
    return np.where(sizes[:, None] > 0, means, centroids).astype(np.float32)


def _groups(
    sample: Floats, count: int, *, spherical: bool, iterations: int, seed: int
) -> list[NDArray[np.int64]]:
    """Rows of each of so many groups of near vectors, some of which may be empty."""
    some = np.ascontiguousarray(sample[:: max(1, len(sample) // (count * _SAMPLE_PER_GROUP))])
    hubs = k_means(some, count, spherical=spherical, iterations=iterations, seed=seed)
    groups = nearest_one(sample, hubs)
    return np.split(np.argsort(groups, kind="stable"), np.cumsum(np.bincount(groups, minlength=count))[:-1])


def _in_proportion(total: int, sizes: NDArray[np.int64]) -> NDArray[np.int64]:
    """Divide ``total`` in proportion to sizes, whose sum is no less: none gets more than its size."""
    parts, remainders = np.divmod(sizes * total, sizes.sum())
    parts[np.argsort(-remainders, kind="stable")[: total - parts.sum()]] += 1
    return parts


class Assigner:
    """Assigns vectors to cells by ``close``. Safe to share between threads.

    Many centroids are searched through candidates, see ``CellFinder``.

    Args:
        centroids: (c, d) float32.
        spread: how much farther than the nearest centroid another may be to get a copy.
        sample: (m, d) float32, of which the candidates are made; None compares with all centroids.
        seed: of all random choices.
    """

    def __init__(
        self, centroids: Floats, spread: float, *, sample: Floats | None = None, seed: int = 0
    ) -> None:
        # Squared distances come from a difference of squares, which is all rounding far from the origin.
        self._centre = centroids.mean(axis=0, dtype=np.float64).astype(np.float32)
        self._centroids = centroids - self._centre
        self._spread = spread
        self._finder: CellFinder | None = None
        if sample is not None and len(centroids) >= CANDIDATES_FROM:
            self._finder = make_finder(self._centroids, sample - self._centre, seed=seed)

    def close(self, vectors: Floats, rows: NDArray[np.int64]) -> Assigned:
        """The own cell of each vector (n, d), whose numbers are ``rows``, and those across a near boundary.

        In the order of distance, a further cell takes the vector if its centroid is within ``1 + spread`` of
        the nearest one's distance, and is not closer to a cell that has it already than to the vector: copies
        go to different sides, not to several cells of one side. A cell whose centroid is the vector, but for
        the rounding of a mean, is on no side: of many equal vectors' cells one is enough.
        """
        squares = np.einsum("nd,nd->n", vectors, vectors)
        vectors = vectors - self._centre
        distances, numbers = self._nearest(vectors)
        if distances.shape[1] > 1:
            _measure_near(distances, numbers, vectors, self._centroids)
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


def _measure_near(distances: Floats, numbers: NDArray[np.int64], vectors: Floats, centroids: Floats) -> None:
    """Where vectors are so near to centroids that the fast distances are mostly rounding, put the direct ones."""
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
    # They may be a little below zero.
    return np.asarray(np.maximum(nearest, 0) * np.float32((1 + spread) ** 2))


def _closure(
    distances: Floats, numbers: NDArray[np.int64], centroids: Floats, spread: float
) -> NDArray[np.bool_]:
    """(n, c) bool: which of each vector's nearest cells take it."""
    taken = distances <= _reach(distances[:, 0], spread)[:, None]
    for place in range(1, distances.shape[1]):
        for earlier in range(place):
            both = np.flatnonzero(taken[:, place] & taken[:, earlier])
            apart = centroids[numbers[both, place]] - centroids[numbers[both, earlier]]
            taken[both, place] = np.einsum("ij,ij->i", apart, apart) > distances[both, place]
    return taken


def split_cell(vectors: Floats, parts: int, *, spherical: bool, seed: int) -> Floats:
    """Centroids for the parts of a cell that is too large."""
    return train_centroids(vectors, parts, spherical=spherical, iterations=5, seed=seed)
