"""The data of a demo: vectors with ids, and held-out queries."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from vectorcache.vectors.exact import ExactVectorSearch
from vectorcache.vectors.metric import Floats

K = 10


@dataclass(frozen=True, slots=True)
class Sample:
    """Vectors of a collection, and held-out vectors used as queries.

    Attributes:
        name: name of the collection.
        about: what the vectors represent, in the plural.
        ids: ids of the vectors, (n,) text or whole numbers.
        vectors: the searched vectors, (n, d) float32.
        queries: the held-out vectors, (q, d) float32.
        payload: columns by name, each with n values.
    """

    name: str
    about: str
    ids: NDArray[Any]
    vectors: Floats
    queries: Floats
    payload: dict[str, list[str]] = field(default_factory=dict)

    def table(self) -> pa.Table:
        """Return the ids and the payload as the table of attributes for a build."""
        return pa.table({"id": pa.array(self.ids.tolist()), **self.payload})

    def neighbours(self) -> list[frozenset[int | str]]:
        """Return the ids of the ``K`` nearest vectors of each query, found by brute force."""
        found = ExactVectorSearch(self.vectors).search(self.queries, K)
        return [frozenset(self.ids[rows].tolist()) for rows in found.indices]


def held_out(may_go: NDArray[np.int64], count: int, total: int, seed: int) -> NDArray[np.bool_]:
    """Return a mask (total,) with ``count`` positions set, chosen from ``may_go`` at random."""
    chosen = np.zeros(total, dtype=bool)
    chosen[np.random.default_rng(seed).choice(may_go, count, replace=False)] = True
    return chosen
