from __future__ import annotations

import numpy as np
import pytest
from tests.support.core.collections import clustered
from tests.support.core.vector_search_contract import random_vectors

from vectorcache.index import nearest
from vectorcache.index.nearest import (
    best_above,
    distances_to_nearest,
    in_threads,
    k_means,
    make_finder,
    nearest_of_all,
    nearest_one,
)


@pytest.mark.parametrize("stretch", [1.0, 1.3, 100.0])
@pytest.mark.parametrize("at_once", [1, 1000, 1 << 20])
def test_the_nearest_of_all_are_those_within_reach(
    stretch: float, at_once: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(nearest, "SCORES_AT_ONCE", at_once)
    vectors, centroids = clustered(200, 8), clustered(50, 8, seed=1)
    near = nearest_of_all(vectors, centroids, 4, stretch)
    squares = ((vectors[:, None].astype(np.float64) - centroids) ** 2).sum(axis=2)
    for row, (distances, numbers) in enumerate(zip(*near, strict=True)):
        order = np.argsort(squares[row])[:4]
        expected = order[squares[row, order] <= stretch**2 * squares[row].min() * (1 + 1e-6)]
        within = np.isfinite(distances)
        assert set(expected.tolist()) <= set(numbers[within].tolist()) <= set(order.tolist())
        assert numbers[0] == order[0]
        np.testing.assert_allclose(distances[within], squares[row, numbers[within]], rtol=1e-3, atol=1e-3)
        assert (numbers[~within] == 0).all()


def test_there_are_no_more_than_all() -> None:
    near = nearest_of_all(clustered(5, 4), clustered(3, 4), 8, 100.0)
    assert near.distances.shape == near.numbers.shape == (5, 3)
    assert np.isfinite(near.distances).all()


@pytest.mark.parametrize("value", [0.0, 3.0])
def test_equal_centroids_are_as_near_as_one(value: float) -> None:
    near = nearest_of_all(np.full((3, 4), value, np.float32), np.full((100, 4), value, np.float32), 8, 1.0)
    assert np.isfinite(near.distances).all()
    assert all(len(set(numbers)) == 8 for numbers in near.numbers.tolist())


def test_best_above_are_the_largest_that_reach_the_floor() -> None:
    scores = np.array([[1, 5, 3, 5], [0, 0, 9, 0], [1, 2, 3, 4]], dtype=np.float32)
    values, columns = best_above(scores, np.array([2, 1, 9], dtype=np.float32), 2)
    assert values.tolist() == [[5, 5], [9, -np.inf], [-np.inf, -np.inf]]
    assert columns.tolist() == [[1, 3], [2, 0], [0, 0]]


def test_best_above_a_floor_that_nearly_all_reach() -> None:
    scores = random_vectors(20, 500)
    values, columns = best_above(scores, np.full(20, -np.inf, np.float32), 7)
    assert values.tolist() == np.sort(scores, axis=1)[:, :-8:-1].tolist()
    assert np.take_along_axis(scores, columns, axis=1).tolist() == values.tolist()


def test_the_nearest_one_and_its_distance() -> None:
    vectors, centroids = clustered(200, 8) + 1000, clustered(50, 8, seed=1) + 1000
    squares = ((vectors[:, None].astype(np.float64) - centroids) ** 2).sum(axis=2)
    np.testing.assert_allclose(
        distances_to_nearest(vectors, centroids), np.sqrt(squares.min(axis=1)), rtol=1e-4
    )
    assert nearest_one(vectors - 1000, centroids - 1000).tolist() == squares.argmin(axis=1).tolist()
    assert nearest_one(vectors[:0], centroids).tolist() == []


def test_a_finder_finds_almost_what_comparing_with_all_finds() -> None:
    vectors = clustered(6000, 16)
    centroids = k_means(vectors, 400, spherical=False, iterations=3, seed=0)
    exact = nearest_of_all(vectors, centroids, 8, 1.1)
    found = make_finder(centroids, vectors[::2], seed=0).nearest(vectors, 8, 1.1)
    assert (found.numbers[:, 0] == exact.numbers[:, 0]).mean() > 0.97
    ratio = found.distances[:, 0] / np.maximum(exact.distances[:, 0], 1e-3)
    assert ratio.mean() < 1.01
    assert np.isfinite(found.distances).sum() == pytest.approx(np.isfinite(exact.distances).sum(), rel=0.05)


def test_every_vector_has_a_nearest_even_unlike_the_sample() -> None:
    centroids = clustered(300, 4)
    finder = make_finder(centroids, centroids[:1], seed=0)
    near = finder.nearest(random_vectors(500, 4) * 50, 8, 1.1)
    assert np.isfinite(near.distances[:, 0]).all()


def test_a_finder_of_equal_centroids_and_vectors() -> None:
    same = np.zeros((200, 4), np.float32)
    near = make_finder(same, same, seed=0).nearest(same, 8, 1.1)
    assert (near.distances[:, 0] == 0).all()


def test_a_finder_is_deterministic_and_moves_with_its_centroids() -> None:
    vectors, centroids = clustered(1000, 8), clustered(200, 8, seed=1)
    one, two = (make_finder(centroids, vectors, seed=3).nearest(vectors, 8, 1.1) for _ in range(2))
    assert one.numbers.tolist() == two.numbers.tolist()
    nearer = (centroids * np.float32(1.01)).astype(np.float32)
    moved = make_finder(centroids, vectors, seed=3).moved(nearer).nearest(vectors, 1, 1.0)
    expected = ((vectors - nearer[moved.numbers[:, 0]]) ** 2).sum(axis=1)
    np.testing.assert_allclose(moved.distances[:, 0], expected, rtol=1e-3, atol=1e-3)


def test_results_of_threads_are_in_order_and_errors_are_raised() -> None:
    assert list(in_threads(lambda item: item * 2, range(50))) == list(range(0, 100, 2))
    with pytest.raises(ZeroDivisionError):
        list(in_threads(lambda item: 1 // item, [1, 0]))
