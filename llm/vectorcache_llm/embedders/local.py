"""Models in this process that take long: they run in a thread of their own."""

from __future__ import annotations

import asyncio
from abc import abstractmethod
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

from vectorcache.errors import Unavailable
from vectorcache.vectors.metric import Floats
from vectorcache_llm.embedders.base import Embedder
from vectorcache_llm.embedders.texts import Truncation, embed_filled


class LocalEmbedder(Embedder):
    """Subclasses encode; this one keeps the event loop free, one call after the other."""

    def __init__(self, fingerprint: str, dimension: int, max_tokens: int | None) -> None:
        self._fingerprint = fingerprint
        self._dimension = dimension
        self._truncation = Truncation(max_tokens)
        # One thread: a model uses all cores for one call, and two calls at once would only fight for them.
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="embedder")

    @property
    def fingerprint(self) -> str:
        """Names the model and its settings."""
        return self._fingerprint

    @property
    def dimension(self) -> int:
        """Components of a vector."""
        return self._dimension

    @property
    def max_tokens(self) -> int | None:
        """Tokens beyond which a text is cut."""
        return self._truncation.max_tokens

    @property
    def truncated(self) -> int:
        """How many texts have been cut so far."""
        return self._truncation.count

    async def embed(self, texts: Sequence[str]) -> Floats:
        """Vectors (n, d) float32 of length 1.

        Raises:
            Unavailable: the model failed, or was closed.
        """
        return await embed_filled(texts, self._dimension, self._in_thread)

    async def close(self) -> None:
        """Wait for the call that runs, and end the thread."""
        await asyncio.to_thread(self._thread.shutdown)

    @abstractmethod
    def _encode(self, texts: list[str]) -> tuple[object, int]:
        """Numbers (n, d), and how many texts were cut; in the thread."""

    async def _in_thread(self, texts: list[str]) -> object:
        try:
            vectors, cut = await asyncio.get_running_loop().run_in_executor(self._thread, self._encode, texts)
        except Exception as error:  # what models raise shares no kind
            raise Unavailable(f"the model failed: {error!r}") from error
        self._truncation.add(cut)
        return vectors
