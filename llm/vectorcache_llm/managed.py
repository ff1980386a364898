"""What every cache of this layer offers to the manager: deletion, export and import, health, statistics."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, TypeAlias

from vectorcache_llm.errors import Unsupported
from vectorcache_llm.opened import Opened
from vectorcache_llm.scope import EVERYTHING, Scope, Selection

Record: TypeAlias = dict[str, Any]
"""One exported entry: JSON values only, all that is needed to restore it exactly."""


@dataclass(frozen=True, slots=True)
class PartHealth:
    """Whether a part (a tier, a store, an embedder) does its work, and how long it took to say so."""

    name: str
    ok: bool
    detail: str
    seconds: float


class ManagedCache(Opened):
    """One cache as its manager sees it. Opened before its first use (``async with`` does), closed once."""

    name: ClassVar[str]
    """"response", "embedding", "reasoning" or "chat"."""

    @abstractmethod
    async def open(self) -> None:
        """Make ready. A backend that is away is no error: it is taken up when it is back."""

    @abstractmethod
    async def close(self) -> None:
        """Finish what runs and release what is held; a second call does nothing."""

    @abstractmethod
    async def delete_where(self, selection: Selection) -> int:
        """Delete every selected entry from every tier; say how many different ones there were.

        Raises:
            Unavailable: a tier did not do it; the others did. What a caller must not see again is never "a miss".
        """

    async def delete_similar(self, scope: Scope, text: str, min_similarity: float) -> int:
        """Delete the entries of a scope whose text is at least so similar; say how many there were.

        Raises:
            Unsupported: the cache compares no texts.
        """
        raise Unsupported(f"the {self.name} cache does not compare texts")

    @abstractmethod
    def export(self, selection: Selection = EVERYTHING) -> AsyncIterator[Record]:
        """Every selected entry, as a record that ``restore`` takes."""

    @abstractmethod
    async def restore(self, records: Sequence[Record]) -> int:
        """Keep exported entries, with their times and ends of life; say how many were kept (the expired are not).

        Raises:
            InvalidInput: a record is not what ``export`` gives; names the field.
        """

    @abstractmethod
    async def health(self) -> Sequence[PartHealth]:
        """Every part's health, asked now, each within its deadline. Never raises."""

    @abstractmethod
    async def stats(self) -> Mapping[str, Any]:
        """Entries, bytes and counters, as JSON values."""
