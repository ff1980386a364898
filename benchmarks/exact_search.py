"""ExactVectorSearch compared with faiss's IndexFlatL2 on one thread: single queries and batches of 32."""

from __future__ import annotations

import faiss
import numpy as np
from benchmarks.support import arguments, at_most, report, side_by_side
from threadpoolctl import threadpool_limits

from vectorcache import ExactVectorSearch


def main() -> None:
    options = arguments(__doc__, vectors=10_000, dimension=512, rounds=200)
    generator = np.random.default_rng(0)
    vectors = generator.standard_normal((options.vectors, options.dimension), dtype=np.float32)
    queries = generator.standard_normal((1024, options.dimension), dtype=np.float32)
    ours = ExactVectorSearch(vectors)
    flat = faiss.IndexFlatL2(options.dimension)
    flat.add(vectors)

    def batch(number: int, size: int) -> np.ndarray:
        start = number * size % (len(queries) - size + 1)
        return queries[start : start + size]

    faiss.omp_set_num_threads(1)
    with threadpool_limits(1):
        single = side_by_side(
            {
                "ours": lambda number: ours.search(batch(number, 1)[0], 10),
                "faiss": lambda number: flat.search(batch(number, 1), 10),
            },
            options.rounds,
        )
        many = side_by_side(
            {
                "ours": lambda number: ours.search(batch(number, 32), 10),
                "faiss": lambda number: flat.search(batch(number, 32), 10),
            },
            max(10, options.rounds // 5),
        )
        answers = ours.search(queries[:32], 10).indices
        same = float((answers == flat.search(queries[:32], 10)[1]).mean())
    figures = {
        "vectors": f"{options.vectors} x {options.dimension}",
        "answers equal to faiss's": same,
        "one query, us, ours / faiss": [
            round(float(np.median(single[who]) * 1e6), 1) for who in ("ours", "faiss")
        ],
        "batch of 32, us, ours / faiss": [
            round(float(np.median(many[who]) * 1e6), 1) for who in ("ours", "faiss")
        ],
    }
    report(
        "exact_search",
        figures,
        [
            at_most("one query: time / faiss", float(np.median(single["ours"] / single["faiss"])), 1.0),
            at_most("batch of 32: time / faiss", float(np.median(many["ours"] / many["faiss"])), 0.4),
        ],
    )


if __name__ == "__main__":
    main()
