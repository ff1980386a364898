"""The layout of a collection: its cells, and which of them share a chunk. The computing half of a build."""

from __future__ import annotations

import math
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from vectorcache.codes import bits_for, row_code_bytes
from vectorcache.errors import InvalidInput
from vectorcache.index.cluster import Copies, close, split_cell, train_centroids
from vectorcache.index.pack import offsets_of, pack_cells
from vectorcache.index.progress import Progress
from vectorcache.index.sources import Source
from vectorcache.metric import Floats, comparable, metric_of

_SPLIT_ROUNDS = 4


@dataclass(frozen=True, slots=True)
class BuildSettings:
    """How a collection is laid out. The defaults are measured; None means that the data decide.

    Attributes:
        metric: "euclidean", "cosine" or "dot".
        cells: how many; None takes about ``3 * sqrt(vectors)``.
        chunk_bytes: the size that a chunk should have, 64 KiB to 64 MiB. A cell that is larger is split.
        cells_per_chunk: how many cells may share a chunk; 1 makes every cell a chunk; None bounds it by bytes.
        recall_target: recall@10 that the default ``nprobe`` is to reach, above 0 and below 1.
        spread: how much farther than the nearest centroid another may be to get a copy of a vector, 0 to 1.
        iterations: of k-means.
        sample_per_cell: how many vectors per cell k-means sees.
        calibration_queries: how many held-out queries recall is measured on.
        codes: bits per component of the quantized codes: "1", "2", "4" or "none"; "auto" chooses the fastest for the
            dimension.
        seed: of all random choices; the same input and settings give the same collection.
    """

    metric: str = "euclidean"
    cells: int | None = None
    chunk_bytes: int = 512 << 10
    cells_per_chunk: int | None = None
    recall_target: float = 0.95
    spread: float = 0.1
    iterations: int = 8
    sample_per_cell: int = 64
    calibration_queries: int = 1000
    codes: str = "auto"
    seed: int = 0

    def __post_init__(self) -> None:
        metric_of(self.metric)
        for field, value in (("cells", self.cells), ("cells_per_chunk", self.cells_per_chunk)):
            if value is not None:
                _whole(field, value, 1, 1 << 24)
        _whole("chunk_bytes", self.chunk_bytes, 64 << 10, 64 << 20)
        _whole("iterations", self.iterations, 1, 1000)
        _whole("sample_per_cell", self.sample_per_cell, 1, 1 << 20)
        _whole("calibration_queries", self.calibration_queries, 1, 100_000)
        _whole("seed", self.seed, 0, (1 << 31) - 1)
        bits_for(self.codes, 1)
        if not 0 < self.recall_target < 1:
            raise InvalidInput("recall_target", self.recall_target, "a number above 0 and below 1")
        if not 0 <= self.spread <= 1:
            raise InvalidInput("spread", self.spread, "a number from 0 to 1")

    def cells_for(self, vectors: int) -> int:
        """How many cells so many vectors get."""
        if self.cells is None:
            return max(1, min(round(3 * math.sqrt(vectors)), vectors // 8))
        return min(self.cells, vectors)


@dataclass(frozen=True, slots=True)
class Layout:
    """Cells numbered so that a chunk's cells are consecutive.

    Attributes:
        centroids: (cells, d) float32.
        copies: rows in the order of their cells, and within a cell in their own order.
        cell_offsets: (cells + 1,) where each cell begins among the copies.
        chunk_cells: for each chunk, its first cell and one past its last.
    """

    centroids: Floats
    copies: Copies
    cell_offsets: NDArray[np.int64]
    chunk_cells: list[tuple[int, int]]


def lay_out(source: Source, settings: BuildSettings, progress: Progress) -> Layout:
    """Cluster, assign with closure, split what is too large, and group cells into chunks."""
    row_bytes = _row_bytes(source, settings)
    most = max(1, settings.chunk_bytes // row_bytes)
    centroids = _train(source, settings, progress)
    copies = _assign(source, centroids, settings, progress)
    for _ in range(_SPLIT_ROUNDS):
        larger = _split_large(source, centroids, copies, settings, most)
        if larger is None:
            break
        centroids = larger
        copies = _assign(source, centroids, settings, progress)
    return _numbered(*_split_evenly(centroids, copies, most), settings, row_bytes)


def _row_bytes(source: Source, settings: BuildSettings) -> int:
    """Bytes of a row in a chunk: vector, row number, codes, id and payload."""
    dimension = int(source.vectors.shape[1])
    bits = bits_for(settings.codes, dimension)
    codes = 0 if bits is None else row_code_bytes(dimension, bits)
    return 4 * dimension + 8 + codes + max(1, source.attribute_bytes // len(source.vectors))


def _train(source: Source, settings: BuildSettings, progress: Progress) -> Floats:
    count = len(source.vectors)
    cells = settings.cells_for(count)
    progress.stage("clustering", 1)
    wanted = min(count, cells * settings.sample_per_cell)
    chosen = np.sort(np.random.default_rng(settings.seed).choice(count, wanted, replace=False))
    sample = comparable(np.ascontiguousarray(source.vectors[chosen]), settings.metric)
    return train_centroids(
        sample,
        cells,
        spherical=settings.metric == "cosine",
        iterations=settings.iterations,
        seed=settings.seed,
    )


def _assign(source: Source, centroids: Floats, settings: BuildSettings, progress: Progress) -> Copies:
    progress.stage("assigning", len(source.vectors))
    parts = []
    for start, block in source.blocks():
        vectors = comparable(block, settings.metric)
        parts.append(close(vectors, centroids, first_row=start, spread=settings.spread))
        progress.advance(len(block))
    return Copies(
        np.concatenate([part.rows for part in parts]), np.concatenate([part.cells for part in parts])
    )


def _split_large(
    source: Source, centroids: Floats, copies: Copies, settings: BuildSettings, most: int
) -> Floats | None:
    """Centroids in which each cell of more than ``most`` rows is replaced by several; None where there is none.

    A cell of equal vectors cannot be split by any centroids; see ``_split_evenly``.
    """
    sizes = np.bincount(copies.cells, minlength=len(centroids))
    kept = np.ones(len(centroids), dtype=bool)
    added = []
    for cell in np.flatnonzero(sizes > most):
        rows = np.unique(copies.rows[copies.cells == cell])
        vectors = comparable(np.ascontiguousarray(source.vectors[rows]), settings.metric)
        parts = min(len(vectors), 1 + int(np.ceil(len(vectors) / most)))
        if np.ptp(vectors, axis=0).any():
            kept[cell] = False
            added.append(
                split_cell(vectors, parts, spherical=settings.metric == "cosine", seed=settings.seed)
            )
    return np.concatenate([centroids[kept], *added]) if added else None


def _split_evenly(centroids: Floats, copies: Copies, most: int) -> tuple[Floats, Copies]:
    """Split each cell that still has more than ``most`` rows into several cells with the same centroid.

    Their vectors are (nearly) equal, so equally near to any query. The rows are divided in the order of their
    numbers, because ties are answered in that order.
    """
    sizes = np.bincount(copies.cells, minlength=len(centroids))
    cells, added = copies.cells.copy(), [centroids]
    count = len(centroids)
    for cell in np.flatnonzero(sizes > most).tolist():
        places = np.flatnonzero(copies.cells == cell)
        places = places[np.argsort(copies.rows[places], kind="stable")]
        parts = -(-len(places) // most)
        part = np.arange(len(places)) * parts // len(places)
        cells[places] = np.where(part == 0, cell, count + part - 1)
        added.append(np.repeat(centroids[cell : cell + 1], parts - 1, axis=0))
        count += parts - 1
    return np.concatenate(added), Copies(copies.rows, cells.astype(np.int32))


def _numbered(centroids: Floats, copies: Copies, settings: BuildSettings, row_bytes: int) -> Layout:
    """Leave out empty cells, group the rest into chunks, and number cells in the order of chunks."""
    sizes = np.bincount(copies.cells, minlength=len(centroids))
    used = np.flatnonzero(sizes)
    packed = pack_cells(
        centroids[used],
        sizes[used] * row_bytes,
        chunk_bytes=settings.chunk_bytes,
        cells_per_chunk=settings.cells_per_chunk,
    )
    old_of_new = used[np.concatenate([np.asarray(cells, dtype=np.int64) for cells in packed])]
    new_of_old = np.full(len(centroids), -1, dtype=np.int32)
    new_of_old[old_of_new] = np.arange(len(old_of_new), dtype=np.int32)
    cells = new_of_old[copies.cells]
    order = np.lexsort((copies.rows, cells))
    bounds = offsets_of([len(part) for part in packed])
    return Layout(
        centroids=np.ascontiguousarray(centroids[old_of_new]),
        copies=Copies(copies.rows[order], cells[order]),
        cell_offsets=np.array(offsets_of(sizes[old_of_new].tolist()), dtype=np.int64),
        chunk_cells=list(pairwise(bounds)),
    )


def _whole(field: str, value: int, least: int, most: int) -> None:
    if isinstance(value, bool) or not isinstance(value, int) or not least <= value <= most:
        raise InvalidInput(field, value, f"a whole number from {least} to {most}")
