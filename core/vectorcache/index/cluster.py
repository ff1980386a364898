"""From vectors to cells: k-means centroids, and the cells that each vector belongs to.

A vector near a boundary also goes to the neighbouring cells: the relative-neighbourhood rule of SPANN (Chen et
al., "SPANN: Highly-efficient Billion-scale Approximate Nearest Neighbor Search", NeurIPS 2021, section 3.2).
"""

from __future__ import annotations

from typing import NamedTuple

import faiss
import numpy as np
from numpy.typing import NDArray

from vectorcache.metric import Floats

CLOSURE_CAP = 8
"""No vector stands in more cells than this."""


_SAME = 2.0**-18  # relative distance of a vector and a mean of many like it, in float32
_ROUNDED = 2.0**-16  # squared distances from a difference of large numbers, relative to these

_ROWS_AT_ONCE = 1024


class Copies(NamedTuple):
    """Which row stands in which cell: (m,) int64 and (m,) int32, m >= n; a row's own cell comes first."""

    rows: NDArray[np.int64]
    cells: NDArray[np.int32]


def train_centroids(sample: Floats, cells: int, *, spherical: bool, iterations: int, seed: int) -> Floats:
    """k-means over a sample (m, d), m >= cells: (cells, d) float32."""
    if cells == 1:
        return np.ascontiguousarray(sample.mean(axis=0, keepdims=True), dtype=np.float32)
    kmeans = faiss.Kmeans(
        sample.shape[1],
        cells,
        niter=iterations,
        seed=seed,
        spherical=spherical,
        min_points_per_centroid=1,
        max_points_per_centroid=len(sample),  # the caller chose the sample
    )
    kmeans.train(sample)
    centroids: Floats = np.ascontiguousarray(kmeans.centroids, dtype=np.float32)
    return centroids


def nearest_centroids(vectors: Floats, centroids: Floats, k: int) -> tuple[Floats, NDArray[np.int64]]:
    """Squared distances (n, k) and numbers (n, k) of the k nearest centroids of each vector."""
    distances, numbers = faiss.knn(vectors, centroids, min(k, len(centroids)))
    return distances, numbers


def close(vectors: Floats, centroids: Floats, *, first_row: int, spread: float) -> Copies:
    """Each vector's own cell, and those across a near boundary.

    In the order of distance, a further cell takes the vector if its centroid is within ``1 + spread`` of the
    nearest one's distance, and is not closer to a cell that has it already than to the vector: copies go to
    different sides, not to several cells of one side. A cell whose centroid is the vector, but for the rounding of
    a mean, is on no side: of many equal vectors' cells one is enough.
    """
    squares = np.einsum("nd,nd->n", vectors, vectors)
    # Squared distances come from a difference of squares, which is all rounding far from the origin.
    centre = centroids.mean(axis=0, dtype=np.float64).astype(np.float32)
    vectors, centroids = vectors - centre, centroids - centre
    distances, numbers = nearest_centroids(vectors, centroids, CLOSURE_CAP)
    if distances.shape[1] > 1:
        _measure_near(distances, numbers, vectors, centroids)
    rows = np.arange(len(vectors), dtype=np.int64)
    all_rows, all_cells = [rows], [numbers[:, 0]]
    if distances.shape[1] > 1:
        apart = distances[:, 1] > _SAME**2 * squares
        near = np.flatnonzero(apart & (distances[:, 1] <= _reach(distances[:, 0], spread)))
        taken = _closure(distances[near], numbers[near], centroids, spread)
        extra_rows, extra_places = np.nonzero(taken[:, 1:])
        all_rows.append(near[extra_rows])
        all_cells.append(numbers[near[extra_rows], extra_places + 1])
    return Copies(first_row + np.concatenate(all_rows), np.concatenate(all_cells).astype(np.int32))


def _measure_near(distances: Floats, numbers: NDArray[np.int64], vectors: Floats, centroids: Floats) -> None:
    """Where vectors are so near to centroids that the fast distances are mostly rounding, put the direct ones."""
    rounded = np.flatnonzero(distances[:, 1] <= _ROUNDED * np.einsum("nd,nd->n", vectors, vectors))
    for start in range(0, len(rounded), _ROWS_AT_ONCE):
        rows = rounded[start : start + _ROWS_AT_ONCE]
        gaps = centroids[numbers[rows]] - vectors[rows, None]
        direct = np.einsum("ncd,ncd->nc", gaps, gaps)
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
