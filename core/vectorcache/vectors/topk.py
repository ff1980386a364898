"""Selection of the k nearest of many rows: by the fast form, then the direct form, with a proof of completeness."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple, TypeAlias

import numpy as np
from numpy.typing import NDArray

from vectorcache.vectors.metric import Doubles, Floats

Rows: TypeAlias = NDArray[np.int64]


_FOLDS = (32, 8)
"""Numbers of values per column when minima are taken, fastest first, measured with 2,000 to 100,000 values."""


class TopK(NamedTuple):
    """The nearest rows, nearest first. Ties are in the order of their row numbers.

    ``positions`` (m,) int64 are indices into the searched values, ``rows`` (m,) int64 are row numbers, and
    ``distances`` (m,) are float64.
    """

    positions: Rows
    rows: Rows
    distances: Doubles


def select_nearest(
    fast: Floats,
    k: int,
    *,
    score: Callable[[Rows], tuple[Rows, Doubles]],
    bound_of: Callable[[float], float],
    spare: int,
) -> TopK:
    """Return the k distinct rows with the smallest distances.

    The rows with the smallest fast values are scored by the direct form. If a row that was left out could still belong
    to the answer, four times as many rows are scored. One round is nearly always sufficient.

    Args:
        fast: (n,) float32, the fast form at each position.
        k: number of rows; fewer are returned if there are fewer distinct rows.
        score: returns the row numbers at some positions, and their distances by the direct form. Several positions may
            have the same row.
        spare: how many more than k rows are scored, to allow for near ties and copies of a row.
        bound_of: returns the largest possible fast value of a row at most at a distance, including rounding.
    """
    count = len(fast)
    take = k + spare
    while True:
        positions, rest = _smallest(fast, take)
        top = _distinct(positions, *score(positions), k)
        complete = len(top.rows) == k and bound_of(float(top.distances[-1])) < rest
        if complete or take >= count:
            return top
        take *= 4


def merge_nearest(rows: Sequence[int], distances: Sequence[float], k: int) -> list[int]:
    """Return the positions of the k nearest distinct rows in concatenated answers, in the order of ``select_nearest``.

    Sums may differ in the last bit between machines, so copies of a row need not have the same distance.
    """
    nearest: dict[int, int] = {}
    for at in sorted(range(len(rows)), key=lambda at: (distances[at], rows[at])):
        if nearest.setdefault(rows[at], at) == at and len(nearest) == k:
            break
    return list(nearest.values())


def _smallest(fast: Floats, take: int) -> tuple[Rows, float]:
    """Return the positions of at least the ``take`` smallest values, and a lower bound of all other values."""
    if take >= len(fast):
        return np.arange(len(fast)), np.inf
    fold = next((fold for fold in _FOLDS if len(fast) // fold > 2 * take), 0)
    if fold:
        columns = len(fast) // fold
        # Minima of interleaved columns vectorize. At least take values are below the (take + 1)-th smallest of them.
        minima = fast[: columns * fold].reshape(fold, columns).min(axis=0)
        limit = np.partition(minima, take)[take]
        positions = np.flatnonzero(fast <= limit)
        if len(positions) <= 4 * take:  # there may be many more if many values are equal
            return positions, float(limit)
    order = np.argpartition(fast, take)
    return order[:take], float(fast[order[take]])


def _distinct(positions: Rows, rows: Rows, distances: Doubles, k: int) -> TopK:
    order = np.lexsort((rows, distances))
    sorted_rows = rows[order]
    # Copies of a row have exactly the same distance, so they are next to each other.
    first = np.ones(len(order), dtype=bool)
    np.not_equal(sorted_rows[1:], sorted_rows[:-1], out=first[1:])
    kept = order[first][:k]
    return TopK(positions[kept], rows[kept], distances[kept])
