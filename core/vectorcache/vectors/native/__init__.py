"""The scan in C: ``scan.c``, compiled when the package is built, and called without holding the GIL.

This package holds the kernel that compares queries with rows in memory. The caller chooses the rows. If no C compiler
was available, the library is missing and ``kernel()`` returns None; numpy does the same work more slowly.
"""

from __future__ import annotations

import ctypes
from collections.abc import Sequence
from functools import cache
from itertools import accumulate
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from vectorcache.vectors.codes import ROUNDS, Coder, signs
from vectorcache.vectors.metric import SMALLEST_NORM, Doubles, Floats, Metric

LIBRARY = Path(__file__).with_name("_scan.so")

_METRIC_NUMBERS = {name: number for number, name in enumerate(("euclidean", "cosine", "dot"))}
# Numbers of fields of eight bytes, as in scan.c: neighbour {distance, row, block, position}, outcome {count, scanned,
# scored}. These are plain arrays because taking the address of a record array costs as much as a small call.
_NEIGHBOUR, _OUTCOME = 4, 3
_FOUND_AT_ONCE = 1 << 18  # maximum number of neighbours that one call returns: 8 MB
# Number of rows found by their codes that are collected before they are scored. A larger number means a better order
# of scoring, but the limit that excludes other rows is lowered later.
_WAITING, _WAITING_PER_NEIGHBOUR = 240, 16


class Cells(NamedTuple):
    """The places of a version's cells, and the chunks that are in memory.

    Cell c is the rows ``starts[c]:stops[c]`` of chunk ``chunk_of_cell[c]``. ``addresses`` are the addresses of these
    three arrays. ``numbers`` (n,) int64 are the chunks in memory, ascending. ``blocks`` (n, 6) int64 has for each of
    them the addresses of its vectors (float32), terms (float32), row numbers (int64), codes and centroids (0 if there
    are none), and the number of its first cell. The caller keeps the memory at these addresses alive.
    """

    chunk_of_cell: NDArray[np.int32]
    starts: NDArray[np.int64]
    stops: NDArray[np.int64]
    addresses: tuple[int, int, int]
    blocks: NDArray[np.int64]
    numbers: NDArray[np.int64]


class Nearest(NamedTuple):
    """The k nearest distinct rows of one query, nearest first, ties in the order of their numbers.

    ``rows`` (m,) int64, ``distances`` (m,) float64, and the place of each row: ``blocks`` (m,) int64, the index of its
    chunk in ``Cells.blocks``, and ``positions`` (m,) int64 in the chunk. ``scanned`` is the number of rows compared,
    and ``scored`` the number of these compared by their vectors in double precision.
    """

    rows: NDArray[np.int64]
    distances: Doubles
    blocks: NDArray[np.int64]
    positions: NDArray[np.int64]
    scanned: int
    scored: int


class Coding:
    """The parameters with which the kernel compares codes: those of the ``Coder``, and the width of the bounds.

    Args:
        coder: the encoder of the codes.
        deviations: distance of the lower bound from the estimate, in standard errors.
    """

    __slots__ = ("_centre", "_fields", "_signs", "address", "bits", "width")

    def __init__(self, coder: Coder, deviations: float) -> None:
        dimension = len(coder.centre)
        self.bits, self.width = coder.bits, coder.width
        self._centre = np.ascontiguousarray(coder.centre, dtype=np.float32)
        self._signs = signs(dimension)
        size = 1 << (dimension.bit_length() - 1)
        self._fields = np.array(
            [coder.bits, coder.width, size, _address(self._centre), _address(self._signs), ROUNDS, 0]
        )
        self._fields[-1:].view(np.float64)[0] = deviations
        self.address = _address(self._fields)


class Kernel:
    """The compiled library. Stateless; calls from several threads run in parallel."""

    def __init__(self, library: ctypes.CDLL) -> None:
        pointer, integer, number = ctypes.c_void_p, ctypes.c_int64, ctypes.c_double
        # queries, count, d; metric, smallest and largest norm; k, spare; found, outcomes
        shared = (
            *(pointer, integer, integer, ctypes.c_int, number, number),
            *(integer, integer, pointer, pointer),
        )
        self._scan_cells = library.vectorcache_scan_cells
        self._scan_cells.argtypes = [pointer, pointer, pointer, *shared]
        self._scan_table = library.vectorcache_scan_table
        self._scan_table.argtypes = [pointer, integer, pointer, *shared]
        self._choose_rows = library.vectorcache_choose_rows
        self._choose_rows.argtypes = [pointer, integer, pointer, *shared[:6], integer, pointer]
        self._scan_codes = library.vectorcache_scan_codes
        self._scan_codes.argtypes = [pointer, pointer, pointer, pointer, *shared]

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
        coding: Coding | None = None,
    ) -> list[Nearest]:
        """Return the k nearest rows of each query (b, d) among the rows of its cells.

        The answer is proved to be complete as by ``select_nearest``. With ``coding`` the codes are scanned, which all
        blocks must have, and the answer is as complete as the bounds of the codes are correct.

        Args:
            metric: the metric.
            queries: float32, C-contiguous.
            cells: places of the cells. Cells whose chunk is not in memory are skipped.
            probes: for each query its cells, ascending.
            k: number of rows.
            spare: how many more than k rows are scored at once, if vectors are compared.
            largest_norm: upper bound of the norms of the rows.
            coding: how to compare codes; None compares the vectors.

        Raises:
            MemoryError: an allocation failed.
        """
        if coding is not None:
            spare = _WAITING + _WAITING_PER_NEIGHBOUR * k
        place = np.array(
            [*cells.addresses, _address(cells.blocks), _address(cells.numbers), len(cells.numbers)]
        )
        nearest: list[Nearest] = []
        for part in _parts(len(queries), k):
            some = probes[part]
            flat = np.ascontiguousarray(some[0] if len(some) == 1 else np.concatenate(some), dtype=np.int32)
            ends = np.array([*accumulate(map(len, some))])
            answers = _Answers(metric, queries[part], k, spare, largest_norm)
            named = (_address(place), _address(flat), _address(ends))
            if coding is None:
                status = self._scan_cells(*named, *answers.arguments)
            else:
                status = self._scan_codes(*named, coding.address, *answers.arguments)
            nearest += answers.nearest(status)
        return nearest

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
        """Return the k nearest of vectors (n, d) for each query (b, d), k <= n; see ``nearest_in_cells``.

        ``dots`` are the inner products (b, n) of the prepared queries with the vectors, or None to compute them.
        """
        block = _block(vectors, terms)
        nearest: list[Nearest] = []
        for part in _parts(len(queries), k):
            known = None if dots is None else _address(dots[part])
            answers = _Answers(metric, queries[part], k, spare, largest_norm)
            status = self._scan_table(_address(block), len(vectors), known, *answers.arguments)
            nearest += answers.nearest(status)
        return nearest

    def chosen_in_table(
        self,
        metric: Metric,
        queries: Floats,
        vectors: Floats,
        terms: Floats,
        k: int,
        *,
        dots: Floats | None = None,
        largest_norm: float,
    ) -> NDArray[np.int32]:
        """Return the rows (b, k) of ``nearest_in_table``, in ascending order and without their distances."""
        block = _block(vectors, terms)
        chosen = np.empty((len(queries), k), dtype=np.int32)
        status = self._choose_rows(
            *(_address(block), len(vectors), None if dots is None else _address(dots)),
            *(_address(queries), *queries.shape, _METRIC_NUMBERS[metric.name], SMALLEST_NORM, largest_norm),
            *(k, _address(chosen)),
        )
        if status:
            raise MemoryError("the scan could not allocate memory for its values")
        return chosen


class _Answers:
    """Arguments for a call of the library: the queries, and memory for the results."""

    __slots__ = ("_found", "_outcomes", "arguments")

    def __init__(self, metric: Metric, queries: Floats, k: int, spare: int, largest_norm: float) -> None:
        count, d = queries.shape
        self._found = np.empty((count, k, _NEIGHBOUR), dtype=np.int64)
        self._outcomes = np.empty((count, _OUTCOME), dtype=np.int64)
        self.arguments = (
            *(_address(queries), count, d, _METRIC_NUMBERS[metric.name], SMALLEST_NORM, largest_norm),
            *(k, spare, _address(self._found), _address(self._outcomes)),
        )

    def nearest(self, status: int) -> list[Nearest]:
        """Return the results. Raises ``MemoryError`` if the status of the call is not 0."""
        if status:
            raise MemoryError("the scan could not allocate memory for its candidates")
        return [
            Nearest(
                *(rows[:count, 1], rows[:count, 0].view(np.float64), rows[:count, 2], rows[:count, 3]),
                *(scanned, scored),
            )
            for rows, (count, scanned, scored) in zip(self._found, self._outcomes.tolist(), strict=True)
        ]


def _block(vectors: Floats, terms: Floats) -> NDArray[np.int64]:
    """Return a table in the form of ``Cells.blocks``. Its rows are numbered by their positions."""
    return np.array([_address(vectors), _address(terms), 0, 0, 0, 0])


def _parts(queries: int, k: int) -> list[slice]:
    """Divide a batch so that the size of the answers of one call is bounded."""
    at_once = max(1, _FOUND_AT_ONCE // k)
    return [slice(first, first + at_once) for first in range(0, queries, at_once)]


def addresses(
    chunk_of_cell: NDArray[np.int32], starts: NDArray[np.int64], stops: NDArray[np.int64]
) -> tuple[int, int, int]:
    """Return the addresses of the arrays of ``Cells`` that exist as long as a version is open."""
    return _address(chunk_of_cell), _address(starts), _address(stops)


def _address(array: NDArray[np.generic]) -> int:
    try:
        # Takes a third of the time of array.ctypes.data.
        return ctypes.addressof(ctypes.c_char.from_buffer(array))  # type: ignore[arg-type]
    except (TypeError, ValueError):  # read-only, or empty
        return int(array.ctypes.data)


@cache
def kernel() -> Kernel | None:
    """Return the kernel, or None if the library was not built, or was built for another machine."""
    try:
        return Kernel(ctypes.CDLL(str(LIBRARY)))
    except OSError:
        return None
