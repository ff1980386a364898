"""Base class of models that run in this process, in a dedicated thread."""

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
    """Runs the ``_encode`` method of a subclass in a thread, one call at a time."""

    def __init__(self, fingerprint: str, dimension: int, max_tokens: int | None) -> None:
        self._fingerprint = fingerprint
        self._dimension = dimension
        self._truncation = Truncation(max_tokens)
        # One thread, because a model uses all cores for one call.
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="embedder")

    @property
    def fingerprint(self) -> str:
        """See ``Embedder.fingerprint``."""
        return self._fingerprint

    @property
    def dimension(self) -> int:
        """See ``Embedder.dimension``."""
        return self._dimension

    @property
    def max_tokens(self) -> int | None:
        """See ``Embedder.max_tokens``."""
        return self._truncation.max_tokens

    @property
    def truncated(self) -> int:
        """See ``Embedder.truncated``."""
        return self._truncation.count

    async def embed(self, texts: Sequence[str]) -> Floats:
        """See ``Embedder.embed``.

        Raises:
            Unavailable: the model failed, or was closed.
        """
        return await embed_filled(texts, self._dimension, self._in_thread)

    async def close(self) -> None:
        """Wait for the running call, and stop the thread."""
        await asyncio.to_thread(self._thread.shutdown)

    @abstractmethod
    def _encode(self, texts: list[str]) -> tuple[object, int]:
        """Return numbers (n, d), and how many texts were truncated. Runs in the thread."""

    async def _in_thread(self, texts: list[str]) -> object:
        try:
            vectors, truncated = await asyncio.get_running_loop().run_in_executor(
                self._thread, self._encode, texts
            )
        except Exception as error:  # models raise arbitrary exceptions
            raise Unavailable(f"the model failed: {error!r}") from error
        self._truncation.add(truncated)
        return vectors
