"""Search of large centroid tables: by codes, compared with an exhaustive comparison, and the recall of codes.

Vectors of the data sets are used as centroids, in the order in which a build numbers cells.
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
    """Return the vectors ordered so that neighbours are adjacent, as cells are numbered."""
    packed = pack_cells(vectors, np.ones(len(vectors), np.int64), chunk_bytes=16, cells_per_chunk=None)
    return np.ascontiguousarray(vectors[np.concatenate(packed)])


def measure(name: str, cells: int, count: int) -> None:
    """Measure both searches, alternating query by query, on one size of one data set."""
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
            at_least(f"share of the {NPROBE} nearest found by codes", float(np.mean(shares)), 0.999),
            at_most("time / exact search", coded_ms / exact_ms, 0.5),
        ],
    )


def main() -> None:
    """Print the figures for passages and questions at two sizes."""
    options = arguments(__doc__ or "", queries=300)
    for name in TEXT:
        for cells in (16_384, 65_536):
            measure(name, cells, options.queries)


if __name__ == "__main__":
    main()
