"""The scan: exact search of the probed cells of a request. The one place where vectors are compared on a node.

``CellScan`` is the whole interface: queries, their cells and where these stand in; nearest rows out. ``NativeScan``
is one call of the compiled kernel, ``NumpyScan`` one BLAS product per run of rows; another implementation takes
their place without anything else changing.
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
    """Some chunks of a version, and where cells stand in them.

    Attributes:
        chunks: ascending by their numbers. The table keeps them alive.
        cells: the arrays in which the kernel reads; see ``vectorcache.vectors.native.Cells``.
        rows, largest_norm: upper bounds of how many rows the chunks have, and of their norms.
        coding: how to compare the chunks' codes; None compares the vectors themselves.
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
        places: for each, its chunk and its position there.
        scanned: how many rows were compared, by their codes or their vectors.
    """

    rows: Rows
    distances: Doubles
    places: list[tuple[Chunk, int]]
    scanned: int


class CellScan(ABC):
    """Compares queries with rows of chunks. Stateless, so safe to share between threads."""

    @abstractmethod
    def scan(
        self, queries: Floats, probes: Sequence[NDArray[np.int32]], table: CellTable, k: int
    ) -> list[Found]:
        """The k nearest of each query among the rows of its cells.

        Args:
            queries: (b, d) float32, checked already.
            probes: for each query, the cells to compare it with, ascending; a vector may stand in several. Those
                whose chunk is not in the table are passed over.
            table: where cells stand.
            k: how many; fewer come back where there are fewer distinct rows.
        """


class NumpyScan(CellScan):
    """One matrix-vector product per run of rows, into one buffer per query. Codes are left alone.

    A product of float32 takes BLAS less time than numpy needs to look a code's bytes up in tables.
    """

    def scan(
        self, queries: Floats, probes: Sequence[NDArray[np.int32]], table: CellTable, k: int
    ) -> list[Found]:
        """See ``CellScan.scan``."""
        return [
            _scan_one(query, runs_of(cells, table), k) for query, cells in zip(queries, probes, strict=True)
        ]


class NativeScan(CellScan):
    """One call of the compiled kernel for all queries, over codes where the chunks have them."""

    def __init__(self, kernel: Kernel) -> None:
        self._kernel = kernel

    def scan(
        self, queries: Floats, probes: Sequence[NDArray[np.int32]], table: CellTable, k: int
    ) -> list[Found]:
        """See ``CellScan.scan``."""
        chunks = table.chunks
        if not table.rows or not chunks:
            return [_nothing() for _ in queries]
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
    """The compiled scan where it was built, else numpy's."""
    native = kernel()
    return NumpyScan() if native is None else NativeScan(native)


class Run(NamedTuple):
    """The rows ``start:stop`` of a chunk."""

    chunk: Chunk
    start: int
    stop: int


def runs_of(cells: NDArray[np.int32], table: CellTable) -> list[Run]:
    """The rows of cells, ascending, as far as their chunks are here; cells side by side in a chunk are one run."""
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
        return _nothing()
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


def _nothing() -> Found:
    return Found(rows=np.empty(0, dtype=np.int64), distances=np.empty(0), places=[], scanned=0)


def _spare(k: int) -> int:
    """How many more than k are scored at once: vectors near a boundary stand in several cells."""
    return k // 4 + 6


def _places(runs: Sequence[Run], ends: list[int], positions: Rows) -> list[tuple[Chunk, int]]:
    """From positions among the scores of all runs back to chunks and their rows."""
    places = []
    for position in positions.tolist():
        run = bisect_right(ends, position)
        places.append((runs[run].chunk, runs[run].stop - ends[run] + position))
    return places
