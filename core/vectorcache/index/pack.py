"""Packing of cells into chunks: neighbouring cells share a chunk, so that a query probes few chunks."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from vectorcache.vectors.metric import Doubles, Floats


def pack_cells(
    centroids: Floats, sizes: NDArray[np.int64], *, chunk_bytes: int, cells_per_chunk: int | None
) -> list[list[int]]:
    """Divide the cells in two, across their first principal direction, until each part fits into a chunk.

    Args:
        centroids: (c, d).
        sizes: (c,) bytes of each cell.
        chunk_bytes: maximum size of a chunk, unless one cell alone exceeds it.
        cells_per_chunk: maximum number of cells in a chunk, or None.

    Returns:
        Cells of each chunk. Consecutive chunks, and consecutive cells in a chunk, are near to each other.
    """
    chunks: list[list[int]] = []
    parts = [np.arange(len(centroids))]
    while parts:
        part = parts.pop()
        fits = sizes[part].sum() <= chunk_bytes and (cells_per_chunk is None or len(part) <= cells_per_chunk)
        if len(part) == 1 or fits:
            chunks.append(_sorted_by_projection(centroids, part).tolist())
        else:
            left, right = _halves(centroids, sizes, part)
            parts += [right, left]
    return chunks


def _halves(
    centroids: Floats, sizes: NDArray[np.int64], part: NDArray[np.int64]
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    ordered = _sorted_by_projection(centroids, part)
    filled = np.cumsum(sizes[ordered])
    middle = int(np.searchsorted(filled, filled[-1] / 2)) + 1
    middle = min(max(middle, 1), len(ordered) - 1)
    return ordered[:middle], ordered[middle:]


def _sorted_by_projection(centroids: Floats, part: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return the cells of a part in the order of their projections on its first principal direction."""
    if len(part) < 3:
        return part
    # In float64, because the power iteration multiplies three centroids before it normalizes.
    centred = centroids[part] - centroids[part].mean(axis=0, dtype=np.float64)
    return part[np.argsort(centred @ _principal(centred), kind="stable")]


def _principal(centred: Doubles, steps: int = 8) -> Doubles:
    """Return the first principal direction by power iteration. A rough approximation is sufficient."""
    direction = centred[np.argmax(np.einsum("ij,ij->i", centred, centred))]
    for _ in range(steps):
        direction = centred.T @ (centred @ direction)
        length = np.linalg.norm(direction)
        if length == 0:
            break
        direction = direction / length
    return np.asarray(direction)


def offsets_of(sizes: Sequence[int]) -> list[int]:
    """Return the begin of each of consecutive runs, and the end of the last one: one value more than sizes."""
    return [0, *np.cumsum(sizes).tolist()]
