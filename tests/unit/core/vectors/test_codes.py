from __future__ import annotations

import hashlib

import numpy as np
import pytest
from tests.support.core.vector_search_contract import METRICS, random_vectors

from vectorcache.errors import InvalidInput
from vectorcache.vectors.codes import (
    FOUR_BITS_FROM,
    LEVELS,
    TWO_BITS_FROM,
    Coder,
    bits_for,
    code_width,
    rotated,
    section,
    section_bytes,
    signs,
    unpacked,
)
from vectorcache.vectors.metric import Doubles, Floats, comparable, metric_of

EACH = pytest.mark.parametrize("metric", METRICS)
ALL_BITS = pytest.mark.parametrize("bits", LEVELS)


def make_coder(bits: int, metric: str, dimension: int, centre: float = 0.0) -> Coder:
    return Coder(bits, metric, np.full(dimension, centre, dtype=np.float32))


def estimates(coder: Coder, queries: Floats, vectors: Floats, centroids: Floats, cells: Floats) -> Doubles:
    """How far the estimate of each pair's value lies from the true one, in standard errors."""
    encoded = coder.encode(vectors, centroids, cells)
    queries = comparable(queries, coder.metric)
    levels = unpacked(encoded.codes, coder.bits, len(coder.centre)).astype(np.float64)
    products = np.einsum("nd,nd->n", levels, rotated(queries - coder.centre))
    gaps = np.square(queries - centroids[cells], dtype=np.float64).sum(axis=1)
    estimated = encoded.base + gaps - 2 * encoded.scale * products
    errors = 2 * encoded.error * np.sqrt(gaps)
    return np.asarray((estimated - coder.values(queries, vectors)) / errors)


@pytest.mark.parametrize(
    ("codes", "dimension", "bits"),
    [
        ("auto", 3, None),
        ("auto", FOUR_BITS_FROM - 1, None),
        ("auto", FOUR_BITS_FROM, 4),
        ("auto", TWO_BITS_FROM - 1, 4),
        ("auto", TWO_BITS_FROM, 2),
        ("auto", 1536, 2),
        ("none", 1536, None),
        ("1", 3, 1),
        ("2", 3, 2),
        ("4", 4096, 4),
    ],
)
def test_bits_by_setting_and_dimension(codes: str, dimension: int, bits: int | None) -> None:
    assert bits_for(codes, dimension) == bits


@pytest.mark.parametrize("codes", ["", "0", "3", "8", "Auto", "two"])
def test_another_setting_is_refused(codes: str) -> None:
    with pytest.raises(InvalidInput, match=r"^codes: .* auto, none, 1, 2 or 4"):
        bits_for(codes, 256)


@pytest.mark.parametrize("dimension", [1, 2, 3, 7, 8, 50, 64, 100, 256, 384, 1000, 1536, 4096])
def test_rotation_keeps_distances(dimension: int) -> None:
    vectors = random_vectors(6, dimension).astype(np.float64)
    turned = rotated(vectors.astype(np.float32)).astype(np.float64)
    np.testing.assert_allclose(turned @ turned.T, vectors @ vectors.T, atol=1e-4 * dimension)


@pytest.mark.parametrize("dimension", [48, 256, 384])
def test_rotation_spreads_a_single_component_over_all(dimension: int) -> None:
    turned = rotated(np.eye(dimension, dtype=np.float32))
    assert np.abs(turned).max() < 8 / np.sqrt(dimension)


def test_signs_never_change() -> None:
    """Codes that were written with other signs could not be read any more."""
    assert hashlib.sha256(signs(384).tobytes()).hexdigest()[:16] == "f64042380806f000"
    assert abs(float(signs(4096).mean())) < 0.02


@ALL_BITS
def test_levels_cut_a_normal_distribution_with_the_least_square_error(bits: int) -> None:
    """Lloyd's condition: each level is the mean of what is nearest to it."""
    normal = np.abs(np.random.default_rng(0).standard_normal(2_000_000))
    positive = LEVELS[bits]
    nearest = np.digitize(normal, (positive[1:] + positive[:-1]) / 2)
    for place, level in enumerate(positive):
        assert normal[nearest == place].mean() == pytest.approx(level, abs=0.02)


@ALL_BITS
@pytest.mark.parametrize("dimension", [1, 2, 3, 4, 5, 7, 8, 9, 31, 50, 256, 1001])
def test_codes_hold_a_number_of_bits_for_each_component(bits: int, dimension: int) -> None:
    coder = make_coder(bits, "euclidean", dimension)
    encoded = coder.encode(
        random_vectors(5, dimension), np.zeros((1, dimension), dtype=np.float32), np.zeros(5, dtype=int)
    )
    assert encoded.codes.shape == (5, coder.width)
    assert coder.width == code_width(dimension, bits) == -(-dimension * bits // 8)
    levels = unpacked(encoded.codes, bits, dimension)
    assert levels.shape == (5, dimension)
    assert set(np.unique(np.abs(levels)).tolist()) <= set(LEVELS[bits].tolist())


@EACH
@ALL_BITS
@pytest.mark.parametrize(("dimension", "centre"), [(50, 0.0), (256, 0.0), (256, 30.0), (1536, 0.0)])
def test_estimates_are_unbiased_and_as_far_off_as_they_say(
    metric: str, bits: int, dimension: int, centre: float
) -> None:
    """Over pairs of a query and a vector of its neighbourhood: mean 0 and standard deviation 1."""
    generator = np.random.default_rng(bits)
    middles = generator.standard_normal((40, dimension)).astype(np.float32) + np.float32(centre)
    cells = generator.integers(0, 40, 1500)
    near = generator.standard_normal((2, 1500, dimension)).astype(np.float32) * np.float32(0.5)
    vectors, queries = middles[cells] + near[0], middles[generator.integers(0, 40, 1500)] + near[1]
    centroids = comparable(middles, metric)
    coder = Coder(bits, metric, centroids.mean(axis=0))
    off = estimates(coder, queries, vectors, centroids, cells)
    if metric == "dot" and centre:
        return  # the squared length, which is known exactly, is so large that float32 rounds more than codes err
    assert abs(float(off.mean())) < 0.1
    assert 0.8 < float(off.std()) < 1.15


@EACH
@ALL_BITS
def test_a_bound_is_as_wide_as_a_pair_needs(metric: str, bits: int) -> None:
    vectors, queries = random_vectors(200, 64), random_vectors(200, 64, seed=1)
    centroids, cells = comparable(random_vectors(4, 64, seed=2), metric), np.arange(200) % 4
    coder = make_coder(bits, metric, 64)
    values = coder.values(queries, vectors)
    needed = coder.needed_widths(queries, vectors, centroids, cells, values)
    np.testing.assert_allclose(
        needed, estimates(coder, queries, vectors, centroids, cells), atol=1e-2, rtol=1e-3
    )
    assert (coder.needed_widths(queries, vectors, centroids, cells, values + 1e6) < 0).all()


@EACH
def test_values_order_as_distances_do(metric: str) -> None:
    vectors, query = random_vectors(100, 20), random_vectors(1, 20, seed=1)
    values = make_coder(2, metric, 20).values(np.repeat(query, 100, axis=0), vectors)
    assert np.argsort(values).tolist() == np.argsort(metric_of(metric).direct(vectors, query[0])).tolist()


@ALL_BITS
def test_a_vector_that_is_its_own_centroid_has_no_error(bits: int) -> None:
    centroids = random_vectors(3, 40)
    coder = make_coder(bits, "euclidean", 40)
    encoded = coder.encode(centroids.copy(), centroids, np.arange(3))
    assert encoded.scale.tolist() == encoded.error.tolist() == [0, 0, 0]
    np.testing.assert_allclose(encoded.base, 0, atol=1e-6)


@pytest.mark.parametrize("magnitude", [1e-25, 1e16])
def test_the_largest_and_the_smallest_vectors_have_finite_factors(magnitude: float) -> None:
    vectors = random_vectors(10, 32) * np.float32(magnitude / 8)
    for metric in METRICS:
        encoded = make_coder(2, metric, 32).encode(vectors, vectors[:1], np.zeros(10, dtype=int))
        assert all(np.isfinite(factor).all() for factor in encoded[1:])


@pytest.mark.parametrize("rows", [0, 1, 31, 32, 33, 64, 70])
def test_a_section_is_centroids_and_blocks_of_32_rows(rows: int) -> None:
    coder, centroids = make_coder(4, "euclidean", 9), random_vectors(3, 9)
    encoded = coder.encode(random_vectors(rows, 9), centroids, np.arange(rows) % 3)
    data = np.frombuffer(section(encoded, centroids), dtype=np.uint8)
    count = -(-rows // 32)
    assert len(data) == section_bytes(rows, 3, 9, coder.width) == 4 * 27 + count * 32 * (12 + 5)
    assert data[:108].tobytes() == centroids.tobytes()
    blocks = data[108:].reshape(count, 32 * (12 + 5))
    factors = np.ascontiguousarray(blocks[:, :384]).view(np.float32).reshape(count, 3, 32)
    for place, factor in enumerate((encoded.base, encoded.scale, encoded.error)):
        assert factors[:, place].reshape(-1)[:rows].tolist() == factor.tolist()
    assert np.isposinf(factors[:, 0].reshape(-1)[rows:]).all()
    codes = blocks[:, 384:].reshape(count, 5, 32).transpose(0, 2, 1).reshape(-1, 5)
    assert codes[:rows].tolist() == encoded.codes.tolist()
