"""Metrics: Euclidean distance, cosine distance and dot product. Checks and conversions of vectors.

Each metric has two forms. The *fast form* is computed in float32, by one BLAS product for all rows. It is accurate
enough to find the rows that may be among the nearest. The *direct form* is computed in float64 for these few rows, and
is the distance that callers get. ``Metric.slack`` bounds the difference of the two, so that a caller can prove that no
row is missing.
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
"""Under cosine a shorter vector counts as zero, because float32 does not represent its direction well enough."""

_NUMBERS = "vectors of numbers, all of the same length"
_CACHE_LINE = 64
_UNIT_ROUNDOFF = 2.0**-24
_SMALLEST_NORMAL = float(np.finfo(np.float32).tiny)


class Metric(ABC):
    """A distance; smaller is nearer. Stateless, so safe to share between threads."""

    name: ClassVar[str]

    @abstractmethod
    def row_terms(self, vectors: Floats) -> Floats:
        """Return the term of each row in the fast form: (n, d) float32 -> (n,) float32."""

    @abstractmethod
    def prepare(self, queries: Floats) -> Floats:
        """Convert queries, (..., d) float32, into the form whose inner products ``fast`` takes."""

    def widen(self, queries: Floats) -> Doubles:
        """Return queries (b, d) as float64, in the form that a row-by-row direct form takes."""
        return queries.astype(np.float64)

    @abstractmethod
    def fast(self, dots: Floats, terms: Floats) -> Floats:
        """Convert inner products, (..., n) float32, in place into values with the same order as the distances."""

    @abstractmethod
    def direct(self, vectors: Floats, query: Floats) -> Doubles:
        """Return the distances of rows (m, d) from one query (d,), computed in float64 without cancellation.

        The distance of a row does not depend on the other rows, even in the last bit, so copies of a row have equal
        distances. A BLAS product of a matrix and a vector does not ensure this.
        """

    @abstractmethod
    def _fast_of(self, distance: float, length: float) -> float:
        """Return the exact fast form of a row at ``distance`` from a query of norm ``length``."""

    @abstractmethod
    def _scale(self, length: float, largest_norm: float) -> float:
        """Return the magnitude of the terms of the fast form, to which its rounding error is relative."""

    def bound(self, distance: float, query: Floats, largest_norm: float) -> float:
        """Return the largest fast value, including rounding, of a row at ``distance`` or nearer."""
        length = norm(query)
        return self._fast_of(distance, length) + self._slack(len(query), length, largest_norm)

    def slack(self, query: Floats, largest_norm: float) -> float:
        """Return a bound on the fast form's absolute error, for rows of norm at most ``largest_norm``.

        The error of an inner product is at most d roundings, in any order of summation (Jeannerod & Rump, "Improved
        error bounds for inner products in floating-point arithmetic", 2013), and a matrix product may sum one by one.
        8 more roundings are for the steps before and after. The second term is for underflow.
        """
        return self._slack(len(query), norm(query), largest_norm)

    def _slack(self, dimension: int, length: float, largest_norm: float) -> float:
        roundings = dimension + 8
        return roundings * _UNIT_ROUNDOFF * self._scale(length, largest_norm) + dimension * _SMALLEST_NORMAL


class Euclidean(Metric):
    """``sqrt(sum((x - q)^2))``. Fast form: ``|x|^2 / 2 - x.q``, which is ``(distance^2 - |q|^2) / 2``."""

    name = "euclidean"

    def row_terms(self, vectors: Floats) -> Floats:
        """Return half of each row's squared norm."""
        return np.asarray(np.einsum("ij,ij->i", vectors, vectors) * np.float32(0.5))

    def prepare(self, queries: Floats) -> Floats:
        """Return the queries unchanged."""
        return queries

    def fast(self, dots: Floats, terms: Floats) -> Floats:
        """Return ``terms - dots``."""
        return np.subtract(terms, dots, out=dots)

    def direct(self, vectors: Floats, query: Floats) -> Doubles:
        """Return the square roots of the summed squares of the differences."""
        difference = np.subtract(vectors, query, dtype=np.float64)
        return np.asarray(np.sqrt(np.vecdot(difference, difference)))

    def _fast_of(self, distance: float, length: float) -> float:
        """Return ``(distance^2 - |q|^2) / 2``."""
        return 0.5 * (distance * distance - length * length)

    def _scale(self, length: float, largest_norm: float) -> float:
        """Return ``|x|^2 / 2 + |x| |q|``."""
        return largest_norm * (0.5 * largest_norm + length)


class Cosine(Metric):
    """``1 - cos(x, q)``, or 1 if x or q is zero. Fast form: ``-x.q / |x|`` with q of length one."""

    name = "cosine"

    def row_terms(self, vectors: Floats) -> Floats:
        """Return ``-1 / |x|`` of each row, or 0 for a row that is zero."""
        norms = row_norms(vectors)
        return np.where(norms < SMALLEST_NORM, 0.0, -1.0 / np.maximum(norms, SMALLEST_NORM)).astype(
            np.float32
        )

    def prepare(self, queries: Floats) -> Floats:
        """Return the queries scaled to length one."""
        norms = row_norms(np.atleast_2d(queries)).reshape(*queries.shape[:-1], 1)
        return (queries / np.where(norms < SMALLEST_NORM, 1.0, norms)).astype(np.float32)

    def widen(self, queries: Floats) -> Doubles:
        """Return the queries scaled to length one. A query that counts as zero becomes zero."""
        wide = queries.astype(np.float64)
        for row in wide:
            length = norm(row)
            row /= length if length >= SMALLEST_NORM else np.inf
        return wide

    def fast(self, dots: Floats, terms: Floats) -> Floats:
        """Return ``dots * terms``."""
        return np.multiply(dots, terms, out=dots)

    def direct(self, vectors: Floats, query: Floats) -> Doubles:
        """Return half of the squared distances of the normalized vectors: no cancellation if they are close."""
        length = norm(query)
        if length < SMALLEST_NORM:
            return np.ones(len(vectors))
        rows = vectors.astype(np.float64)
        norms = np.sqrt(np.vecdot(rows, rows))
        rows /= np.maximum(norms, SMALLEST_NORM)[:, None]
        rows -= query.astype(np.float64) / length
        return np.where(norms < SMALLEST_NORM, 1.0, 0.5 * np.vecdot(rows, rows))

    def _fast_of(self, distance: float, length: float) -> float:
        """Return ``distance - 1``."""
        return distance - 1.0

    def _scale(self, length: float, largest_norm: float) -> float:
        """Return 1, the product of two unit lengths."""
        return 1.0


class DotProduct(Metric):
    """``-x.q``: the largest inner product is the nearest."""

    name = "dot"

    def row_terms(self, vectors: Floats) -> Floats:
        """Return zeros: the fast form has no term."""
        return np.zeros(len(vectors), dtype=np.float32)

    def prepare(self, queries: Floats) -> Floats:
        """Return the queries unchanged."""
        return queries

    def fast(self, dots: Floats, terms: Floats) -> Floats:
        """Return ``-dots``."""
        return np.negative(dots, out=dots)

    def direct(self, vectors: Floats, query: Floats) -> Doubles:
        """Return the negated inner products."""
        return np.asarray(-np.vecdot(vectors, query, dtype=np.float64))

    def _fast_of(self, distance: float, length: float) -> float:
        """Return the distance."""
        return distance

    def _scale(self, length: float, largest_norm: float) -> float:
        """Return ``|x| |q|``."""
        return largest_norm * length


METRICS: dict[str, Metric] = {metric.name: metric for metric in (Euclidean(), Cosine(), DotProduct())}


def metric_of(name: str) -> Metric:
    """Return the metric with a name. Raises ``InvalidInput`` if there is none."""
    try:
        return METRICS[name]
    except KeyError:
        raise InvalidInput("metric", name, ", ".join(METRICS)) from None


def norm(vector: Floats | Doubles) -> float:
    """Return the Euclidean norm of one vector, in float64."""
    wide = vector.astype(np.float64, copy=False)
    return math.sqrt(np.dot(wide, wide))


def row_norms(vectors: Floats) -> Doubles:
    """Return the Euclidean norms of rows, (n, d) -> (n,) float64, without a float64 copy of all rows."""
    return np.asarray(np.sqrt(np.einsum("ij,ij->i", vectors, vectors, dtype=np.float64)))


def largest_norm(vectors: Floats) -> float:
    """Return an upper bound, tight to a millionth, of the Euclidean norms of rows (n, d), or 0.0 if there are none.

    It is computed in float32, four times as fast as ``row_norms``. The last factor allows for rounding, and the lower
    limit for underflow.
    """
    if not len(vectors):
        return 0.0
    dimension = vectors.shape[1]
    squares = float(np.einsum("ij,ij->i", vectors, vectors).max())
    return float(np.sqrt(max(squares, dimension * _SMALLEST_NORMAL)) * (1 + dimension * _UNIT_ROUNDOFF))


def comparable(vectors: Floats, metric: str) -> Floats:
    """Return vectors in the form for Euclidean clustering: scaled to length one if the metric is cosine."""
    return METRICS["cosine"].prepare(vectors) if metric == "cosine" else vectors


def as_floats(value: object, field: str) -> Floats:
    """Convert to float32, C-contiguous, of any shape. Raises ``InvalidInput`` if it is ragged or not numeric."""
    try:
        array = np.asarray(value)
    except (ValueError, TypeError, OverflowError) as error:
        raise InvalidInput(field, value, _NUMBERS) from error
    if array.dtype.kind not in "fiu":  # numpy would convert texts of digits, None and dates to numbers
        raise InvalidInput(field, value, _NUMBERS)
    if array.dtype == np.float32:
        return np.asarray(array, order="C")
    with np.errstate(over="ignore"):
        return np.asarray(array, dtype=np.float32, order="C")


def multiplying() -> np.errstate:
    """Return the context for a product of float32 matrices of finite elements.

    BLAS may also compute with memory beside short rows, and drop the result. If this memory contains NaN, numpy warns
    of an invalid value, although the product is correct.
    """
    return np.errstate(invalid="ignore")


def as_vectors(value: object, field: str, *, dimension: int | None = None, first_row: int = 0) -> Floats:
    """Check vectors and convert them to (n, d) float32, C-contiguous, without a copy if they have this form.

    An error names the row, counted from ``first_row``, and the component.

    Raises:
        InvalidInput: the value has not two axes, another dimension, NaN, infinity, or numbers above ``MAX_MAGNITUDE``.
    """
    vectors = as_floats(value, field)
    if vectors.ndim != 2:
        raise InvalidInput(field, f"an array of {vectors.ndim} axes", "two axes: one vector per row")
    _check_dimension(vectors.shape[1], field, dimension)
    # The sum of squares takes one pass without a temporary array, and is small enough for nearly all valid vectors.
    # With NaN or infinity it fails the comparison.
    flat = vectors.reshape(-1)
    with np.errstate(over="ignore", invalid="ignore"):
        squares = np.dot(flat, flat)
    if squares <= MAX_MAGNITUDE**2:
        return vectors
    if not (vectors.max() <= MAX_MAGNITUDE and vectors.min() >= -MAX_MAGNITUDE):
        raise _not_finite(vectors, field, first_row)
    return vectors


def aligned(vectors: Floats) -> Floats:
    """Return vectors that begin on a cache line, where BLAS reads them fastest. Copies them if necessary."""
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
