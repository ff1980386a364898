"""The scan: search of the probed cells of a request. It is the only code on a node that compares vectors.

``CellScan`` is the interface: it takes queries, their cells and the places of these, and returns the nearest rows.
``NativeScan`` calls the compiled kernel once for all queries. ``NumpyScan`` computes one BLAS product per run of rows.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from vectorcache.index.chunk import Chunk
from vectorcache.vectors import native
from vectorcache.vectors.metric import Doubles, Floats, metric_of, multiplying
from vectorcache.vectors.native import Kernel, kernel
from vectorcache.vectors.topk import Rows, select_nearest


class CellTable(NamedTuple):
    """Some chunks of a version, and the places of cells in them.

    Attributes:
        chunks: ascending by their numbers. The table keeps them alive.
        cells: the arrays that the kernel reads; see ``vectorcache.vectors.native.Cells``.
        rows, largest_norm: upper bounds of the chunks' number of rows, and of the norms of these.
        coding: how to compare the chunks' codes; None compares the vectors.
    """

    chunks: Sequence[Chunk]
    cells: native.Cells
    rows: int
    largest_norm: float
    coding: native.Coding | None = None


@dataclass(frozen=True, slots=True)
class Found:
    """The nearest rows of one query, nearest first.

    Attributes:
        rows: (m,) int64, their numbers in the collection.
        distances: (m,) float64.
        places: the chunk of each row, and its position in the chunk.
        scanned: number of rows compared, by their codes or their vectors.
    """

    rows: Rows
    distances: Doubles
    places: list[tuple[Chunk, int]]
    scanned: int


class CellScan(ABC):
    """Comparison of queries with rows of chunks. Stateless, so safe to share between threads."""

    @abstractmethod
    def scan(
        self, queries: Floats, probes: Sequence[NDArray[np.int32]], table: CellTable, k: int
    ) -> list[Found]:
        """Return the k nearest rows of each query among the rows of its cells.

        Args:
            queries: (b, d) float32, already checked.
            probes: for each query, the cells to compare it with, ascending. Several may hold the same vector. Cells
                whose chunk is not in the table are skipped.
            table: the chunks, and the places of cells in them.
            k: number of rows; fewer are returned if there are fewer distinct rows.
        """


class NumpyScan(CellScan):
    """Scan by one matrix-vector product per run of rows, into one buffer per query. It does not use codes.

    BLAS computes a float32 product faster than numpy looks up the bytes of a code in tables.
    """

    def scan(
        self, queries: Floats, probes: Sequence[NDArray[np.int32]], table: CellTable, k: int
    ) -> list[Found]:
        """See ``CellScan.scan``."""
        return [
            _scan_one(query, runs_of(cells, table), k) for query, cells in zip(queries, probes, strict=True)
        ]


class NativeScan(CellScan):
    """Scan by one call of the compiled kernel for all queries. It uses codes if the chunks have them."""

    def __init__(self, kernel: Kernel) -> None:
        self._kernel = kernel

    def scan(
        self, queries: Floats, probes: Sequence[NDArray[np.int32]], table: CellTable, k: int
    ) -> list[Found]:
        """See ``CellScan.scan``."""
        chunks = table.chunks
        if not table.rows or not chunks:
            return [_no_rows() for _ in queries]
        nearest = self._kernel.nearest_in_cells(
            metric_of(chunks[0].header.metric),
            queries,
            table.cells,
            probes,
            min(k, table.rows),
            spare=_spare(k),
            largest_norm=table.largest_norm,
            coding=table.coding,
        )
        return [
            Found(
                one.rows,
                one.distances,
                list(zip([chunks[at] for at in one.blocks.tolist()], one.positions.tolist(), strict=True)),
                one.scanned,
            )
            for one in nearest
        ]


def best_scan() -> CellScan:
    """Return the compiled scan if it was built, else that of numpy."""
    native = kernel()
    return NumpyScan() if native is None else NativeScan(native)


class Run(NamedTuple):
    """The rows ``start:stop`` of a chunk."""

    chunk: Chunk
    start: int
    stop: int


def runs_of(cells: NDArray[np.int32], table: CellTable) -> list[Run]:
    """Return the runs of rows of ascending cells whose chunk is in the table. Adjacent cells of a chunk are one run."""
    place = table.cells
    runs: list[Run] = []
    for cell, number in zip(cells.tolist(), place.chunk_of_cell[cells].tolist(), strict=True):
        at = int(np.searchsorted(place.numbers, number))
        if at == len(place.numbers) or place.numbers[at] != number:
            continue
        run = Run(table.chunks[at], int(place.starts[cell]), int(place.stops[cell]))
        if runs and runs[-1].chunk is run.chunk and runs[-1].stop == run.start:
            run = Run(run.chunk, runs.pop().start, run.stop)
        runs.append(run)
    return runs


def _scan_one(query: Floats, runs: Sequence[Run], k: int) -> Found:
    ends = list(accumulate(run.stop - run.start for run in runs))
    if not ends or not ends[-1]:
        return _no_rows()
    metric = metric_of(runs[0].chunk.header.metric)
    terms = np.concatenate([run.chunk.measure()[run.start : run.stop] for run in runs])
    prepared = metric.prepare(query)
    scores = np.empty(ends[-1], dtype=np.float32)
    begin = 0
    with multiplying():
        for (chunk, start, stop), end in zip(runs, ends, strict=True):
            np.dot(chunk.vectors[start:stop], prepared, out=scores[begin:end])
            begin = end
    largest_norm = max(run.chunk.largest_norm for run in runs)

    def score(positions: Rows) -> tuple[Rows, Doubles]:
        places = _places(runs, ends, positions)
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
        spare=_spare(k),
    )
    return Found(top.rows, top.distances, _places(runs, ends, top.positions), len(scores))


def _no_rows() -> Found:
    return Found(rows=np.empty(0, dtype=np.int64), distances=np.empty(0), places=[], scanned=0)


def _spare(k: int) -> int:
    """Return how many more than k rows are scored at once, because several cells may hold the same vector."""
    return k // 4 + 6


def _places(runs: Sequence[Run], ends: list[int], positions: Rows) -> list[tuple[Chunk, int]]:
    """Return the chunk and row of each position among the scores of all runs."""
    places = []
    for position in positions.tolist():
        run = bisect_right(ends, position)
        places.append((runs[run].chunk, runs[run].stop - ends[run] + position))
    return places
