"""The truth that searches are compared with: every distance, in numpy's widest floats, by the textbook formula."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

RELATIVE = 1e-5
CANCELLED = 1e-14
"""Share of the sum of absolute values: 1 - cos cancels where vectors are parallel, x.q where it is about zero."""


def distances(vectors: ArrayLike, query: ArrayLike, metric: str) -> NDArray[np.float64]:
    """(n,) distances of rows from one query."""
    rows = np.asarray(vectors, dtype=np.float32).astype(np.longdouble)
    wide = np.asarray(query, dtype=np.float32).astype(np.longdouble)
    if metric == "euclidean":
        return np.sqrt(((rows - wide) ** 2).sum(axis=1)).astype(np.float64)
    dots = (rows * wide).sum(axis=1)
    if metric == "dot":
        return -dots.astype(np.float64)
    norms = np.sqrt((rows**2).sum(axis=1)) * np.sqrt((wide**2).sum())
    cosines = np.where(norms > 0, dots / np.where(norms > 0, norms, 1), 0)
    return (1 - cosines).astype(np.float64)


def assert_nearest(
    found: ArrayLike, found_distances: ArrayLike, vectors: ArrayLike, query: ArrayLike, metric: str, k: int
) -> None:
    """Rows and distances are those of the k nearest, in order; rows that are equally near may change places."""
    rows = np.asarray(found, dtype=np.int64)
    got = np.asarray(found_distances, dtype=np.float64)
    truth = distances(vectors, query, metric)
    wanted = np.sort(truth)[:k]
    assert len(set(rows.tolist())) == len(rows) == len(got) == len(wanted)
    scale = 0.0 if metric == "euclidean" else CANCELLED * _largest_sum(vectors, query, metric)
    np.testing.assert_allclose(got, wanted, rtol=RELATIVE, atol=scale)
    np.testing.assert_allclose(truth[rows], wanted, rtol=RELATIVE, atol=scale)
    assert (np.diff(got) >= 0).all()


def _largest_sum(vectors: ArrayLike, query: ArrayLike, metric: str) -> float:
    if metric == "cosine":
        return 1.0
    rows, wide = (np.abs(np.asarray(values, dtype=np.float64)) for values in (vectors, query))
    return float((rows * wide).sum(axis=-1).max(initial=0.0))
