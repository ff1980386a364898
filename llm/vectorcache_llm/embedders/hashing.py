"""A deterministic embedder without a model, for tests and for machines where nothing else runs."""

from __future__ import annotations

import asyncio
import re
from collections import Counter
from collections.abc import Iterator, Sequence

import mmh3
import numpy as np

from vectorcache.vectors.metric import Floats
from vectorcache_llm.embedders.base import Embedder
from vectorcache_llm.embedders.texts import check_dimension, embed_filled

GRAM = 3
"""Characters of a piece of a word."""

WORD_WEIGHT = 2.0
"""A whole word counts as much as two of its pieces."""

INLINE_CHARACTERS = 1_000
"""Characters that are hashed at once: under a millisecond. More go to a thread."""


class HashingEmbedder(Embedder):
    """Counts of words and pieces of words, hashed into a few components with signs.

    (K. Weinberger et al., "Feature Hashing for Large Scale Multitask Learning", 2009.) Texts that share words or
    pieces of them are similar, whatever they mean. The same in every process and on every machine.

    Args:
        dimension: components of a vector; the more, the fewer chance likenesses.

    Raises:
        InvalidInput: the dimension is less than 1.
    """

    def __init__(self, dimension: int = 256) -> None:
        check_dimension(dimension)
        self._dimension = dimension

    @property
    def fingerprint(self) -> str:
        """Names the way of hashing and the dimension."""
        return f"hashing:1:{self._dimension}"

    @property
    def dimension(self) -> int:
        """As it was given."""
        return self._dimension

    async def embed(self, texts: Sequence[str]) -> Floats:
        """Vectors (n, d) float32 of length 1."""
        return await embed_filled(texts, self._dimension, self._encode)

    async def _encode(self, texts: list[str]) -> object:
        if sum(map(len, texts)) <= INLINE_CHARACTERS:
            return self._vectors(texts)
        return await asyncio.to_thread(self._vectors, texts)

    def _vectors(self, texts: list[str]) -> Floats:
        return np.stack([self._vector(text) for text in texts])

    def _vector(self, text: str) -> Floats:
        vector = np.zeros(self._dimension, dtype=np.float32)
        for feature, weight in Counter(_features(text.casefold())).items():
            hashed = mmh3.hash(feature.encode(), signed=False)
            vector[(hashed >> 1) % self._dimension] += (1 - 2 * (hashed & 1)) * _weight(feature, weight)
        return vector


def _features(text: str) -> Iterator[str]:
    """Whole words in brackets, then their pieces; what has no letter or digit is one word."""
    for word in re.findall(r"\w+", text) or [text]:
        whole = f"<{word}>"
        yield whole
        yield from (f"#{whole[start : start + GRAM]}" for start in range(len(whole) - GRAM + 1))


def _weight(feature: str, count: int) -> float:
    return count * (WORD_WEIGHT if feature.startswith("<") else 1.0)
