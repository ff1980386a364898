"""Any callable as an embedder."""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

from vectorcache.errors import DeadlineExceeded, InvalidInput, Unavailable, VectorCacheError
from vectorcache.vectors.metric import Floats
from vectorcache_llm.embedders.base import Embedder
from vectorcache_llm.embedders.texts import check_dimension, embed_filled
from vectorcache_llm.kv.checks import check_positive

TIMEOUT = 30.0
"""Default, seconds."""

MAX_FINGERPRINT = 200
"""Characters."""


class FunctionEmbedder(Embedder):
    """Calls a function for vectors; they need not be of length 1.

    Args:
        function: takes a list of n texts (none of them blank), gives n vectors; synchronous ones run in a thread.
        dimension: components of a vector.
        fingerprint: must change whenever the function's vectors do.
        timeout: seconds for a call. A synchronous one that takes longer goes on in its thread, unheard.

    Raises:
        InvalidInput: the dimension, the fingerprint or the timeout is not allowed.
    """

    def __init__(
        self,
        function: Callable[[list[str]], Any | Awaitable[Any]],
        dimension: int,
        fingerprint: str,
        *,
        timeout: float = TIMEOUT,
    ) -> None:
        check_dimension(dimension)
        if not (fingerprint.isprintable() and 0 < len(fingerprint) <= MAX_FINGERPRINT):
            raise InvalidInput("fingerprint", fingerprint, f"1 to {MAX_FINGERPRINT} printable characters")
        check_positive(timeout=timeout)
        self._function = function
        self._dimension = dimension
        self._fingerprint = fingerprint
        self._timeout = timeout

    @property
    def fingerprint(self) -> str:
        """As it was given."""
        return f"function:{self._fingerprint}:{self._dimension}"

    @property
    def dimension(self) -> int:
        """As it was given."""
        return self._dimension

    async def embed(self, texts: Sequence[str]) -> Floats:
        """Vectors (n, d) float32 of length 1.

        Raises:
            Unavailable: the function raised, or took too long.
            CorruptData: it gave something else than n vectors of the dimension.
        """
        return await embed_filled(texts, self._dimension, self._call)

    async def _call(self, texts: list[str]) -> object:
        try:
            async with asyncio.timeout(self._timeout):
                if inspect.iscoroutinefunction(self._function):
                    return await self._function(texts)
                vectors = await asyncio.to_thread(self._function, texts)
                return await vectors if inspect.isawaitable(vectors) else vectors
        except VectorCacheError:
            raise
        except TimeoutError as error:
            raise DeadlineExceeded(f"the embedding function took more than {self._timeout:g} s") from error
        except Exception as error:
            raise Unavailable(f"the embedding function failed: {error!r}") from error
