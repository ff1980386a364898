"""The default embedder, which sums static word-piece vectors."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Sequence
from functools import lru_cache
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np

from vectorcache.errors import InvalidInput
from vectorcache.vectors.metric import SMALLEST_NORM, Floats
from vectorcache_llm.embedders.base import Embedder
from vectorcache_llm.embedders.texts import check_texts, digest_of, is_blank
from vectorcache_llm.extras import folder_of, require

DIMENSIONS = (64, 128, 256)
"""Supported dimensions. The model was trained so that the first components of a vector are a usable vector."""

INLINE_CHARACTERS = 2_000
"""Maximum number of characters embedded on the event loop, which takes about half a millisecond."""

BATCH = 256
"""Number of long texts that are tokenised per batch."""

CACHED_WORDS = 1 << 15
"""Number of words whose tokens are cached."""
MAX_WORD_CHARACTERS = 24
"""Maximum length of a cached word. Longer ones, such as sentences in scripts without spaces, seldom recur."""

BLOCK = 4096
"""Number of tokens that are summed at a time, which bounds the memory for long texts."""


class StaticEmbedder(Embedder):
    """WordLlama (D. L. Miller, "WordLlama: Recycled Token Embeddings from Large Language Models", 2024).

    The vector of a text is the normalised sum of the vectors of its tokens. A prompt takes about ten microseconds. The
    length is not limited, and neither a server nor a download is needed. The vector ignores word order, which the guard
    of the response cache compensates for.

    The constructor reads 18 MB, which takes some tenths of a second, so call it before the event loop starts.

    Args:
        dimension: 64, 128 or 256.

    Raises:
        MissingExtra: ``wordllama`` is not installed.
        InvalidInput: the dimension is not supported.
    """

    def __init__(self, dimension: int = 256) -> None:
        if dimension not in DIMENSIONS:
            raise InvalidInput("dimension", dimension, ", ".join(map(str, DIMENSIONS)))
        # Only the files of the package are used, because importing it configures the root logger.
        folder = folder_of("wordllama", "llm")
        weights = folder / "weights" / "l2_supercat_256.safetensors"
        tokenizer = folder / "tokenizers" / "l2_supercat_tokenizer_config.json"
        table = require("safetensors.numpy", "llm").load_file(weights)["embedding.weight"]
        self._weights: Floats = np.ascontiguousarray(table[:, :dimension], dtype=np.float32)
        self._tokens = _Tokens(tokenizer)
        self._fingerprint = f"wordllama-l2-supercat:{digest_of(weights, tokenizer)}:{dimension}"

    @property
    def fingerprint(self) -> str:
        """See ``Embedder.fingerprint``."""
        return self._fingerprint

    @property
    def dimension(self) -> int:
        """See ``Embedder.dimension``."""
        return int(self._weights.shape[1])

    async def embed(self, texts: Sequence[str]) -> Floats:
        """See ``Embedder.embed``; short texts are embedded on the event loop."""
        check_texts(texts)
        if sum(map(len, texts)) <= INLINE_CHARACTERS:
            return self._embed([self._tokens.of(text) for text in texts], texts)
        return await asyncio.to_thread(self._embed_long, texts)

    def _embed_long(self, texts: Sequence[str]) -> Floats:
        batches = [texts[start : start + BATCH] for start in range(0, len(texts), BATCH)]
        return np.concatenate([self._embed(self._tokens.of_each(batch), batch) for batch in batches])

    def _embed(self, tokens: Sequence[Sequence[int]], texts: Sequence[str]) -> Floats:
        vectors = np.zeros((len(texts), self.dimension), dtype=np.float32)
        for row, ids, text in zip(vectors, tokens, texts, strict=True):
            if not is_blank(text):
                self._sum(row, ids)
        return vectors

    def _sum(self, row: Floats, tokens: Sequence[int]) -> None:
        for start in range(0, len(tokens), BLOCK):
            # "clip" matches the training: the tokenizer has a few tokens without a vector.
            block = self._weights.take(tokens[start : start + BLOCK], axis=0, mode="clip")
            row += np.add.reduce(block, axis=0)
        length = math.sqrt(np.dot(row, row))
        if length > SMALLEST_NORM:
            row /= length


class _Tokens:
    """Splits texts into the model's word pieces.

    No piece spans a space, so the pieces of a text are those of its words, which are cached. If spaces could be pieces,
    or angle brackets form a special token, the text is tokenised as a whole.
    """

    def __init__(self, path: Path) -> None:
        self._tokenizer: Any = require("tokenizers", "llm").Tokenizer.from_file(str(path))
        self._tokenizer.no_padding()
        self._tokenizer.no_truncation()
        self._cached = lru_cache(maxsize=CACHED_WORDS)(self._whole)

    def of(self, text: str) -> list[int]:
        """Return the pieces of a short text."""
        if "  " in text or "<" in text or "\u2581" in text or text != text.strip(" "):
            return self._whole(text)
        return list(chain.from_iterable(map(self._word, text.split(" "))))

    def of_each(self, texts: Sequence[str]) -> list[list[int]]:
        """Return the pieces of long texts, using all cores."""
        # The "fast" variant does not compute the offsets of tokens, which is half of the work.
        encodings = self._tokenizer.encode_batch_fast(list(texts), add_special_tokens=False)
        return [encoding.ids for encoding in encodings]

    def _word(self, word: str) -> list[int]:
        return self._cached(word) if len(word) <= MAX_WORD_CHARACTERS else self._whole(word)

    def _whole(self, text: str) -> list[int]:
        return self.of_each([text])[0]
