"""What "near" means: Euclidean distance, cosine distance and dot product.

Each metric has two forms. The *fast form* is float32, one BLAS product for all rows, and good enough to say
which rows may be among the nearest. The *direct form* is float64 on those few rows, and is what callers see.
``Metric.slack`` bounds how far the two can be apart, so that a caller can prove that it missed nothing.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from typing import ClassVar, TypeAlias

import numpy as np
from numpy.typing import NDArray

from vectorcache.errors import InvalidInput

Floats: TypeAlias = NDArray[np.float32]
Doubles: TypeAlias = NDArray[np.float64]

MAX_MAGNITUDE = 1e16
"""Largest allowed absolute value of a component: squares and their sums stay finite in float32."""
MAX_DIMENSION = 65_536
SMALLEST_NORM = 1e-25
"""Under cosine a shorter vector counts as zero: float32 keeps too little of its direction."""

_NUMBERS = "numbers, as many in each vector"
_CACHE_LINE = 64
_UNIT_ROUNDOFF = 2.0**-24
_SMALLEST_NORMAL = float(np.finfo(np.float32).tiny)


class Metric(ABC):
    """One notion of distance; smaller is nearer. Stateless, so safe to share between threads."""

    name: ClassVar[str]

    @abstractmethod
    def row_terms(self, vectors: Floats) -> Floats:
        """What the fast form needs to know of each row, (n, d) float32 -> (n,) float32."""

    @abstractmethod
    def prepare(self, queries: Floats) -> Floats:
        """Bring queries, (..., d) float32, into the form whose inner products ``fast`` takes."""

    def widen(self, queries: Floats) -> Doubles:
        """Queries (b, d) as a direct form that compares row by row takes them, float64."""
        return queries.astype(np.float64)

    @abstractmethod
    def fast(self, dots: Floats, terms: Floats) -> Floats:
        """Turn inner products, (..., n) float32, in place into values that order rows as the distance does."""

    @abstractmethod
    def direct(self, vectors: Floats, query: Floats) -> Doubles:
        """Distances of rows (m, d) from one query (d,), computed in float64 without cancellation.

        A row's distance is the same to the last bit whatever rows stand beside it, which a BLAS product of a
        matrix and a vector does not promise: copies of a row are known by that.
        """

    @abstractmethod
    def _fast_of(self, distance: float, length: float) -> float:
        """What the fast form would be, without rounding, of a row at ``distance`` from a query of this length."""

    @abstractmethod
    def _scale(self, length: float, largest_norm: float) -> float:
        """The size of the numbers that the fast form adds up: its rounding error is relative to this."""

    def bound(self, distance: float, query: Floats, largest_norm: float) -> float:
        """The largest fast value that a row at ``distance`` or nearer can have got, rounding included."""
        length = norm(query)
        return self._fast_of(distance, length) + self._slack(len(query), length, largest_norm)

    def slack(self, query: Floats, largest_norm: float) -> float:
        """A bound of the fast form's absolute error for rows of norm at most ``largest_norm``.

        An inner product loses at most d roundings in whatever order it is summed (Jeannerod & Rump, "Improved
        error bounds for inner products in floating-point arithmetic", 2013), and a matrix product does sum one
        by one; 8 are for what is done before and after. The second term is underflow.
        """
        return self._slack(len(query), norm(query), largest_norm)

    def _slack(self, dimension: int, length: float, largest_norm: float) -> float:
        roundings = dimension + 8
        return roundings * _UNIT_ROUNDOFF * self._scale(length, largest_norm) + dimension * _SMALLEST_NORMAL


class Euclidean(Metric):
    """``sqrt(sum((x - q)^2))``. Fast form: ``|x|^2 / 2 - x.q``, which is ``(distance^2 - |q|^2) / 2``."""

    name = "euclidean"

    def row_terms(self, vectors: Floats) -> Floats:
        """Half of each row's squared norm."""
        return np.asarray(np.einsum("ij,ij->i", vectors, vectors) * np.float32(0.5))

    def prepare(self, queries: Floats) -> Floats:
        """Queries as they are."""
        return queries

    def fast(self, dots: Floats, terms: Floats) -> Floats:
        """``terms - dots``."""
        return np.subtract(terms, dots, out=dots)

    def direct(self, vectors: Floats, query: Floats) -> Doubles:
        """Square root of the summed squares of the differences."""
        difference = np.subtract(vectors, query, dtype=np.float64)
        return np.asarray(np.sqrt(np.vecdot(difference, difference)))

    def _fast_of(self, distance: float, length: float) -> float:
        """``(distance^2 - |q|^2) / 2``."""
        return 0.5 * (distance * distance - length * length)

    def _scale(self, length: float, largest_norm: float) -> float:
        """``|x|^2 / 2 + |x| |q|``."""
        return largest_norm * (0.5 * largest_norm + length)


class Cosine(Metric):
    """``1 - cos(x, q)``; 1 from and to a vector that is zero. Fast form: ``-x.q / |x|`` with q of length one."""

    name = "cosine"

    def row_terms(self, vectors: Floats) -> Floats:
        """Minus one over each row's norm, 0 for a row that is zero."""
        norms = row_norms(vectors)
        return np.where(norms < SMALLEST_NORM, 0.0, -1.0 / np.maximum(norms, SMALLEST_NORM)).astype(
            np.float32
        )

    def prepare(self, queries: Floats) -> Floats:
        """Queries scaled to length one."""
        norms = row_norms(np.atleast_2d(queries)).reshape(*queries.shape[:-1], 1)
        return (queries / np.where(norms < SMALLEST_NORM, 1.0, norms)).astype(np.float32)

    def widen(self, queries: Floats) -> Doubles:
        """Of length one; all zeros where one is too short to have a direction."""
        wide = queries.astype(np.float64)
        for row in wide:
            length = norm(row)
            row /= length if length >= SMALLEST_NORM else np.inf
        return wide

    def fast(self, dots: Floats, terms: Floats) -> Floats:
        """``dots * terms``."""
        return np.multiply(dots, terms, out=dots)

    def direct(self, vectors: Floats, query: Floats) -> Doubles:
        """Half the squared distance of the normalised vectors: no cancellation where they are close."""
        length = norm(query)
        if length < SMALLEST_NORM:
            return np.ones(len(vectors))
        rows = vectors.astype(np.float64)
        norms = np.sqrt(np.vecdot(rows, rows))
        rows /= np.maximum(norms, SMALLEST_NORM)[:, None]
        rows -= query.astype(np.float64) / length
        return np.where(norms < SMALLEST_NORM, 1.0, 0.5 * np.vecdot(rows, rows))

    def _fast_of(self, distance: float, length: float) -> float:
        """``distance - 1``."""
        return distance - 1.0

    def _scale(self, length: float, largest_norm: float) -> float:
        """Products of vectors of length one."""
        return 1.0


class DotProduct(Metric):
    """``-x.q``: the largest inner product is the nearest."""

    name = "dot"

    def row_terms(self, vectors: Floats) -> Floats:
        """Nothing is needed of a row."""
        return np.zeros(len(vectors), dtype=np.float32)

    def prepare(self, queries: Floats) -> Floats:
        """Queries as they are."""
        return queries

    def fast(self, dots: Floats, terms: Floats) -> Floats:
        """``-dots``."""
        return np.negative(dots, out=dots)

    def direct(self, vectors: Floats, query: Floats) -> Doubles:
        """Minus the inner products."""
        return np.asarray(-np.vecdot(vectors, query, dtype=np.float64))

    def _fast_of(self, distance: float, length: float) -> float:
        """The distance itself."""
        return distance

    def _scale(self, length: float, largest_norm: float) -> float:
        """``|x| |q|``."""
        return largest_norm * length


METRICS: dict[str, Metric] = {metric.name: metric for metric in (Euclidean(), Cosine(), DotProduct())}


def metric_of(name: str) -> Metric:
    """The metric of a name; ``InvalidInput`` names those that there are."""
    try:
        return METRICS[name]
    except KeyError:
        raise InvalidInput("metric", name, ", ".join(METRICS)) from None


def norm(vector: Floats | Doubles) -> float:
    """Euclidean norm of one vector, in float64."""
    wide = vector.astype(np.float64, copy=False)
    return math.sqrt(np.dot(wide, wide))


def row_norms(vectors: Floats) -> Doubles:
    """Euclidean norms of rows, (n, d) -> (n,) float64, without a float64 copy of all of them."""
    return np.asarray(np.sqrt(np.einsum("ij,ij->i", vectors, vectors, dtype=np.float64)))


def largest_norm(vectors: Floats) -> float:
    """An upper bound, tight to a millionth, of the Euclidean norms of rows (n, d); 0.0 where there are none.

    In float32, four times as fast as ``row_norms``; the last factor covers its rounding, the floor its underflow.
    """
    if not len(vectors):
        return 0.0
    dimension = vectors.shape[1]
    squares = float(np.einsum("ij,ij->i", vectors, vectors).max())
    return float(np.sqrt(max(squares, dimension * _SMALLEST_NORMAL)) * (1 + dimension * _UNIT_ROUNDOFF))


def comparable(vectors: Floats, metric: str) -> Floats:
    """Vectors as Euclidean clustering should see them: of length one where the metric is cosine."""
    return METRICS["cosine"].prepare(vectors) if metric == "cosine" else vectors


def as_floats(value: object, field: str) -> Floats:
    """Convert to float32, C-contiguous, of any shape; ``InvalidInput`` where it is ragged or not of numbers."""
    try:
        array = np.asarray(value)
    except (ValueError, TypeError, OverflowError) as error:
        raise InvalidInput(field, value, _NUMBERS) from error
    if array.dtype.kind not in "fiu":  # numpy would make numbers of digits in text, of None and of dates
        raise InvalidInput(field, value, _NUMBERS)
    if array.dtype == np.float32:
        return np.asarray(array, order="C")
    with np.errstate(over="ignore"):
        return np.asarray(array, dtype=np.float32, order="C")


def multiplying() -> np.errstate:
    """The context of a product of float32 matrices, whose elements are finite.

    BLAS may compute with what stands beside short rows as well, and drop it. Where that was no number, numpy warns of
    an invalid value though the product is right.
    """
    return np.errstate(invalid="ignore")


def as_vectors(value: object, field: str, *, dimension: int | None = None, first_row: int = 0) -> Floats:
    """Check and convert to (n, d) float32, C-contiguous; no copy where it is that already.

    An error names the row, counted from ``first_row``, and the component.

    Raises:
        InvalidInput: not two-dimensional, of another dimension, NaN, infinite, or beyond ``MAX_MAGNITUDE``.
    """
    vectors = as_floats(value, field)
    if vectors.ndim != 2:
        raise InvalidInput(field, f"an array of {vectors.ndim} axes", "one vector a row, two axes")
    _check_dimension(vectors.shape[1], field, dimension)
    # The sum of squares, in one pass without a temporary, clears nearly everything; NaN fails any comparison.
    flat = vectors.reshape(-1)
    with np.errstate(
        over="ignore", invalid="ignore"
    ):  # infinity is no error here, it fails the comparison too
        squares = np.dot(flat, flat)
    if squares <= MAX_MAGNITUDE**2:
        return vectors
    if not (vectors.max() <= MAX_MAGNITUDE and vectors.min() >= -MAX_MAGNITUDE):
        raise _not_finite(vectors, field, first_row)
    return vectors


def aligned(vectors: Floats) -> Floats:
    """The same values where rows begin on cache lines, as BLAS reads them fastest; a copy where they do not."""
    if vectors.ctypes.data % _CACHE_LINE == 0:
        return vectors
    raw = np.empty(vectors.nbytes + _CACHE_LINE, dtype=np.uint8)
    start = -raw.ctypes.data % _CACHE_LINE
    copy = raw[start : start + vectors.nbytes].view(np.float32).reshape(vectors.shape)
    copy[...] = vectors
    return copy


def _check_dimension(found: int, field: str, dimension: int | None) -> None:
    if dimension is not None and found != dimension:
        raise InvalidInput(field, f"a vector of dimension {found}", f"dimension {dimension}")
    if not 1 <= found <= MAX_DIMENSION:
        raise InvalidInput(field, f"a vector of dimension {found}", f"dimension 1 to {MAX_DIMENSION}")


def _not_finite(vectors: Floats, field: str, first_row: int) -> InvalidInput:
    bad = ~(np.abs(vectors) <= MAX_MAGNITUDE)
    row, column = (int(index) for index in np.argwhere(bad)[0])
    allowed = f"finite numbers of magnitude at most {MAX_MAGNITUDE:g}"
    return InvalidInput(f"{field}[{first_row + row}][{column}]", float(vectors[row, column]), allowed)
