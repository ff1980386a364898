"""Chunks for tests."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from vectorcache.chunk import Chunk, chunk_table


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
