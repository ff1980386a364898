"""The cache of a node: memory over disk over blob storage."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from typing import Generic, TypeVar

from vectorcache.layers.blob import BlobLayer
from vectorcache.layers.codec import Codec
from vectorcache.layers.disk import DiskLayer
from vectorcache.layers.diskfile import file_weight
from vectorcache.layers.memory import MemoryLayer
from vectorcache.layers.nlayer import EXPECTED_BYTES, MAX_LOAD_BYTES, MAX_LOADS, NLayerCache
from vectorcache.lru import LRU
from vectorcache.stores.base import BlobStore, FileStore

V = TypeVar("V")

DISK_TIMES_MEMORY = 10
"""Default capacity of the disk layer, as a multiple of that of the memory layer."""

ENTRY_BYTES = 256
"""Overhead of an entry of the memory layer: the key and its node in the LRU (230 bytes measured)."""


class EfficientVectorStorage(NLayerCache[V], Generic[V]):
    """Cache of three layers: ``memory`` (decoded values), ``disk`` (files) and ``blob`` (the source of truth).

    Args:
        blobs: the source of truth. The caller closes it.
        files: the local disk. The caller closes it.
        codec: encodes values as blobs and files.
        memory_bytes: capacity of the memory layer, including the overhead of its entries.
        disk_bytes: capacity of the disk layer in whole blocks; ten times ``memory_bytes`` by default.
        weigh: returns the bytes of a value in memory.
        max_loads, max_load_bytes, expected_bytes: bounds on loads, see ``NLayerCache``.
        clock: returns seconds, for the load times.

    Raises:
        InvalidInput: a capacity or a bound is not positive.
    """

    def __init__(
        self,
        blobs: BlobStore,
        files: FileStore,
        codec: Codec[V],
        *,
        memory_bytes: int,
        disk_bytes: int | None = None,
        weigh: Callable[[V], int],
        max_loads: int = MAX_LOADS,
        max_load_bytes: int = MAX_LOAD_BYTES,
        expected_bytes: int = EXPECTED_BYTES,
        clock: Callable[[], float] = time.perf_counter,
    ) -> None:
        memory_lru = LRU[str, V](max_bytes=memory_bytes, weigh=lambda value: weigh(value) + ENTRY_BYTES)
        if disk_bytes is None:
            disk_bytes = DISK_TIMES_MEMORY * memory_bytes
        disk_lru = LRU[str, int](max_bytes=disk_bytes, weigh=file_weight)
        self._disk = DiskLayer(files, disk_lru, codec, on_unmapped=memory_lru.delete, clock=clock)
        super().__init__(
            [
                MemoryLayer(memory_lru),
                self._disk,
                BlobLayer(blobs, codec, clock=clock),
            ],
            name="storage",
            max_loads=max_loads,
            max_load_bytes=max_load_bytes,
            expected_bytes=expected_bytes,
            clock=clock,
        )

    def get_cached(self, keys: Iterable[str]) -> dict[str, V]:
        """Return the values in memory. Their files are marked as used too, because mapped values are read from them."""
        found = super().get_cached(keys)
        self._disk.touch(found)
        return found
