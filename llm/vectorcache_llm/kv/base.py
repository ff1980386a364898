"""The interface of key-value stores: bytes under a scope and a key, with an end of life."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import AsyncIterator, Iterable, Mapping
from dataclasses import dataclass, field

from vectorcache_llm.opened import Opened
from vectorcache_llm.scope import EVERYTHING, Scope, Selection

MAX_KEY_BYTES = 4096
"""Of a key in UTF-8."""


@dataclass(frozen=True, slots=True)
class Entry:
    """One value and what is known of it.

    Attributes:
        scope: whose it is; part of its identity.
        key: any Unicode, not empty, at most ``MAX_KEY_BYTES``.
        value: of any length that fits the store.
        created_at: seconds since the epoch.
        expires_at: seconds since the epoch from which on it is not found; None for never.
        tags: for invalidation.
        metadata: for people and exports.
    """

    scope: Scope
    key: str
    value: bytes
    created_at: float
    expires_at: float | None = None
    tags: frozenset[str] = frozenset()
    metadata: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class StoreStats:
    """What a store holds and did. None where it does not know."""

    entries: int | None
    bytes: int | None
    hits: int
    misses: int
    evicted: int
    expired: int


class KeyValueStore(Opened):
    """Entries by scope and key. Opened before its first use (``async with`` does), closed once.

    A look-up never extends an entry's life. What has expired is not found, whether or not it has been removed. Clocks
    are injected (seconds since the epoch); a server that expires by its own clock may be a little late, never early.
    Calls may run concurrently. All but the constructor raise ``Unavailable`` where the backend does not do its work
    within its deadline.
    """

    name: str
    """Of the tier, in metrics: "memory", "sqlite", "redis"."""

    @abstractmethod
    async def get(self, scope: Scope, key: str) -> Entry | None:
        """The entry, marked as used, or None."""

    @abstractmethod
    async def get_many(self, scope: Scope, keys: Iterable[str]) -> dict[str, Entry]:
        """Those that are there, in one round trip."""

    @abstractmethod
    async def put(self, *entries: Entry) -> None:
        """Keep entries, replacing those of the same scope and key; in one round trip.

        Raises:
            InvalidInput: a key is empty or too long, or a value is larger than the store takes at all.
        """

    @abstractmethod
    async def put_new(self, entry: Entry) -> bool:
        """Keep an entry unless one of its scope and key is there that has not expired; say whether it was kept.

        Of all who put one new key at once, in any process that shares the backend, exactly one is told True.
        """

    @abstractmethod
    async def delete(self, scope: Scope, *keys: str) -> int:
        """Delete keys; say how many were there."""

    @abstractmethod
    def scan(self, selection: Selection = EVERYTHING) -> AsyncIterator[Entry]:
        """Every selected entry, in no order, read in bounded batches. Does not mark as used.

        What is put or deleted meanwhile may be seen or not; the rest is seen exactly once.
        """

    @abstractmethod
    async def delete_where(self, selection: Selection) -> int:
        """Delete every selected entry; say how many there were."""

    @abstractmethod
    async def stats(self) -> StoreStats:
        """Counters of this object, and what the store holds now."""
