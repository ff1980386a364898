"""The interface of a cache layer, and its statistics."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Generic, TypeVar

V = TypeVar("V")

LOAD_TIME_BOUNDS = (
    0.0001,
    0.00025,
    0.0005,
    0.001,
    0.0025,
    0.005,
    0.01,
    0.025,
    0.05,
    0.1,
    0.25,
    0.5,
    1.0,
    2.5,
)
"""Upper bounds in seconds of the load-time histogram's buckets. One more bucket has no bound."""


@dataclass(frozen=True, slots=True)
class LoadTimes:
    """A histogram of the times of reads that waited for a layer.

    ``buckets[i]`` counts the reads that took at most ``LOAD_TIME_BOUNDS[i]`` seconds and more than the previous
    bound; the last bucket counts the others. The counts are not cumulative.
    """

    count: int = 0
    total_seconds: float = 0.0
    max_seconds: float = 0.0
    buckets: tuple[int, ...] = (0,) * (len(LOAD_TIME_BOUNDS) + 1)


@dataclass(frozen=True, slots=True)
class LayerStats:
    """A snapshot of a layer's counters since its creation, and of its current size.

    ``bytes`` and ``capacity_bytes`` include overhead. Each size is None if the layer does not know it, and
    ``capacity_bytes`` is also None if the layer has no bound.
    """

    name: str
    hits: int = 0
    misses: int = 0
    evictions: int = 0
    errors: int = 0
    corrupt: int = 0
    items: int | None = None
    bytes: int | None = None
    capacity_bytes: int | None = None
    load_times: LoadTimes = field(default_factory=LoadTimes)


class CacheLayer(ABC, Generic[V]):
    """One level of a cache. Every layer implements all methods.

    Keys have the form of file names (see ``FileStore``). All methods run on one event loop, and calls may be
    concurrent. A layer is opened before its first use and closed once.
    """

    @abstractmethod
    async def open(self) -> None:
        """Prepare for use. A disk layer indexes the files of a previous process here."""

    @abstractmethod
    async def close(self) -> None:
        """Release all resources. A second call does nothing."""

    @abstractmethod
    def get_cached(self, keys: Iterable[str]) -> dict[str, V]:
        """Return the values that are available without awaiting, in the order of the keys.

        Takes many keys, because it is the hot path. A found value counts as a hit and is marked as used. Other keys
        do not count as misses, because the caller passes them to ``get`` next.
        """

    @abstractmethod
    async def get(self, key: str) -> V | None:
        """Return the value and mark it as used, or return None if the layer does not have it."""

    @abstractmethod
    async def put(self, key: str, value: V) -> V:
        """Store a value, replacing one of the same key. Other values may be evicted.

        Returns the value as the layer holds it: usually the same object, or a form that takes less memory.
        """

    @abstractmethod
    async def delete(self, key: str) -> bool:
        """Delete a key. Return whether the layer had it."""

    @abstractmethod
    async def contains(self, key: str) -> bool:
        """Return whether ``get`` would find the key now. Does not count as a hit, and does not mark as used."""

    @abstractmethod
    def stats(self) -> LayerStats:
        """Return a snapshot of the layer's counters."""
