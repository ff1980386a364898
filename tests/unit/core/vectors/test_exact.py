from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import ArrayLike
from tests.support.core.brute_force import assert_nearest
from tests.support.core.vector_search_contract import VectorSearchContract, random_vectors

from vectorcache.errors import InvalidInput
from vectorcache.vectors import exact as module
from vectorcache.vectors.exact import ExactVectorSearch, VectorSearch, as_queries, check_k


class TestExactVectorSearch(VectorSearchContract):
    @staticmethod
    def make(vectors: ArrayLike, metric: str = "euclidean", k: int = 10) -> VectorSearch:
        return ExactVectorSearch(vectors, metric, k)


class TestExactVectorSearchWithoutTheKernel(TestExactVectorSearch):
    @pytest.fixture(autouse=True)
    def without_the_kernel(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(module, "kernel", lambda: None)


@pytest.mark.parametrize("metric", ["euclidean", "cosine", "dot"])
def test_the_kernel_and_numpy_agree(metric: str, monkeypatch: pytest.MonkeyPatch) -> None:
    vectors, queries = random_vectors(500, 33), random_vectors(20, 33, seed=1)
    native = ExactVectorSearch(vectors, metric).search(queries, 20)
    monkeypatch.setattr(module, "kernel", lambda: None)
    plain = ExactVectorSearch(vectors, metric).search(queries, 20)
    assert native.indices.tolist() == plain.indices.tolist()
    np.testing.assert_allclose(native.distances, plain.distances, rtol=1e-12)


def test_a_large_batch_is_cut_into_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "kernel", lambda: None)  # it needs no blocks
    search = ExactVectorSearch(random_vectors(100, 5))
    queries = random_vectors(17, 5, seed=1)
    whole = search.search(queries, 3)
    monkeypatch.setattr(module, "_BLOCK_BYTES", 4 * 100 * 5)  # five queries
    cut = search.search(queries, 3)
    assert cut.indices.tolist() == whole.indices.tolist()
    assert cut.distances.tolist() == whole.distances.tolist()


def test_k_may_have_an_upper_bound() -> None:
    assert check_k(5, "nprobe", 5) == 5
    with pytest.raises(InvalidInput, match="^nprobe: 6 .*from 1 to 5"):
        check_k(6, "nprobe", 5)


def test_as_queries_tells_one_from_a_batch() -> None:
    one, single = as_queries([1, 2], 2)
    batch, many = as_queries([[1, 2]], 2)
    assert (single, many) == (True, False)
    assert one.tolist() == batch.tolist() == [[1, 2]]
    assert one.dtype == np.float32


@pytest.mark.parametrize("with_kernel", [True, False])
def test_products_that_cancel_are_as_near_to_the_truth_as_float64_comes(
    with_kernel: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    if not with_kernel:
        monkeypatch.setattr(module, "kernel", lambda: None)
    vectors = np.array([[-1e12, 182, 0, -1e12]], dtype=np.float32)
    query = np.array([1e12, 181, 181, -1e12], dtype=np.float32)
    indices, distances = ExactVectorSearch(vectors, "dot").search(query, 1)
    assert_nearest(indices, distances, vectors, query, "dot", 1)
