"""The calibration of a build: recall against nprobe, measured on held-out queries.

The queries are given, or they are vectors of the collection, each of which is left out of its own search. The
measurement needs no scan: the exact nearest neighbours are known, and a neighbour is found as soon as one of its cells
is probed. So the rank of that cell among the query's cells gives the recall at every nprobe at once. With codes, a
neighbour is lost if its lower bound exceeds the k-th distance. The width of the bounds is chosen so that at most a
share of ``LOST`` is lost.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from vectorcache.index.cluster import Copies
from vectorcache.index.manifest import Calibration, Tradeoff
from vectorcache.index.nearest import SCORES_AT_ONCE, best_above, half_squares
from vectorcache.vectors.codes import Coder
from vectorcache.vectors.exact import ExactVectorSearch
from vectorcache.vectors.metric import Floats, multiplying

LOST = 0.0005
"""Share of true neighbours that a search may lose to the bounds of codes."""

_QUERIES_AT_ONCE = 64
_FEWEST_DEVIATIONS, _MOST_DEVIATIONS = 2.0, 6.0
_SPARE_ERRORS = 2  # one-sided 97.7 %: a recall measured on a sample of queries must hold for other queries


def exact_neighbours(
    blocks: Iterable[tuple[int, Floats]],
    queries: Floats,
    own: NDArray[np.int64],
    k: int,
    *,
    inner_product: bool,
) -> NDArray[np.int64]:
    """Return the (b, k) rows nearest to each query, except its own row (-1: none); -1 where there are fewer than k.

    The blocks are read one after the other, so the vectors need not fit in memory together.
    """
    count = len(queries)
    rows = np.full((count, k), -1, dtype=np.int64)
    scores = np.full((count, k), -np.inf, dtype=np.float32)
    centre = np.float32(0) if inner_product else queries.mean(axis=0)
    queries = queries - centre
    step = max(1, SCORES_AT_ONCE // count)
    for first_row, block in blocks:
        for start in range(0, len(block), step):
            part = block[start : start + step] - centre
            with multiplying():
                products = queries @ part.T
            if not inner_product:
                products -= half_squares(part)
            # One more than k: the query's own row may be among them.
            found, places = best_above(products, scores[:, -1], min(k + 1, len(part)))
            found_rows = first_row + start + places
            found[found_rows == own[:, None]] = -np.inf
            scores, rows = _merged(k, (scores, found), (rows, found_rows))
    return np.where(np.isinf(scores), -1, rows)


def _merged(
    k: int, scores: tuple[Floats, Floats], rows: tuple[NDArray[np.int64], NDArray[np.int64]]
) -> tuple[Floats, NDArray[np.int64]]:
    """Return the k largest scores (b, k) of two sets, and their rows. Ties go to the first set."""
    all_scores, all_rows = np.concatenate(scores, axis=1), np.concatenate(rows, axis=1)
    order = np.argsort(-all_scores, axis=1, kind="stable")[:, :k]
    return np.take_along_axis(all_scores, order, axis=1), np.take_along_axis(all_rows, order, axis=1)


class HeldOut(NamedTuple):
    """Queries with their true neighbours, and the cells of these.

    Attributes:
        queries: (b, d) float32.
        neighbours: (b, k) rows, nearest first; -1 where there are fewer than k.
        order: (b, cells) int32, the cells in the order of their distance from the query.
        found_at: (b, k) the smallest nprobe that finds each neighbour; 0 where there is no neighbour.
    """

    queries: Floats
    neighbours: NDArray[np.int64]
    order: NDArray[np.int32]
    found_at: NDArray[np.int64]


def hold_out(
    centroids: ExactVectorSearch,
    copies: Copies,
    vectors: int,
    queries: Floats,
    neighbours: NDArray[np.int64],
) -> HeldOut:
    """Compute the smallest nprobe that finds each neighbour."""
    cells = len(centroids)
    order = np.empty((len(queries), cells), dtype=np.int32)
    for start in range(0, len(queries), _QUERIES_AT_ONCE):
        part = slice(start, start + _QUERIES_AT_ONCE)
        order[part] = centroids.search(queries[part], cells).indices
    ranks = np.empty_like(order)
    np.put_along_axis(ranks, order, np.arange(cells, dtype=np.int32)[None], axis=1)
    return HeldOut(queries, neighbours, order, _found_at(ranks, copies, vectors, neighbours))


def fit_bounds(
    held: HeldOut, coder: Coder, vectors_of: Callable[[NDArray[np.int64]], Floats], centroids: Floats
) -> tuple[float, NDArray[np.bool_]]:
    """Return the width of the bounds in standard errors, and a mask (b, k) of the neighbours lost at that width.

    A neighbour counts as lost if its bound lies beyond the k-th neighbour. This overestimates the loss of a search,
    whose k-th candidate is never nearer than the k-th neighbour.
    """
    lost = np.zeros(held.neighbours.shape, dtype=bool)
    valid = held.found_at > 0
    at, place = np.nonzero(valid)
    if not len(at):
        return _FEWEST_DEVIATIONS, lost
    vectors, queries = vectors_of(held.neighbours[valid]), held.queries[at]
    values = coder.values(queries, vectors)
    last = np.full(len(held.queries), -np.inf)
    np.maximum.at(last, at, values)
    cells = held.order[at, held.found_at[valid] - 1]
    widths = coder.needed_widths(queries, vectors, centroids, cells, last[at])
    deviations = float(np.clip(np.quantile(widths, 1 - LOST), _FEWEST_DEVIATIONS, _MOST_DEVIATIONS))
    lost[at, place] = widths > deviations
    return deviations, lost


def calibrate(
    held: HeldOut,
    copies: Copies,
    vectors: int,
    *,
    recall: float,
    lost: NDArray[np.bool_] | None = None,
    sample: str = "vectors",
) -> Calibration:
    """Measure recall and cost for every nprobe, and choose the smallest nprobe that reaches the target.

    Its measured recall exceeds the target by two standard errors, so that other queries of the same kind very likely
    reach the target too. ``lost`` is a mask (b, k) of the neighbours that are lost to codes. A search of all cells
    finds them, because it compares vectors.
    """
    cells = held.order.shape[1]
    exact, errors = _recall_curve(held.found_at, cells)
    recalls = exact
    if lost is not None:
        recalls, errors = _recall_curve(np.where(lost, cells, held.found_at), cells)
    sizes = np.bincount(copies.cells, minlength=cells)
    scanned = np.cumsum(_mean_sizes(held.order, sizes)) / vectors
    good = np.flatnonzero(recalls - _SPARE_ERRORS * errors >= recall)
    chosen = int(good[0]) + 1 if len(good) else cells
    return Calibration(
        nprobe=chosen,
        recall_target=recall,
        at_k=held.neighbours.shape[1],
        queries=len(held.queries),
        curve=tuple(
            Tradeoff(
                n,
                round(float(recalls[n - 1]), 5),
                round(float(exact[n - 1]), 5),
                round(float(scanned[n - 1]), 6),
            )
            for n in _grid(cells, chosen)
        ),
        sample=sample,
    )


def _mean_sizes(order: NDArray[np.int32], sizes: NDArray[np.int64]) -> NDArray[np.float64]:
    """Return the (cells,) mean size, over the queries, of the nearest cell, the second nearest, and so on."""
    total = np.zeros(order.shape[1])
    for cells in order:
        total += sizes[cells]
    return total / len(order)


def _found_at(
    ranks: NDArray[np.int32], copies: Copies, vectors: int, neighbours: NDArray[np.int64]
) -> NDArray[np.int64]:
    """Return the (b, k) smallest nprobe that finds each neighbour; 0 where there is no neighbour."""
    wanted = np.zeros(vectors, dtype=bool)
    wanted[neighbours[neighbours >= 0]] = True
    places = np.flatnonzero(wanted[copies.rows])
    places = places[np.argsort(copies.rows[places], kind="stable")]
    cells, rows = copies.cells[places], copies.rows[places]
    starts, stops = np.searchsorted(rows, neighbours), np.searchsorted(rows, neighbours, side="right")
    found = np.zeros(neighbours.shape, dtype=np.int64)
    for query, place in np.argwhere(neighbours >= 0).tolist():
        found[query, place] = ranks[query, cells[starts[query, place] : stops[query, place]]].min() + 1
    return found


def _recall_curve(found_at: NDArray[np.int64], cells: int) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return the (cells,) mean recall over the queries at nprobe 1, 2, ..., and its standard error."""
    wanted = (found_at > 0).sum(axis=1)
    total, squares = np.zeros(cells), np.zeros(cells)
    for places, neighbours in zip(found_at, wanted.tolist(), strict=True):
        found = np.cumsum(np.bincount(places[places > 0] - 1, minlength=cells))
        recalls = found / neighbours if neighbours else np.ones(cells)
        total += recalls
        squares += recalls * recalls
    mean = total / len(found_at)
    variance = np.maximum(squares / len(found_at) - mean * mean, 0)
    return mean, np.sqrt(variance / len(found_at))


def _grid(cells: int, chosen: int) -> list[int]:
    """Return the values of nprobe in the manifest: about ten per decade, the chosen one, and all cells."""
    steps = np.unique(np.round(np.geomspace(1, cells, num=max(2, int(10 * np.log10(cells + 1)))))).astype(int)
    return sorted({*steps.tolist(), chosen, cells})
