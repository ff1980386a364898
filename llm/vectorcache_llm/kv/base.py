"""The interface of key-value stores, which map a scope and a key to bytes with an expiry time."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import AsyncIterator, Iterable, Mapping
from dataclasses import dataclass, field

from vectorcache_llm.opened import Opened
from vectorcache_llm.scope import EVERYTHING, Scope, Selection

MAX_KEY_BYTES = 4096
"""Maximum length of a key, in UTF-8 bytes."""


@dataclass(frozen=True, slots=True)
class Entry:
    """A stored value with its key and attributes.

    Attributes:
        scope: owner of the entry; part of its identity.
        key: non-empty Unicode string of at most ``MAX_KEY_BYTES``.
        value: bytes of any length that the store accepts.
        created_at: creation time, in seconds since the epoch.
        expires_at: expiry time, in seconds since the epoch; None for no expiry.
        tags: tags, for invalidation.
        metadata: metadata, for inspection and exports.
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
    """Size and counters of a store. Unknown values are None."""

    entries: int | None
    bytes: int | None
    hits: int
    misses: int
    evicted: int
    expired: int


class KeyValueStore(Opened):
    """A store of entries by scope and key. It must be opened before use (``async with`` does so).

    A look-up never extends the lifetime of an entry. An expired entry is not found, even if it has not been removed.
    Clocks are injected (seconds since the epoch). A server that expires entries by its clock may be slightly late, but
    never early. Calls may run concurrently. Every method raises ``Unavailable`` if the backend fails or misses its
    deadline.
    """

    name: str
    """Name of the tier in metrics: "memory", "sqlite", "redis"."""

    @abstractmethod
    async def get(self, scope: Scope, key: str) -> Entry | None:
        """Return the entry and mark it as used; None if it does not exist."""

    @abstractmethod
    async def get_many(self, scope: Scope, keys: Iterable[str]) -> dict[str, Entry]:
        """Return the entries that exist, by key, in one round trip. Marks them as used."""

    @abstractmethod
    async def put(self, *entries: Entry) -> None:
        """Store entries in one round trip, replacing those with the same scope and key.

        Raises:
            InvalidInput: a key is empty or too long, or an entry is too large for the store.
        """

    @abstractmethod
    async def put_new(self, entry: Entry) -> bool:
        """Store an entry unless an unexpired one with the same scope and key exists, and return whether it was stored.

        Of concurrent calls for a new key, in any process that shares the backend, exactly one returns True.
        """

    @abstractmethod
    async def delete(self, scope: Scope, *keys: str) -> int:
        """Delete keys, and return how many existed."""

    @abstractmethod
    def scan(self, selection: Selection = EVERYTHING) -> AsyncIterator[Entry]:
        """Yield all selected entries, in any order, read in bounded batches. Does not mark them as used.

        Entries that are put or deleted during the scan may or may not be seen; all others are seen exactly once.
        """

    @abstractmethod
    async def delete_where(self, selection: Selection) -> int:
        """Delete all selected entries, and return their number."""

    @abstractmethod
    async def stats(self) -> StoreStats:
        """Return the counters of this object and the current size of the store."""
