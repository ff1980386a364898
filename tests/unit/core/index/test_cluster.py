from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray
from tests.support.core.collections import clustered
from tests.support.core.vector_search_contract import random_vectors

from vectorcache.index import cluster
from vectorcache.index.cluster import (
    CLOSURE_CAP,
    Assigner,
    Copies,
    _in_proportion,
    split_cell,
    train_centroids,
)
from vectorcache.index.nearest import distances_to_nearest
from vectorcache.vectors.metric import comparable


def close(
    vectors: NDArray[np.float32], centroids: NDArray[np.float32], *, first_row: int, spread: float
) -> Copies:
    rows = np.arange(first_row, first_row + len(vectors))
    return Assigner(centroids, spread).close(vectors, rows).copies


def naive_cells(vector: NDArray[np.float32], centroids: NDArray[np.float32], spread: float) -> list[int]:
    """The closure of one vector, by the words of its docstring."""
    wide = centroids.astype(np.float64)
    distances = ((wide - vector) ** 2).sum(axis=1)
    order = np.argsort(distances, kind="stable")[:CLOSURE_CAP].tolist()
    taken = [order[0]]
    for cell in order[1:]:
        near = np.sqrt(distances[cell]) <= (1 + spread) * np.sqrt(distances[order[0]])
        beside = [((wide[cell] - wide[other]) ** 2).sum() > distances[cell] for other in taken]
        if near and all(beside):
            taken.append(cell)
    return taken


@pytest.mark.parametrize(("spread", "dimension"), [(0.0, 4), (0.05, 8), (0.3, 8), (1.0, 2), (1.0, 16)])
def test_closure_is_the_rule(spread: float, dimension: int) -> None:
    vectors, centroids = clustered(300, dimension), clustered(40, dimension, seed=1)
    copies = close(vectors, centroids, first_row=1000, spread=spread)
    for row, vector in enumerate(vectors):
        cells = copies.cells[copies.rows == 1000 + row].tolist()
        assert cells == naive_cells(vector, centroids, spread)


def test_a_rows_own_cell_comes_first() -> None:
    vectors, centroids = clustered(500, 8), clustered(60, 8, seed=1)
    copies = close(vectors, centroids, first_row=0, spread=1.0)
    own = ((vectors[:, None] - centroids[None]) ** 2).sum(axis=2).argmin(axis=1)
    assert copies.rows[:500].tolist() == list(range(500))
    assert copies.cells[:500].tolist() == own.tolist()
    assert (copies.rows.dtype, copies.cells.dtype) == (np.int64, np.int32)


def test_no_vector_stands_in_a_cell_twice_or_in_more_than_the_cap() -> None:
    directions = random_vectors(200, 64)  # nearly orthogonal: hundreds of sides
    centroids = directions / np.linalg.norm(directions, axis=1, keepdims=True)
    copies = close(random_vectors(300, 64) * 1e-3, centroids, first_row=0, spread=1.0)
    counts = np.bincount(copies.rows)
    assert counts.max() == CLOSURE_CAP
    assert counts.min() >= 1
    assert len(set(zip(copies.rows.tolist(), copies.cells.tolist(), strict=True))) == len(copies.rows)


def test_no_spread_means_no_copies() -> None:
    copies = close(clustered(400, 8), clustered(30, 8, seed=1), first_row=0, spread=0.0)
    assert len(copies.rows) == 400


def test_equal_centroids_share_nothing() -> None:
    centroids = np.repeat(random_vectors(2, 4), 5, axis=0)
    copies = close(np.repeat(centroids[:1], 7, axis=0), centroids, first_row=0, spread=1.0)
    assert len(copies.rows) == 7


@pytest.mark.parametrize("offset", [0.0, 100.0])
def test_centroids_that_differ_by_rounding_share_nothing(offset: float) -> None:
    vector = random_vectors(1, 64) + np.float32(offset)
    rounded = vector * (1 + np.float32(1e-7) * np.arange(-3, 4, dtype=np.float32)[:, None])
    centroids = np.concatenate([rounded, random_vectors(5, 64, seed=1)])
    copies = close(np.repeat(vector, 500, axis=0), centroids, first_row=0, spread=1.0)
    assert copies.rows.tolist() == list(range(500))
    assert set(copies.cells.tolist()) == {3}


@pytest.mark.parametrize("dimension", [3, 64])
def test_far_from_the_origin_closure_is_the_rule_still(dimension: int) -> None:
    """Where squared distances by the fast formula are nothing but rounding."""
    vectors = clustered(2500, dimension) + np.float32(2000)
    centroids = clustered(40, dimension, seed=1) + np.float32(2000)
    copies = close(vectors, centroids, first_row=0, spread=0.1)
    for row in range(0, 2500, 50):
        assert copies.cells[copies.rows == row].tolist() == naive_cells(vectors[row], centroids, 0.1)


def test_one_centroid_has_everything() -> None:
    copies = close(clustered(10, 4), clustered(1, 4), first_row=3, spread=1.0)
    assert copies.rows.tolist() == list(range(3, 13))
    assert copies.cells.tolist() == [0] * 10


@pytest.mark.parametrize(("count", "cells"), [(1, 1), (5, 5), (100, 7), (100, 100)])
@pytest.mark.parametrize("spherical", [False, True])
def test_trains_as_many_centroids_as_asked(count: int, cells: int, spherical: bool) -> None:
    sample = clustered(count, 6)
    centroids = train_centroids(sample, cells, spherical=spherical, iterations=3, seed=1)
    assert (centroids.shape, centroids.dtype) == ((cells, 6), np.float32)
    assert np.isfinite(centroids).all()


def test_training_finds_clusters() -> None:
    sample = np.repeat(np.eye(4, dtype=np.float32) * 10, 50, axis=0) + random_vectors(200, 4) * 0.01
    centroids = train_centroids(sample, 4, spherical=False, iterations=10, seed=0)
    assert np.abs(np.sort(centroids.max(axis=1)) - 10).max() < 0.1


def test_training_is_deterministic() -> None:
    one, two = (
        train_centroids(clustered(300, 6), 20, spherical=False, iterations=5, seed=3) for _ in range(2)
    )
    assert one.tolist() == two.tolist()


@pytest.mark.parametrize("spherical", [False, True])
@pytest.mark.parametrize("offset", [0.0, 500.0])
def test_training_in_two_levels_is_about_as_good(
    spherical: bool, offset: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    sample = comparable(clustered(4000, 8) + np.float32(offset), "cosine" if spherical else "euclidean")

    def error(centroids: NDArray[np.float32]) -> float:
        return float(np.square(distances_to_nearest(sample, centroids)).mean())

    whole = train_centroids(sample, 300, spherical=spherical, iterations=8, seed=0)
    monkeypatch.setattr(cluster, "TWO_LEVELS_FROM", 100)
    monkeypatch.setattr(cluster, "CANDIDATES_FROM", 100)
    one, two = (train_centroids(sample, 300, spherical=spherical, iterations=8, seed=0) for _ in range(2))
    assert one.tolist() == two.tolist()
    assert (one.shape, one.dtype) == ((300, 8), np.float32)
    assert error(one) < 1.05 * error(whole)
    if spherical:
        np.testing.assert_allclose(np.linalg.norm(one, axis=1), 1, rtol=1e-5)


@pytest.mark.parametrize("count", [300, 301, 1000])
def test_two_levels_of_equal_vectors(count: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cluster, "TWO_LEVELS_FROM", 100)
    centroids = train_centroids(np.ones((count, 4), np.float32), 300, spherical=False, iterations=3, seed=0)
    assert centroids.shape == (300, 4)
    np.testing.assert_allclose(centroids, 1, rtol=0.05)  # faiss moves those of empty cells a little


@pytest.mark.parametrize("sizes", [[10, 0, 30], [1, 1, 1], [7, 11, 13, 1]])
def test_parts_are_in_proportion_and_no_larger_than_sizes(sizes: list[int]) -> None:
    for total in range(1, sum(sizes) + 1):
        parts = _in_proportion(total, np.array(sizes))
        assert parts.sum() == total
        assert (parts <= sizes).all()
        assert (np.abs(parts - total * np.array(sizes) / sum(sizes)) < 1).all()


def test_splits_a_cell() -> None:
    parts = split_cell(clustered(100, 4), 3, spherical=False, seed=0)
    assert parts.shape == (3, 4)
