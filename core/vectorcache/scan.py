"""The scan: exact search of the probed cells of a request. The one place where vectors are compared on a node.

``CellScan`` is the whole interface: queries and runs of rows in, nearest rows out. ``NumpyScan`` does it with one
BLAS product per run; another implementation takes its place without anything else changing.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate
from operator import sub
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from vectorcache.chunk import Chunk
from vectorcache.metric import Doubles, Floats, metric_of
from vectorcache.native import Kernel, kernel
from vectorcache.topk import Rows, select_nearest


class Runs(NamedTuple):
    """What to compare one query with: run i is the rows ``starts[i]:stops[i]`` of ``chunks[i]``."""

    chunks: Sequence[Chunk]
    starts: Sequence[int]
    stops: Sequence[int]


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
    """Compares queries with rows of chunks. Stateless, so safe to share between threads."""

    @abstractmethod
    def scan(self, queries: Floats, runs: Sequence[Runs], k: int) -> list[Found]:
        """The k nearest of each query among the rows of its runs.

        Args:
            queries: (b, d) float32, checked already.
            runs: for each query, the rows to compare it with; a vector may stand in several.
            k: how many; fewer come back where there are fewer distinct rows.
        """


class NumpyScan(CellScan):
    """One matrix-vector product per run, into one buffer per query."""

    def scan(self, queries: Floats, runs: Sequence[Runs], k: int) -> list[Found]:
        """See ``CellScan.scan``."""
        return [_scan_one(query, wanted, k) for query, wanted in zip(queries, runs, strict=True)]


class NativeScan(CellScan):
    """One call of the compiled kernel per query."""

    def __init__(self, kernel: Kernel) -> None:
        self._kernel = kernel

    def scan(self, queries: Floats, runs: Sequence[Runs], k: int) -> list[Found]:
        """See ``CellScan.scan``."""
        return [self._scan_one(query, wanted, k) for query, wanted in zip(queries, runs, strict=True)]

    def _scan_one(self, query: Floats, runs: Runs, k: int) -> Found:
        total = sum(runs.stops) - sum(runs.starts)
        if not total:
            return _nothing()
        nearest = self._kernel.nearest(
            metric_of(runs.chunks[0].metric),
            query,
            run_table(runs),
            k,
            total=total,
            spare=_spare(k),
            largest_norm=max(chunk.largest_norm for chunk in runs.chunks),
        )
        chunks = [runs.chunks[run] for run in nearest.runs.tolist()]
        places = list(zip(chunks, nearest.positions.tolist(), strict=True))
        return Found(nearest.rows, nearest.distances, places, total)


def best_scan() -> CellScan:
    """The compiled scan where it was built, else numpy's."""
    native = kernel()
    return NumpyScan() if native is None else NativeScan(native)


def run_table(runs: Runs) -> NDArray[np.int64]:
    """Runs as the kernel takes them, (n, 5) int64."""
    flat: list[int] = []
    for chunk, start, stop in zip(*runs, strict=True):
        flat += (*chunk.addresses, start, stop)
    return np.array(flat, dtype=np.int64).reshape(-1, 5)


def _scan_one(query: Floats, runs: Runs, k: int) -> Found:
    ends = list(accumulate(map(sub, runs.stops, runs.starts)))
    if not ends or not ends[-1]:
        return _nothing()
    metric = metric_of(runs.chunks[0].metric)
    prepared = metric.prepare(query)
    scores = np.empty(ends[-1], dtype=np.float32)
    terms = []
    begin = 0
    for chunk, start, stop, end in zip(*runs, ends, strict=True):
        np.dot(chunk.vectors[start:stop], prepared, out=scores[begin:end])
        terms.append(chunk.terms[start:stop])
        begin = end
    largest_norm = max(chunk.largest_norm for chunk in runs.chunks)

    def score(positions: Rows) -> tuple[Rows, Doubles]:
        places = _places(runs, ends, positions)
        vectors = np.empty((len(places), len(query)), dtype=np.float32)
        for at, (chunk, row) in enumerate(places):
            vectors[at] = chunk.vectors[row]
        rows = np.array([chunk.rows[row] for chunk, row in places], dtype=np.int64)
        return rows, metric.direct(vectors, query)

    top = select_nearest(
        metric.fast(scores, np.concatenate(terms)),
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


def _places(runs: Runs, ends: list[int], positions: Rows) -> list[tuple[Chunk, int]]:
    """From positions among the scores of all runs back to chunks and their rows."""
    places = []
    for position in positions.tolist():
        run = bisect_right(ends, position)
        places.append((runs.chunks[run], runs.stops[run] - ends[run] + position))
    return places
