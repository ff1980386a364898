from __future__ import annotations

import ctypes
import os
import shutil
import subprocess
import tempfile
from collections.abc import Callable, Sequence
from functools import cache, partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from tests.support.core import chunks as chunks_support
from tests.support.core.brute_force import assert_nearest
from tests.support.core.vector_search_contract import METRICS, random_vectors

from vectorcache.index.chunk import Chunk
from vectorcache.index.scan import CellScan, CellTable, Found, NativeScan, NumpyScan, best_scan, runs_of
from vectorcache.vectors import native
from vectorcache.vectors.codes import LEVELS
from vectorcache.vectors.metric import metric_of
from vectorcache.vectors.native import kernel

Scan = Callable[..., list[Found]]
EACH = pytest.mark.parametrize("metric", METRICS)


BITS = 2


def make_chunk(vectors: NDArray[np.float32], sizes: Sequence[int] | None = None, **more: Any) -> Chunk:
    return chunks_support.make_chunk(vectors, sizes, **{"bits": BITS, **more})


def make_table(chunks: Sequence[Chunk], missing: Sequence[int] = (), **more: Any) -> CellTable:
    return chunks_support.make_table(chunks, missing, **{"bits": BITS, **more})


def scan_cells(
    scan: Scan, table: CellTable, queries: NDArray[np.float32], cells: Sequence[Sequence[int]], k: int
) -> list[Found]:
    return scan(queries, [np.array(wanted, dtype=np.int32) for wanted in cells], table, k)


def without_codes(
    scan: CellScan,
    queries: NDArray[np.float32],
    cells: Sequence[NDArray[np.int32]],
    table: CellTable,
    k: int,
) -> list[Found]:
    return scan.scan(queries, cells, table._replace(coding=None), k)


def by_cell(table: CellTable) -> dict[int, Chunk]:
    return {cell: chunk for chunk in table.chunks for cell in chunk.cells}


def named_rows(table: CellTable, cells: Sequence[int]) -> dict[int, NDArray[np.float32]]:
    """The vector of each row that stands in the cells, one by one."""
    rows, chunk_of = {}, by_cell(table)
    for cell in cells:
        if cell in chunk_of:
            chunk = chunk_of[cell]
            place = cell - chunk.header.first_cell
            for at in range(chunk.header.offsets[place], chunk.header.offsets[place + 1]):
                rows[int(chunk.rows[at])] = chunk.vectors[at]
    return rows


def check(found: Found, table: CellTable, query: NDArray[np.float32], cells: Sequence[int], k: int) -> None:
    rows = named_rows(table, cells)
    if rows:
        metric = table.chunks[0].header.metric
        numbers = np.array(list(rows))
        place_of = {row: at for at, row in enumerate(rows)}
        places = [place_of[row] for row in found.rows.tolist()]
        vectors = np.stack([rows[row] for row in numbers.tolist()])
        assert_nearest(places, found.distances, vectors, query, metric, k)
    else:
        assert found.rows.tolist() == []
    assert [int(chunk.rows[at]) for chunk, at in found.places] == found.rows.tolist()


def scans() -> dict[str, Scan]:
    """Every implementation: the compiled ones too, where there is a compiler. CI has one."""
    native = kernel()
    if native is None:
        assert os.environ.get("CI") != "true", "the scan was not compiled"
        return {"numpy": NumpyScan().scan}
    return {
        "numpy": NumpyScan().scan,
        "native": partial(without_codes, NativeScan(native)),
        "codes": NativeScan(native).scan,
    }


SCANS = scans()


@pytest.fixture(params=SCANS)
def scan(request: pytest.FixtureRequest) -> Scan:
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


def test_counts_the_rows_it_compared(scan: Scan) -> None:
    table = make_table([make_chunk(random_vectors(10, 3), [2, 3, 5])])
    found = scan_cells(scan, table, random_vectors(2, 3), [[0, 2], [1]], 4)
    assert [one.scanned for one in found] == [7, 3]
    assert [len(one.rows) for one in found] == [4, 3]


def test_nothing_is_found_where_nothing_is_named(scan: Scan) -> None:
    chunk = make_chunk(random_vectors(4, 3), [4, 0])
    queries = random_vectors(3, 3)
    for cells, missing in (([], []), ([1], []), ([0], [0]), ([0, 1], [0])):
        found = scan_cells(scan, make_table([chunk], missing), queries, [cells] * 3, 5)
        assert [(len(one.rows), len(one.distances), one.places, one.scanned) for one in found] == [
            (0, 0, [], 0)
        ] * 3


@EACH
def test_copies_of_a_row_are_one_neighbour(scan: Scan, metric: str) -> None:
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
def test_is_exact_far_from_the_origin(scan: Scan, metric: str) -> None:
    vectors = (random_vectors(400, 8) * 1e-2 + 1e4).astype(np.float32)
    table = make_table([make_chunk(vectors, [100] * 4, metric=metric)])
    (found,) = scan_cells(scan, table, vectors[:1], [[0, 1, 3]], 10)
    check(found, table, vectors[0], [0, 1, 3], 10)


@EACH
@pytest.mark.parametrize("dimension", [1, 7, 8, 15, 16, 17, 50, 64, 200])
def test_every_dimension_is_summed_whole(scan: Scan, metric: str, dimension: int) -> None:
    """Vectors are cut in lanes of 16 and 8 by the compiled scan; remainders count too."""
    vectors = random_vectors(90, dimension, seed=dimension)
    table = make_table([make_chunk(vectors, [40, 1, 49], metric=metric)])
    for query in random_vectors(4, dimension, seed=1):
        (found,) = scan_cells(scan, table, query[None], [[0, 1, 2]], 5)
        check(found, table, query, [0, 1, 2], 5)


def test_the_best_scan_is_the_compiled_one() -> None:
    assert type(best_scan()) is (NumpyScan if kernel() is None else NativeScan)


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


def embeddings(count: int, dimension: int = 256) -> tuple[NDArray[np.float32], list[int]]:
    """Vectors of 20 cells, sorted by cell, and how many each cell has."""
    generator = np.random.default_rng(dimension)
    cells = np.sort(generator.integers(0, 20, count))
    middles = generator.standard_normal((20, dimension))
    vectors = middles[cells] + 0.7 * generator.standard_normal((count, dimension))
    return vectors.astype(np.float32), np.bincount(cells, minlength=20).tolist()


@cache
def portable() -> native.Kernel:
    """The kernel as it is compiled for processors whose instructions it does not know."""
    folder = Path(tempfile.mkdtemp(prefix="vectorcache-scan-"))
    library, source = folder / "_scan.so", native.LIBRARY.with_name("scan.c")
    flags = ["-O3", "-std=gnu11", "-shared", "-fPIC", "-Wno-psabi", "-DVECTORCACHE_PORTABLE"]
    try:
        subprocess.run(["cc", *flags, "-o", str(library), str(source), "-lm"], check=True)
        return native.Kernel(ctypes.CDLL(str(library)))
    finally:
        shutil.rmtree(folder)


@pytest.fixture(params=["compiled", pytest.param("portable", marks=pytest.mark.exhaustive)])
def compiled(request: pytest.FixtureRequest) -> native.Kernel:
    best = kernel()
    if best is None:
        pytest.skip("there is no C compiler")
    return best if request.param == "compiled" else portable()


@EACH
@pytest.mark.parametrize("bits", LEVELS)
@pytest.mark.parametrize(
    "dimension",
    [1, 3, 7, 8, 50, 96, 256, *(pytest.param(size, marks=pytest.mark.exhaustive) for size in (1025, 4096))],
)
def test_codes_find_what_vectors_find(
    compiled: native.Kernel, metric: str, bits: int, dimension: int
) -> None:
    """Every width of a code, with bounds so wide that none is missed; several blocks, cells that share one."""
    vectors = random_vectors(200, dimension, seed=dimension)
    sizes = [70, 3, 0, 60, 67]
    table = make_table([make_chunk(vectors, sizes, metric=metric, bits=bits)], bits=bits)
    for query in random_vectors(3, dimension, seed=1):
        for cells in ([0, 1, 2, 3, 4], [1, 4]):
            (found,) = scan_cells(NativeScan(compiled).scan, table, query[None], [cells], 5)
            check(found, table, query, cells, 5)


@EACH
@pytest.mark.parametrize("bits", LEVELS)
def test_codes_leave_few_vectors_to_compare(compiled: native.Kernel, metric: str, bits: int) -> None:
    """With bounds as wide as builds choose them: nearly all neighbours, for a small part of the vectors."""
    vectors, sizes = embeddings(4000)
    chunk = make_chunk(vectors, sizes, metric=metric, bits=bits)
    table = make_table([chunk], bits=bits, deviations=2.7)
    queries, _ = embeddings(4050)
    queries = np.ascontiguousarray(queries[::100])
    cells = [np.arange(20, dtype=np.int32)] * len(queries)
    common = {"spare": 8, "largest_norm": table.largest_norm}
    args = (metric_of(metric), queries, table.cells, cells, 10)
    by_codes = compiled.nearest_in_cells(*args, **common, coding=table.coding)  # type: ignore[arg-type]
    exact = compiled.nearest_in_cells(*args, **common)  # type: ignore[arg-type]
    found = sum(
        len(set(one.rows.tolist()) & set(other.rows.tolist()))
        for one, other in zip(by_codes, exact, strict=True)
    )
    assert found >= 0.995 * 10 * len(queries)
    assert {one.scanned for one in by_codes} == {4000}
    assert np.mean([one.scored for one in by_codes]) < {1: 800, 2: 200, 4: 60}[bits]
    for one, other in zip(by_codes, exact, strict=True):
        if one.rows.tolist() == other.rows.tolist():
            assert one.distances.tolist() == other.distances.tolist()


@EACH
def test_codes_find_more_neighbours_than_they_held_candidates_for(
    compiled: native.Kernel, metric: str
) -> None:
    """Equal vectors have equal bounds: all must be compared, and come in the order of their rows."""
    vectors = np.repeat(random_vectors(3, 40), 300, axis=0)
    table = make_table([make_chunk(vectors, [300, 300, 300], metric=metric)])
    for k in (1, 7, 250, 900):
        (found,) = scan_cells(NativeScan(compiled).scan, table, vectors[:1], [[0, 1, 2]], k)
        assert found.rows.tolist()[:300] == list(range(min(k, 300)))
        assert len(found.rows) == k


@EACH
@pytest.mark.parametrize("name", SCANS)
def test_zero_vectors_and_tiny_ones_are_found_like_others(metric: str, name: str) -> None:
    vectors = random_vectors(60, 30)
    vectors[10:20] = 0
    vectors[20:30] *= 1e-20
    table = make_table([make_chunk(vectors, [25, 35], metric=metric)])
    queries = random_vectors(4, 30, seed=1)
    queries[0] *= 1e-20
    for query in queries if metric == "cosine" else [*queries, np.zeros(30, dtype=np.float32)]:
        (found,) = scan_cells(SCANS[name], table, query[None], [[0, 1]], 50)
        check(found, table, query, [0, 1], 50)


@EACH
@pytest.mark.parametrize("name", SCANS)
@pytest.mark.parametrize("magnitude", [1e-12, 1e6, 1e15])
def test_magnitudes_make_no_difference(metric: str, name: str, magnitude: float) -> None:
    vectors = random_vectors(300, 100) * np.float32(magnitude)
    table = make_table([make_chunk(vectors, [100, 200], metric=metric)])
    (found,) = scan_cells(SCANS[name], table, vectors[:1], [[0, 1]], 10)
    check(found, table, vectors[0], [0, 1], 10)
