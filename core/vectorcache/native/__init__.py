"""The scan in C: ``scan.c``, compiled when the package is built, and called without the interpreter's lock.

What lives here: the kernel that compares one query with rows in memory, and nothing that decides what to compare.
Where no C compiler was at hand the library is missing, ``kernel()`` is None, and numpy does the same work, slower.
"""

from __future__ import annotations

import ctypes
from functools import cache
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from vectorcache.metric import METRICS, SMALLEST_NORM, Doubles, Floats, Metric

LIBRARY = Path(__file__).with_name("_scan.so")

_METRIC_NUMBERS = {name: number for number, name in enumerate(("euclidean", "cosine", "dot"))}
_NEIGHBOUR = np.dtype(
    [("distance", np.float64), ("row", np.int64), ("run", np.int32), ("position", np.int64)], align=True
)


class Nearest(NamedTuple):
    """The k distinct nearest rows, nearest first, ties in the order of their numbers.

    ``rows`` (m,) int64, ``distances`` (m,) float64, and where each stands: ``runs`` (m,) int32 and ``positions`` (m,)
    int64 inside the run's vectors.
    """

    rows: NDArray[np.int64]
    distances: Doubles
    runs: NDArray[np.int32]
    positions: NDArray[np.int64]


class Kernel:
    """The compiled library. Stateless; calls from several threads run side by side."""

    def __init__(self, library: ctypes.CDLL) -> None:
        pointer, integer = ctypes.c_void_p, ctypes.c_int64
        self._scan = library.vectorcache_scan
        self._scan.restype = integer
        self._scan.argtypes = [
            *(pointer, integer, pointer, pointer, integer),  # runs, how many; query twice, d
            *(ctypes.c_int, ctypes.c_double, integer, integer),  # metric, smallest norm, k, take
            *(pointer, pointer),  # found, rest
        ]

    def nearest(
        self,
        metric: Metric,
        query: Floats,
        runs: NDArray[np.int64],
        k: int,
        *,
        total: int,
        spare: int,
        largest_norm: float,
    ) -> Nearest:
        """The k nearest of a query (d,) among the rows of runs, proved complete as ``select_nearest`` does.

        Args:
            metric: of the comparison.
            query: (d,) float32, C-contiguous.
            runs: (n, 5) int64: addresses of a chunk's vectors (float32), terms (float32) and row numbers (int64),
                and the first and one past the last row to compare. The caller keeps them alive.
            k: how many.
            total: how many rows the runs have together.
            spare: how many more than k are scored at once.
            largest_norm: of any of the rows.

        Raises:
            MemoryError: there is not enough.
        """
        prepared, exact = metric.prepare(query), metric.widen(query)
        # From a query without a direction every cosine distance is 1, as from a row without one.
        shortest = np.inf if metric is METRICS["cosine"] and not exact.any() else SMALLEST_NORM
        k = min(k, max(total, 1))
        found = np.empty(k, dtype=_NEIGHBOUR)
        rest = np.empty(1, dtype=np.float32)
        take = k + spare
        while True:
            count = self._scan(
                runs.ctypes.data,
                len(runs),
                prepared.ctypes.data,
                exact.ctypes.data,
                len(query),
                _METRIC_NUMBERS[metric.name],
                shortest,
                k,
                min(take, max(total, 1)),
                found.ctypes.data,
                rest.ctypes.data,
            )
            if count < 0:
                raise MemoryError("the scan found no room for its candidates")
            kept = found[:count]
            if take >= total or (
                count == k and metric.bound(float(kept["distance"][-1]), query, largest_norm) < float(rest[0])
            ):
                return Nearest(kept["row"], kept["distance"], kept["run"], kept["position"])
            take *= 4


def one_run(vectors: Floats, terms: Floats, rows: NDArray[np.int64]) -> NDArray[np.int64]:
    """All rows of three arrays as the one run of a table; the caller keeps the arrays alive."""
    addresses = [array.ctypes.data for array in (vectors, terms, rows)]
    return np.array([[*addresses, 0, len(vectors)]], dtype=np.int64)


@cache
def kernel() -> Kernel | None:
    """The kernel, or None where the library was not built, or was built for another machine."""
    try:
        return Kernel(ctypes.CDLL(str(LIBRARY)))
    except OSError:
        return None
