"""What every VectorSearch does."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from numpy.typing import ArrayLike
from tests.support.core.brute_force import assert_nearest, distances

from vectorcache.errors import InvalidInput
from vectorcache.vectors.exact import VectorSearch

METRICS = ["euclidean", "cosine", "dot"]
COMPONENTS = st.floats(-1e3, 1e3, width=32) | st.sampled_from([0.0, 1e-30, -1e-30, 1e12, -1e12])


def random_vectors(n: int, d: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal((n, d)).astype(np.float32)


class VectorSearchContract:
    """Subclass it, and say how to ``make`` one."""

    @staticmethod
    def make(vectors: ArrayLike, metric: str = "euclidean", k: int = 10) -> VectorSearch:
        raise NotImplementedError

    def check(self, vectors: np.ndarray, queries: Sequence[ArrayLike], metric: str, k: int) -> None:
        search = self.make(vectors, metric)
        for query in queries:
            result = search.search(query, k)
            assert_nearest(result.indices, result.distances, vectors, query, metric, k)

    def test_knows_its_size(self) -> None:
        search = self.make(random_vectors(7, 3))
        assert (len(search), search.dimension) == (7, 3)

    @pytest.mark.parametrize("metric", METRICS)
    @pytest.mark.parametrize(
        ("n", "d", "k"), [(1, 1, 1), (1, 3, 5), (2, 1, 1), (300, 8, 10), (3000, 50, 10), (2000, 33, 400)]
    )
    def test_equals_brute_force(self, metric: str, n: int, d: int, k: int) -> None:
        vectors = random_vectors(n, d)
        self.check(vectors, [*random_vectors(5, d, seed=1), vectors[0], vectors[-1] * 3], metric, k)

    @pytest.mark.parametrize("metric", METRICS)
    @settings(max_examples=60)
    @given(data=st.data())
    def test_equals_brute_force_on_anything(self, metric: str, data: st.DataObject) -> None:
        n, d = data.draw(st.integers(1, 40)), data.draw(st.integers(1, 8))
        vectors = data.draw(hnp.arrays(np.float32, (n, d), elements=COMPONENTS))
        query = data.draw(
            hnp.arrays(np.float32, d, elements=COMPONENTS) | st.integers(0, n - 1).map(lambda at: vectors[at])
        )
        if metric == "cosine":  # a vector this short counts as zero
            vectors[np.abs(vectors) < 1e-20] = 0
            query = np.where(np.abs(query) < 1e-20, 0, query)
        self.check(vectors, [query], metric, data.draw(st.integers(1, n + 2)))

    def test_a_query_that_is_a_vector_is_at_distance_zero(self) -> None:
        vectors = random_vectors(500, 20) * 100
        indices, found = self.make(vectors).search(vectors[::50], 1)
        assert indices[:, 0].tolist() == list(range(0, 500, 50))
        assert (found == 0).all()

    @pytest.mark.parametrize("metric", METRICS)
    def test_equal_distances_come_in_the_order_of_indices(self, metric: str) -> None:
        distinct = random_vectors(40, 37)
        picks = np.random.default_rng(2).integers(0, 40, 1500)
        vectors = distinct[picks]
        for query in [*distinct[:3], *random_vectors(3, 37, seed=3)]:
            truth = distances(distinct, query, metric)[picks]
            expected = np.lexsort((np.arange(len(picks)), truth))
            for k in (1, 17, 200):
                assert self.make(vectors, metric).search(query, k).indices.tolist() == expected[:k].tolist()

    @pytest.mark.parametrize("metric", METRICS)
    @pytest.mark.parametrize(("offset", "spread"), [(1e3, 1e-3), (1e6, 1.0), (-1e12, 1e6)])
    def test_is_exact_far_from_the_origin(self, metric: str, offset: float, spread: float) -> None:
        """Where inner products in float32 tell nothing apart."""
        vectors = (random_vectors(2000, 16).astype(np.float64) * spread + offset).astype(np.float32)
        queries = (random_vectors(4, 16, seed=1).astype(np.float64) * spread + offset).astype(np.float32)
        self.check(vectors, [*queries, vectors[5]], metric, 10)

    @pytest.mark.parametrize(
        ("metric", "scale"),
        [(metric, scale) for metric in METRICS for scale in (1e-22, 1e-10, 1e10, 1e15)]
        + [("euclidean", 1e-38), ("dot", 1e-38)],
    )
    def test_is_exact_at_any_scale(self, metric: str, scale: float) -> None:
        vectors = (random_vectors(1000, 9) * scale).astype(np.float32)
        self.check(vectors, (random_vectors(3, 9, seed=1) * scale).astype(np.float32), metric, 10)

    def test_cosine_of_a_zero_vector_is_one(self) -> None:
        vectors = np.array([[1, 0], [0, 0], [-1, 0], [1e-30, 0], [5, 5]], dtype=np.float32)
        indices, found = self.make(vectors, "cosine").search([2, 0], 5)
        assert indices.tolist() == [0, 4, 1, 3, 2]
        np.testing.assert_allclose(found, [0, 1 - 2**-0.5, 1, 1, 2], rtol=1e-6, atol=1e-15)
        for zero in ([0, 0], [1e-30, 0]):
            assert self.make(vectors, "cosine").search(zero, 5).indices.tolist() == [0, 1, 2, 3, 4]
            assert self.make(vectors, "cosine").search(zero, 5).distances.tolist() == [1.0] * 5

    @pytest.mark.parametrize("metric", METRICS)
    @pytest.mark.parametrize("size", [1, 2, 33])
    def test_a_batch_is_as_single_queries(self, metric: str, size: int) -> None:
        search = self.make(random_vectors(900, 21), metric)
        queries = random_vectors(size, 21, seed=1)
        batch = search.search(queries, 7)
        assert batch.indices.shape == batch.distances.shape == (size, 7)
        assert (batch.indices.dtype, batch.distances.dtype) == (np.int64, np.float64)
        for at, query in enumerate(queries):
            single = search.search(query, 7)
            assert single.indices.tolist() == batch.indices[at].tolist()
            assert single.distances.tolist() == batch.distances[at].tolist()

    @pytest.mark.parametrize("metric", METRICS)
    @pytest.mark.parametrize("offset", [0.0, 1e4, 1e7])
    @pytest.mark.parametrize(("size", "k"), [(1, 1), (1, 30), (40, 30), (3, 399), (3, 400)])
    def test_chooses_the_nearest(self, metric: str, offset: float, size: int, k: int) -> None:
        vectors = random_vectors(400, 24) + np.float32(offset)
        queries = random_vectors(size, 24, seed=1) + np.float32(offset)
        search = self.make(vectors, metric)
        chosen = search.chosen(queries, k)
        assert chosen.dtype == np.int32
        np.testing.assert_array_equal(chosen, np.sort(search.search(queries, k).indices, axis=1))

    def test_chooses_the_first_of_equal_ones(self) -> None:
        search = self.make(np.repeat(random_vectors(2, 8), 50, axis=0))
        chosen = search.chosen(random_vectors(2, 8)[1:], 60)
        assert chosen[0].tolist() == [*range(10), *range(50, 100)]

    def test_an_empty_batch_has_no_answers(self) -> None:
        indices, found = self.make(random_vectors(9, 4)).search(np.empty((0, 4), dtype=np.float32), 3)
        assert indices.shape == found.shape == (0, 3)

    def test_an_empty_batch_has_nothing_to_choose(self) -> None:
        assert self.make(random_vectors(4, 2)).chosen(random_vectors(0, 2), 3).shape == (0, 3)

    def test_k_is_at_most_all(self) -> None:
        indices, _ = self.make(random_vectors(9, 4)).search(random_vectors(2, 4), 10**9)
        assert [sorted(row) for row in indices.tolist()] == [list(range(9))] * 2

    def test_k_has_a_default(self) -> None:
        assert len(self.make(random_vectors(30, 4)).search([0, 0, 0, 0]).indices) == 10
        assert len(self.make(random_vectors(30, 4), k=3).search([0, 0, 0, 0]).indices) == 3

    @pytest.mark.parametrize("k", [0, -1, True, False, 1.0, "1", None, np.float32(2), np.True_, [1]])
    def test_refuses_a_k_that_is_no_whole_number_from_one(self, k: object) -> None:
        search = self.make(random_vectors(9, 4))
        if k is not None:
            with pytest.raises(InvalidInput, match="^k: .* whole number of at least 1"):
                search.search([0, 0, 0, 0], k)  # type: ignore[arg-type]
        with pytest.raises(InvalidInput, match="^k: "):
            self.make(random_vectors(9, 4), k=k)  # type: ignore[arg-type]

    @pytest.mark.parametrize("k", [3, np.int64(3), np.uint8(3)])
    def test_takes_any_whole_number(self, k: int) -> None:
        assert len(self.make(random_vectors(9, 4)).search([0, 0, 0, 0], k).indices) == 3

    @pytest.mark.parametrize(
        ("query", "message"),
        [
            ([1, 2, 3], r"^query: .*dimension 3.*allowed: dimension 4"),
            ([[1, 2, 3, 4, 5]], r"^query: .*dimension 5"),
            ([], r"^query: .*dimension 0"),
            (1.0, r"^query: .*0 axes"),
            (np.zeros((1, 1, 4)), r"^query: .*3 axes"),
            ([1, 2, float("nan"), 4], r"^query\[0\]\[2\]: nan"),
            ([[1, 2, 3, 4], [1, float("-inf"), 3, 4]], r"^query\[1\]\[1\]: -inf"),
            ([1e17, 2, 3, 4], r"^query\[0\]\[0\]: .*magnitude at most 1e\+16"),
            ([1e300, 2, 3, 4], r"^query\[0\]\[0\]: .*magnitude"),
            (["1", "2", "3", "4"], r"^query: .*numbers"),
            ("abcd", r"^query: 'abcd' .*numbers"),
            ([None, 1, 2, 3], r"^query: .*numbers"),
            ([1j, 1, 2, 3], r"^query: .*numbers"),
            ([[1, 2, 3, 4], [1, 2]], r"^query: .*numbers, all of the same length"),
            ({"a": 1}, r"^query: .*numbers"),
        ],
    )
    def test_refuses_queries_that_are_no_vectors(self, query: ArrayLike, message: str) -> None:
        with pytest.raises(InvalidInput, match=message):
            self.make(random_vectors(9, 4)).search(query)

    @pytest.mark.parametrize(
        ("vectors", "message"),
        [
            (np.empty((0, 3)), "^vectors: 'an empty set'"),
            ([], "^vectors: .*1 axes"),
            (np.empty((3, 0)), "^vectors: .*dimension 0"),
            ([1, 2, 3], "^vectors: .*1 axes"),
            ([[1, 2], [3]], "^vectors: .*all of the same length"),
            ([[1, 2], [3, float("inf")]], r"^vectors\[1\]\[1\]: inf"),
            ([["1", "2"]], "^vectors: .*numbers"),
            (np.zeros((1, 65_537), dtype=np.float32), "^vectors: .*dimension 1 to 65536"),
        ],
    )
    def test_refuses_vectors_that_are_none(self, vectors: ArrayLike, message: str) -> None:
        with pytest.raises(InvalidInput, match=message):
            self.make(vectors)

    def test_refuses_an_unknown_metric(self) -> None:
        with pytest.raises(InvalidInput, match="^metric: 'manhattan' .*euclidean, cosine, dot"):
            self.make(random_vectors(3, 2), "manhattan")

    @pytest.mark.parametrize("dtype", [np.float64, np.float16, np.int32, np.uint8, ">f4"])
    def test_takes_numbers_of_any_type(self, dtype: str) -> None:
        vectors = (np.abs(random_vectors(50, 6)) * 10).astype(dtype)
        result = self.make(vectors).search(vectors[3], 4)
        assert_nearest(result.indices, result.distances, vectors, vectors[3], "euclidean", 4)

    def test_takes_vectors_that_are_not_contiguous(self) -> None:
        vectors = np.asfortranarray(random_vectors(60, 12))[::2, ::3]
        result = self.make(vectors).search(vectors[3], 4)
        assert_nearest(result.indices, result.distances, vectors, vectors[3], "euclidean", 4)
