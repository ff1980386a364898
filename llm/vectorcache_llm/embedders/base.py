"""The interface of embedders, which turn texts into unit vectors."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from types import TracebackType
from typing import Self

from vectorcache.vectors.metric import Floats


class Embedder(ABC):
    """Turns texts into vectors of length 1, so that their inner product is the cosine.

    An embedder is closed after use (``async with`` does so). Calls may run concurrently. Long work runs in a thread.
    """

    @property
    @abstractmethod
    def fingerprint(self) -> str:
        """Identifier of the model and every setting that affects the vectors. Only vectors with equal fingerprints are
        comparable."""

    @property
    @abstractmethod
    def dimension(self) -> int:
        """Number of components of a vector."""

    @property
    def max_tokens(self) -> int | None:
        """Number of tokens at which a text is truncated; None for no limit. The first truncation is logged."""
        return None

    @property
    def truncated(self) -> int:
        """Number of texts that have been truncated so far."""
        return 0

    @abstractmethod
    async def embed(self, texts: Sequence[str]) -> Floats:
        """Return vectors (n, d) float32 of length 1, in the order of the texts; (0, d) for no texts.

        A text without embeddable content (empty, or unknown characters only) gets a zero vector.

        Raises:
            InvalidInput: an item of ``texts`` is not a string.
            Unavailable: the model's server did not answer in time, or rejected the request temporarily.
        """

    async def close(self) -> None:  # noqa: B027 - most embedders hold no resources
        """Release resources; a second call does nothing."""

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()
