"""What a demo searches: vectors with ids, and held-out queries."""

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
    """Vectors, of which some are held out to be the queries.

    Attributes:
        name: of the collection.
        about: what one vector stands for, in the plural.
        ids: of the vectors, (n,) text or whole numbers.
        vectors: those that are searched, (n, d) float32.
        queries: vectors that are not among them, (q, d) float32.
        payload: columns by name, each of n values.
    """

    name: str
    about: str
    ids: NDArray[Any]
    vectors: Floats
    queries: Floats
    payload: dict[str, list[str]] = field(default_factory=dict)

    def table(self) -> pa.Table:
        """The ids and the payload as the columns that a build takes."""
        return pa.table({"id": pa.array(self.ids.tolist()), **self.payload})

    def neighbours(self) -> list[frozenset[int | str]]:
        """The ids of the ``K`` nearest of each query, by comparing it with all vectors."""
        found = ExactVectorSearch(self.vectors).search(self.queries, K)
        return [frozenset(self.ids[rows].tolist()) for rows in found.indices]


def held_out(may_go: NDArray[np.int64], count: int, total: int, seed: int) -> NDArray[np.bool_]:
    """A mask (total,) of ``count`` places, chosen among ``may_go`` at random."""
    chosen = np.zeros(total, dtype=bool)
    chosen[np.random.default_rng(seed).choice(may_go, count, replace=False)] = True
    return chosen
