"""The layer between memory and blob storage: encoded values as files on a local disk."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterable
from operator import attrgetter
from typing import Generic, TypeVar

from vectorcache.concurrency import KeyLocks, Tasks
from vectorcache.errors import CorruptData, Unavailable
from vectorcache.layers.base import CacheLayer, LayerStats
from vectorcache.layers.codec import Codec
from vectorcache.layers.counters import Counters
from vectorcache.layers.diskfile import file_name, is_file_name, pack, unpack
from vectorcache.lru import LRU, Removal
from vectorcache.stores.base import FileInfo, FileStore

V = TypeVar("V")

MAX_WRITES = 4
"""Files being written at once. A file is indexed, and drives others out, once it is whole: so many files are
how far the disk may exceed the layer's capacity."""
MAX_TOUCHED = 4096
"""Keys that are used before all of them are marked in the LRU, which takes some milliseconds."""


class DiskLayer(CacheLayer[V], Generic[V]):
    """Values as files of a ``FileStore``, through a codec; an LRU of file names and sizes is the index.

    What a file's key is, and whether it is whole, is verified at each read (see ``diskfile``): a file that
    is not right is deleted, counted as corrupt, and a miss. ``open`` indexes the files that a former
    process left, in the order of their last use, and deletes those that are foreign or beyond the capacity.

    Concurrency: reads, writes and deletions of one file follow one another (a lock per name), so that the
    index and the files agree whenever no call is under way; those of different files run side by side. The
    files that a ``put`` drives out are deleted before it returns, unless their key has been put again.
    Writes and deletions go on to their end when their caller is cancelled, since a half-known file is worse
    than a late return. A file whose writing failed is deleted; one whose deletion failed is not served, and
    deleted with the next ``put`` or at ``close``.

    Values of a codec that is ``mappable`` are returned as views of their memory-mapped files. The kernel reads pages
    on first use and drops them when memory is short. Such a file is verified once, when it is written or first read.
    The disk space of a deleted file is released only when its last view is gone, so ``on_unmapped`` is called with
    the key when a mapped file is removed. A file that cannot be mapped is read whole.

    The LRU (``LRU[str, int]``; ``file_weight`` is its natural ``weigh``) belongs to this layer from now on,
    its removal callback too. The store stays its maker's to close. ``clock`` gives seconds for the load
    times.
    """

    def __init__(
        self,
        files: FileStore,
        lru: LRU[str, int],
        codec: Codec[V],
        *,
        name: str = "disk",
        on_unmapped: Callable[[str], object] | None = None,
        clock: Callable[[], float] = time.perf_counter,
    ) -> None:
        self._files = files
        self._index = lru
        self._index.on_removal = self._removed
        self._codec = codec
        self._name = name
        self._on_unmapped = on_unmapped
        self._mapped: dict[str, str] = {}  # names of verified files whose values are mapped, and their keys
        self._clock = clock
        self._counters = Counters()
        self._opened = False
        self._locks = KeyLocks()
        self._writers = asyncio.Semaphore(MAX_WRITES)
        self._tasks = Tasks()
        self._touched: dict[str, None] = {}  # keys used since the last write, the most recent last
        self._marked: dict[str, None] = {}  # files that are to be deleted, in the order of their leaving

    async def open(self) -> None:
        """Index the survivors of a former process.

        Raises:
            Unavailable: the files cannot be listed; the layer then finds nothing and takes nothing.
        """
        for info in sorted(await self._files.list(), key=attrgetter("used_at")):
            self._index_survivor(info)
        self._opened = True
        await self._tasks.complete(self._sweep())

    async def close(self) -> None:
        """Wait for writes and deletions that are under way. The files stay, for the next ``open``."""
        self._opened = False
        await self._tasks.drain()
        await self._tasks.complete(self._sweep())

    def get_cached(self, keys: Iterable[str]) -> dict[str, V]:
        """Nothing: a file is never at hand."""
        return {}

    async def get(self, key: str) -> V | None:
        """The value, or None where there is no file, or none that is right.

        Raises:
            Unavailable: the file cannot be read.
        """
        name = file_name(key)
        value = None
        if name in self._index:
            start = self._clock()
            async with self._locks[name]:
                value = await self._read(name, key)
            self._counters.waited(self._clock() - start)
            if name in self._marked:
                await self._tasks.complete(self._sweep())
        self._counters.found(value)
        return value

    async def put(self, key: str, value: V) -> V:
        """Keep a value; one whose file outweighs the whole capacity is not kept, and an older one is gone.

        Raises:
            Unavailable: the file cannot be written, or the layer is not open; an older value is gone.
        """
        if not self._opened:
            raise Unavailable(f"the {self._name} layer is not open")
        name = file_name(key)
        await self._tasks.complete(self._put(name, pack(key, self._codec.encode(key, value))))
        return await self._mapped_value(name, key, value) if self._codec.prefers_mapping(value) else value

    async def delete(self, key: str) -> bool:
        """Delete a key's file; say whether there was one.

        Raises:
            Unavailable: the file cannot be deleted now; it is not found any more all the same.
        """
        return await self._tasks.complete(self._delete(file_name(key)))

    async def contains(self, key: str) -> bool:
        """Whether there is a file; whether it is right is seen when it is read."""
        return file_name(key) in self._index

    def touch(self, keys: Iterable[str]) -> None:
        """Mark keys as recently used, for values that were served by another layer.

        Marked in the LRU when it may have to evict, since searches touch the same keys again and again.
        """
        for key in keys:
            self._touched.pop(key, None)
            self._touched[key] = None
        if len(self._touched) > MAX_TOUCHED:
            self._mark_touched()

    def _mark_touched(self) -> None:
        self._index.get_many(map(file_name, self._touched))
        self._touched.clear()

    def stats(self) -> LayerStats:
        """The layer's counters at this moment. ``bytes`` are the files', as the LRU weighs them."""
        return self._counters.stats(
            self._name, items=len(self._index), bytes=self._index.bytes, capacity_bytes=self._index.max_bytes
        )

    def _removed(self, name: str, size: int, reason: Removal) -> None:
        key = self._mapped.pop(name, None)
        if key is not None and self._on_unmapped is not None:
            self._on_unmapped(key)
        if reason is Removal.EVICTED:
            self._counters.evictions += 1
            self._marked[name] = None

    def _index_survivor(self, info: FileInfo) -> None:
        if not is_file_name(info.name):
            self._counters.corrupt += 1
            self._marked[info.name] = None
        elif not self._index.put(info.name, info.size):
            self._marked[info.name] = None

    async def _read(self, name: str, key: str) -> V | None:
        """Under the name's lock: only evictions happen meanwhile."""
        if self._index.peek(name) is None:
            return None
        self.touch((key,))
        if name in self._mapped:
            value = await self._map(name, key)
            if value is not None:
                return value
        content = await self._files.read(name)
        if content is None:  # somebody else deleted it
            self._index.delete(name)
            return None
        try:
            value = self._codec.decode(key, unpack(key, content))
        except CorruptData:
            self._counters.corrupt += 1
            self._mark_for_deletion(name)
            return None
        return await self._mapped_value(name, key, value)

    async def _mapped_value(self, name: str, key: str, value: V) -> V:
        """The value as a view of its mapped file, which was verified; ``value`` itself if it cannot be mapped."""
        if not self._codec.mappable or name not in self._index:
            return value
        mapped = await self._map(name, key)
        if mapped is None or name not in self._index:
            return value
        self._mapped[name] = key
        return mapped

    async def _map(self, name: str, key: str) -> V | None:
        """The value as a view of its mapped file; None if the file cannot be mapped."""
        try:
            view = await self._files.map(name)
            return None if view is None else self._codec.map(key, unpack(key, view, verify=False))
        except (Unavailable, CorruptData):  # too many mappings; a file that belongs to another key
            self._mapped.pop(name, None)
            return None

    async def _put(self, name: str, content: bytes) -> None:
        if not self._index.fits(len(content)):
            await self._delete(name)
            return
        try:
            async with self._writers, self._locks[name]:
                await self._write(name, content)
        finally:
            await self._sweep()

    async def _write(self, name: str, content: bytes) -> None:
        try:
            await self._files.write(name, content)
        except BaseException:
            self._mark_for_deletion(name)
            raise
        self._mark_touched()
        self._index.put(name, len(content))

    async def _delete(self, name: str) -> bool:
        async with self._locks[name]:
            if not self._index.delete(name):
                return False
            try:
                return await self._files.delete(name)
            except BaseException:
                self._mark_for_deletion(name)
                raise

    def _mark_for_deletion(self, name: str) -> None:
        self._index.delete(name)
        self._marked[name] = None

    async def _sweep(self) -> None:
        """Delete what is doomed; after a failure the rest waits for the next call: the disk may be broken."""
        while self._marked:
            name = next(iter(self._marked))
            del self._marked[name]
            async with self._locks[name]:
                if name in self._index:
                    continue  # put again since
                try:
                    await self._files.delete(name)
                except Exception:  # noqa: BLE001 - whatever is wrong with the medium, the caller's work is done
                    self._counters.errors += 1
                    self._marked[name] = None
                    return
