from __future__ import annotations

from itertools import pairwise

import numpy as np
import pyarrow as pa
import pytest
from numpy.typing import NDArray
from tests.support.core.collections import SMALL, clustered
from tests.support.core.vector_search_contract import METRICS, random_vectors

from vectorcache.errors import InvalidInput
from vectorcache.index.cluster import Assigner, Copies, split_cell
from vectorcache.index.layout import (
    BuildSettings,
    Layout,
    _assign,
    _reassign,
    _split_evenly,
    _split_large,
    lay_out,
)
from vectorcache.index.progress import Silence
from vectorcache.index.sources import Source
from vectorcache.vectors.metric import comparable


def source_of(vectors: NDArray[np.float32]) -> Source:
    return Source(vectors, pa.chunked_array([pa.array(np.arange(len(vectors)))]), None)


def laid_out(vectors: NDArray[np.float32], **settings: object) -> Layout:
    wanted = BuildSettings(**{**SMALL, **settings})  # type: ignore[arg-type]
    layout = lay_out(source_of(vectors), wanted, Silence())
    check_numbering(layout, vectors, wanted)
    return layout


def check_numbering(layout: Layout, vectors: NDArray[np.float32], wanted: BuildSettings) -> None:
    """What every search relies on."""
    rows, cells = layout.copies
    assert np.unique(rows).tolist() == list(range(len(vectors)))  # every vector stands somewhere
    assert len({*zip(rows.tolist(), cells.tolist(), strict=True)}) == len(rows)  # and nowhere twice
    count = len(layout.centroids)
    assert layout.cell_offsets.tolist() == [0, *np.cumsum(np.bincount(cells, minlength=count)).tolist()]
    assert (np.diff(layout.cell_offsets) > 0).all()  # no cell is empty
    assert (np.diff(cells) >= 0).all()
    for first, stop in pairwise(layout.cell_offsets):
        assert (np.diff(rows[first:stop]) > 0).all()
    bounds = [first for first, _ in layout.chunk_cells] + [layout.chunk_cells[-1][1]]
    assert layout.chunk_cells == list(pairwise(bounds))  # consecutive
    assert (bounds[0], bounds[-1]) == (0, count)
    if wanted.cells_per_chunk is not None:
        assert max(stop - first for first, stop in layout.chunk_cells) <= wanted.cells_per_chunk
    seen = comparable(vectors, wanted.metric).astype(np.float64)
    apart = ((seen[rows] - layout.centroids[cells]) ** 2).sum(axis=1)
    nearest = ((seen[:, None] - layout.centroids[None]) ** 2).sum(axis=2).min(axis=1)
    assert (apart <= nearest[rows] * (1 + wanted.spread) ** 2 * (1 + 1e-4) + 1e-5).all()


@pytest.mark.parametrize("metric", METRICS)
@pytest.mark.parametrize("cells_per_chunk", [1, 3, None])
def test_cells_and_chunks_are_numbered_in_order(metric: str, cells_per_chunk: int | None) -> None:
    layout = laid_out(clustered(900), metric=metric, cells_per_chunk=cells_per_chunk)
    assert 12 <= len(layout.centroids) <= 24
    if cells_per_chunk == 1:
        assert len(layout.chunk_cells) == len(layout.centroids)


def test_vectors_near_a_boundary_stand_twice() -> None:
    many = len(laid_out(clustered(900), spread=0.5).copies.rows)
    few = len(laid_out(clustered(900), spread=0.02).copies.rows)
    assert 900 < few < many <= 8 * 900


@pytest.mark.parametrize("metric", METRICS)
@pytest.mark.parametrize("count", [1, 2, 3, 10])
def test_fewer_vectors_than_cells(count: int, metric: str) -> None:
    layout = laid_out(clustered(count), metric=metric, cells=24)
    assert 1 <= len(layout.centroids) <= count


@pytest.mark.parametrize("metric", METRICS)
@pytest.mark.parametrize("value", [0.0, 1.0])
def test_vectors_that_are_all_the_same(metric: str, value: float) -> None:
    layout = laid_out(np.full((500, 6), value, dtype=np.float32), metric=metric, spread=1.0)
    assert len(layout.copies.rows) == 500


def test_cells_that_exceed_a_chunk_are_split() -> None:
    dense = clustered(3000, 64, centres=1) * 0.01
    layout = laid_out(np.concatenate([dense, clustered(100, 64)]), cells=3, cells_per_chunk=None)
    most = (64 << 10) // (64 * 4 + 16)
    assert len(layout.centroids) > 12
    assert np.diff(layout.cell_offsets).max() <= 1.2 * most


@pytest.mark.parametrize("metric", METRICS)
@pytest.mark.parametrize("offset", [0.0, 100.0])
def test_after_a_split_every_row_stands_where_assigning_all_rows_puts_it(
    metric: str, offset: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("vectorcache.index.layout.BATCH_ROWS", 500)
    dense = clustered(3000, 16, centres=1) * np.float32(0.3)
    vectors = np.concatenate([dense, clustered(2000, 16)]) + np.float32(offset)
    settings = BuildSettings(metric=metric)
    source, seen = source_of(vectors), comparable(vectors, metric)
    centroids = split_cell(seen, 40, spherical=metric == "cosine", seed=0)
    assigned = _assign(source, centroids, seen, settings, Silence())
    split = _split_large(source, centroids, assigned.copies, settings, 100)
    assert split is not None
    assert len(split.centroids) > 40
    again = _reassign(source, assigned, centroids, split, seen, settings, Silence())
    whole = Assigner(split.centroids, settings.spread).close(seen, np.arange(len(vectors)))
    assert {*zip(*map(np.ndarray.tolist, again.copies), strict=True)} == {
        *zip(*map(np.ndarray.tolist, whole.copies), strict=True)
    }
    np.testing.assert_allclose(again.nearest, whole.nearest, rtol=1e-2, atol=1e-5)


@pytest.mark.parametrize("metric", METRICS)
@pytest.mark.parametrize("offset", [0.0, 100.0])
def test_many_cells_are_laid_out_as_few_are(
    metric: str, offset: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("vectorcache.index.cluster.TWO_LEVELS_FROM", 50)
    monkeypatch.setattr("vectorcache.index.cluster.CANDIDATES_FROM", 50)
    vectors = np.concatenate([clustered(3000) + np.float32(offset), np.zeros((5, 8), np.float32)])
    one, two = (laid_out(vectors, metric=metric, cells=150, sample_per_cell=20) for _ in range(2))
    assert one.copies.rows.tolist() == two.copies.rows.tolist()
    assert 100 <= len(one.centroids) <= 151


@pytest.mark.parametrize("metric", METRICS)
def test_many_equal_vectors_are_stored_once_and_in_several_chunks(metric: str) -> None:
    """Whatever their centroids are: k-means gives several that differ by the rounding of a mean."""
    equal = np.repeat(random_vectors(1, 32), 5000, axis=0)
    layout = laid_out(np.concatenate([equal, clustered(300, 32)]), metric=metric, cells=40, spread=0.1)
    stored = np.bincount(layout.copies.rows)
    assert stored[:5000].sum() <= 1.05 * 5000
    most = (64 << 10) // (32 * 4 + 16)
    assert np.diff(layout.cell_offsets).max() <= most
    assert (
        max(layout.cell_offsets[stop] - layout.cell_offsets[first] for first, stop in layout.chunk_cells)
        <= most
    )


def test_a_cell_that_cannot_be_split_is_split_evenly_out_in_the_order_of_rows() -> None:
    centroids = random_vectors(3, 4)
    cells = np.array([0, *[1] * 10, 2], dtype=np.int32)
    rows = np.array([5, *range(20, 10, -1), 7])
    more, dealt = _split_evenly(centroids, Copies(rows, cells), 4)
    assert more.tolist() == centroids[[0, 1, 2, 1, 1]].tolist()
    assert [sorted(dealt.rows[dealt.cells == cell].tolist()) for cell in range(5)] == [
        [5],
        [11, 12, 13, 14],
        [7],
        [15, 16, 17],
        [18, 19, 20],
    ]
    assert _split_evenly(centroids, Copies(rows, cells), 10)[0].tolist() == centroids.tolist()


def test_is_deterministic() -> None:
    one, two = (laid_out(clustered(900), seed=5) for _ in range(2))
    assert one.centroids.tolist() == two.centroids.tolist()
    assert one.copies.rows.tolist() == two.copies.rows.tolist()
    assert one.chunk_cells == two.chunk_cells


def test_reads_large_sources_in_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    whole = laid_out(clustered(900))
    monkeypatch.setattr("vectorcache.index.sources.BATCH_ROWS", 128)
    blocks = laid_out(clustered(900))
    assert blocks.copies.rows.tolist() == whole.copies.rows.tolist()


@pytest.mark.parametrize(("vectors", "cells"), [(1, 1), (15, 1), (100, 12), (10_000, 300), (400_000, 1897)])
def test_the_number_of_cells_follows_from_the_size(vectors: int, cells: int) -> None:
    assert BuildSettings().cells_for(vectors) == cells


def test_a_number_of_cells_that_is_given_is_taken() -> None:
    assert BuildSettings(cells=50).cells_for(1000) == 50
    assert BuildSettings(cells=50).cells_for(20) == 20


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("metric", "l1"),
        ("cells", 0),
        ("cells", 2.5),
        ("chunk_bytes", (64 << 10) - 1),
        ("chunk_bytes", (64 << 20) + 1),
        ("chunk_bytes", None),
        ("cells_per_chunk", 0),
        ("cells_per_chunk", True),
        ("recall_target", 0),
        ("recall_target", 1),
        ("recall_target", float("nan")),
        ("spread", -0.1),
        ("spread", 1.1),
        ("iterations", 0),
        ("sample_per_cell", 0),
        ("calibration_queries", 0),
        ("seed", -1),
        ("seed", 1.5),
    ],
)
def test_refuses_settings_that_make_no_sense(field: str, value: object) -> None:
    with pytest.raises(InvalidInput, match=f"^{field}: "):
        BuildSettings(**{field: value})  # type: ignore[arg-type]


def test_cosine_sees_directions() -> None:
    vectors = random_vectors(10, 4) * 100
    vectors[3] = 0
    norms = np.linalg.norm(comparable(vectors, "cosine"), axis=1)
    np.testing.assert_allclose(np.delete(norms, 3), 1, rtol=1e-6)
    assert norms[3] == 0
    assert comparable(vectors, "dot") is vectors
