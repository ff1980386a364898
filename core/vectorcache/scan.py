"""The scan: exact search of the probed cells of a request. The one place where vectors are compared on a node.

``CellScan`` is the whole interface: chunks and queries in, hits out. ``NumpyScan`` does it with one BLAS
product per run of adjacent cells; another implementation takes its place without anything else changing.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from bisect import bisect_right
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import accumulate
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from vectorcache.chunk import Chunk
from vectorcache.metric import Doubles, Floats, Metric, metric_of
from vectorcache.topk import Rows, select_nearest


class Run(NamedTuple):
    """Adjacent rows of one chunk, ``start:stop``."""

    chunk: Chunk
    start: int
    stop: int


@dataclass(frozen=True, slots=True)
class Found:
    """The nearest rows of one query, nearest first.

    Attributes:
        rows: (m,) int64, their numbers in the collection.
        distances: (m,) float64.
        places: for each, its chunk and its position there.
        scanned: how many rows were compared.
    """

    rows: Rows
    distances: Doubles
    places: list[tuple[Chunk, int]]
    scanned: int


class CellScan(ABC):
    """Searches the named cells of chunks. Stateless, so safe to share between threads."""

    @abstractmethod
    def scan(
        self, chunk_of: Mapping[int, Chunk], queries: Floats, cells: Sequence[NDArray[np.int32]], k: int
    ) -> list[Found]:
        """The k nearest of each query among the rows of its cells.

        Args:
            chunk_of: the chunk of every cell that is named; a cell that is missing here is passed over.
            queries: (b, d) float32, checked already.
            cells: for each query, its cells in ascending order.
            k: how many; fewer come back where its cells have fewer distinct rows.
        """


class NumpyScan(CellScan):
    """One matrix-vector product per run of adjacent cells, into one buffer per query."""

    def scan(
        self, chunk_of: Mapping[int, Chunk], queries: Floats, cells: Sequence[NDArray[np.int32]], k: int
    ) -> list[Found]:
        """See ``CellScan.scan``."""
        if not chunk_of:
            return [_nothing() for _ in cells]
        metric = metric_of(next(iter(chunk_of.values())).metric)
        prepared = metric.prepare(queries)
        runs = (_runs(chunk_of, wanted.tolist()) for wanted in cells)
        return [
            _scan_runs(metric, query_runs, query, ready, k)
            for query_runs, query, ready in zip(runs, queries, prepared, strict=True)
        ]


def _runs(chunk_of: Mapping[int, Chunk], cells: list[int]) -> list[Run]:
    """The rows of cells; cells that stand side by side in a chunk become one run."""
    runs: list[Run] = []
    last_chunk, first, last_stop = None, 0, -1
    for cell in cells:
        chunk = chunk_of.get(cell)
        if chunk is None:
            continue
        place = cell - chunk.first_cell
        start, stop = chunk.offsets[place], chunk.offsets[place + 1]
        if chunk is last_chunk and start == last_stop:
            runs[-1] = Run(chunk, first, stop)
        else:
            runs.append(Run(chunk, start, stop))
            first = start
        last_chunk, last_stop = chunk, stop
    return runs


def _scan_runs(metric: Metric, runs: list[Run], query: Floats, prepared: Floats, k: int) -> Found:
    starts = [0, *accumulate(stop - start for _, start, stop in runs)]
    if not starts[-1]:
        return _nothing()
    scores = np.empty(starts[-1], dtype=np.float32)
    terms = np.concatenate([run.chunk.terms[run.start : run.stop] for run in runs])
    for (chunk, start, stop), begin, end in zip(runs, starts, starts[1:], strict=False):
        np.dot(chunk.vectors[start:stop], prepared, out=scores[begin:end])
    largest_norm = max(run.chunk.largest_norm for run in runs)

    def score(positions: Rows) -> tuple[Rows, Doubles]:
        places = _locate(runs, starts, positions)
        vectors = np.empty((len(places), len(query)), dtype=np.float32)
        for at, (chunk, row) in enumerate(places):
            vectors[at] = chunk.vectors[row]
        rows = np.array([chunk.rows[row] for chunk, row in places], dtype=np.int64)
        return rows, metric.direct(vectors, query)

    top = select_nearest(
        metric.fast(scores, terms),
        k,
        score=score,
        bound_of=lambda distance: metric.bound(distance, query, largest_norm),
        spare=k // 4 + 6,  # vectors near a boundary stand in several cells
    )
    return Found(top.rows, top.distances, _locate(runs, starts, top.positions), len(scores))


def _locate(runs: list[Run], starts: list[int], positions: Rows) -> list[tuple[Chunk, int]]:
    """From positions among the scores of all runs back to chunks and their rows."""
    places = []
    for position in positions.tolist():
        number = bisect_right(starts, position) - 1
        chunk, start, _ = runs[number]
        places.append((chunk, start + position - starts[number]))
    return places


def _nothing() -> Found:
    return Found(rows=np.empty(0, dtype=np.int64), distances=np.empty(0), places=[], scanned=0)
