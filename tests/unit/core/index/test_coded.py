from __future__ import annotations

import numpy as np
import pytest
from tests.support.core.brute_force import assert_nearest, distances
from tests.support.core.collections import clustered
from tests.support.core.vector_search_contract import METRICS, random_vectors

from vectorcache.errors import InvalidInput
from vectorcache.index.coded import CodedSearch
from vectorcache.index.scan import NativeScan, NumpyScan, best_scan
from vectorcache.vectors.native import Kernel, kernel

SCANS = {"best": best_scan, "numpy": NumpyScan}


def table(n: int, d: int, metric: str, offset: float = 0.0) -> tuple[np.ndarray, np.ndarray]:
    """Vectors and queries of the same kind."""
    both = clustered(n + 60, d, centres=200) + np.float32(offset)
    if metric == "cosine":
        both /= np.linalg.norm(both, axis=1, keepdims=True)
    return both[60:], both[:60]


@pytest.mark.parametrize("scan", SCANS)
@pytest.mark.parametrize("metric", METRICS)
@pytest.mark.parametrize(
    ("d", "offset"), [(12, 0.0), (50, 0.0), pytest.param(100, 50.0, marks=pytest.mark.exhaustive)]
)
def test_finds_the_nearest_at_their_exact_distances(d: int, offset: float, metric: str, scan: str) -> None:
    vectors, queries = table(3000, d, metric, offset)
    search = CodedSearch(vectors, metric, scan=SCANS[scan]())
    others = random_vectors(20, d, seed=1)  # unlike the vectors
    for k in (1, 16, 50):
        found = 0
        asked = np.concatenate([queries, others])
        result = search.search(asked, k)
        assert result.indices.shape == result.distances.shape == (80, k)
        for indices, told, query in zip(*result, asked, strict=True):
            true = distances(vectors, query, metric)
            np.testing.assert_allclose(told, true[indices], rtol=1e-9, atol=1e-9)
            assert (np.diff(told) >= 0).all()
            found += len({*indices.tolist()} & {*np.argsort(true, kind="stable")[:k].tolist()})
        assert found >= 0.998 * 80 * k


@pytest.mark.parametrize("metric", METRICS)
@pytest.mark.parametrize(("n", "d"), [(1, 3), (2, 100), (40, 5), (2000, 100)])
def test_all_are_found_in_their_order(metric: str, n: int, d: int) -> None:
    vectors = random_vectors(n, d)
    search = CodedSearch(vectors, metric)
    for query in random_vectors(3, d, seed=1):
        for k in (n, n + 5):
            result = search.search(query, k)
            assert_nearest(result.indices, result.distances, vectors, query, metric, n)


def test_compares_few_of_the_vectors_themselves(monkeypatch: pytest.MonkeyPatch) -> None:
    compiled = kernel()
    if compiled is None:
        pytest.skip("numpy compares all vectors: there is no C compiler")
    scored = []
    whole = Kernel.nearest_in_cells

    def counting(self, *args, **named):  # type: ignore[no-untyped-def]
        nearest = whole(self, *args, **named)
        scored.extend(one.scored for one in nearest)
        return nearest

    monkeypatch.setattr(Kernel, "nearest_in_cells", counting)
    vectors, queries = table(6000, 100, "euclidean")
    CodedSearch(vectors, scan=NativeScan(compiled)).search(queries, 10)
    assert len(scored) == 60
    assert max(scored) < 600


def test_a_batch_is_answered_as_single_queries_are() -> None:
    vectors, queries = table(3000, 100, "euclidean")
    search = CodedSearch(vectors)
    singles = [search.search(query).indices.tolist() for query in queries]
    assert search.search(queries).indices.tolist() == singles


def test_equal_vectors_come_in_the_order_of_their_indices() -> None:
    vectors = np.repeat(np.array([[0.0, 0.0], [9.0, 9.0]], dtype=np.float32), [1250, 1250], axis=0)
    assert CodedSearch(vectors).search([8.0, 9.0], 1260).indices.tolist() == [*range(1250, 2500), *range(10)]


def test_takes_less_work_than_an_exact_search() -> None:
    assert 0 < CodedSearch(random_vectors(200, 10)).work() < 200 * 10


@pytest.mark.parametrize("k", [0, -1, True, 1.5])
def test_refuses_a_k_that_is_no_whole_number(k: int) -> None:
    with pytest.raises(InvalidInput, match="^k: "):
        CodedSearch(random_vectors(20, 3)).search(random_vectors(1, 3), k)


def test_knows_its_size() -> None:
    search = CodedSearch(random_vectors(7, 3))
    assert (len(search), search.dimension) == (7, 3)
