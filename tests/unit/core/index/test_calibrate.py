from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from tests.support.core.brute_force import distances
from tests.support.core.collections import SMALL, clustered
from tests.support.core.vector_search_contract import METRICS

from vectorcache.index.build import _measure, _sample
from vectorcache.index.calibrate import _grid, _recall_curve, exact_neighbours
from vectorcache.index.layout import BuildSettings, Layout, lay_out
from vectorcache.index.manifest import Calibration
from vectorcache.index.progress import Silence
from vectorcache.index.sources import Source, open_source
from vectorcache.vectors.metric import comparable


def measure(source: Source, layout: Layout, settings: BuildSettings) -> Calibration:
    sample = _sample(source, settings, None, Path())
    return _measure(source, layout, None, sample, settings, Silence())[0]


@pytest.mark.parametrize("block", [7, 1000])
@pytest.mark.parametrize("metric", METRICS)
def test_exact_neighbours_are_those_of_brute_force_but_for_the_query(metric: str, block: int) -> None:
    vectors = clustered(200)
    own = np.array([0, 50, 199])
    seen = comparable(vectors, metric)
    blocks = ((start, seen[start : start + block]) for start in range(0, 200, block))
    found = exact_neighbours(blocks, seen[own], own, 10, inner_product=metric == "dot")
    for query, rows in zip(own.tolist(), found.tolist(), strict=True):
        order = np.argsort(distances(vectors, vectors[query], metric), kind="stable").tolist()
        order.remove(query)
        assert rows == order[:10]


def test_where_there_are_fewer_neighbours_the_rest_is_minus_one() -> None:
    vectors = clustered(4)
    found = exact_neighbours([(0, vectors)], vectors, np.arange(4), 10, inner_product=False)
    for row, rows in enumerate(found.tolist()):
        assert sorted(rows)[-3:] == sorted({0, 1, 2, 3} - {row})
        assert set(rows[3:]) <= {-1}


@pytest.mark.parametrize("metric", METRICS)
def test_the_curve_is_what_searches_at_each_nprobe_give(
    metric: str, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """Every point of the curve, counted out: probe so many cells, and look which true neighbours stand there."""
    vectors = clustered(700)
    settings = BuildSettings(**{**SMALL, "metric": metric, "spread": 0.3})  # type: ignore[arg-type]
    source = open_source(vectors, tmp_path_factory.mktemp("spool"))
    layout = lay_out(source, settings, Silence())
    measured = measure(source, layout, settings)
    generator = np.random.default_rng(settings.seed + 1)
    own = np.sort(generator.choice(700, settings.calibration_queries, replace=False))
    cells = len(layout.centroids)
    assert (measured.queries, measured.at_k) == (40, 10)
    assert [point.nprobe for point in measured.curve] == sorted({point.nprobe for point in measured.curve})
    assert {1, measured.nprobe, cells} <= {point.nprobe for point in measured.curve}
    for point in measured.curve:
        hits, compared = 0, 0
        for row in own.tolist():
            order = np.argsort(distances(vectors, vectors[row], metric), kind="stable").tolist()
            order.remove(row)
            probed = np.argsort(distances(layout.centroids, vectors[row], metric), kind="stable")[
                : point.nprobe
            ]
            there = layout.copies.rows[np.isin(layout.copies.cells, probed)]
            hits += len(set(order[:10]) & set(there.tolist()))
            compared += len(there)
        assert point.recall == pytest.approx(hits / 400, abs=1e-5)
        assert point.scanned == pytest.approx(compared / 40 / 700, abs=1e-6)
    assert measured.curve[-1].recall == 1.0


@pytest.mark.parametrize("recall", [0.5, 0.9, 0.999])
def test_the_chosen_nprobe_reaches_the_target(
    recall: float, tmp_path_factory: pytest.TempPathFactory
) -> None:
    settings = BuildSettings(**{**SMALL, "recall_target": recall})  # type: ignore[arg-type]
    source = open_source(clustered(700), tmp_path_factory.mktemp("spool"))
    measured = measure(source, lay_out(source, settings, Silence()), settings)
    chosen = next(point for point in measured.curve if point.nprobe == measured.nprobe)
    assert chosen.recall >= recall
    assert measured.recall_target == recall


@pytest.mark.parametrize("count", [1, 2, 5])
def test_tiny_collections_are_measured_too(count: int, tmp_path_factory: pytest.TempPathFactory) -> None:
    settings = BuildSettings()
    source = open_source(clustered(count), tmp_path_factory.mktemp("spool"))
    measured = measure(source, lay_out(source, settings, Silence()), settings)
    assert measured.nprobe == 1
    assert measured.curve[-1].recall == 1.0
    assert measured.queries == count


def test_recall_is_a_mean_over_queries_with_its_error() -> None:
    found_at = np.array([[1, 1], [2, 4], [3, 0], [0, 0]])
    recalls, errors = _recall_curve(found_at, 4)
    assert recalls.tolist() == [0.5, 0.625, 0.875, 1.0]
    np.testing.assert_allclose(
        errors, np.array([0.5, np.std([1, 0.5, 0, 1]), np.std([1, 0.5, 1, 1]), 0]) / [2, 2, 2, 2]
    )


@pytest.mark.parametrize(("cells", "chosen"), [(1, 1), (2, 1), (10, 7), (4096, 96)])
def test_the_grid_has_both_ends_and_the_chosen_one(cells: int, chosen: int) -> None:
    grid = _grid(cells, chosen)
    assert grid == sorted(set(grid))
    assert (grid[0], grid[-1]) == (1, cells)
    assert chosen in grid
    assert len(grid) <= 45
