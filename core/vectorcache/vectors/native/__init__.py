"""The scan in C: ``scan.c``, compiled when the package is built, and called without the interpreter's lock.

What lives here: the kernel that compares queries with rows in memory, and nothing that decides what to compare.
Where no C compiler was at hand the library is missing, ``kernel()`` is None, and numpy does the same work, slower.
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
# Fields of eight bytes, as in scan.c: neighbour {distance, row, block, position}, outcome {count, scanned, scored}.
# These are plain arrays because taking the address of a record array costs as much as a small call.
_NEIGHBOUR, _OUTCOME = 4, 3
_FOUND_AT_ONCE = 1 << 18  # neighbours that one call makes room for: 8 MB
# Rows found by their codes that wait to be scored. If more wait, they are scored in a better order, but the limit
# that keeps others out becomes lower later.
_WAITING, _WAITING_PER_NEIGHBOUR = 240, 16


class Cells(NamedTuple):
    """Where the cells of a version stand, and those of its chunks that are here.

    Cell c is the rows ``starts[c]:stops[c]`` of chunk ``chunk_of_cell[c]``; ``addresses`` are those of these three
    arrays. ``blocks`` (n, 6) int64 are, of the chunks ``numbers`` (n,) int64, ascending: the addresses of the vectors
    (float32), terms (float32), row numbers (int64), codes and centroids (0 where there are none), and the first cell.
    Who calls keeps alive what they point to.
    """

    chunk_of_cell: NDArray[np.int32]
    starts: NDArray[np.int64]
    stops: NDArray[np.int64]
    addresses: tuple[int, int, int]
    blocks: NDArray[np.int64]
    numbers: NDArray[np.int64]


class Nearest(NamedTuple):
    """The k distinct nearest rows of one query, nearest first, ties in the order of their numbers.

    ``rows`` (m,) int64, ``distances`` (m,) float64, and where each stands: ``blocks`` (m,) int64, its index among the
    chunks that are here, and ``positions`` (m,) int64 in that; ``scanned``: how many rows were compared, and
    ``scored``: how many of these by their vectors in double precision.
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
        deviations: how many standard errors below the estimate a lower bound lies.
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
    """The compiled library. Stateless; calls from several threads run side by side."""

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
        """The k nearest of each query (b, d) among the rows of its cells, proved complete as ``select_nearest`` does.

        With ``coding`` the codes are scanned, which all blocks have then, and the proof is as good as their bounds.

        Args:
            metric: of the comparison.
            queries: float32, C-contiguous.
            cells: where they stand. Those whose chunk is not here are passed over.
            probes: for each query its cells, ascending.
            k: how many.
            spare: how many more than k are scored at once, where vectors are compared.
            largest_norm: of any of the rows.
            coding: how codes are compared; None compares the vectors.

        Raises:
            MemoryError: there is not enough.
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
        """The k nearest of each query (b, d) among vectors (n, d), k <= n; otherwise as ``nearest_in_cells``.

        ``dots``, if they are known already, are the inner products (b, n) of the prepared queries with the vectors.
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
        """The rows (b, k) of ``nearest_in_table``, in ascending order and without their distances."""
        block = _block(vectors, terms)
        chosen = np.empty((len(queries), k), dtype=np.int32)
        status = self._choose_rows(
            *(_address(block), len(vectors), None if dots is None else _address(dots)),
            *(_address(queries), *queries.shape, _METRIC_NUMBERS[metric.name], SMALLEST_NORM, largest_norm),
            *(k, _address(chosen)),
        )
        if status:
            raise MemoryError("the scan found no room for its values")
        return chosen


class _Answers:
    """Queries as the library takes them, and the room for what it finds."""

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
        """What was found; ``MemoryError`` where the status says so."""
        if status:
            raise MemoryError("the scan found no room for its candidates")
        return [
            Nearest(
                *(rows[:count, 1], rows[:count, 0].view(np.float64), rows[:count, 2], rows[:count, 3]),
                *(scanned, scored),
            )
            for rows, (count, scanned, scored) in zip(self._found, self._outcomes.tolist(), strict=True)
        ]


def _block(vectors: Floats, terms: Floats) -> NDArray[np.int64]:
    """A table as a block of ``Cells.blocks``, whose rows are numbered by their positions."""
    return np.array([_address(vectors), _address(terms), 0, 0, 0, 0])


def _parts(queries: int, k: int) -> list[slice]:
    """Cut a batch so that the answers of one call stay within bounds."""
    at_once = max(1, _FOUND_AT_ONCE // k)
    return [slice(first, first + at_once) for first in range(0, queries, at_once)]


def addresses(
    chunk_of_cell: NDArray[np.int32], starts: NDArray[np.int64], stops: NDArray[np.int64]
) -> tuple[int, int, int]:
    """Those of the arrays of ``Cells`` that stay while a version is open."""
    return _address(chunk_of_cell), _address(starts), _address(stops)


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
