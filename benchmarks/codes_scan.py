"""How fast a search is that scans codes and compares only its candidates exactly: one thread, in process, in turns.

The same cells and probes with float32 (faiss ``IndexIVFFlat``) and with codes of 1, 2 and 4 bits (``codes_scan.c``,
AVX2, compiled here), beside a graph (hnswlib) at a recall that is no higher. The time of a search with codes is that
of all its steps: nearest centroids, rotation, tables, scan and exact comparison. ``WIDTH`` says how many standard
errors a lower bound lies below its estimate.
"""

from __future__ import annotations

import ctypes
import subprocess
from pathlib import Path
from typing import NamedTuple

import faiss
import hnswlib
import numpy as np
from benchmarks.codes import CELLS_PER_ROOT, LEVELS, SEED, quantize
from benchmarks.data import NAMES, load
from benchmarks.support import FOLDER, Goal, arguments, at_most, recall, report, side_by_side
from numpy.typing import NDArray
from threadpoolctl import threadpool_limits

Floats = NDArray[np.float32]

K = 10
BLOCK = 32
WIDTH = 2.25
RECALL = 0.95
TAKE = {1: 600, 2: 150, 4: 60}
_NEIGHBOUR = np.dtype([("distance", np.float32), ("row", np.int32)])


class Cells(NamedTuple):
    """Rows by cell, each cell padded to whole blocks.

    Attributes:
        centroids: (c, d) float32.
        cell: (n,), of each vector.
        blocks: (c + 1,) int64, the first block of each cell.
        rows: (c,) int64, how many vectors each has.
        places: (n,), where each vector stands among the padded rows.
        vectors: (padded rows, d) float32.
        numbers: (padded rows,), of the vectors; -1 for padding.
    """

    centroids: Floats
    cell: NDArray[np.int64]
    blocks: NDArray[np.int64]
    rows: NDArray[np.int64]
    places: NDArray[np.int64]
    vectors: Floats
    numbers: NDArray[np.int64]


def cells_of(vectors: Floats) -> Cells:
    """k-means with as many cells as a build makes."""
    count, d = vectors.shape
    means = faiss.Kmeans(d, int(CELLS_PER_ROOT * count**0.5), niter=8, seed=SEED, max_points_per_centroid=64)
    means.train(vectors)
    cell = means.index.search(vectors, 1)[1][:, 0]
    rows = np.bincount(cell, minlength=len(means.centroids))
    blocks = np.concatenate([[0], np.cumsum(-(-rows // BLOCK))])
    order = np.argsort(cell, kind="stable")
    firsts = np.cumsum(rows) - rows
    places = np.empty(count, dtype=np.int64)
    places[order] = blocks[cell[order]] * BLOCK + np.arange(count) - firsts[cell[order]]
    padded = np.zeros((blocks[-1] * BLOCK, d), dtype=np.float32)
    padded[places] = vectors
    numbers = np.full(len(padded), -1)
    numbers[places] = np.arange(count)
    return Cells(means.centroids, cell, blocks, rows, places, padded, numbers)


class CodesSearch:
    """Search of cells by codes; the vectors are read for candidates only."""

    def __init__(self, vectors: Floats, cells: Cells, bits: int) -> None:
        count, d = vectors.shape
        self._cells, self._take = cells, TAKE[bits]
        self._rotation = np.linalg.qr(np.random.default_rng(SEED).standard_normal((d, d)))[0].astype(
            np.float32
        )
        self._centre = vectors.mean(axis=0)
        self._components = 4 // bits  # of a nibble
        self._padded = -(-d // (2 * self._components)) * 2 * self._components
        coded = quantize((vectors - cells.centroids[cells.cell]) @ self._rotation, bits)
        levels = np.concatenate([-LEVELS[bits][::-1], LEVELS[bits]]).astype(np.float32)
        centres = (cells.centroids - self._centre) @ self._rotation
        along = np.einsum("nd,nd->n", coded.levels, centres[cells.cell])
        self._base = self._placed(coded.norms**2 + 2 * coded.scales * along)
        self._scale = self._placed(coded.scales)
        self._error = self._placed(coded.errors)
        codes = np.zeros((count, self._padded), dtype=np.uint8)
        codes[:, :d] = np.searchsorted(levels, coded.levels - 1e-4)
        nibbles = np.zeros((count, self._padded // self._components), dtype=np.uint8)
        for at in range(self._components):
            nibbles |= codes[:, at :: self._components] << (bits * at)
        self._pairs = nibbles.shape[1] // 2
        packed = self._placed(nibbles[:, 0::2] | (nibbles[:, 1::2] << 4))
        self._codes = np.ascontiguousarray(packed.reshape(-1, BLOCK, self._pairs).transpose(0, 2, 1))
        values = [levels[(np.arange(16) >> (bits * at)) & (2**bits - 1)] for at in range(self._components)]
        self._values = np.stack(values)  # (components of a nibble, 16)
        self._coarse = faiss.IndexFlatL2(d)
        self._coarse.add(cells.centroids)
        self._scan = _library().codes_scan
        self._scan.restype = ctypes.c_int64
        self.compared: list[int] = []
        self.unproved = 0

    def _placed(self, values: NDArray[np.generic]) -> NDArray[np.generic]:
        """One value per vector, where the vector stands."""
        placed = np.zeros((len(self._cells.numbers), *values.shape[1:]), dtype=values.dtype)
        placed[self._cells.places] = values
        return placed

    def search(self, query: Floats, nprobe: int) -> set[int]:
        """The numbers of the nearest vectors of a query (d,)."""
        gaps, probes = self._coarse.search(query[None], nprobe)
        tables, step, offset = self._tables(query)
        nearest = np.empty(K, dtype=_NEIGHBOUR)
        probes = probes[0].astype(np.int32)
        integer, number = ctypes.c_int64, ctypes.c_float
        cells = self._cells
        compared = self._scan(
            *(_at(self._codes), integer(self._pairs), _at(cells.blocks), _at(cells.rows)),
            *(_at(self._base), _at(self._scale), _at(self._error)),
            *(_at(cells.vectors), integer(len(query)), _at(query)),
            *(_at(tables), number(step), number(offset)),
            *(_at(probes), _at(gaps), integer(nprobe)),
            *(number(WIDTH), integer(self._take), integer(K), _at(nearest)),
        )
        if compared < -1:
            raise MemoryError("no room for candidates")
        self.unproved += compared == -1
        self.compared.append(self._take if compared == -1 else compared)
        return set(cells.numbers[nearest["row"]].tolist())

    def _tables(self, query: Floats) -> tuple[NDArray[np.uint8], float, float]:
        """For each nibble its 16 inner products in 7 bits (nibbles, 16), the step between them, and their offset."""
        turned = np.zeros(self._padded, dtype=np.float32)
        turned[: len(query)] = (query - self._centre) @ self._rotation
        products = turned.reshape(-1, self._components) @ self._values
        least = products.min(axis=1)
        step = float((products.max(axis=1) - least).max()) / 127 or 1.0
        return np.rint((products - least[:, None]) / step).astype(np.uint8), step, float(least.sum())


def _at(array: NDArray[np.generic]) -> ctypes.c_void_p:
    return ctypes.c_void_p(array.ctypes.data)


def _library() -> ctypes.CDLL:
    FOLDER.mkdir(parents=True, exist_ok=True)
    source, library = Path(__file__).with_suffix(".c"), FOLDER.resolve() / "codes_scan.so"
    subprocess.run(
        ["cc", "-O3", "-march=x86-64-v3", "-shared", "-fPIC", "-o", library, source, "-lm"], check=True
    )
    return ctypes.CDLL(str(library))


def measure(name: str, vectors: Floats, queries: Floats) -> None:
    truth = faiss.knn(queries, vectors, K)[1]
    faiss.omp_set_num_threads(1)
    cells = cells_of(vectors)
    codes = {bits: CodesSearch(vectors, cells, bits) for bits in LEVELS}
    quantizer = faiss.IndexFlatL2(vectors.shape[1])
    quantizer.add(cells.centroids)
    lists = faiss.IndexIVFFlat(quantizer, vectors.shape[1], len(cells.centroids))
    lists.add(vectors)
    graph = hnswlib.Index("l2", vectors.shape[1])
    graph.init_index(len(vectors), M=16, ef_construction=200, random_seed=SEED)
    graph.add_items(vectors)
    graph.set_num_threads(1)

    def by_lists(number: int) -> set[int]:
        return set(lists.search(queries[number : number + 1], K)[1][0].tolist())

    def by_graph(number: int) -> set[int]:
        return set(graph.knn_query(queries[number], K)[0][0].tolist())

    def recall_of(search) -> float:
        return recall([search(number) for number in range(len(queries))], truth)

    # The fewest probes that reach the recall, and the largest graph search that does not pass that of the codes.
    for nprobe in range(8, len(cells.centroids), 8):
        lists.nprobe = nprobe
        if recall_of(by_lists) >= RECALL:
            break
    figures: dict[str, object] = {"cells, probes": f"{len(cells.centroids)}, {nprobe}"}
    calls = {"float32": by_lists, "graph": by_graph}
    calls |= {
        f"{bits} bits": lambda at, one=one: one.search(queries[at], nprobe) for bits, one in codes.items()
    }
    recalls = {label: recall_of(call) for label, call in calls.items() if label != "graph"}
    for ef in range(20, 500, 10):
        graph.set_ef(ef)
        recalls["graph"] = recall_of(by_graph)
        if recalls["graph"] >= min(RECALL, recalls["2 bits"]):
            break
    times = side_by_side(calls, len(queries))
    medians = {label: float(np.median(values)) * 1e3 for label, values in times.items()}
    for label, median in medians.items():
        figures[f"{label}: recall, p50 in ms"] = f"{recalls[label]:.4f}, {median:.3f}"
    for bits, one in codes.items():
        figures[f"{bits} bits: candidates compared, on the average"] = round(float(np.mean(one.compared)), 1)
        figures[f"{bits} bits: answers without proof"] = round(one.unproved / len(one.compared), 4)
    best = min(medians[f"{bits} bits"] for bits in LEVELS)
    goals: list[Goal] = [
        at_most("p50 with the fastest codes, of float32's", best / medians["float32"], 0.35),
        at_most("p50 with the fastest codes, of the graph's", best / medians["graph"], 1.0),
    ]
    report(f"codes-scan-{name}", figures, goals)


def main() -> None:
    options = arguments(__doc__, queries=500, vectors=250_000)
    for name in NAMES:
        data = load(name, options.vectors)
        with threadpool_limits(1):
            measure(name, data.vectors, data.queries[: options.queries])


if __name__ == "__main__":
    main()
