"""An embedder that calls a function."""

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
"""Default timeout, in seconds."""

MAX_FINGERPRINT = 200
"""Maximum length of a fingerprint, in characters."""


class FunctionEmbedder(Embedder):
    """Embeds texts with a function, whose vectors need not be of length 1.

    Args:
        function: takes a list of n texts, none of them blank, and returns n vectors. A synchronous function runs in a
            thread.
        dimension: number of components of a vector.
        fingerprint: identifier that must change whenever the vectors of the function change.
        timeout: time limit of a call, in seconds. A synchronous call that exceeds it continues in its thread, and its
            result is discarded.

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
        """See ``Embedder.fingerprint``."""
        return f"function:{self._fingerprint}:{self._dimension}"

    @property
    def dimension(self) -> int:
        """See ``Embedder.dimension``."""
        return self._dimension

    async def embed(self, texts: Sequence[str]) -> Floats:
        """See ``Embedder.embed``.

        Raises:
            Unavailable: the function raised or timed out.
            CorruptData: the function did not return n vectors of the dimension.
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
