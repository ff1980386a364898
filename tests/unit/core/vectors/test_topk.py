from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from vectorcache.vectors.topk import TopK, merge_nearest, select_nearest


def nearest(
    distances: NDArray[np.float64],
    rows: NDArray[np.int64],
    k: int,
    *,
    noise: float = 0.0,
    spare: int = 4,
    seed: int = 0,
) -> tuple[TopK, int]:
    """The k nearest where the fast form is the distance plus noise, and how many positions were scored."""
    error = np.random.default_rng(seed).uniform(-noise, noise, len(distances))
    scored = 0

    def score(positions: NDArray[np.int64]) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
        nonlocal scored
        scored += len(positions)
        return rows[positions], distances[positions]

    fast = (distances + error).astype(np.float32)
    top = select_nearest(fast, k, score=score, bound_of=lambda distance: distance + noise + 1e-3, spare=spare)
    return top, scored


def naive(distances: NDArray[np.float64], rows: NDArray[np.int64], k: int) -> list[int]:
    ordered = sorted(zip(distances.tolist(), rows.tolist(), strict=True))
    return list(dict.fromkeys(row for _, row in ordered))[:k]


@settings(max_examples=150)
@given(
    seed=st.integers(0, 10**6),
    count=st.integers(1, 3000),
    k=st.integers(1, 60),
    levels=st.sampled_from([1, 3, 50, 10**6]),
    copies=st.sampled_from([1, 2, 8]),
    noise=st.sampled_from([0.0, 0.5, 100.0]),
    spare=st.integers(0, 40),
)
def test_equals_a_sort(
    seed: int, count: int, k: int, levels: int, copies: int, noise: float, spare: int
) -> None:
    """Whatever ties there are, however often a row stands there, and however wrong the fast form is."""
    generator = np.random.default_rng(seed)
    rows = generator.integers(0, max(1, count // copies), count)
    distances = generator.integers(0, levels, count).astype(np.float64)[rows]
    top, _ = nearest(distances, rows, k, noise=noise, spare=spare, seed=seed)
    assert top.rows.tolist() == naive(distances, rows, k)
    assert top.distances.tolist() == distances[top.positions].tolist()
    assert rows[top.positions].tolist() == top.rows.tolist()


def test_one_round_scores_few_positions() -> None:
    distances = np.random.default_rng(0).permutation(100_000).astype(np.float64)
    _, scored = nearest(distances, np.arange(100_000), 10)
    assert scored <= 40


def test_scores_more_for_as_long_as_something_may_be_missing() -> None:
    distances = np.random.default_rng(0).permutation(10_000) * 1.0
    top, scored = nearest(distances, np.arange(10_000), 10, noise=200.0)
    assert top.distances.tolist() == list(range(10))
    assert 210 < scored < 10_000


@pytest.mark.parametrize("k", [1, 3, 5, 100])
def test_merge_takes_a_row_once(k: int) -> None:
    rows = [5, 7, 1, 7, 5, 2]
    distances = [0.5, 0.1, 0.5, 0.1, 0.5, 0.9]
    assert merge_nearest(rows, distances, k) == [1, 2, 0, 5][:k]


def test_merge_knows_a_row_though_machines_differ_in_the_last_bit() -> None:
    up = math.nextafter(1.0, 2.0)
    assert merge_nearest([1, 2, 1, 2], [1.0, 1.0, up, up], 10) == [0, 1]


def test_merge_of_nothing_is_nothing() -> None:
    assert merge_nearest([], [], 3) == []
