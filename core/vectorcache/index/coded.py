"""Search of a large centroid table by codes: it scans all codes, and compares only a few of the centroids exactly.

The centroids are coded in the same way as the vectors of cells (``vectorcache.vectors.codes``). A run of centroids
takes the place of a cell, because the build gives neighbouring cells neighbouring numbers
(``vectorcache.index.pack``). See ``docs/decisions/0013-coded-centroids.md`` for the measurements.
"""

from __future__ import annotations

from math import isqrt

import numpy as np
import pyarrow as pa

from vectorcache.index.chunk import Chunk, Header, chunk_table
from vectorcache.index.scan import CellScan, CellTable, best_scan
from vectorcache.index.versions import CODES_WORK
from vectorcache.vectors import native
from vectorcache.vectors.codes import Coder, section
from vectorcache.vectors.exact import SearchResult, VectorSearch
from vectorcache.vectors.metric import Floats, comparable

BITS = 2

_DEVIATIONS = 3.0  # width of the bounds; at least 0.9998 of the nearest were found


class CodedSearch(VectorSearch):
    """Search that compares a query with the codes of all vectors, and exactly with those that may be the nearest.

    Without the compiled scan, all vectors are compared exactly. Distances are exact in both cases.

    Args:
        vectors: (n, d) float32, n >= 1, best if neighbours are next to each other.
        metric: "euclidean", "cosine" or "dot".
        k: default number of neighbours.
        scan: compares vectors.
    """

    def __init__(
        self, vectors: Floats, metric: str = "euclidean", k: int = 10, *, scan: CellScan | None = None
    ) -> None:
        super().__init__(k)
        self._scan = scan or best_scan()
        self._shape = vectors.shape
        self._table = _coded(vectors, metric)
        self._runs = np.arange(len(self._table.cells.chunk_of_cell), dtype=np.int32)

    @property
    def dimension(self) -> int:
        """Number of components of a vector."""
        return int(self._shape[1])

    def __len__(self) -> int:
        return int(self._shape[0])

    def work(self) -> float:
        """See ``VectorSearch.work``."""
        return super().work() * CODES_WORK

    def search_checked(self, queries: Floats, k: int) -> SearchResult:
        """See ``VectorSearch.search_checked``."""
        table = self._table._replace(coding=None) if k == len(self) else self._table
        found = self._scan.scan(queries, [self._runs] * len(queries), table, k)
        return SearchResult(
            np.array([one.rows for one in found], dtype=np.int64).reshape(len(queries), k),
            np.array([one.distances for one in found]).reshape(len(queries), k),
        )


def _coded(vectors: Floats, metric: str) -> CellTable:
    """Return the vectors as one chunk, with runs of about sqrt(n) vectors in place of cells."""
    count, runs = len(vectors), isqrt(len(vectors))
    bounds = (np.arange(runs + 1) * count // runs).astype(np.int64)
    begin, end = bounds[:-1].copy(), bounds[1:].copy()
    means = np.add.reduceat(comparable(vectors, metric), begin, axis=0, dtype=np.float32)
    means /= (end - begin)[:, None].astype(np.float32)
    coder = Coder(BITS, metric, means.mean(axis=0))
    encoded = coder.encode(vectors, means, np.repeat(np.arange(runs), end - begin))
    header = Header(metric=metric, first_cell=0, offsets=bounds.tolist(), code_width=coder.width)
    rows = np.arange(count, dtype=np.int64)
    columns = chunk_table(rows, pa.array(rows), vectors, None, section(encoded, means))
    chunk = Chunk(columns, header, "centroids")
    chunk_of_run = np.zeros(runs, dtype=np.int32)
    place = native.Cells(
        *(chunk_of_run, begin, end),
        native.addresses(chunk_of_run, begin, end),
        np.array([chunk.addresses], dtype=np.int64),
        np.zeros(1, dtype=np.int64),
    )
    return CellTable([chunk], place, count, chunk.largest_norm, native.Coding(coder, _DEVIATIONS))
