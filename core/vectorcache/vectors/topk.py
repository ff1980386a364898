"""The k nearest of many rows: candidates by the fast form, scores by the direct form, proof that none is missing."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple, TypeAlias

import numpy as np
from numpy.typing import NDArray

from vectorcache.vectors.metric import Doubles, Floats

Rows: TypeAlias = NDArray[np.int64]


_FOLDS = (32, 8)
"""Values that a column may have when minima are taken, best first: measured from 2 000 to 100 000 values."""


class TopK(NamedTuple):
    """The nearest, nearest first; equal distances in the order of their row numbers.

    ``positions`` (m,) int64 index what was searched, ``rows`` (m,) int64 name the vectors,
    ``distances`` (m,) float64.
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
    """The k distinct rows of smallest distance.

    Takes the most promising by the fast form, scores them directly, and takes four times as many for as long as
    a row that was left out could still belong to the answer. One round is nearly always enough.

    Args:
        fast: (n,) float32, the fast form at each position.
        k: how many are wanted; fewer come back where there are fewer distinct rows.
        score: the row numbers at positions, and their distances by the direct form; a row may stand at several.
        spare: how many more than k are scored at once: room for near ties and for copies of one row.
        bound_of: the largest fast value that a row at this distance or nearer can have got, rounding included.
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
    """Positions of the k distinct nearest among answers put end to end; same order as ``select_nearest``.

    The answers may come from machines whose sums differ in the last bit, so copies need not stand side by side.
    """
    nearest: dict[int, int] = {}
    for at in sorted(range(len(rows)), key=lambda at: (distances[at], rows[at])):
        if nearest.setdefault(rows[at], at) == at and len(nearest) == k:
            break
    return list(nearest.values())


def _smallest(fast: Floats, take: int) -> tuple[Rows, float]:
    """Positions of the ``take`` smallest or some more, and a value that none of those left out is below."""
    if take >= len(fast):
        return np.arange(len(fast)), np.inf
    fold = next((fold for fold in _FOLDS if len(fast) // fold > 2 * take), 0)
    if fold:
        columns = len(fast) // fold
        # Minima of interleaved columns vectorise; the (take + 1)-th smallest of them has take values below it.
        minima = fast[: columns * fold].reshape(fold, columns).min(axis=0)
        limit = np.partition(minima, take)[take]
        positions = np.flatnonzero(fast <= limit)
        if len(positions) <= 4 * take:  # many equal values would make this a full sort
            return positions, float(limit)
    order = np.argpartition(fast, take)
    return order[:take], float(fast[order[take]])


def _distinct(positions: Rows, rows: Rows, distances: Doubles, k: int) -> TopK:
    order = np.lexsort((rows, distances))
    sorted_rows = rows[order]
    # Copies of a row have the same distance to the last bit, so they stand side by side.
    first = np.ones(len(order), dtype=bool)
    np.not_equal(sorted_rows[1:], sorted_rows[:-1], out=first[1:])
    kept = order[first][:k]
    return TopK(positions[kept], rows[kept], distances[kept])
