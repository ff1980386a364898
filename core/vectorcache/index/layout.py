"""The layout of a collection: its cells, and the cells of each chunk. The part of a build that computes."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from vectorcache.errors import InvalidInput
from vectorcache.index.cluster import Assigned, Assigner, Copies, split_cell, train_centroids
from vectorcache.index.nearest import distances_to_nearest, in_threads
from vectorcache.index.pack import offsets_of, pack_cells
from vectorcache.index.progress import Progress
from vectorcache.index.sources import BATCH_ROWS, Source
from vectorcache.vectors.codes import bits_for, row_code_bytes
from vectorcache.vectors.metric import Floats, comparable, metric_of

_SPLIT_ROUNDS = 4


@dataclass(frozen=True, slots=True)
class BuildSettings:
    """Settings of a build. The defaults come from measurements; None derives a value from the data.

    Attributes:
        metric: "euclidean", "cosine" or "dot".
        cells: number of cells; None takes about ``3 * sqrt(vectors)``.
        chunk_bytes: target size of a chunk, 64 KiB to 64 MiB. A larger cell is split.
        cells_per_chunk: maximum number of cells in a chunk; 1 stores each cell in its own chunk; None is bounded by
            ``chunk_bytes`` only.
        recall_target: recall@10 that the default ``nprobe`` shall reach, above 0 and below 1.
        spread: how much farther than the nearest centroid another may be to get a copy of a vector, 0 to 1.
        iterations: number of k-means iterations.
        sample_per_cell: number of vectors per cell that k-means is trained on.
        calibration_queries: number of held-out queries that recall is measured on.
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
        """Return the number of cells for a number of vectors."""
        if self.cells is None:
            return max(1, min(round(3 * math.sqrt(vectors)), vectors // 8))
        return min(self.cells, vectors)


@dataclass(frozen=True, slots=True)
class Layout:
    """Cells, numbered so that the cells of a chunk are consecutive.

    Attributes:
        centroids: (cells, d) float32.
        copies: rows in the order of their cells, and in ascending order within a cell.
        cell_offsets: (cells + 1,) begin of each cell among the copies.
        chunk_cells: for each chunk, its first cell and one past its last.
    """

    centroids: Floats
    copies: Copies
    cell_offsets: NDArray[np.int64]
    chunk_cells: list[tuple[int, int]]


def lay_out(source: Source, settings: BuildSettings, progress: Progress) -> Layout:
    """Train centroids, assign vectors to cells, split cells that are too large, and group cells into chunks."""
    row_bytes = _row_bytes(source, settings)
    most = max(1, settings.chunk_bytes // row_bytes)
    progress.stage("clustering", 1)
    sample = _sample(source, settings)
    centroids = _train(sample, settings, settings.cells_for(len(source.vectors)))
    assigned = _assign(source, centroids, sample, settings, progress)
    for _ in range(_SPLIT_ROUNDS):
        split = _split_large(source, centroids, assigned.copies, settings, most)
        if split is None:
            break
        assigned = _reassign(source, assigned, centroids, split, sample, settings, progress)
        centroids = split.centroids
    return _numbered(*_split_evenly(centroids, assigned.copies, most), settings, row_bytes)


def _row_bytes(source: Source, settings: BuildSettings) -> int:
    """Return the bytes of a row in a chunk: vector, row number, codes, id and payload."""
    dimension = int(source.vectors.shape[1])
    bits = bits_for(settings.codes, dimension)
    codes = 0 if bits is None else row_code_bytes(dimension, bits)
    return 4 * dimension + 8 + codes + max(1, source.attribute_bytes // len(source.vectors))


def _sample(source: Source, settings: BuildSettings) -> Floats:
    """Return the vectors that k-means is trained on, in the order of their rows."""
    count = len(source.vectors)
    wanted = min(count, settings.cells_for(count) * settings.sample_per_cell)
    chosen = np.sort(np.random.default_rng(settings.seed).choice(count, wanted, replace=False))
    return comparable(source.read(chosen), settings.metric)


def _train(sample: Floats, settings: BuildSettings, cells: int) -> Floats:
    return train_centroids(
        sample,
        cells,
        spherical=settings.metric == "cosine",
        iterations=settings.iterations,
        seed=settings.seed,
    )


def _assign(
    source: Source, centroids: Floats, sample: Floats, settings: BuildSettings, progress: Progress
) -> Assigned:
    """Assign all rows. If there are many cells, the sample provides the candidates."""
    rows = np.arange(len(source.vectors))
    return _assigned(source, _assigner(centroids, sample, settings), rows, settings, progress)


def _assigner(centroids: Floats, sample: Floats, settings: BuildSettings) -> Assigner:
    return Assigner(centroids, settings.spread, sample=sample, seed=settings.seed)


def _reassign(
    source: Source,
    before: Assigned,
    centroids: Floats,
    split: _Split,
    sample: Floats,
    settings: BuildSettings,
    progress: Progress,
) -> Assigned:
    """Assign the rows again that may get a copy in a new cell, or had one in a cell that was split.

    Let ``r`` be the distance of a row from its own centroid, and ``gap`` the distance of this centroid from the
    nearest new one. By the triangle inequality, the row is at least ``gap - r`` away from every new centroid. If
    this exceeds ``(1 + spread) * r``, the row gets no copy in a new cell. The vectors of the other rows are compared
    with the new centroids.
    """
    rows, cells = before.copies
    own = np.empty(len(before.nearest), dtype=np.int32)
    own[rows[::-1]] = cells[::-1]  # a row's own cell comes first
    lost = np.zeros(len(own), dtype=bool)
    lost[rows[np.isin(cells, split.new)]] = True
    new = split.centroids[split.new]
    reach = (1 + settings.spread) * np.sqrt(before.nearest)
    gaps = distances_to_nearest(centroids, new)
    maybe = np.flatnonzero(lost | (reach + np.sqrt(before.nearest) >= gaps[own]))

    def touched(block: NDArray[np.int64], vectors: Floats) -> NDArray[np.bool_]:
        return lost[block] | (distances_to_nearest(vectors, new) <= reach[block])

    assigner = _assigner(split.centroids, sample, settings)
    again = _assigned(source, assigner, maybe, settings, progress, touched)
    nearest = before.nearest.copy()
    nearest[again.rows] = again.nearest
    lost[again.rows] = True
    kept = ~lost[rows]
    copies = Copies(
        np.concatenate([rows[kept], again.copies.rows]), np.concatenate([cells[kept], again.copies.cells])
    )
    return Assigned(np.arange(len(nearest)), nearest, copies)


def _assigned(
    source: Source,
    assigner: Assigner,
    rows: NDArray[np.int64],
    settings: BuildSettings,
    progress: Progress,
    chosen: Callable[[NDArray[np.int64], Floats], NDArray[np.bool_]] | None = None,
) -> Assigned:
    """Assign rows, or the chosen ones of them, several blocks at a time.

    Args:
        rows: in ascending order.
        chosen: returns a mask for a block of rows and their vectors; None assigns all.
    """
    progress.stage("assigning", len(rows))

    def assign(start: int) -> Assigned:
        block = rows[start : start + BATCH_ROWS]
        vectors = comparable(source.read(block), settings.metric)
        if chosen is not None:
            some = chosen(block, vectors)
            block, vectors = block[some], vectors[some]
        return assigner.close(vectors, block)

    parts = []
    starts = range(0, len(rows), BATCH_ROWS)
    for start, part in zip(starts, in_threads(assign, starts), strict=True):
        parts.append(part)
        progress.advance(min(BATCH_ROWS, len(rows) - start))
    return Assigned(
        np.concatenate([part.rows for part in parts]),
        np.concatenate([part.nearest for part in parts]),
        Copies(
            np.concatenate([part.copies.rows for part in parts]),
            np.concatenate([part.copies.cells for part in parts]),
        ),
    )


class _Split(NamedTuple):
    """Centroids (c, d) after some cells were split, and the numbers of their parts.

    The first part of a split cell keeps the cell's number, and the others get new numbers. Other cells keep theirs.
    """

    centroids: Floats
    new: NDArray[np.int64]


def _split_large(
    source: Source, centroids: Floats, copies: Copies, settings: BuildSettings, most: int
) -> _Split | None:
    """Replace each cell of more than ``most`` rows by several cells. Return None if no cell was split.

    No centroids can split a cell of equal vectors; see ``_split_evenly``.
    """
    sizes = np.bincount(copies.cells, minlength=len(centroids))
    larger, split, added = centroids.copy(), [], []
    for cell in np.flatnonzero(sizes > most).tolist():
        rows = np.sort(copies.rows[copies.cells == cell])
        vectors = comparable(source.read(rows), settings.metric)
        if np.ptp(vectors, axis=0).any():
            wanted = min(len(vectors), 1 + -(-len(vectors) // most))
            parts = split_cell(vectors, wanted, spherical=settings.metric == "cosine", seed=settings.seed)
            larger[cell] = parts[0]
            split.append(cell)
            added.append(parts[1:])
    if not split:
        return None
    larger = np.concatenate([larger, *added])
    return _Split(larger, np.concatenate([split, np.arange(len(centroids), len(larger))]))


def _split_evenly(centroids: Floats, copies: Copies, most: int) -> tuple[Floats, Copies]:
    """Split each cell that still has more than ``most`` rows into several cells with the same centroid.

    Their vectors are (nearly) equal, so they are equally near to any query. The rows are divided in the order of their
    numbers, because a search breaks ties in that order.
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
    """Drop empty cells, group the others into chunks, and number the cells in the order of the chunks."""
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
