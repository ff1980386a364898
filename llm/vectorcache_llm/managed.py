"""The interface of caches to the manager: deletion, export and import, health, statistics."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, TypeAlias

from vectorcache_llm.errors import Unsupported
from vectorcache_llm.opened import Opened
from vectorcache_llm.scope import EVERYTHING, Scope, Selection

Record: TypeAlias = dict[str, Any]
"""An exported entry as JSON values, from which it can be restored exactly."""


@dataclass(frozen=True, slots=True)
class PartHealth:
    """The health of a part (a tier, a store, an embedder), and the duration of its check in seconds."""

    name: str
    ok: bool
    detail: str
    seconds: float


class ManagedCache(Opened):
    """A cache as seen by the manager. It must be opened before use (``async with`` does so)."""

    name: ClassVar[str]
    """"response", "embedding", "reasoning" or "chat"."""

    @abstractmethod
    async def open(self) -> None:
        """Open the cache. An unavailable backend is not an error; it is used once it becomes available."""

    @abstractmethod
    async def close(self) -> None:
        """Finish pending work and release resources; a second call does nothing."""

    @abstractmethod
    async def delete_where(self, selection: Selection) -> int:
        """Delete all selected entries from every tier, and return the number of distinct ones.

        Raises:
            Unavailable: a tier failed; the others have deleted the entries.
        """

    async def delete_similar(self, scope: Scope, text: str, min_similarity: float) -> int:
        """Delete the entries of a scope whose text has at least this similarity, and return their number.

        Raises:
            Unsupported: the cache does not compare texts.
        """
        raise Unsupported(f"the {self.name} cache does not compare texts")

    @abstractmethod
    def export(self, selection: Selection = EVERYTHING) -> AsyncIterator[Record]:
        """Yield every selected entry as a record for ``restore``."""

    @abstractmethod
    async def restore(self, records: Sequence[Record]) -> int:
        """Store exported entries with their times, and return how many were stored. Expired ones are skipped.

        Raises:
            InvalidInput: a record is not valid output of ``export``; names the field.
        """

    @abstractmethod
    async def health(self) -> Sequence[PartHealth]:
        """Check the health of every part, each within its deadline. Never raises."""

    @abstractmethod
    async def stats(self) -> Mapping[str, Any]:
        """Return entries, bytes and counters, as JSON values."""
