"""Chunks for tests."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from vectorcache import native
from vectorcache.chunk import Chunk, chunk_table
from vectorcache.scan import CellTable


def make_chunk(
    vectors: NDArray[np.float32],
    sizes: Sequence[int] | None = None,
    *,
    rows: Sequence[int] | None = None,
    ids: Sequence[int | str] | None = None,
    payload: pa.Table | None = None,
    first_cell: int = 0,
    metric: str = "euclidean",
) -> Chunk:
    """A chunk of cells of the given sizes, one cell by default; rows count from 0 and ids are the rows."""
    numbers = np.arange(len(vectors)) if rows is None else np.array(rows, dtype=np.int64)
    values = pa.array(numbers if ids is None else ids)
    table = chunk_table(numbers, values, vectors, payload)
    offsets = [0, *np.cumsum([len(vectors)] if sizes is None else sizes).tolist()]
    return Chunk(table, metric=metric, first_cell=first_cell, offsets=offsets)


def make_table(chunks: Sequence[Chunk], missing: Sequence[int] = ()) -> CellTable:
    """The table of chunks whose cells count on from 0, without the chunks at the indices ``missing``."""
    cells = chunks[-1].cells.stop
    chunk_of_cell = np.zeros(cells, dtype=np.int32)
    starts, stops = np.zeros(cells, dtype=np.int64), np.zeros(cells, dtype=np.int64)
    for number, chunk in enumerate(chunks):
        chunk_of_cell[chunk.cells] = number
        starts[chunk.cells] = chunk.offsets[:-1]
        stops[chunk.cells] = chunk.offsets[1:]
    here = [number for number in range(len(chunks)) if number not in missing]
    blocks = np.array([chunks[number].addresses for number in here], dtype=np.int64).reshape(-1, 3)
    kept = native.addresses(chunk_of_cell, starts, stops)
    place = native.Cells(chunk_of_cell, starts, stops, kept, blocks, np.array(here, dtype=np.int64))
    present = [chunks[number] for number in here]
    norm = max((chunk.largest_norm for chunk in present), default=0.0)
    return CellTable(present, place, sum(map(len, present)), norm)
