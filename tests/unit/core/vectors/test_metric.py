from __future__ import annotations

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from tests.support.core.brute_force import distances
from tests.support.core.vector_search_contract import random_vectors

from vectorcache.errors import InvalidInput
from vectorcache.vectors.metric import (
    MAX_MAGNITUDE,
    METRICS,
    SMALLEST_NORM,
    Euclidean,
    Metric,
    aligned,
    as_vectors,
    largest_norm,
    metric_of,
    norm,
    row_norms,
)

EACH = pytest.mark.parametrize("metric", METRICS.values(), ids=METRICS.keys())


def exact_fast(metric: Metric, vectors: np.ndarray, query: np.ndarray) -> np.ndarray:
    """The fast form in the widest floats, from the vectors as they are."""
    rows, wide = vectors.astype(np.longdouble), query.astype(np.longdouble)
    dots = (rows * wide).sum(axis=1)
    if metric.name == "dot":
        return -dots
    if metric.name == "euclidean":
        return (rows**2).sum(axis=1) / 2 - dots
    norms = np.sqrt((rows**2).sum(axis=1))
    long = norms >= SMALLEST_NORM
    return np.where(long, -dots / np.where(long, norms * np.sqrt((wide**2).sum()), 1), 0)


def check_slack(metric: Metric, vectors: np.ndarray, query: np.ndarray) -> None:
    exact = exact_fast(metric, vectors, query)
    slack = metric.slack(query, float(row_norms(vectors).max()))
    terms = metric.row_terms(vectors)
    batch = metric.prepare(np.repeat(query[None], 5, axis=0))
    for dots in (np.dot(vectors, batch[0]), (batch @ vectors.T)[3]):  # one by one, and as a matrix product
        error = np.abs(metric.fast(dots, terms).astype(np.longdouble) - exact)
        assert float(error.max()) <= slack


@EACH
@settings(max_examples=60)
@given(
    seed=st.integers(0, 2**32 - 1),
    dimension=st.integers(1, 2048),
    rows=st.sampled_from([1, 2, 33]),
    exponents=st.tuples(st.integers(-38, 15), st.integers(-38, 15)),
    mixed=st.booleans(),
    offset=st.sampled_from([0.0, 1.0, 100.0]),
)
def test_slack_bounds_the_rounding_of_the_fast_form(
    metric: Metric,
    seed: int,
    dimension: int,
    rows: int,
    exponents: tuple[int, int],
    mixed: bool,
    offset: float,
) -> None:
    generator = np.random.default_rng(seed)
    low, high = sorted(exponents)
    if metric.name == "cosine":
        low, high = max(low, -24), max(high, -20)
    shape = (rows + 1, dimension)
    scale = 10.0 ** (generator.uniform(low, high, shape) if mixed else high)
    drawn = np.clip((generator.standard_normal(shape) + offset) * scale, -MAX_MAGNITUDE, MAX_MAGNITUDE)
    values = drawn.astype(np.float32)
    check_slack(metric, values[:-1], values[-1])


@EACH
@given(dimension=st.integers(2, 2048), share=st.floats(0.1, 0.99999))
@settings(max_examples=60)
@example(dimension=256, share=0.9999)
def test_slack_holds_where_every_addition_rounds_the_same_way(
    metric: Metric, dimension: int, share: float
) -> None:
    """A large first product, and after it only such as are lost one by one in a sum of float32."""
    vector = np.full(dimension, np.float32(2.0**-12 * share), dtype=np.float32)
    vector[0] = 1
    check_slack(metric, np.repeat(vector[None], 33, axis=0), vector)


@EACH
def test_bound_is_above_the_fast_value_of_every_row_as_near(metric: Metric) -> None:
    vectors, query = random_vectors(500, 30) + 3, random_vectors(1, 30, seed=1)[0]
    fast = metric.fast(np.dot(vectors, metric.prepare(query)), metric.row_terms(vectors))
    largest = float(row_norms(vectors).max())
    for value, distance in zip(fast, metric.direct(vectors, query), strict=True):
        assert value <= metric.bound(float(distance), query, largest)


@EACH
def test_direct_is_the_distance(metric: Metric) -> None:
    vectors, query = random_vectors(200, 19), random_vectors(1, 19, seed=1)[0]
    expected = distances(vectors, query, metric.name)
    np.testing.assert_allclose(metric.direct(vectors, query), expected, rtol=1e-12, atol=1e-14)


@EACH
@settings(max_examples=30)
@given(seed=st.integers(0, 1000), dimension=st.integers(1, 300), rows=st.integers(2, 40))
def test_direct_gives_copies_of_a_row_the_same_bits(
    metric: Metric, seed: int, dimension: int, rows: int
) -> None:
    vectors = random_vectors(rows, dimension, seed)
    query, copied = random_vectors(2, dimension, seed + 1)
    alone = metric.direct(copied[None], query)[0]
    for place in range(rows):
        vectors[place] = copied
        assert metric.direct(vectors, query)[place] == alone


def test_direct_cosine_does_not_cancel() -> None:
    query = np.array([1, 0], dtype=np.float32)
    near = np.array([[1, 1e-6], [1, 1e-7]], dtype=np.float32)
    np.testing.assert_allclose(metric_of("cosine").direct(near, query), [5e-13, 5e-15], rtol=1e-5)


def test_metric_of_names_those_that_there_are() -> None:
    assert isinstance(metric_of("euclidean"), Euclidean)
    with pytest.raises(InvalidInput, match="^metric: 'l1' .*euclidean, cosine, dot"):
        metric_of("l1")


def test_norms_do_not_overflow() -> None:
    large = np.full((1, 4), 3e38, dtype=np.float32)
    np.testing.assert_allclose([norm(large[0]), row_norms(large)[0]], 6e38, rtol=1e-6)


def test_as_vectors_does_not_copy_what_is_right_already() -> None:
    vectors = random_vectors(4, 3)
    assert np.shares_memory(as_vectors(vectors, "vectors"), vectors)


def test_as_vectors_names_the_row_in_the_whole() -> None:
    bad = np.array([[0, 1], [2, np.nan]])
    with pytest.raises(InvalidInput, match=r"^vectors\[101\]\[1\]: nan"):
        as_vectors(bad, "vectors", first_row=100)


@pytest.mark.parametrize("shift", [0, 4, 60])
def test_aligned_begins_on_a_cache_line(shift: int) -> None:
    raw = np.zeros(64 + 256, dtype=np.uint8)
    start = -raw.ctypes.data % 64 + shift
    vectors = raw[start : start + 96].view(np.float32).reshape(8, 3)
    vectors[...] = random_vectors(8, 3)
    result = aligned(vectors)
    assert result.ctypes.data % 64 == 0
    assert result.tolist() == vectors.tolist()
    assert np.shares_memory(result, vectors) == (shift == 0)


@pytest.mark.parametrize("scale", [1e-30, 1e-19, 1e-3, 1.0, 1e16])
@pytest.mark.parametrize("dimension", [1, 3, 50, 2048])
def test_the_largest_norm_is_an_upper_bound_and_tight(scale: float, dimension: int) -> None:
    generator = np.random.default_rng(dimension)
    vectors = (generator.uniform(-1, 1, (40, dimension)) * scale).astype(np.float32)
    exact = float(row_norms(vectors).max())
    floor = 2e-19 * dimension**0.5  # squares of smaller numbers underflow
    assert exact <= largest_norm(vectors) <= max(exact * (1 + 3e-4), floor)
    assert largest_norm(vectors[:0]) == 0.0
