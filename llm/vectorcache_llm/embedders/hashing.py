"""A deterministic embedder without a model, mainly for tests."""

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
"""Length of the pieces of a word, in characters."""

WORD_WEIGHT = 2.0
"""Weight of a whole word, relative to a piece."""

INLINE_CHARACTERS = 1_000
"""Maximum number of characters hashed on the event loop, which takes less than a millisecond."""


class HashingEmbedder(Embedder):
    """Embeds texts by signed feature hashing of words and pieces of words.

    Source: K. Weinberger et al., "Feature Hashing for Large Scale Multitask Learning", 2009. Texts that share words or
    pieces of words are similar, regardless of their meaning. Vectors are the same in every process and on all machines.

    Args:
        dimension: number of components of a vector; more components give fewer collisions.

    Raises:
        InvalidInput: the dimension is less than 1.
    """

    def __init__(self, dimension: int = 256) -> None:
        check_dimension(dimension)
        self._dimension = dimension

    @property
    def fingerprint(self) -> str:
        """See ``Embedder.fingerprint``."""
        return f"hashing:1:{self._dimension}"

    @property
    def dimension(self) -> int:
        """See ``Embedder.dimension``."""
        return self._dimension

    async def embed(self, texts: Sequence[str]) -> Floats:
        """See ``Embedder.embed``."""
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
    """Yield each word in angle brackets, followed by its pieces. A text without letters or digits is one word."""
    for word in re.findall(r"\w+", text) or [text]:
        whole = f"<{word}>"
        yield whole
        yield from (f"#{whole[start : start + GRAM]}" for start in range(len(whole) - GRAM + 1))


def _weight(feature: str, count: int) -> float:
    return count * (WORD_WEIGHT if feature.startswith("<") else 1.0)
