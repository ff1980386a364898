"""Quantized codes of 1, 2 or 4 bits per component, from which distances are estimated with a known error.

A code represents the residual of a vector: the difference between it and the centroid of its cell. The residual is
rotated at random, so that its components are about normally distributed for any data, and each component is
replaced by the nearest of a few levels (RaBitQ, Gao & Long 2024, with the levels of Max 1960). With a unit residual
``r`` and its levels ``l``, ``<l, q> / <l, r>`` estimates ``<r, q>`` without bias; the standard error of the estimate
is ``|q| sqrt(1 / cos(l, r)^2 - 1) / sqrt(d - 1)``. This gives a lower bound of the distance of each vector, and only
vectors whose bound is low enough are compared exactly.

For all metrics the scan orders by one *value*: the squared distance, minus ``|x|^2`` for the inner product and cosine.

    value = |r|^2 + |q - c|^2 - 2 <r, q - c>  [- |x|^2]

``<r, q - c>`` is split into ``<r, q - m> - <r, c - m>``, where ``m`` is a centre of the whole collection. The second
part does not depend on the query and is stored with the row, so that all cells share one set of tables per query. The
centre keeps the numbers small if all vectors are far from the origin. See ``docs/decisions/0011-codes.md`` for the
measurements.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from vectorcache.errors import InvalidInput
from vectorcache.vectors.metric import Doubles, Floats, comparable

Bytes = NDArray[np.uint8]

# The positive levels that quantize a standard normal distribution with the least squared error.
LEVELS = {
    1: np.array([0.7979], dtype=np.float32),
    2: np.array([0.4528, 1.5104], dtype=np.float32),
    4: np.array([0.1284, 0.3881, 0.6568, 0.9424, 1.2562, 1.6181, 2.0690, 2.7326], dtype=np.float32),
}
TWO_BITS_FROM = 96
"""Number of components from which 2 bits leave so few candidates that 4 bits would be slower."""
FOUR_BITS_FROM = 24
"""Number of components below which codes save less than a fifth of the time."""
ROUNDS = 4
_BLOCK_ROWS, _FACTORS = 32, 3
_ROUNDING = 2.0**-21  # rounding error of sums in float32, relative to their largest term


def bits_for(codes: str, dimension: int) -> int | None:
    """Return the bits per component for a build's setting: "auto", "none", "1", "2" or "4". None means no codes.

    Raises:
        InvalidInput: the setting has another value.
    """
    if codes == "auto":
        if dimension >= TWO_BITS_FROM:
            return 2
        return 4 if dimension >= FOUR_BITS_FROM else None
    if codes not in ("none", *map(str, LEVELS)):
        raise InvalidInput("codes", codes, "auto, none, 1, 2 or 4")
    return None if codes == "none" else int(codes)


class Encoded(NamedTuple):
    """Codes of rows, and the factors for estimates of their distances.

    Attributes:
        codes: (n, w) uint8, two nibbles per byte; see ``Coder.width``.
        base, scale, error: (n,) float32. With ``s`` the inner product of the levels and the rotated query, and
            ``gap`` the squared distance of query and centroid, the estimated value is ``base + gap - 2 scale s``, and
            its standard error is ``2 error sqrt(gap)``.
    """

    codes: Bytes
    base: Floats
    scale: Floats
    error: Floats


@dataclass(frozen=True)
class Coder:
    """Encoder of the vectors of one collection.

    Attributes:
        bits: bits per component: 1, 2 or 4.
        metric: metric of the collection.
        centre: (d,) float32, roughly the mean of the collection.
    """

    bits: int
    metric: str
    centre: Floats

    @property
    def width(self) -> int:
        """Bytes of a code. A byte is two nibbles, the lower first; a nibble is 1, 2 or 4 components, lowest first."""
        return code_width(len(self.centre), self.bits)

    def encode(self, vectors: Floats, centroids: Floats, cells: NDArray[np.integer]) -> Encoded:
        """Encode vectors (n, d) of cells (n,), given the centroids (c, d). Centroids for cosine have length one."""
        dimension = len(self.centre)
        vectors = comparable(vectors, self.metric)
        residuals = vectors - centroids[cells]
        squares = np.einsum("nd,nd->n", residuals, residuals, dtype=np.float64)
        norms = np.sqrt(squares)
        directions = residuals @ _rotation(dimension)
        directions /= np.maximum(norms, np.finfo(np.float32).tiny)[:, None].astype(np.float32)
        steps, levels = _nearest_levels(directions, self.bits)
        # Zero only for a vector that equals its centroid, for which all factors are zero.
        along = np.maximum(np.einsum("nd,nd->n", directions, levels, dtype=np.float64), 1e-9)
        lengths = np.einsum("nd,nd->n", levels, levels, dtype=np.float64)
        scale = norms / along
        spread = np.sqrt(np.maximum(lengths / along**2 - 1.0, 0.0) / max(1, dimension - 1))
        middles = (centroids - self.centre) @ _rotation(dimension)
        ahead = 2 * scale * np.einsum("nd,nd->n", levels, middles[cells], dtype=np.float64)
        base = squares + ahead
        largest = squares + np.abs(ahead)
        if self.metric != "euclidean":
            own = np.einsum("nd,nd->n", vectors, vectors, dtype=np.float64)
            base, largest = base - own, largest + own
        return Encoded(
            _packed(steps, self.bits),
            (base - _ROUNDING * largest).astype(np.float32),
            scale.astype(np.float32),
            (norms * spread).astype(np.float32),
        )

    def needed_widths(
        self,
        queries: Floats,
        vectors: Floats,
        centroids: Floats,
        cells: NDArray[np.integer],
        limits: Doubles,
    ) -> Doubles:
        """Return the bound's width, in standard errors, that keeps each vector, for pairs of query and vector (n, d).

        A vector is lost if its lower bound exceeds ``limits`` (n,), the value of the k-th nearest vector.
        """
        encoded = self.encode(vectors, centroids, cells)
        queries = comparable(queries, self.metric)
        levels = unpacked(encoded.codes, self.bits, len(self.centre))
        products = np.einsum("nd,nd->n", levels, rotated(queries - self.centre), dtype=np.float64)
        gaps = np.square(queries - centroids[cells], dtype=np.float64).sum(axis=1)
        beyond = encoded.base + gaps - 2 * encoded.scale * products - limits
        return np.asarray(beyond / np.maximum(2 * encoded.error * np.sqrt(gaps), np.finfo(np.float32).tiny))

    def values(self, queries: Floats, vectors: Floats) -> Doubles:
        """Return the exact values (n,) float64 by which the scan orders, for pairs of query and vector (n, d)."""
        vectors, queries = comparable(vectors, self.metric), comparable(queries, self.metric)
        values = np.square(np.subtract(vectors, queries, dtype=np.float64)).sum(axis=1)
        if self.metric != "euclidean":
            values -= np.square(vectors, dtype=np.float64).sum(axis=1)
        return np.asarray(values)


def code_width(dimension: int, bits: int) -> int:
    """Return the bytes of a code."""
    components = 8 // bits
    return -(-dimension // components)


def row_code_bytes(dimension: int, bits: int) -> int:
    """Return the bytes of a row in a ``section``: its code, base, scale and error."""
    return code_width(dimension, bits) + 4 * _FACTORS


def signs(dimension: int) -> Floats:
    """Return signs (rounds, d) float32, 1 or -1, identical on every machine, by SplitMix64 (Steele et al. 2014)."""
    state = np.arange(1, ROUNDS * dimension + 1, dtype=np.uint64) * np.uint64(0x9E3779B97F4A7C15)
    state = (state ^ (state >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    state = (state ^ (state >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    bit = (state ^ (state >> np.uint64(31))) & np.uint64(1)
    return np.where(bit, np.float32(-1), np.float32(1)).reshape(ROUNDS, dimension)


def rotated(vectors: Floats) -> Floats:
    """Apply the fixed pseudo-random rotation to vectors (n, d), and return them as float32.

    Each round changes signs and applies a Walsh-Hadamard transform to p components, where p is the largest power of two
    up to d: the first p components in one round, and the last p in the next. This takes d log d steps for any d.
    """
    out = np.array(vectors, dtype=np.float32)
    dimension = out.shape[1]
    size = 1 << (dimension.bit_length() - 1)
    for round_, flips in enumerate(signs(dimension)):
        out *= flips
        part = out[:, :size] if round_ % 2 == 0 else out[:, dimension - size :]
        part[...] = _hadamard(part) / np.float32(np.sqrt(size))
    return out


@lru_cache(maxsize=2)
def _rotation(dimension: int) -> Floats:
    """Return the rotation as a matrix (d, d). For many vectors, one product is faster than the separate steps."""
    return np.ascontiguousarray(rotated(np.eye(dimension, dtype=np.float32)))


def section_bytes(rows: int, cells: int, dimension: int, width: int) -> int:
    """Return the bytes of a ``section``."""
    return 4 * cells * dimension + -(-rows // _BLOCK_ROWS) * _BLOCK_ROWS * (4 * _FACTORS + width)


def section(encoded: Encoded, centroids: Floats) -> bytes:
    """Return the bytes that a scan by codes reads: the centroids (c, d) of a chunk's cells, then blocks of 32 rows.

    A block has the base, scale and error of its rows, float32, and then, for each byte of a code, that byte of each
    row. Rows that only pad the last block have an infinite base.
    """
    rows, width = encoded.codes.shape
    count = -(-rows // _BLOCK_ROWS)
    factors = np.zeros((count * _BLOCK_ROWS, _FACTORS), dtype="<f4")
    factors[:, 0] = np.inf
    factors[:rows] = np.stack([encoded.base, encoded.scale, encoded.error], axis=1)
    codes = np.zeros((count * _BLOCK_ROWS, width), dtype=np.uint8)
    codes[:rows] = encoded.codes
    blocks = np.empty((count, _BLOCK_ROWS * (4 * _FACTORS + width)), dtype=np.uint8)
    split = _BLOCK_ROWS * 4 * _FACTORS
    blocks[:, :split].view("<f4").reshape(count, _FACTORS, _BLOCK_ROWS)[...] = factors.reshape(
        count, _BLOCK_ROWS, _FACTORS
    ).transpose(0, 2, 1)
    blocks[:, split:].reshape(count, width, _BLOCK_ROWS)[...] = codes.reshape(
        count, _BLOCK_ROWS, width
    ).transpose(0, 2, 1)
    return np.ascontiguousarray(centroids, dtype="<f4").tobytes() + blocks.tobytes()


def unpacked(codes: Bytes, bits: int, dimension: int) -> Floats:
    """Decode codes (n, w) to their levels (n, d)."""
    positive = LEVELS[bits]
    levels = np.concatenate([-positive[::-1], positive])
    shifts = np.arange(0, 8, bits, dtype=np.uint8)
    steps = (codes[:, :, None] >> shifts) & np.uint8((1 << bits) - 1)
    return np.asarray(levels[steps.reshape(len(codes), -1)[:, :dimension]])


def _nearest_levels(directions: Floats, bits: int) -> tuple[Bytes, Floats]:
    """Return, for components (n, d) of unit vectors, the numbers of the nearest levels, and the levels."""
    positive = LEVELS[bits]
    sizes = np.abs(directions)
    steps = np.zeros(directions.shape, dtype=np.uint8)
    for border in (positive[1:] + positive[:-1]) / np.float32(2 * np.sqrt(directions.shape[1])):
        steps += sizes > border
    levels = np.copysign(positive[steps], directions)
    half = np.uint8(len(positive))
    return np.where(np.signbit(directions), half - 1 - steps, half + steps), levels


def _packed(steps: Bytes, bits: int) -> Bytes:
    components = 8 // bits
    missing = -steps.shape[1] % components
    steps = np.pad(steps, ((0, 0), (0, missing)))
    packed = steps[:, ::components].copy()
    for at in range(1, components):
        packed |= steps[:, at::components] << np.uint8(bits * at)
    return packed


def _hadamard(vectors: Floats) -> Floats:
    count, size = vectors.shape
    out, half = vectors, 1
    while half < size:
        pairs = out.reshape(count, size // (2 * half), 2, half)
        first, second = pairs[:, :, 0], pairs[:, :, 1]
        out = np.stack([first + second, first - second], axis=2).reshape(count, size)
        half *= 2
    return out
