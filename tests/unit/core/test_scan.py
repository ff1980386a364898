from __future__ import annotations

import os
from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from tests.support.brute_force import assert_nearest
from tests.support.chunks import make_chunk, make_table
from tests.support.vector_search_contract import METRICS, random_vectors

from vectorcache import native
from vectorcache.chunk import Chunk
from vectorcache.native import kernel
from vectorcache.scan import CellScan, CellTable, Found, NativeScan, NumpyScan, best_scan, runs_of

EACH = pytest.mark.parametrize("metric", METRICS)


def scan_cells(
    scan: CellScan, table: CellTable, queries: NDArray[np.float32], cells: Sequence[Sequence[int]], k: int
) -> list[Found]:
    return scan.scan(queries, [np.array(wanted, dtype=np.int32) for wanted in cells], table, k)


def by_cell(table: CellTable) -> dict[int, Chunk]:
    return {cell: chunk for chunk in table.chunks for cell in chunk.cells}


def named_rows(table: CellTable, cells: Sequence[int]) -> dict[int, NDArray[np.float32]]:
    """The vector of each row that stands in the cells, one by one."""
    rows, chunk_of = {}, by_cell(table)
    for cell in cells:
        if cell in chunk_of:
            chunk = chunk_of[cell]
            place = cell - chunk.first_cell
            for at in range(chunk.offsets[place], chunk.offsets[place + 1]):
                rows[int(chunk.rows[at])] = chunk.vectors[at]
    return rows


def check(found: Found, table: CellTable, query: NDArray[np.float32], cells: Sequence[int], k: int) -> None:
    rows = named_rows(table, cells)
    if rows:
        metric = table.chunks[0].metric
        numbers = np.array(list(rows))
        place_of = {row: at for at, row in enumerate(rows)}
        places = [place_of[row] for row in found.rows.tolist()]
        vectors = np.stack([rows[row] for row in numbers.tolist()])
        assert_nearest(places, found.distances, vectors, query, metric, k)
    else:
        assert found.rows.tolist() == []
    assert [int(chunk.rows[at]) for chunk, at in found.places] == found.rows.tolist()


def scans() -> dict[str, CellScan]:
    """Every implementation: the compiled one too, where there is a compiler. CI has one."""
    native = kernel()
    if native is None:
        assert os.environ.get("CI") != "true", "the scan was not compiled"
        return {"numpy": NumpyScan()}
    return {"numpy": NumpyScan(), "native": NativeScan(native)}


SCANS = scans()


@pytest.fixture(params=SCANS)
def scan(request: pytest.FixtureRequest) -> CellScan:
    return SCANS[request.param]


@EACH
@pytest.mark.parametrize("name", SCANS)
@settings(max_examples=40)
@given(data=st.data())
def test_equals_brute_force_over_the_named_rows(metric: str, name: str, data: st.DataObject) -> None:
    """Rows that stand in several cells, empty cells, cells that are missing, several chunks, a batch."""
    generator = np.random.default_rng(data.draw(st.integers(0, 10**6)))
    collection = generator.standard_normal((60, 5)).astype(np.float32)
    chunks, first = [], 0
    for _ in range(data.draw(st.integers(1, 4))):
        sizes = generator.integers(0, 30, generator.integers(1, 6)).tolist()
        rows = np.concatenate([generator.choice(60, size, replace=False) for size in sizes]).astype(np.int64)
        chunks.append(make_chunk(collection[rows], sizes, rows=rows, first_cell=first, metric=metric))
        first += len(sizes)
    missing = data.draw(st.lists(st.integers(0, len(chunks) - 1), max_size=2))
    table = make_table(chunks, missing)
    queries = generator.standard_normal((3, 5)).astype(np.float32)
    wanted = [
        sorted(generator.choice(first, generator.integers(0, first + 1), replace=False)) for _ in queries
    ]
    k = data.draw(st.integers(1, 70))
    answers = scan_cells(SCANS[name], table, queries, wanted, k)
    assert len(answers) == 3
    for found, query, cells in zip(answers, queries, wanted, strict=True):
        check(found, table, query, cells, k)


def test_counts_the_rows_it_compared(scan: CellScan) -> None:
    table = make_table([make_chunk(random_vectors(10, 3), [2, 3, 5])])
    found = scan_cells(scan, table, random_vectors(2, 3), [[0, 2], [1]], 4)
    assert [one.scanned for one in found] == [7, 3]
    assert [len(one.rows) for one in found] == [4, 3]


def test_nothing_is_found_where_nothing_is_named(scan: CellScan) -> None:
    chunk = make_chunk(random_vectors(4, 3), [4, 0])
    queries = random_vectors(3, 3)
    for cells, missing in (([], []), ([1], []), ([0], [0]), ([0, 1], [0])):
        found = scan_cells(scan, make_table([chunk], missing), queries, [cells] * 3, 5)
        assert [(len(one.rows), len(one.distances), one.places, one.scanned) for one in found] == [
            (0, 0, [], 0)
        ] * 3


@EACH
def test_copies_of_a_row_are_one_neighbour(scan: CellScan, metric: str) -> None:
    """Each row in 8 cells of 4 chunks, and half of the vectors equal."""
    vectors = random_vectors(30, 40)
    vectors[15:] = vectors[:15]
    shuffled = [np.random.default_rng(seed).permutation(30) for seed in range(8)]
    chunks = [
        make_chunk(
            np.concatenate([vectors[shuffled[2 * at]], vectors[shuffled[2 * at + 1]]]),
            [30, 30],
            rows=np.concatenate(shuffled[2 * at : 2 * at + 2]),
            first_cell=2 * at,
            metric=metric,
        )
        for at in range(4)
    ]
    for query in random_vectors(5, 40, seed=1):
        (found,) = scan_cells(scan, make_table(chunks), query[None], [range(8)], 12)
        assert len(found.rows) == 12
        assert (found.rows[::2] + 15).tolist() == found.rows[1::2].tolist()  # ties in the order of rows


@EACH
def test_is_exact_far_from_the_origin(scan: CellScan, metric: str) -> None:
    vectors = (random_vectors(400, 8) * 1e-2 + 1e4).astype(np.float32)
    table = make_table([make_chunk(vectors, [100] * 4, metric=metric)])
    (found,) = scan_cells(scan, table, vectors[:1], [[0, 1, 3]], 10)
    check(found, table, vectors[0], [0, 1, 3], 10)


@EACH
@pytest.mark.parametrize("dimension", [1, 7, 8, 15, 16, 17, 50, 64, 200])
def test_every_dimension_is_summed_whole(scan: CellScan, metric: str, dimension: int) -> None:
    """Vectors are cut in lanes of 16 and 8 by the compiled scan; remainders count too."""
    vectors = random_vectors(90, dimension, seed=dimension)
    table = make_table([make_chunk(vectors, [40, 1, 49], metric=metric)])
    for query in random_vectors(4, dimension, seed=1):
        (found,) = scan_cells(scan, table, query[None], [[0, 1, 2]], 5)
        check(found, table, query, [0, 1, 2], 5)


def test_the_best_scan_is_the_compiled_one() -> None:
    assert type(best_scan()) is type(SCANS.get("native", SCANS["numpy"]))


def test_cells_side_by_side_in_a_chunk_are_one_run() -> None:
    """Cells 0, 1, 2 in one chunk, 3 and 4 in the next, 5 in one that is not here."""
    chunks = [
        make_chunk(random_vectors(6, 2), [1, 2, 3]),
        make_chunk(random_vectors(9, 2), [4, 5], first_cell=3),
        make_chunk(random_vectors(2, 2), [2], first_cell=5),
    ]
    table = make_table(chunks, [2])
    for cells, expected in (
        ([0], [(0, 0, 1)]),
        ([0, 1, 2], [(0, 0, 6)]),
        ([0, 2], [(0, 0, 1), (0, 3, 6)]),
        ([2, 3], [(0, 3, 6), (1, 0, 4)]),
        ([1, 3, 4, 5], [(0, 1, 3), (1, 0, 9)]),
        ([5], []),
        ([], []),
    ):
        found = runs_of(np.array(cells, dtype=np.int32), table)
        assert [(chunks.index(run.chunk), run.start, run.stop) for run in found] == expected


def test_more_neighbours_than_one_call_has_room_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(native, "_FOUND_AT_ONCE", 20)
    table = make_table([make_chunk(random_vectors(50, 4), [20, 30])])
    queries = random_vectors(7, 4, seed=3)
    cells = [[0], [1], [0, 1], [], [0, 1], [1], [0]]
    for scan in SCANS.values():
        for k in (3, 9, 60):
            answers = scan_cells(scan, table, queries, cells, k)
            for found, query, wanted in zip(answers, queries, cells, strict=True):
                check(found, table, query, wanted, k)
