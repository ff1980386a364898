"""Chunks for tests."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from vectorcache.index.chunk import Chunk, Header, chunk_table
from vectorcache.index.scan import CellTable
from vectorcache.vectors import native
from vectorcache.vectors.codes import Coder, section
from vectorcache.vectors.metric import comparable

SURE = 12.0
"""Standard errors within which the estimate of no vector lies: what codes find is exact then."""


def make_chunk(
    vectors: NDArray[np.float32],
    sizes: Sequence[int] | None = None,
    *,
    rows: Sequence[int] | None = None,
    ids: Sequence[int | str] | None = None,
    payload: pa.Table | None = None,
    first_cell: int = 0,
    metric: str = "euclidean",
    bits: int | None = None,
) -> Chunk:
    """A chunk of cells of the given sizes, one cell by default; rows count from 0 and ids are the rows.

    With ``bits`` it has codes, about centroids in the middle of their cells.
    """
    sizes = [len(vectors)] if sizes is None else sizes
    numbers = np.arange(len(vectors)) if rows is None else np.array(rows, dtype=np.int64)
    values = pa.array(numbers if ids is None else ids)
    offsets = [0, *np.cumsum(sizes).tolist()]
    width, codes = 0, None
    if bits is not None:
        coder = coder_of(bits, metric, vectors.shape[1])
        cells = np.repeat(np.arange(len(sizes)), sizes)
        seen = comparable(vectors, metric)
        centroids = np.stack(
            [seen[cells == cell].sum(axis=0) / max(1, size) for cell, size in enumerate(sizes)]
        )
        width, codes = coder.width, section(coder.encode(vectors, centroids, cells), centroids)
    table = chunk_table(numbers, values, vectors, payload, codes)
    return Chunk(table, Header(metric=metric, first_cell=first_cell, offsets=offsets, code_width=width))


def coder_of(bits: int, metric: str, dimension: int) -> Coder:
    """What makes the codes of ``make_chunk``."""
    return Coder(bits, metric, np.zeros(dimension, dtype=np.float32))


def make_table(
    chunks: Sequence[Chunk],
    missing: Sequence[int] = (),
    *,
    bits: int | None = None,
    deviations: float = SURE,
) -> CellTable:
    """The table of chunks whose cells count on from 0, without the chunks at the indices ``missing``.

    ``bits`` are those of the chunks' codes, and ``deviations`` how far the bounds of these are trusted.
    """
    cells = chunks[-1].cells.stop
    chunk_of_cell = np.zeros(cells, dtype=np.int32)
    starts, stops = np.zeros(cells, dtype=np.int64), np.zeros(cells, dtype=np.int64)
    for number, chunk in enumerate(chunks):
        chunk_of_cell[chunk.cells] = number
        starts[chunk.cells] = chunk.header.offsets[:-1]
        stops[chunk.cells] = chunk.header.offsets[1:]
    here = [number for number in range(len(chunks)) if number not in missing]
    blocks = np.array([chunks[number].addresses for number in here], dtype=np.int64).reshape(-1, 6)
    kept = native.addresses(chunk_of_cell, starts, stops)
    place = native.Cells(chunk_of_cell, starts, stops, kept, blocks, np.array(here, dtype=np.int64))
    present = [chunks[number] for number in here]
    norm = max((chunk.largest_norm for chunk in present), default=0.0)
    coding = None
    if bits is not None:
        coder = coder_of(bits, chunks[0].header.metric, chunks[0].vectors.shape[1])
        coding = native.Coding(coder, deviations)
    return CellTable(present, place, sum(map(len, present)), norm, coding)
