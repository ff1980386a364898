"""The contract of a cache layer, and its statistics."""

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
"""Upper bounds in seconds of the load-time histogram's buckets; a last bucket has no bound."""


@dataclass(frozen=True, slots=True)
class LoadTimes:
    """A histogram of how long reads of a layer took that had to wait for it.

    ``buckets[i]`` counts the reads of at most ``LOAD_TIME_BOUNDS[i]`` seconds (and more than the bound
    before); the last one counts the rest. Not cumulative.
    """

    count: int = 0
    total_seconds: float = 0.0
    max_seconds: float = 0.0
    buckets: tuple[int, ...] = (0,) * (len(LOAD_TIME_BOUNDS) + 1)


@dataclass(frozen=True, slots=True)
class LayerStats:
    """A snapshot of one layer's counters since it was made, and of what it holds now.

    ``bytes`` and ``capacity_bytes`` include overhead; ``capacity_bytes`` and ``items`` are None where the
    layer has no bound or does not know.
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
    """One level of a cache. Every layer implements all of it; nothing is asked by reflection.

    Keys are as file names are (see ``FileStore``). All methods run on one event loop, and calls may be
    concurrent; a layer is opened before its first use and closed once.
    """

    @abstractmethod
    async def open(self) -> None:
        """Make ready: a disk layer indexes its survivors here."""

    @abstractmethod
    async def close(self) -> None:
        """Release what is held; a second call does nothing."""

    @abstractmethod
    def get_cached(self, keys: Iterable[str]) -> dict[str, V]:
        """Those of the values that are there without waiting; many at a time, because this is the hot path.

        In the order of the keys.
        What is found counts as a hit and as used; the rest counts as nothing, because ``get`` is asked next.
        """

    @abstractmethod
    async def get(self, key: str) -> V | None:
        """The value, marked as used, or None where the layer does not have it."""

    @abstractmethod
    async def put(self, key: str, value: V) -> V:
        """Keep a value, replacing one of the same key; others may have to leave for it.

        Returns the value as the layer has it, which may take less memory; usually the same object.
        """

    @abstractmethod
    async def delete(self, key: str) -> bool:
        """Forget a key; say whether it was there."""

    @abstractmethod
    async def contains(self, key: str) -> bool:
        """Whether ``get`` would find it now. Does not count, and does not mark as used."""

    @abstractmethod
    def stats(self) -> LayerStats:
        """The layer's counters at this moment."""
