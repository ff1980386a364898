"""Search of large centroid tables: by codes beside a comparison with all centroids, and how much codes find.

Vectors of the data sets stand for centroids, in the order in which a build numbers cells.
Tables of short vectors (GloVe-50) are never searched by codes: see ``docs/decisions/0013-coded-centroids.md``.
"""

from __future__ import annotations

import time

import numpy as np
from benchmarks.data import load
from benchmarks.support import arguments, at_least, at_most, report, side_by_side
from numpy.typing import NDArray

from vectorcache.index.coded import CodedSearch
from vectorcache.index.pack import pack_cells
from vectorcache.vectors.exact import ExactVectorSearch

TEXT = ("text-256", "text-256-questions")
METRIC = "euclidean"
NPROBE = 64


def in_order(vectors: NDArray[np.float32]) -> NDArray[np.float32]:
    """Neighbours side by side, as cells are numbered."""
    packed = pack_cells(vectors, np.ones(len(vectors), np.int64), chunk_bytes=16, cells_per_chunk=None)
    return np.ascontiguousarray(vectors[np.concatenate(packed)])


def measure(name: str, cells: int, count: int) -> None:
    """Both searches in turns, query by query, on one size of one data set."""
    data = load(name, cells)
    vectors, queries = in_order(data.vectors), data.queries[:count]
    exact = ExactVectorSearch(vectors, METRIC)
    began = time.perf_counter()
    coded = CodedSearch(vectors, METRIC)
    seconds = time.perf_counter() - began
    times = side_by_side(
        {
            "exact": lambda at: exact.search_checked(queries[at : at + 1], NPROBE),
            "codes": lambda at: coded.search_checked(queries[at : at + 1], NPROBE),
        },
        count,
    )
    wanted = exact.search_checked(queries, NPROBE).indices
    found = coded.search_checked(queries, NPROBE).indices
    shares = [np.isin(w, f).mean() for w, f in zip(wanted, found, strict=True)]
    exact_ms, coded_ms = (1e3 * float(np.median(times[kind])) for kind in ("exact", "codes"))
    report(
        f"centroids_{name}_{cells}",
        {
            "cells": cells,
            "open, seconds": round(seconds, 2),
            "p50, ms: exact, codes": f"{exact_ms:.3f}, {coded_ms:.3f}",
        },
        [
            at_least(f"found of the {NPROBE} nearest", float(np.mean(shares)), 0.999),
            at_most("of the exact search's time", coded_ms / exact_ms, 0.5),
        ],
    )


def main() -> None:
    """Print the figures of passages and of questions at two sizes."""
    options = arguments(__doc__ or "", queries=300)
    for name in TEXT:
        for cells in (16_384, 65_536):
            measure(name, cells, options.queries)


if __name__ == "__main__":
    main()
