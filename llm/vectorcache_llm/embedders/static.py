"""The embedded default: static word-piece vectors, summed."""

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
"""The model was trained so that the first components of a vector are a vector themselves."""

INLINE_CHARACTERS = 2_000
"""Characters that are embedded at once: about half a millisecond. More goes to a thread."""

BATCH = 256
"""Long texts that are split into tokens at a time."""

WORDS = 1 << 15
"""Words whose tokens are remembered."""
LONGEST_WORD = 24
"""Characters; longer ones are seldom seen twice, such as whole sentences in scripts without spaces."""

BLOCK = 4096
"""Tokens of one text that are looked up at a time, so that a book takes no more memory than a page."""


class StaticEmbedder(Embedder):
    """WordLlama (D. L. Miller, "WordLlama: Recycled Token Embeddings from Large Language Models", 2024).

    A text's vector is the sum of its tokens' vectors, brought to length 1: about ten microseconds for a prompt, no
    limit to its length, no server and no download. Word order does not count: the guard of the response cache is
    made for that.

    Making one reads 18 MB and takes some tenths of a second; before the event loop runs is a good time.

    Args:
        dimension: 64, 128 or 256.

    Raises:
        MissingExtra: ``wordllama`` is not installed.
        InvalidInput: another dimension.
    """

    def __init__(self, dimension: int = 256) -> None:
        if dimension not in DIMENSIONS:
            raise InvalidInput("dimension", dimension, ", ".join(map(str, DIMENSIONS)))
        # Only its files are used: importing the package sets up the root logger, and a lot more than we need.
        folder = folder_of("wordllama", "llm")
        weights = folder / "weights" / "l2_supercat_256.safetensors"
        tokenizer = folder / "tokenizers" / "l2_supercat_tokenizer_config.json"
        table = require("safetensors.numpy", "llm").load_file(weights)["embedding.weight"]
        self._weights: Floats = np.ascontiguousarray(table[:, :dimension], dtype=np.float32)
        self._tokens = _Tokens(tokenizer)
        self._fingerprint = f"wordllama-l2-supercat:{digest_of(weights, tokenizer)}:{dimension}"

    @property
    def fingerprint(self) -> str:
        """Names the model's files and the dimension."""
        return self._fingerprint

    @property
    def dimension(self) -> int:
        """64, 128 or 256."""
        return int(self._weights.shape[1])

    async def embed(self, texts: Sequence[str]) -> Floats:
        """Vectors (n, d) float32 of length 1; at once where the texts are short."""
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
            # Clipped as the model was trained: the tokenizer knows a few tokens that have no vector.
            block = self._weights.take(tokens[start : start + BLOCK], axis=0, mode="clip")
            row += np.add.reduce(block, axis=0)
        length = math.sqrt(np.dot(row, row))
        if length > SMALLEST_NORM:
            row /= length


class _Tokens:
    """Texts to the model's word pieces.

    No piece reaches over a space, so a text's are those of its words, and prompts share most of these. Where spaces
    themselves may be pieces, or angle brackets a special token, the text is split as a whole.
    """

    def __init__(self, path: Path) -> None:
        self._tokenizer: Any = require("tokenizers", "llm").Tokenizer.from_file(str(path))
        self._tokenizer.no_padding()
        self._tokenizer.no_truncation()
        self._remembered = lru_cache(maxsize=WORDS)(self._whole)

    def of(self, text: str) -> list[int]:
        """The pieces of a short text."""
        if "  " in text or "<" in text or "\u2581" in text or text != text.strip(" "):
            return self._whole(text)
        return list(chain.from_iterable(map(self._word, text.split(" "))))

    def of_each(self, texts: Sequence[str]) -> list[list[int]]:
        """The pieces of long texts, on all cores."""
        # The "fast" one does not track where in the text a token stood, which is half of the work.
        encodings = self._tokenizer.encode_batch_fast(list(texts), add_special_tokens=False)
        return [encoding.ids for encoding in encodings]

    def _word(self, word: str) -> list[int]:
        return self._remembered(word) if len(word) <= LONGEST_WORD else self._whole(word)

    def _whole(self, text: str) -> list[int]:
        return self.of_each([text])[0]
