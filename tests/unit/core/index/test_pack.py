from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.support.core.vector_search_contract import random_vectors

from vectorcache.index.pack import offsets_of, pack_cells


@settings(max_examples=80)
@given(
    seed=st.integers(0, 10**6),
    cells=st.integers(1, 120),
    chunk_bytes=st.integers(1, 2000),
    cells_per_chunk=st.none() | st.integers(1, 20),
    distinct=st.integers(1, 120),
)
def test_every_cell_once_and_limits_hold(
    seed: int, cells: int, chunk_bytes: int, cells_per_chunk: int | None, distinct: int
) -> None:
    generator = np.random.default_rng(seed)
    centroids = generator.standard_normal((distinct, 5)).astype(np.float32)[
        generator.integers(0, distinct, cells)
    ]
    sizes = generator.integers(1, 400, cells)
    chunks = pack_cells(centroids, sizes, chunk_bytes=chunk_bytes, cells_per_chunk=cells_per_chunk)
    assert sorted(cell for chunk in chunks for cell in chunk) == list(range(cells))
    for chunk in chunks:
        assert sizes[chunk].sum() <= chunk_bytes or len(chunk) == 1
        assert cells_per_chunk is None or len(chunk) <= cells_per_chunk


def test_one_cell_per_chunk() -> None:
    chunks = pack_cells(
        random_vectors(50, 4), np.ones(50, dtype=np.int64), chunk_bytes=10**9, cells_per_chunk=1
    )
    assert sorted(chunks) == [[cell] for cell in range(50)]


def test_what_fits_one_chunk_is_one_chunk() -> None:
    chunks = pack_cells(
        random_vectors(50, 4), np.full(50, 10, dtype=np.int64), chunk_bytes=500, cells_per_chunk=50
    )
    assert [sorted(chunk) for chunk in chunks] == [list(range(50))]


def test_chunks_are_well_filled() -> None:
    sizes = np.full(1000, 10, dtype=np.int64)
    chunks = pack_cells(random_vectors(1000, 8), sizes, chunk_bytes=200, cells_per_chunk=None)
    assert len(chunks) <= 2 * 1000 * 10 / 200


def test_neighbours_share_a_chunk() -> None:
    """Eight groups of sixteen along a line."""
    along = np.repeat(np.arange(8, dtype=np.float32) * 100, 16)
    centroids = along[:, None] * np.array([1, 2, -1, 0.5], dtype=np.float32) + random_vectors(128, 4)
    order = np.random.default_rng(0).permutation(128)
    chunks = pack_cells(centroids[order], np.ones(128, dtype=np.int64), chunk_bytes=16, cells_per_chunk=None)
    assert len(chunks) == 8
    assert all(len({int(order[cell]) // 16 for cell in chunk}) == 1 for chunk in chunks)


@pytest.mark.parametrize("scale", [1e-30, 1e15])
def test_any_scale(scale: float) -> None:
    centroids = (random_vectors(64, 16) * scale).astype(np.float32)
    sizes = np.ones(64, dtype=np.int64)
    found = pack_cells(centroids, sizes, chunk_bytes=8, cells_per_chunk=None)
    expected = pack_cells(random_vectors(64, 16), sizes, chunk_bytes=8, cells_per_chunk=None)
    assert sorted(map(sorted, found)) == sorted(map(sorted, expected))


def test_offsets_of_runs() -> None:
    assert offsets_of([2, 0, 3]) == [0, 2, 2, 5]
    assert offsets_of([]) == [0]
