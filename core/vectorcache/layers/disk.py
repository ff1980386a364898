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
"""Maximum number of files written at a time. A file is indexed, and others are evicted for it, after it has been
written, so the disk usage may exceed the layer's capacity by this number of files."""
MAX_TOUCHED = 4096
"""Number of used keys that are collected before they are marked in the LRU, which takes a few milliseconds."""


class DiskLayer(CacheLayer[V], Generic[V]):
    """Layer of files in a ``FileStore``, encoded by a codec. An LRU of file names and sizes is the index.

    Each read verifies that the file is complete and belongs to the key (see ``diskfile``). A bad file is deleted and
    counted as corrupt, and the read is a miss. ``open`` indexes the files of a previous process in the order of their
    last use, and deletes foreign files and those beyond the capacity.

    Reads, writes and deletions of one file hold the lock of its name, so the index and the files agree whenever no
    call is in progress. Calls for different files run concurrently. A ``put`` that evicts another file:

    1. ``put(A)`` holds the lock of A, writes the file and indexes it. The LRU evicts B, and B is marked for deletion:
       its file still exists, but it is no longer served.
    2. ``put(A)`` releases its lock. Another task may put B again now.
    3. The sweep at the end of ``put(A)`` takes the lock of B and looks for B in the index. If B was put again, its
       file is current and is kept. Otherwise the file is deleted.

    Writes and deletions run to completion if their caller is cancelled, because a file in an unknown state is worse
    than a late return. If a write fails, its file is deleted. If a deletion fails, the file is not served, and it is
    deleted by a later call or at ``close``.

    Values of a codec that is ``mappable`` are returned as views of their memory-mapped files. The kernel reads pages
    on first use and drops them when memory is short. Such a file is verified once, when it is written or first read.
    The disk space of a deleted file is released only when its last view is gone, so ``on_unmapped`` is called with
    the key when a mapped file is removed. A file that cannot be mapped is read whole.

    The layer takes ownership of the LRU (``LRU[str, int]``, usually with ``file_weight`` as ``weigh``) and of its
    removal callback. The caller closes the store. ``clock`` returns seconds, for the load times.
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
        self._mapped: dict[str, str] = {}  # name -> key of verified files whose values are mapped
        self._clock = clock
        self._counters = Counters()
        self._opened = False
        self._locks = KeyLocks()
        self._writers = asyncio.Semaphore(MAX_WRITES)
        self._tasks = Tasks()
        self._touched: dict[str, None] = {}  # keys used since the last write, the most recent last
        self._marked: dict[str, None] = {}  # names of files to delete, the oldest mark first

    async def open(self) -> None:
        """Index the files of a previous process.

        Raises:
            Unavailable: the files cannot be listed. The layer then finds no value and stores none.
        """
        for info in sorted(await self._files.list(), key=attrgetter("used_at")):
            self._index_file(info)
        self._opened = True
        await self._tasks.complete(self._sweep())

    async def close(self) -> None:
        """Wait for the writes and deletions in progress. The files are kept for the next ``open``."""
        self._opened = False
        await self._tasks.drain()
        await self._tasks.complete(self._sweep())

    def get_cached(self, keys: Iterable[str]) -> dict[str, V]:
        """Return an empty dict: a file is never available without awaiting."""
        return {}

    async def get(self, key: str) -> V | None:
        """Return the value, or None if there is no valid file.

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
        """Store a value. If its file is larger than the whole capacity, only an older value is deleted.

        Raises:
            Unavailable: the file cannot be written, and an older value is deleted; or the layer is not open.
        """
        if not self._opened:
            raise Unavailable(f"the {self._name} layer is not open")
        name = file_name(key)
        await self._tasks.complete(self._put(name, pack(key, self._codec.encode(key, value))))
        return await self._mapped_value(name, key, value) if self._codec.prefers_mapping(value) else value

    async def delete(self, key: str) -> bool:
        """Delete the file of a key. Return whether there was one.

        Raises:
            Unavailable: the file cannot be deleted now. It is no longer served.
        """
        return await self._tasks.complete(self._delete(file_name(key)))

    async def contains(self, key: str) -> bool:
        """Return whether there is a file. It is verified only when it is read."""
        return file_name(key) in self._index

    def touch(self, keys: Iterable[str]) -> None:
        """Mark keys as recently used, for values that were served by another layer.

        The LRU is updated only when it may have to evict, because searches use the same keys again and again.
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
        """Return a snapshot of the layer's counters. ``bytes`` is the size of the files as weighed by the LRU."""
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

    def _index_file(self, info: FileInfo) -> None:
        if not is_file_name(info.name):
            self._counters.corrupt += 1
            self._marked[info.name] = None
        elif not self._index.put(info.name, info.size):
            self._marked[info.name] = None

    async def _read(self, name: str, key: str) -> V | None:
        """Read a file. The caller holds the lock of its name, so only an eviction can change the index meanwhile."""
        if self._index.peek(name) is None:
            return None
        self.touch((key,))
        if name in self._mapped:
            value = await self._map(name, key)
            if value is not None:
                return value
        content = await self._files.read(name)
        if content is None:  # the file was deleted from outside
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
        """Return the value as a view of its verified, mapped file, or ``value`` itself if it cannot be mapped."""
        if not self._codec.mappable or name not in self._index:
            return value
        mapped = await self._map(name, key)
        if mapped is None or name not in self._index:
            return value
        self._mapped[name] = key
        return mapped

    async def _map(self, name: str, key: str) -> V | None:
        """Return the value as a view of its mapped file, or None if the file cannot be mapped."""
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
        """Delete the marked files. After a failure the others are left for the next call: the disk may be broken."""
        while self._marked:
            name = next(iter(self._marked))
            del self._marked[name]
            async with self._locks[name]:
                if name in self._index:
                    continue  # it was put again
                try:
                    await self._files.delete(name)
                except Exception:  # noqa: BLE001 - the medium may fail in any way, and the caller's work is done
                    self._counters.errors += 1
                    self._marked[name] = None
                    return
