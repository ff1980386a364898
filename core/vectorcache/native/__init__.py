"""The scan in C: ``scan.c``, compiled when the package is built, and called without the interpreter's lock.

What lives here: the kernel that compares queries with rows in memory, and nothing that decides what to compare.
Where no C compiler was at hand the library is missing, ``kernel()`` is None, and numpy does the same work, slower.
"""

from __future__ import annotations

import ctypes
from collections.abc import Callable, Sequence
from functools import cache
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from vectorcache.metric import SMALLEST_NORM, Doubles, Floats, Metric

LIBRARY = Path(__file__).with_name("_scan.so")

_METRIC_NUMBERS = {name: number for number, name in enumerate(("euclidean", "cosine", "dot"))}
# Fields of eight bytes, as in scan.c: neighbour {distance, row, block, position}, outcome {count, scanned, rest}.
# Plain arrays, since numpy takes as long for the address of records as for a whole small call.
_NEIGHBOUR, _OUTCOME = 4, 3
_FOUND_AT_ONCE = 1 << 18  # neighbours that one call makes room for: 8 MB


class Cells(NamedTuple):
    """Where the cells of a version stand, and those of its chunks that are here.

    Cell c is the rows ``starts[c]:stops[c]`` of chunk ``chunk_of_cell[c]``. ``blocks`` (n, 3) int64 are the addresses
    of the vectors (float32), terms (float32) and row numbers (int64) of the chunks ``numbers`` (n,) int64, ascending.
    Who calls keeps alive what they point to.
    """

    chunk_of_cell: NDArray[np.int32]
    starts: NDArray[np.int64]
    stops: NDArray[np.int64]
    blocks: NDArray[np.int64]
    numbers: NDArray[np.int64]


class Nearest(NamedTuple):
    """The k distinct nearest rows of one query, nearest first, ties in the order of their numbers.

    ``rows`` (m,) int64, ``distances`` (m,) float64, and where each stands: ``blocks`` (m,) int64, its index among the
    chunks that are here, and ``positions`` (m,) int64 in that; ``scanned``: how many rows were compared.
    """

    rows: NDArray[np.int64]
    distances: Doubles
    blocks: NDArray[np.int64]
    positions: NDArray[np.int64]
    scanned: int


class Kernel:
    """The compiled library. Stateless; calls from several threads run side by side."""

    def __init__(self, library: ctypes.CDLL) -> None:
        pointer, integer, number = ctypes.c_void_p, ctypes.c_int64, ctypes.c_double
        # prepared, exact, d; metric, smallest norm; k, take; found, outcomes
        shared = (pointer, pointer, integer, ctypes.c_int, number, integer, integer, pointer, pointer)
        self._scan_cells = library.vectorcache_scan_cells
        self._scan_cells.argtypes = [pointer, pointer, pointer, integer, *shared]
        self._scan_table = library.vectorcache_scan_table
        self._scan_table.argtypes = [pointer, integer, pointer, integer, *shared]

    def nearest_in_cells(
        self,
        metric: Metric,
        queries: Floats,
        cells: Cells,
        probes: Sequence[NDArray[np.int32]],
        k: int,
        *,
        spare: int,
        largest_norm: float,
    ) -> list[Nearest]:
        """The k nearest of each query (b, d) among the rows of its cells, proved complete as ``select_nearest`` does.

        Args:
            metric: of the comparison.
            queries: float32, C-contiguous.
            cells: where they stand. Those whose chunk is not here are passed over.
            probes: for each query its cells, ascending.
            k: how many.
            spare: how many more than k are scored at once.
            largest_norm: of any of the rows.

        Raises:
            MemoryError: there is not enough.
        """
        ends = np.cumsum([len(one) for one in probes])
        flat = probes[0] if len(probes) == 1 else np.concatenate(probes)
        flat = np.ascontiguousarray(flat, dtype=np.int32)
        place = np.array([*(_address(array) for array in cells), len(cells.numbers)])

        def scan(first: int, count: int, *shared: object) -> int:
            skipped = int(ends[first - 1]) if first else 0
            here = ends[first : first + count] - skipped
            status: int = self._scan_cells(
                _address(place), _address(flat[skipped:]), _address(here), count, *shared
            )
            return status

        return _proved(scan, metric, queries, k, spare, largest_norm)

    def nearest_in_table(
        self,
        metric: Metric,
        queries: Floats,
        vectors: Floats,
        terms: Floats,
        k: int,
        *,
        dots: Floats | None = None,
        spare: int,
        largest_norm: float,
    ) -> list[Nearest]:
        """The k nearest of each query (b, d) among vectors (n, d), k <= n; otherwise as ``nearest_in_cells``.

        ``dots``, if they are known already, are the inner products (b, n) of the prepared queries with the vectors.
        """
        block = np.array([_address(vectors), _address(terms), 0])

        def scan(first: int, count: int, *shared: object) -> int:
            known = None if dots is None else _address(dots[first:])
            status: int = self._scan_table(_address(block), len(vectors), known, count, *shared)
            return status

        return _proved(scan, metric, queries, k, spare, largest_norm)


def _proved(
    scan: Callable[..., int], metric: Metric, queries: Floats, k: int, spare: int, largest_norm: float
) -> list[Nearest]:
    """Scan for all queries; again, scoring more, for each that could have missed a neighbour."""
    prepared, exact = metric.prepare(queries), metric.widen(queries)
    d = queries.shape[1]

    def some(first: int, count: int, take: int) -> tuple[NDArray[np.int64], list[list[int]], list[float]]:
        """Neighbours, (count, scanned) and rest of so many queries."""
        found = np.empty((count, k, _NEIGHBOUR), dtype=np.int64)
        outcomes = np.empty((count, _OUTCOME), dtype=np.int64)
        status = scan(
            *(first, count, _address(prepared[first:]), _address(exact[first:]), d),
            *(_METRIC_NUMBERS[metric.name], SMALLEST_NORM, k, take, _address(found), _address(outcomes)),
        )
        if status:
            raise MemoryError("the scan found no room for its candidates")
        return found, outcomes[:, :2].tolist(), outcomes[:, 2].view(np.float64).tolist()

    def one(at: int, found: NDArray[np.int64], count: int, scanned: int, rest: float) -> Nearest:
        """The answer to one query, by its first scan or by those that score more."""
        take = k + spare
        while True:
            rows = found[:count]
            distances = rows[:, 0].view(np.float64)
            if take >= scanned or (
                count == k and metric.bound(float(distances[-1]), queries[at], largest_norm) < rest
            ):
                return Nearest(rows[:, 1], distances, rows[:, 2], rows[:, 3], scanned)
            take = min(4 * take, scanned)
            (found,), ((count, _),), (rest,) = some(at, 1, take)

    at_once = max(1, _FOUND_AT_ONCE // k)
    return [
        one(first + at, found, count, scanned, rest)
        for first in range(0, len(queries), at_once)
        for at, (found, (count, scanned), rest) in enumerate(
            zip(*some(first, min(at_once, len(queries) - first), k + spare), strict=True)
        )
    ]


def _address(array: NDArray[np.generic]) -> int:
    try:
        # In a third of the time of array.ctypes.data.
        return ctypes.addressof(ctypes.c_char.from_buffer(array))  # type: ignore[arg-type]
    except (TypeError, ValueError):  # read-only, or empty
        return int(array.ctypes.data)


@cache
def kernel() -> Kernel | None:
    """The kernel, or None where the library was not built, or was built for another machine."""
    try:
        return Kernel(ctypes.CDLL(str(LIBRARY)))
    except OSError:
        return None
