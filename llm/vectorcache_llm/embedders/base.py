"""The interface of embedders: texts to unit vectors."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from types import TracebackType
from typing import Self

from vectorcache.vectors.metric import Floats


class Embedder(ABC):
    """Turns texts into vectors of length 1, so that an inner product is the cosine. Used by ``async with``, or
    closed.

    Calls may run concurrently. Where the work is long it runs in a thread, so that the event loop stays free.
    """

    @property
    @abstractmethod
    def fingerprint(self) -> str:
        """Names the model, its version and all that changes a vector: vectors of two fingerprints never compare."""

    @property
    @abstractmethod
    def dimension(self) -> int:
        """Components of a vector."""

    @property
    def max_tokens(self) -> int | None:
        """Tokens beyond which a text is cut, or None; whoever cuts says so (``truncated``, and a log once)."""
        return None

    @property
    def truncated(self) -> int:
        """How many texts have been cut so far."""
        return 0

    @abstractmethod
    async def embed(self, texts: Sequence[str]) -> Floats:
        """Vectors (n, d) float32 of length 1, in the order of the texts. No texts give (0, d).

        A text without anything to embed (empty, unknown characters only) gives a vector all the same: zeros.

        Raises:
            InvalidInput: something among ``texts`` is no string.
            Unavailable: the model's server did not answer in time, or refused for now.
        """

    async def close(self) -> None:  # noqa: B027 - most hold nothing
        """Release what is held; a second call does nothing."""

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()
