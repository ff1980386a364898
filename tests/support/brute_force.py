"""The truth that searches are compared with: every distance, in numpy's widest floats, by the textbook formula."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

RELATIVE = 1e-5
ABSOLUTE = {"euclidean": 0.0, "cosine": 1e-15, "dot": 1e-12}
"""1 - cos cancels where vectors are parallel, and x.q where it is about zero: there the truth itself is rounded."""


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
    scale = ABSOLUTE[metric] * max(1.0, float(np.abs(truth).max(initial=0.0)))
    np.testing.assert_allclose(got, wanted, rtol=RELATIVE, atol=scale)
    np.testing.assert_allclose(truth[rows], wanted, rtol=RELATIVE, atol=scale)
    assert (np.diff(got) >= 0).all()
