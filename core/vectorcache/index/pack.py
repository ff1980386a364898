"""Which cells share a chunk: neighbours do, so that what a query probes stands in few chunks."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from vectorcache.vectors.metric import Doubles, Floats


def pack_cells(
    centroids: Floats, sizes: NDArray[np.int64], *, chunk_bytes: int, cells_per_chunk: int | None
) -> list[list[int]]:
    """Cut the cells in two across their longest direction until each part fits a chunk.

    Args:
        centroids: (c, d).
        sizes: (c,) bytes of each cell.
        chunk_bytes: what a chunk should not exceed, except where one cell alone does.
        cells_per_chunk: what a chunk must not exceed, or None.

    Returns:
        Cells of each chunk. Chunks that are near in the list, and cells that are near in a chunk, are near.
    """
    chunks: list[list[int]] = []
    parts = [np.arange(len(centroids))]
    while parts:
        part = parts.pop()
        fits = sizes[part].sum() <= chunk_bytes and (cells_per_chunk is None or len(part) <= cells_per_chunk)
        if len(part) == 1 or fits:
            chunks.append(_along(centroids, part).tolist())
        else:
            left, right = _halves(centroids, sizes, part)
            parts += [right, left]
    return chunks


def _halves(
    centroids: Floats, sizes: NDArray[np.int64], part: NDArray[np.int64]
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    ordered = _along(centroids, part)
    filled = np.cumsum(sizes[ordered])
    middle = int(np.searchsorted(filled, filled[-1] / 2)) + 1
    middle = min(max(middle, 1), len(ordered) - 1)
    return ordered[:middle], ordered[middle:]


def _along(centroids: Floats, part: NDArray[np.int64]) -> NDArray[np.int64]:
    """The part in the order of its projection on its first principal direction."""
    if len(part) < 3:
        return part
    # In float64: the power iteration multiplies three centroids before it scales.
    centred = centroids[part] - centroids[part].mean(axis=0, dtype=np.float64)
    return part[np.argsort(centred @ _principal(centred), kind="stable")]


def _principal(centred: Doubles, steps: int = 8) -> Doubles:
    """First principal direction by power iteration: a rough one is good enough to cut by."""
    direction = centred[np.argmax(np.einsum("ij,ij->i", centred, centred))]
    for _ in range(steps):
        direction = centred.T @ (centred @ direction)
        length = np.linalg.norm(direction)
        if length == 0:
            break
        direction = direction / length
    return np.asarray(direction)


def offsets_of(sizes: Sequence[int]) -> list[int]:
    """Where each of consecutive runs begins, and where the last one ends: one more than there are sizes."""
    return [0, *np.cumsum(sizes).tolist()]
