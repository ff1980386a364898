import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from vectorcache_llm.metrics.sketch import ACCURACY, Sketch

SECONDS = st.floats(1e-7, 1e4)
SHARES = (0.0, 0.5, 0.95, 0.99, 1.0)


def sketch_of(values: list[float]) -> Sketch:
    sketch = Sketch()
    for value in values:
        sketch.add(value)
    return sketch


@given(st.lists(SECONDS, min_size=1, max_size=200))
def test_a_quantile_is_within_its_accuracy(values: list[float]) -> None:
    found = sketch_of(values).quantiles(*SHARES)
    exact = np.quantile(values, SHARES, method="inverted_cdf")
    assert np.abs(found - exact).max() <= np.max(ACCURACY * exact * (1 + 1e-6))
    assert np.all(np.abs(found - exact) <= ACCURACY * exact * (1 + 1e-6))


def test_memory_is_bounded() -> None:
    spread = sketch_of([*np.geomspace(1e-12, 1e12, 100_000), 0.0, -1.0])
    assert len(spread.buckets) <= 1_267
    assert spread.count == 100_002


@given(st.lists(SECONDS, max_size=50), st.lists(SECONDS, max_size=50))
def test_merging_equals_counting_together(some: list[float], others: list[float]) -> None:
    merged, whole = sketch_of(some), sketch_of(some + others)
    merged.merge(sketch_of(others))
    assert (merged.buckets, merged.count) == (whole.buckets, whole.count)
    assert merged.total == pytest.approx(whole.total)


def test_an_empty_sketch_gives_zeros() -> None:
    assert Sketch().quantiles(0.5, 0.99) == [0.0, 0.0]
    assert Sketch().at_most(1.0) == [0]


def test_counts_below_bounds() -> None:
    assert sketch_of([0.001, 0.01, 0.1, 0.1]).at_most(0.0005, 0.05, 1.0) == [0, 2, 4]


def test_restored_from_its_buckets() -> None:
    sketch = sketch_of([0.001, 0.5, 0.5])
    rows = json.loads(json.dumps(list(sketch.buckets.items())))
    again = Sketch(dict(rows), sketch.total)
    assert (again.quantiles(0.5), again.count) == (sketch.quantiles(0.5), 3)
